"""One residual block of a graph."""

import dataclasses
from collections.abc import Sequence

from fixinit._typing import Tensor
from fixinit.graph.calls import Call
from fixinit.graph.paths import Path
from fixinit.layers import facts_of


@dataclasses.dataclass(frozen=True, eq=False)
class Block:
    """One residual block: `output = merge(shortcut, branches)`.

    Example:

    >>> x = inputs = keras.Input((8,))
    >>> x = keras.layers.add([x, keras.layers.Dense(8, name="weight1")(x)], name="sum")
    >>> graph = fixinit.graph.trace(keras.Model(inputs, x))
    >>> (block,) = fixinit.graph.find_blocks(graph)
    >>> block.name, block.shortcut, block.branches, block.weights
    ('sum', 0, (1,), ('weight1',))
    >>> block.addends([np.ones(8), np.zeros(8)])[0].sum()
    np.float64(8.0)

    Attributes:
        name: String. Ours: the name of the `ResidualBlock`. Otherwise that of the
            call that merges.
        merge: The `Call` that adds.
        input: int. The value at which shortcut and branches part. Where branches read
            another stream, as in reversible networks, it is what they are added to.
        shortcut: int. Index of the shortcut among the inputs of `merge`.
        branches: Tuple of ints, the indices of the other inputs.
        branch_depth: int. Weight layers in the longest branch (m).
        output: int. The block's output: the sum, or, in a network whose blocks end
            in an activation, that.
        changes_shape: bool. Whether the shortcut has weights or changes the shape.
        weights: Tuple of the names of the branches' weight layers.
        starts: For each input of `merge`, the tuple of the values at which its path
            starts: `input`, or values of other streams.
        paths: For each input of `merge`, the tuple of the `Call`s between its `starts`
            and it.
    """

    name: str
    merge: Call
    input: int
    shortcut: int
    branches: tuple[int, ...]
    branch_depth: int
    output: int
    changes_shape: bool
    weights: tuple[str, ...]
    starts: tuple[tuple[int, ...], ...]
    paths: tuple[Path, ...]

    @property
    def calls(self) -> tuple[Call, ...]:
        """Tuple of the `Call`s between `starts` and the sum, which is the last."""
        inside = dict.fromkeys(call for path in self.paths for call in path)
        return (*inside, self.merge)

    def addends(self, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """What the merge adds up, from the tensors that it reads.

        Args:
            inputs: Tensors, one for each input of the merge.

        Returns:
            `(shortcut, branches)`: two tensors, each times its factor where the merge
            has factors, as a `fixinit.layers.ScaledAdd` has.
        """
        factors = facts_of(self.merge.operation).factors
        if factors is not None:
            inputs = [factor * h for factor, h in zip(factors, inputs, strict=True)]
        return inputs[self.shortcut], sum(inputs[i] for i in self.branches)
