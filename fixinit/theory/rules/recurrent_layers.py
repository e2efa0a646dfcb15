"""Rules for recurrent layers: the moments of all steps at once, until they settle.

Time is a spatial axis. A step reads the state one position before, `h_t = F(x_t,
h_(t-1))`, so that `h = F(x, shift(h))` for the whole sequence; from `h = 0`, as many
rounds as there are steps give it exactly, and fewer do where a state is forgotten. The
kernels are the same at all steps, by which pairs of steps covary. Gates and what they
multiply are taken to be independent, because their kernels are, and carried states to
be Gaussian.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np

from fixinit.theory import calculus
from fixinit.theory.calculus.carrying import carry
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.windows import Window
from fixinit.theory.errors import NoRuleError
from fixinit.theory.registry import Setting, register
from fixinit.theory.rules.activation_layers import activate
from fixinit.theory.rules.initializers import weight_moments
from fixinit.theory.rules.weight_layers import kernel_moments

# From the output of the steps before to the states, of which it is the first.
Step: TypeAlias = Callable[[Moments | None], list[Moments]]
Bias: TypeAlias = tuple[float, float]

# Rounds end where mean squares change by less, or after so many.
_SETTLED = 1e-4
_MOST_ROUNDS = 64


@register(
    keras.layers.LSTM,
    keras.layers.GRU,
    keras.layers.SimpleRNN,
    keras.layers.RNN,
    keras.layers.ConvLSTM1D,
    keras.layers.ConvLSTM2D,
    keras.layers.ConvLSTM3D,
)
def recurrent(
    layer: Any, setting: Setting, x: Moments, initial_state: Any = None
) -> Any:
    states = _sequences(layer.cell, setting, x, initial_state, layer.go_backwards)
    output = states[-1][0]
    last = 0 if layer.go_backwards else output.shape[0] - 1
    if not layer.return_sequences:
        output = _step_of(output, last)
    elif layer.go_backwards:
        output = _reversed(output)
    if not layer.return_state:
        return output
    return [output, *([_step_of(s, last) for s in cell] for cell in states)]


@register(keras.layers.Bidirectional)
def bidirectional(
    layer: Any, setting: Setting, x: Moments, initial_state: Any = None
) -> Any:
    """Two layers, of which one reads the sequence from its end."""
    directions = (layer.forward_layer, layer.backward_layer)
    count = len(initial_state) // 2 if initial_state else 0
    ends: list[Moments] = []
    outputs: list[Moments] = []
    states: list[Moments] = []
    for i, one in enumerate(directions):
        given = initial_state[i * count : (i + 1) * count] if count else None
        found = recurrent(one, setting, x, given)
        output, *rest = found if one.return_state else [found]
        if one.go_backwards and one.return_sequences:
            output = _reversed(output)
        outputs.append(output)
        states.extend(rest)
    if layer.merge_mode is None:
        ends = outputs
    elif layer.merge_mode == "concat":
        ends = [calculus.concatenate(outputs)]
    elif layer.merge_mode == "mul":
        ends = [calculus.multiply([_fresh(y) for y in outputs])]
    else:
        factor = 0.5 if layer.merge_mode == "ave" else 1.0
        ends = [calculus.add([_fresh(y) for y in outputs], [factor, factor])]
    whole = [*ends, *states]
    return whole if len(whole) > 1 else whole[0]


def _sequences(
    cell: Any, setting: Setting, x: Moments, initial: Any, backwards: bool
) -> list[list[Moments]]:
    """The states at all steps, a list per cell of a stack; the output stands first."""
    if isinstance(cell, keras.layers.StackedRNNCells):
        found = []
        for i, inner in enumerate(cell.cells):
            given = initial[i] if initial else None
            found += _sequences(inner, setting, x, given, backwards)
            x = found[-1][0]
        return found
    start = keras.tree.flatten(initial) if initial is not None else []
    make = _cell_rule(cell)
    if make is None:
        raise NoRuleError(
            f"No variance rule for `{setting.name}` with a cell of the class "
            f"{type(cell).__name__}, but for those of Keras. Register one for a layer "
            "class of your own, see `help(fixinit.theory.register)`."
        )
    step = make(cell, setting, x, start, backwards)
    return [_settle(step, start[:1], x.shape[0], backwards)]


def _cell_rule(cell: Any) -> Any:
    for kind, make in _CELLS.items():
        if isinstance(cell, kind) and type(cell).call is kind.call:
            return make
    # Keras exports no class for the cells of ConvLSTM.
    return _lstm if hasattr(cell, "recurrent_conv") else None


def _settle(
    step: Step, start: Sequence[Moments], length: int, backwards: bool
) -> list[Moments]:
    """The states at all steps: rounds of `step` from zeros, until they settle."""
    before = [_at_start(h, length, backwards) for h in start]
    states = step(before[0] if before else None)
    for _ in range(min(length, _MOST_ROUNDS) - 1):
        read = _shifted(states[0], backwards)
        if before:
            read = calculus.add([read, before[0]])
        after = step(read)
        change, states = _change(states[0], after[0]), after
        if change < _SETTLED:
            break
    return states


def _change(a: Moments, b: Moments) -> float:
    scale = max(float(np.max(np.abs(b.same))), 1e-300)
    return float(np.max(np.abs(a.same - b.same))) / scale


def _shifted(x: Moments, backwards: bool) -> Moments:
    """What a step reads of the step before, zeros at the first one."""
    length, *space = x.shape
    windows = [Window.gather(length, 1 if backwards else -1, length)]
    y = calculus.spatial(x, windows + [Window.gather(n, 0, n) for n in space])
    return _fresh(y)


def _at_start(x: Moments, length: int, backwards: bool) -> Moments:
    """A state at the step that is read first, zeros elsewhere."""
    x = calculus.reshape(x, (1, *x.shape))
    windows = [Window.gather(1, 1 - length if backwards else 0, length)]
    y = calculus.spatial(x, windows + [Window.gather(n, 0, n) for n in x.shape[1:]])
    return _fresh(y)


def _step_of(x: Moments, index: int) -> Moments:
    """The values at one step."""
    windows = [Window.gather(x.shape[0], index, 1)]
    y = calculus.spatial(x, windows + [Window.gather(n, 0, n) for n in x.shape[1:]])
    return calculus.reshape(y, y.shape[1:])


def _reversed(x: Moments) -> Moments:
    """The steps in the opposite order."""
    length, *space = x.shape
    # Classes of positions are as far from one border as others are from the other.
    last = min(length, 512)
    taps = np.arange(last)[::-1][:, None]
    windows = [Window(last, taps, sizes=(length, length))]
    return calculus.spatial(x, windows + [Window.gather(n, 0, n) for n in space])


def _fresh(x: Moments) -> Moments:
    """The same values, taken to be independent of all others."""
    y = x.like(x.mean, x.same, x.cross, frozenset([object()]))
    y.node.link((x,), lambda g: [g])
    return y


class _Gates:
    """What the gates of a cell add up: products with the inputs and with the state.

    Args:
        cell: The cell, whose kernels hold `count` gates side by side.
        setting: `Setting`.
        x: `Moments`, the inputs at all steps.
        count: int.
    """

    def __init__(self, cell: Any, setting: Setting, x: Moments, count: int) -> None:
        self.cell, self.setting = cell, setting
        self.x = _dropped(x, cell.dropout, setting)
        self.units = getattr(cell, "filters", None) or cell.units
        inputs, recurrent = (
            tuple(kernel.shape) for kernel in (cell.kernel, cell.recurrent_kernel)
        )
        self.weight = kernel_moments(cell.kernel_initializer, inputs, setting)
        self.again = kernel_moments(cell.recurrent_initializer, recurrent, setting)
        self.bias = (0.0, 0.0)
        if cell.use_bias:
            shape = (count * self.units,)
            self.bias = weight_moments(cell.bias_initializer, shape)

    def of_inputs(self, bias: Bias | None = None) -> Moments:
        """The product with the inputs, and a bias."""
        windows = _input_windows(self.cell, self.x)
        bias = self.bias if bias is None else bias
        return calculus.mix(self.x, windows, self.units, self.weight, bias=bias)

    def of_state(self, h: Moments, bias: Bias = (0.0, 0.0)) -> Moments:
        """The product with the state."""
        h = _dropped(h, self.cell.recurrent_dropout, self.setting)
        windows = _state_windows(self.cell, h)
        return calculus.mix(h, windows, self.units, self.again, bias=bias)

    def sum(self, h: Moments | None, bias: Bias | None = None) -> Moments:
        """Both, of which the second is zero without a state."""
        first = self.of_inputs(bias)
        return first if h is None else calculus.add([first, self.of_state(h)])

    def gate(self, h: Moments | None, bias: Bias | None = None) -> Moments:
        """The sum behind the recurrent activation."""
        return activate(self.sum(h, bias), self.cell.recurrent_activation, self.setting)

    def candidate(self, x: Moments) -> Moments:
        """A sum behind the activation."""
        return activate(x, self.cell.activation, self.setting)


def _simple(
    cell: Any, setting: Setting, x: Moments, start: list[Moments], backwards: bool
) -> Step:
    gates = _Gates(cell, setting, x, 1)

    def step(h: Moments | None) -> list[Moments]:
        return [gates.candidate(gates.sum(h))]

    return step


def _lstm(
    cell: Any, setting: Setting, x: Moments, start: list[Moments], backwards: bool
) -> Step:
    gates = _Gates(cell, setting, x, 4)
    ones = (1.0, 0.0) if cell.use_bias and cell.unit_forget_bias else None

    def step(h: Moments | None) -> list[Moments]:
        gate = gates.gate(h)  # Gates of equal biases have equal moments.
        new = calculus.multiply([_fresh(gate), gates.candidate(gates.sum(h))])
        first = start[1] if start else None
        forget = gates.gate(h, ones) if ones else _fresh(gate)
        carried = carry(forget, new, first, backwards)
        active = gates.candidate(_fresh(carried))
        return [_fresh(calculus.multiply([_fresh(gate), active])), carried]

    return step


def _gru(
    cell: Any, setting: Setting, x: Moments, start: list[Moments], backwards: bool
) -> Step:
    gates = _Gates(cell, setting, x, 3)
    both = cell.reset_after and cell.use_bias  # Then products with states have biases.
    bias = gates.bias if both else (0.0, 0.0)

    def candidate(h: Moments | None) -> Moments:
        total, reset = gates.of_inputs(), _added(gates.sum(h), bias)
        r = activate(reset, cell.recurrent_activation, setting)
        if cell.reset_after:
            state = Moments.inputs((*total.shape, gates.units), 0.0, 0.0)
            state = _added(state if h is None else gates.of_state(h), bias)
            total = calculus.add([total, calculus.multiply([r, state])])
        elif h is not None:
            again = gates.of_state(calculus.multiply([r, h]))
            total = calculus.add([total, again])
        return gates.candidate(total)

    def step(h: Moments | None) -> list[Moments]:
        total = _added(gates.sum(h), bias)
        z = activate(total, cell.recurrent_activation, setting)
        others = _fresh(calculus.scale(z, -1.0, 1.0))
        new = calculus.multiply([others, candidate(h)])
        first = start[0] if start else None
        return [_fresh(carry(z, new, first, backwards, shared=True))]

    return step


def _added(x: Moments, bias: Bias) -> Moments:
    return calculus.randomly_scale(x, shift=bias) if any(bias) else x


_CELLS: dict[Any, Callable[..., Step]] = {
    keras.layers.LSTMCell: _lstm,
    keras.layers.GRUCell: _gru,
    keras.layers.SimpleRNNCell: _simple,
}


def _dropped(x: Moments, rate: float, setting: Setting) -> Moments:
    """Dropout that is the same at all steps."""
    if not setting.training or not rate:
        return x
    noise = Moments.inputs(
        (*x.shape, x.total_channels), 1.0, rate / (1 - rate), in_space=1.0
    )
    return calculus.multiply([x, noise])


def _input_windows(cell: Any, x: Moments) -> list[Window]:
    """The windows of a convolution of the inputs at all steps, none without."""
    if not hasattr(cell, "kernel_size"):
        return []
    length, *space = x.shape
    options = zip(
        space, cell.kernel_size, cell.strides, cell.dilation_rate, strict=True
    )
    own = [Window.convolution(*option, cell.padding) for option in options]
    return [Window.gather(length, 0, length), *own]


def _state_windows(cell: Any, h: Moments) -> list[Window]:
    if not hasattr(cell, "kernel_size"):
        return []
    length, *space = h.shape
    sizes = zip(space, cell.kernel_size, strict=True)
    own = [Window.convolution(n, size, padding="same") for n, size in sizes]
    return [Window.gather(length, 0, length), *own]
