"""Windows: which positions of its input a spatial layer reads, as matrices."""

import functools

import numpy as np

from fixinit._checked import checked, checked_but
from fixinit._validation import check_choice, check_size
from fixinit.theory.calculus.positions import (
    RESOLUTION,
    longest,
    pair_classes,
    position_weights,
    shortened,
    size,
)
from fixinit.theory.errors import NoRuleError

# All pairs of as many positions are held in memory.
_MOST_POSITIONS = 4096


class Window:
    """The input positions that every output position of a layer reads, on one axis.

    Example:

    >>> Window = fixinit.theory.calculus.Window
    >>> window = Window.convolution(5, kernel=3, padding="same")
    >>> window.mean.sum(axis=1).tolist()  # how many taps lie inside
    [2.0, 3.0, 3.0, 3.0, 2.0]

    Args:
        inputs: int. Number of input positions.
        taps: Integer array `(outputs, taps)` of input positions, -1 for none.
        coefficients: Array of that shape, 1 by default.
        sizes: `(inputs, outputs)` of the axis that a shorter one stands for.
    """

    @checked_but("taps")
    def __init__(
        self,
        inputs: int,
        taps: np.ndarray,
        coefficients: np.ndarray | None = None,
        sizes: tuple[int, int] | None = None,
    ) -> None:
        self._from = check_size("inputs", inputs)
        self._taps = np.asarray(taps)
        if self._taps.ndim != 2 or self._taps.dtype.kind not in "iu":
            raise ValueError(
                "Argument `taps` must be an array of integers `(outputs, taps)`. "
                f"Received: taps={taps!r}"
            )
        if np.any((self._taps < -1) | (self._taps >= inputs)):
            raise ValueError(
                f"Argument `taps` must hold positions from 0 to {inputs - 1}, or -1 "
                f"for none. Received: taps={taps!r}"
            )
        self._to = len(self._taps)
        self.inputs, self.outputs = sizes or (self._from, self._to)
        inside = self._taps >= 0
        self._coefficients = np.where(
            inside, 1.0 if coefficients is None else coefficients, 0.0
        )

    @classmethod
    @checked
    @functools.lru_cache(maxsize=1024)
    def convolution(
        cls,
        inputs: int,
        kernel: int,
        stride: int = 1,
        dilation: int = 1,
        padding: str = "valid",
    ) -> "Window":
        """The window of a convolution or a pooling layer.

        Args:
            inputs: int. Number of input positions.
            kernel: int. Number of taps.
            stride, dilation: ints, 1 by default.
            padding: `"valid"` (default), `"same"` as Keras pads, or `"causal"`.
        """
        _check_sizes(inputs=inputs, kernel=kernel, stride=stride, dilation=dilation)
        check_choice("padding", padding, ("valid", "same", "causal"))
        full, reach = inputs, (kernel - 1) * dilation + 1
        # As many outputs as an axis has classes of positions, if it has them.
        least = reach + RESOLUTION * stride
        inputs = max(shortened(inputs), min(inputs, least))
        _check_positions(inputs=inputs, kernel=kernel)

        def count(n: int) -> int:
            return (n - reach) // stride + 1 if padding == "valid" else -(-n // stride)

        outputs, left = count(inputs), 0
        if padding == "same":
            left = max((outputs - 1) * stride + reach - inputs, 0) // 2
        elif padding == "causal":
            left = reach - 1
        starts = np.arange(outputs)[:, None] * stride - left
        taps = starts + np.arange(kernel) * dilation
        taps = np.where((taps >= 0) & (taps < inputs), taps, -1)
        return cls(inputs, taps, sizes=(full, count(full)))

    @classmethod
    @checked
    @functools.lru_cache(maxsize=1024)
    def transposed(
        cls,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        dilation: int = 1,
        padding: str = "valid",
    ) -> "Window":
        """The window of a transposed convolution, of a given number of outputs."""
        _check_sizes(inputs=inputs, outputs=outputs, kernel=kernel)
        _check_sizes(stride=stride, dilation=dilation)
        check_choice("padding", padding, ("valid", "same"))
        sizes, short = (inputs, outputs), shortened(inputs)
        inputs, outputs = short, outputs - (inputs - short) * stride
        _check_sizes(outputs=outputs)
        _check_positions(outputs=outputs, kernel=kernel)
        reach = (kernel - 1) * dilation + 1
        left = 0
        if padding == "same":
            # The convolution that this one is the gradient of pads so much.
            left = max((inputs - 1) * stride + reach - outputs, 0) // 2
        offsets = np.arange(outputs)[:, None] + left - np.arange(kernel) * dilation
        taps = offsets // stride
        valid = (offsets % stride == 0) & (taps >= 0) & (taps < inputs)
        return cls(inputs, np.where(valid, taps, -1), sizes=sizes)

    @classmethod
    @checked
    @functools.lru_cache(maxsize=1024)
    def gather(cls, inputs: int, low: int, outputs: int, repeat: int = 1) -> "Window":
        """Output i reads input `i // repeat + low`, or nothing outside of the axis.

        Padding has a negative `low`, cropping a positive one, repetition a `repeat`.
        """
        _check_sizes(inputs=inputs, outputs=outputs, repeat=repeat)
        sizes, short = (inputs, outputs), shortened(inputs)
        inputs, outputs = short, outputs - (inputs - short) * repeat
        if repeat == sizes[1]:
            # One position everywhere.
            outputs = shortened(sizes[1])
        _check_sizes(outputs=outputs)
        _check_positions(outputs=outputs)
        taps = np.arange(outputs) // repeat + low
        taps = np.where((taps >= 0) & (taps < inputs), taps, -1)
        return cls(inputs, taps[:, None], sizes=sizes)

    @classmethod
    @checked
    @functools.lru_cache(maxsize=1024)
    def everything(cls, inputs: int) -> "Window":
        """One output that reads all positions."""
        short = shortened(check_size("inputs", inputs))
        return cls(short, np.arange(short)[None], sizes=(inputs, 1))

    @classmethod
    @functools.lru_cache(maxsize=1024)
    def at(cls, inputs: int, indices: tuple[int, ...]) -> "Window":
        """Output i reads input `indices[i]`: slices, in any order."""
        count = len(indices)
        if inputs > longest():
            if indices == tuple(range(indices[0], indices[0] + count)):
                if inputs - count < shortened(inputs) // 2:
                    return cls.gather(inputs, indices[0], count)
            indices = tuple(_on_shorter(inputs, i) for i in indices)
        taps = np.asarray(indices)[:, None]
        return cls(shortened(inputs), taps, sizes=(inputs, count))

    @classmethod
    def linear(
        cls, matrix: np.ndarray, sizes: tuple[int, int] | None = None
    ) -> "Window":
        """Output i is the sum of the inputs with the coefficients `matrix[i]`.

        Args:
            matrix: Array `(outputs, inputs)`, most of it zeros.
            sizes: `(inputs, outputs)` of the axis that a shorter one stands for.
        """
        reads = matrix != 0
        most = max(int(reads.sum(axis=1).max()), 1)
        # The inputs that are read, in front.
        taps = np.argsort(~reads, axis=1, kind="stable")[:, :most]
        coefficients = np.take_along_axis(matrix, taps, axis=1)
        taps = np.where(np.take_along_axis(reads, taps, axis=1), taps, -1)
        return cls(matrix.shape[1], taps, coefficients, sizes)

    def tap(self, index: int) -> "Window":
        """The window that reads through one of the taps alone."""
        taps = self._taps[:, [index]]
        return Window(self._from, taps, None, (self.inputs, self.outputs))

    @property
    def selects(self) -> bool:
        """Is true if every output is one input, or 0."""
        return self._taps.shape[1] == 1

    def averaging(self) -> "Window":
        """The same window with coefficients that sum to 1."""
        taken = self._coefficients.sum(axis=1, keepdims=True)
        return self._with(self._coefficients / taken)

    def _with(self, coefficients: np.ndarray) -> "Window":
        return Window(self._from, self._taps, coefficients, (self.inputs, self.outputs))

    @functools.cached_property
    def backward(self) -> np.ndarray:
        """The transposed sum on positions, `(m_in, m_out)`, of squared coefficients."""
        out = position_weights(self._to) * self._to
        into = position_weights(self._from) * self._from
        return self.squares.T * out / into[:, None]

    @functools.cached_property
    def mean(self) -> np.ndarray:
        """The sum over taps as a matrix on positions, `(m_out, m_in)`."""
        n, m = self._to, size(self._to)
        out = np.diag(pair_classes(n)) // (m + 1)
        into = np.diag(pair_classes(self._from)) // (size(self._from) + 1)
        rows = np.broadcast_to(out[:, None], self._taps.shape)
        return _matrix(
            rows, into[self._taps], self._coefficients, m, size(self._from), out
        )

    @functools.cached_property
    def squares(self) -> np.ndarray:
        """The sum of squared coefficients, likewise."""
        return self._with(self._coefficients**2).mean

    @functools.cached_property
    def same_tap(self) -> np.ndarray:
        """Pairs that read through one tap: what independent weights leave."""
        out = pair_classes(self._to)
        into = pair_classes(self._from)
        first, second = self._taps[:, None, :], self._taps[None, :, :]
        coefficients = self._coefficients[:, None, :] * self._coefficients[None, :, :]
        rows = np.broadcast_to(out[..., None], coefficients.shape)
        return self._pairs(rows, into[first, second], coefficients, out)

    @functools.cached_property
    def all_taps(self) -> np.ndarray:
        """All pairs of taps: what one fixed coefficient a tap gives."""
        out = pair_classes(self._to)
        into = pair_classes(self._from)
        result = np.zeros(())
        for t in range(self._taps.shape[1]):
            first, second = self._taps[:, None, t, None], self._taps[None, :, :]
            coefficients = (
                self._coefficients[:, None, t, None] * self._coefficients[None, :, :]
            )
            rows = np.broadcast_to(out[..., None], coefficients.shape)
            result = result + self._pairs(rows, into[first, second], coefficients, out)
        return result

    @functools.cached_property
    def shared(self) -> np.ndarray:
        """The number of inputs that the windows of two outputs share, by class."""
        reads = np.zeros((self._to, self._from))
        rows = np.arange(self._to)[:, None]
        np.add.at(reads, (rows, self._taps), (self._taps >= 0).astype("float64"))
        out = pair_classes(self._to)
        common = np.bincount(out.ravel(), (reads @ reads.T).ravel())
        return common / np.bincount(out.ravel())

    def _pairs(
        self,
        rows: np.ndarray,
        columns: np.ndarray,
        values: np.ndarray,
        classes: np.ndarray,
    ) -> np.ndarray:
        m, k = size(self._to) ** 2, size(self._from) ** 2
        return _matrix(rows, columns, values, m, k, classes)


def _on_shorter(n: int, index: int) -> int:
    """The place of a position on the axis that stands for a very long one."""
    short = shortened(n)
    if index < short // 2:
        return index
    if n - index <= short // 2:
        return short - (n - index)
    return short // 4 + index % (short // 2)


def _check_sizes(**sizes: int) -> None:
    for name, value in sizes.items():
        check_size(name, value)


def _check_positions(**counts: int) -> None:
    """Refuses windows whose matrices would not fit into memory."""
    for name, value in counts.items():
        if value > _MOST_POSITIONS:
            raise NoRuleError(
                "No variance rule for windows that read or give more than "
                f"{_MOST_POSITIONS} positions of an axis. Received: {name}={value}"
            )


def _matrix(
    rows: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    m: int,
    k: int,
    classes: np.ndarray,
) -> np.ndarray:
    """A matrix `(m, k)` of sums of values, over the sizes of the classes of rows."""
    flat = (rows * k + columns).ravel()
    sums = np.bincount(flat, values.ravel(), minlength=m * k).reshape(m, k)
    counts = np.bincount(classes.ravel(), minlength=m)
    return sums / np.maximum(counts, 1)[:, None]
