"""What may have happened to a network without a word: each check can fail."""

import dataclasses
import re

import keras
import numpy as np

import fixinit
from fixinit import _keras
from fixinit.conversion.assumptions import some
from fixinit.conversion.kinds import has_statistics, is_normalization
from fixinit.graph import find_blocks, opened, run, trace
from recipes.common.training import conversion

# Adam whose epsilon lets small gradients move as far as large ones: behind a head and
# branches that start at zero, gradients grow step by step.
STEPS, RATE, EPSILON = 6, 1e-3, 1e-10
# A step at that rate may saturate sigmoids behind wide plain layers for good.
SLOW = 1e-5
# Of a step of Adam: what trains moves by a tenth of one at least, and what moves by
# less than a thousandth of one does not.
TRAINS, STANDS = 0.1, 1e-3
# Of the largest output: a variable that changes less has no effect.
INERT = 1e-5
# Mean squares at the ends of blocks may leave 1 by this factor, either way.
FACTOR = 10.0


def layer_variables(model):
    """Dict from names of layers and variables to the trainable variables of a model."""
    found = {}
    for layer in model.layers:
        for inner in _keras.flatten_layers(layer):
            deeper = _keras.flatten_layers(inner, include_self=False)
            known = {id(v) for part in deeper for v in part.variables}
            place = layer.name if inner is layer else f"{layer.name}/{inner.name}"
            for variable in inner.trainable_variables:
                if id(variable) not in known:
                    is_alone = isinstance(inner, fixinit.layers.Parameter)
                    name = place if is_alone else f"{place}/{variable.name}"
                    found[name] = variable
    return found


def values(variables):
    """Dict from names to arrays."""
    return {
        name: keras.ops.convert_to_numpy(variable.value).astype("float64")
        for name, variable in variables.items()
    }


def trained(model, x, targets, variables, rate):
    """Takes steps of Adam of some rate on one batch.

    Returns:
        `(losses, moves)`: a list, and a dict from names of variables to how far their
        farthest element has moved, in steps.
    """
    before = values(variables)
    loss = "mse"
    if any(y is None for y in keras.tree.flatten(targets)):
        loss = keras.tree.map_structure(lambda y: y if y is None else "mse", targets)
    # Compiling takes longer than the steps.
    model.compile(keras.optimizers.Adam(rate, epsilon=EPSILON), loss, run_eagerly=True)
    losses = conversion.batch_losses(model, x, targets, STEPS)
    moves = {
        name: float(np.max(np.abs(after - before[name]), initial=0.0)) / rate
        for name, after in values(variables).items()
    }
    return losses, moves


def _is_random(value):
    """Whether no two elements of an array are equal."""
    return len(np.unique(value)) == value.size > 1


def inert(model, x, names, variables):
    """Those of some variables that outputs do not depend on, whatever the others are.

    As the key biases of attention, which softmax takes out again.
    """
    rng = np.random.default_rng(0)
    for variable in variables.values():
        variable.assign_add(rng.normal(size=variable.shape) * 0.1)
    before, found = _outputs(model, x), []
    for name in names:
        variables[name].assign_add(np.ones(variables[name].shape))
        gap = _largest_gap(before, _outputs(model, x))
        variables[name].assign_add(-np.ones(variables[name].shape))
        if gap < INERT:
            found.append(name)
    return found


class MeanSquares(fixinit.graph.Hook):
    """Observes the mean square of what some calls give."""

    def __init__(self, names):
        self.names = names

    def observation_shape(self, call):
        return () if call.name in self.names else None

    def observe(self, call, inputs, outputs):
        return keras.ops.mean(keras.ops.square(keras.ops.cast(outputs[0], "float32")))


def block_squares(model, x):
    """Dict from the merges of residual blocks to mean squares, in training mode."""
    graph = trace(model)
    names = {block.merge.name for block in find_blocks(graph)}
    read = [keras.ops.convert_to_tensor(part) for part in keras.tree.flatten(x)]
    with keras.StatelessScope():
        _, found = run(graph, read, MeanSquares(names), training=True)
    return {name: float(square) for name, square in found.items()}


@dataclasses.dataclass(frozen=True)
class Original:
    """What a network has before it is converted.

    Attributes:
        losses: List of floats, of the steps that it is trained for.
        moves: Dict from names of variables to how far they move in these.
        biases: Dict from names of biases that start elsewhere than at zero to arrays.
        normalizations: Dict from names of classes that normalize to names of layers.
        shut: List of names of layers that did not open.
    """

    losses: list
    moves: dict
    biases: dict
    normalizations: dict
    shut: list

    @classmethod
    def of(cls, network, x, targets, data=None):
        """What a network has; it is trained for some steps."""
        normalizations = {}
        with opened(network, data=data) as inside:
            variables, shut = layer_variables(inside.model), list(inside.shut)
            for call, _ in trace(inside.model).walk():
                if is_normalization(call.operation):
                    kind = type(call.operation).__name__
                    normalizations.setdefault(kind, []).append(call.name)
        start = values(variables)
        biases = {
            name: value
            for name, value in start.items()
            if name.endswith("/bias") and np.any(value) and not _is_random(value)
        }
        losses, moves = trained(network, x, targets, variables, RATE)
        return cls(losses, moves, biases, normalizations, shut)


