"""Scales kernels to their predicted sizes, layer after layer, as they are drawn."""

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from fixinit.conversion import batches, kernels, kinds
from fixinit.conversion.assumptions import some
from fixinit.conversion.sensitivity import Response
from fixinit.conversion.settling import Settling
from fixinit.conversion.stem_pass import StemPass
from fixinit.graph import Call, Graph, trace, with_sizes

# Of mean squares where the input's is doubled. It is 2 where all is homogeneous, and
# what a draw deviates by stays as it is; here its logarithm is one and a half times as
# large.
_AMPLIFIED = 2**1.5
# Of a mean square. At 100 layers in a row it makes a factor e.
_TOLERANCE = 0.01
# Kernels in front of an activation that their layer holds are found little by little.
_STEPS = 8
# A mean square over few numbers deviates itself: batches of layers with few units are
# larger, up to this many numbers in the largest layer. So are those of small images,
# up to this many at the input: behind some twenty layers that amplify, the mean squares
# of single samples differ by a factor of 100 and more.
_NUMBERS = 2**20
_BATCH = (32, 1024)


def make_up(
    model: keras.Model, plan: Any, rewriter: Any, response: Response
) -> list[str]:
    """Rescales kernels to the sizes that were predicted, draw by draw.

    The closed form is a mean over draws. One draw of a narrow layer deviates from it by
    some percent, and keeps that ratio through weights and ReLUs. SiLU and gates do more
    to larger signals, so that a ratio r behind one of them is r^1.2 or the like behind
    the next, and far from 1 at the end. Kernels that the converter sizes are scaled
    there, one after the other, so that each gives the mean square that was predicted,
    as in layer-sequential unit variance (Mishkin and Matas, 2016). Predictions leave
    the factors out, for these take back what draws deviate by. The inputs are standard
    normal, the mode is that of tests. Where nothing amplifies, kernels stay as the
    scheme draws them.

    Args:
        model: The converted model, whose kernels are balanced.
        plan: `Plan`.
        rewriter: The `Rewriter` that has made the model.
        response: `Response` of the model.

    Returns:
        List of strings, what is said of it.

    References:

    - [Mishkin and Matas, 2016](https://arxiv.org/abs/1511.06422)
    """
    graph = trace(model)
    found = batches.kernels_of(graph, plan, rewriter)
    sized = {call: kernel for call, kernel in found.items() if _is_sized(plan, kernel)}
    growth = max((response.growths.get(call.name, 0.0) for call in sized), default=0.0)
    if growth <= _AMPLIFIED:
        return []
    layers = {call: kernel.layer for call, kernel in sized.items()}
    roles = {call: kernel.weight.role for call, kernel in found.items()}
    factors = _factors(model, graph, layers, roles, response)
    for layer, factor in factors:
        kernels.correct(layer, factor)
    changed = [layer.name for layer, factor in factors if factor != 1]
    if not changed:
        return []
    return [
        "Activations and gates amplify what single draws of kernels deviate by. These "
        "are scaled to the mean squares that were predicted, as measured on standard "
        f"normal inputs: {some(changed)}."
    ]


def _is_sized(plan: Any, kernel: Any) -> bool:
    """Whether the converter has chosen the size of a kernel, and no scheme or user."""
    weight = kernel.weight
    if kernel.is_fixed or not kinds.reads_signals(weight.call.operation):
        return False
    if weight.role in ("stem", "trunk", "projection"):
        return True
    branch = weight.branch
    if branch is None or weight.call not in branch.last:
        return False
    return branch.holds_branches or not plan.start(branch).is_zero


def _factors(
    model: keras.Model,
    graph: Graph,
    layers: Mapping[Call, Any],
    roles: Mapping[Call, str],
    response: Response,
) -> list[tuple[Any, float]]:
    """Pairs of a layer and the factor of its kernel's variance.

    Empty if the model does not run on random inputs, which `deviations` says.
    """
    shapes = (with_sizes(spec.shape)[1:] for spec in graph.specs)
    largest = max(math.prod(n or 1 for n in shape) for shape in shapes)
    most = int(np.clip(_NUMBERS // largest, *_BATCH))
    for size in batches.open_sizes(graph):
        scaling = _Scaling(model, graph, roles, layers, response.squares)
        if scaling.run(size, most=most, numbers=_NUMBERS):
            return list(scaling.factors.values())
    return []


class _Scaling(StemPass):
    """Measures what kernels give, and scales them before the run goes on.

    Of several calls of a layer the first one counts.
    """

    def __init__(
        self,
        model: keras.Model,
        graph: Graph,
        roles: Mapping[Call, str],
        layers: Mapping[Call, Any],
        squares: Mapping[str, float],
    ) -> None:
        super().__init__(model, graph, roles)
        self.layers, self.squares = layers, squares
        self.factors: dict[int, tuple[Any, float]] = {}
        self._read: list[Any] = []

    def enter(self, call: Call, inputs: list[Any], control: Any) -> list[Any]:
        self._read = super().enter(call, inputs, control)
        return self._read

    def leave(self, call: Call, outputs: list[Any], control: Any) -> list[Any]:
        layer = self.layers.get(call)
        if layer is not None and id(layer) not in self.factors:
            factor, outputs = self._scaled(call, layer, outputs)
            self.factors[id(layer)] = (layer, factor)
        return super().leave(call, outputs, control)

    def _scaled(
        self, call: Call, layer: Any, outputs: list[Any]
    ) -> tuple[float, list[Any]]:
        """`(factor, outputs)`: the factor of a kernel's variance, and what it gives."""
        args, kwargs = call.fill(self._read)
        factor, settling, wanted = 1.0, Settling(), self.squares[call.name]
        for _ in range(_STEPS):
            now = _mean_square(outputs[0])
            more = wanted / now
            if not 0 < more < math.inf or abs(math.log(more)) < _TOLERANCE:
                break
            step = settling.factor(now, wanted)
            factor *= step
            kernels.scale(layer, step)
            outputs = tree.flatten(call.operation(*args, **kwargs, training=False))
        return factor, outputs


def _mean_square(x: Any) -> float:
    square = ops.mean(ops.square(ops.cast(x, "float32")))
    return float(ops.convert_to_numpy(square)) or math.inf