def silent_changes(original, free, published, x, targets):
    """What a conversion has changed and does not say.

    Args:
        original: `Original`.
        free: The converted network; it is trained for some steps.
        published: int, the number of residual blocks; `None` if it is not known.
        x, targets: A batch.

    Returns:
        `(findings, measured)`: a list of strings, and a dict.
    """
    record = free.conversion
    removed = {
        part
        for names in record["removed"].values()
        for name in names
        for part in name.split("/")
    }

    def unsaid(names):
        return _unsaid(names, record["assumptions"])

    left = [h.name for h in _keras.flatten_layers(free) if has_statistics(h)]
    squares = block_squares(free, x)
    variables = layer_variables(free)
    start = values(variables)
    losses, moves = trained(free, x, targets, variables, RATE)
    # Schemes may have none but in heads and gates.
    kept = {o["name"] for o in record["others"] if o["role"] in ("head", "gate")}
    lost = [
        name
        for name, move in original.moves.items()
        if move > TRAINS and name not in moves and not removed & {*name.split("/")}
        if not name.endswith("/bias") or name.split("/")[0] in kept
    ]
    still = [
        name
        for name, move in original.moves.items()
        if move > TRAINS and moves.get(name, np.inf) < STANDS
    ]
    stands = [name for name, move in moves.items() if move < STANDS]
    still += [name for name in stands if name not in original.moves]
    if still:
        for name, value in start.items():
            variables[name].assign(value)
        _, slowly = trained(free, x, targets, variables, SLOW)
        still = [name for name in still if slowly.get(name, np.inf) < STANDS]
    if still:
        without_effect = inert(free, x, still, variables)
        still = [name for name in still if name not in without_effect]
    biases = [
        name
        for name, value in original.biases.items()
        if name in start and not np.allclose(start[name], value)
    ]
    sizes = {
        name: square
        for name, square in squares.items()
        if not 1 / FACTOR < square < FACTOR
    }
    found = {
        "normalization left": left,
        "layer closed": unsaid(original.shut),
        "variable lost": unsaid(lost),
        "never trains": unsaid(still),
        "bias changed": unsaid(biases),
        "size": [f"{name} {sizes[name]:.2g}" for name in unsaid(sizes)],
    }
    findings = [f"{what}: {some(names)}" for what, names in found.items() if names]
    blocks = len(record["blocks"])
    if published is not None and blocks != published:
        findings.append(f"blocks: {blocks} of {published}")
    measured = {
        "blocks": blocks,
        "num_branches": record["num_branches"],
        "squares": [min(squares.values()), max(squares.values())] if squares else [],
        "losses": losses,
    }
    return findings, measured


def _unsaid(names, texts):
    """The names that no text has; one that ends in "and 3 more" has those as well."""
    names = list(names)
    for text in texts:
        said = set(re.split(r"[^\w/]+", text)) | set(re.split(r"\W+", text))
        others = [name for name in names if name.split("/")[0] not in said]
        more = re.search(r" and (\d+) more", text)
        shortened = more and len(others) < len(names) and len(others) <= int(more[1])
        names = [] if shortened else others
    return names


def folding_error(network, original, x, data=None):
    """By how much of the largest output predictions change when statistics fold.

    `None` without BatchNormalization, and for networks that draw random numbers. Other
    normalization stays.
    """
    if "BatchNormalization" not in original.normalizations:
        return None
    kept = [k for k in original.normalizations if k != "BatchNormalization"]
    before = _outputs(network, x)
    if _largest_gap(before, _outputs(network, x)) > 0:
        return None  # it draws random numbers
    folded = conversion.convert(network, "fixup", weights="fold", keep=kept, data=data)
    return _largest_gap(before, _outputs(folded, x))


def _largest_gap(before, after):
    """The largest difference of two lists of arrays, of the largest number of each."""
    return max(
        float(np.max(np.abs(a - b)) / max(np.max(np.abs(a)), 1e-12))
        for a, b in zip(before, after, strict=True)
    )


def _outputs(model, x):
    return [
        keras.ops.convert_to_numpy(y).astype("float64")
        for y in keras.tree.flatten(model(x, training=False))
    ]
