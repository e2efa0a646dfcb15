"""Makes a Keras model free of normalization."""

import random
import warnings
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import keras

from fixinit import _keras, schemes
from fixinit._checked import checked_but
from fixinit._validation import check_choice
from fixinit.conversion import batches, checks, given, statistics
from fixinit.conversion.balance import assumption, balance, foreseen
from fixinit.conversion.deviations import deviations
from fixinit.conversion.fold import fold
from fixinit.conversion.foldable import check_foldable
from fixinit.conversion.heads import draw_heads
from fixinit.conversion.plan import Plan
from fixinit.conversion.record import Record, record
from fixinit.conversion.rewrite import Rewriter
from fixinit.conversion.state import copy_kept, copy_state
from fixinit.graph import Opened, opened, trace
from fixinit.graph.functional import is_subclassed
from fixinit.graph.lambdas import is_lambda
from fixinit.schemes.scheme import SchemeLike

# Names of layers, names of classes, or classes.
Keep: TypeAlias = str | type | Iterable[str | type]

WEIGHTS = ("initialize", "fold")


@checked_but("keep")
def convert(
    model: keras.Model,
    scheme: SchemeLike = "fixup",
    weights: str = "initialize",
    keep: Keep = (),
    seed: int | None = None,
    data: Any = None,
) -> keras.Model:
    """Builds a Keras model again without normalization, with a scheme applied to it.

    The converter reads the model's graph and builds it again. It finds residual blocks
    as additions whose inputs share an ancestor, not by names, and counts L and m. It
    takes every normalization layer out, or puts in what the scheme has for it. The
    scheme answers, as for `fixinit.models`, which layers stand at each place of a
    block, what stands for weight layers and activations, how branches are added to
    shortcuts, how every kernel is drawn, and whether layers have bias vectors. Layers
    keep their names, shared layers stay shared, frozen layers stay frozen, and the
    given model stays as it is.

    Layers of classes of one's own that hold normalization, weight layers or other such
    layers are opened first: what their `call` does becomes part of the graph
    (`fixinit.graph.opened`). The opened model is checked against the given one on a
    batch. What cannot be opened and holds normalization is refused with the reason. A
    model with a `call` of its own is opened likewise, and becomes a functional one.

    So are Lambda layers: their functions become operations of the graph, or the layer
    of Keras that computes the same. Those that take no symbolic tensors, as functions
    of TensorFlow, stay as they are.

    Schemes that leave kernels to the network, as `"dyt"` does, leave a model's layers
    their initializers, biases and scales of branches. Otherwise kernels start as the
    scheme says, with two corrections, written down in their
    initializers. Fans are counted by the terms that an output sums up, and He's 2 is
    what the activation asks for, where that is no ReLU. Outside of branches, and in
    front of blocks inside of branches, whose stream they make, variances are chosen so
    that signals keep the size of the input by `fixinit.theory`; so are those of the
    last layer of each branch, relative to the block's input, unless the scheme starts
    it at zero. Where activations and gates amplify what single draws of these kernels
    deviate by, one pass on standard normal inputs makes up for that.

    Example:

    >>> x = inputs = keras.Input((8,))
    >>> for _ in range(2):
    ...     branch = keras.layers.BatchNormalization()(keras.layers.Dense(8)(x))
    ...     branch = keras.layers.Dense(8)(keras.layers.ReLU()(branch))
    ...     x = x + branch
    >>> free = fixinit.convert(keras.Model(inputs, x), "fixup", seed=0)
    >>> x = np.ones((1, 8), "float32")
    >>> bool(np.allclose(free.predict(x, verbose=0), x))
    True

    Args:
        model: `keras.Model`, built, on any backend: functional, Sequential, or of a
            class of one's own whose `call` is made of layers and `keras.ops`. It may
            hold other such models, `fixinit.layers.ResidualBlock`s and `Stack`s.
        scheme: Name, config or instance: see `fixinit.schemes.get`.
        weights: `"initialize"` (default) draws new weights. `"fold"` keeps those of a
            trained model, and what it computes in test mode: every BatchNormalization
            becomes part of the weight layer in front of it, or, where there is none,
            a `fixinit.layers.ChannelAffine`. With `data`, layer, root mean square and
            group normalization divide by constants, the averages of what they measure
            there, which become part of dense layers behind; a warning says by how much
            that moves the outputs. The scheme, which says how networks start, is not
            asked then.
        keep: Normalization that stays: a tuple of layers' names, names of classes, or
            classes.
        seed: int. The same seed gives the same weights, but for layers whose kernels
            the converter leaves to themselves, such as embeddings, and for the sizes of
            kernels behind these where draws are made up for. By default a random
            one, which `keras.utils.set_random_seed` determines for all of them.
        data: Inputs of the model, in its structure: a batch of the sizes that it is
            for. Only needed for models with layers of one's own that ask for sizes
            which the model leaves open, such as the length of sequences, and for
            models with a `call` of their own that are not built, which it builds. Sizes
            of signals are predicted for inputs of its shape, where the model leaves
            that open, and compared with one pass on it, otherwise on standard normal
            inputs. `"fold"` measures constants on all of it.

    Returns:
        A functional `keras.Model`, not compiled. Its `conversion` is the record of what
        was found, done and assumed, which is saved with it.

    Raises:
        TypeError: If the model has no graph, as a subclass whose `call` decides by the
            values of tensors.
        ValueError: If an argument is outside its range, for models with normalization
            that the converter cannot reach, with Lambda layers that read weights which
            it cannot reach, and from `weights="fold"`, for normalization that has no
            statistics to fold.

    Warns:
        UserWarning: For what was assumed, with the names of layers, and for signals or
            gradients that one pass shows to differ from the prediction.
    """
    with opened(model, checks.named(keep), data) as inside:
        plan = _plan(model, inside, scheme, weights, keep, seed, data)
        new, found = _carried_out(plan, model, inside, weights, data)
    for text in found.assumptions:
        warnings.warn(text, stacklevel=3)
    return new


@checked_but("keep")
def explain(
    model: keras.Model,
    scheme: SchemeLike = "fixup",
    weights: str = "initialize",
    keep: Keep = (),
    data: Any = None,
) -> Record:
    """Prints what `convert` would find and do, and builds and changes nothing.

    What shows only in the converted model is missing: whether the sizes of its kernels
    settle, whether signals may explode in it, whether single draws are made up for,
    whether heads read zeros, and whether one pass through it finds the sizes that were
    predicted. `convert` warns of all five.

    Example:

    >>> x = inputs = keras.Input((8,))
    >>> branch = keras.layers.LayerNormalization(name="norm")(x)
    >>> branch = keras.layers.Dense(8, "relu", name="first")(branch)
    >>> branch = keras.layers.Dense(8, name="second")(branch)
    >>> x = keras.layers.Add(name="sum")([x, branch])
    >>> model = keras.Model(inputs, x, name="net")
    >>> record = fixinit.conversion.explain(model)  # doctest: +NORMALIZE_WHITESPACE
    net: 1 residual blocks, 1 branches (L); scheme Fixup
    <BLANKLINE>
    block  shortcut  m  starts at 0 by  weight layers
    sum    identity  2  kernel          first, second
    <BLANKLINE>
    taken out: 1 LayerNormalization (norm)

    Args:
        model, scheme, weights, keep, data: As for `fixinit.convert`.

    Returns:
        `fixinit.conversion.Record`.

    Raises:
        As `fixinit.convert`.
    """
    state = random.getstate()
    # Answers of a scheme are layers, whose seeds and names Keras counts.
    try:
        with _keras.kept_names(), opened(model, checks.named(keep), data) as inside:
            plan = _plan(model, inside, scheme, weights, keep, 0, data)
            found = record(plan, model, weights, inside)
            if weights != "fold":
                found.assumptions.extend(foreseen(inside.model, plan.input_shape))
    finally:
        random.setstate(state)
    print(found)
    return found


def _carried_out(
    plan: Plan, model: keras.Model, inside: Opened, weights: str, data: Any
) -> tuple[keras.Model, Record]:
    """`(model, record)`: the converted model, and what was found and assumed."""
    found = record(plan, model, weights, inside)
    if weights == "fold":
        return _folded(plan, inside.model, found, data), found
    rewriter = Rewriter(plan.edits)
    with keras.name_scope(""), plan.applicator.building():
        new = rewriter.model(inside.model, found)
    copy_state(rewriter, plan.graph)
    copy_kept(rewriter, plan)
    said = balance(new, plan, rewriter)
    if draw_heads(new, plan, rewriter, data):
        found = record(plan, model, weights, inside)
    found.assumptions.extend(said)
    given.constrain(kernel.layer for kernel in plan.kernels)
    assume = assumption(plan, rewriter)
    found.assumptions.extend(deviations(new, plan, rewriter, assume, data))
    new.conversion = found.to_dict()
    return new, found


def _folded(plan: Plan, model: keras.Model, found: Record, data: Any) -> keras.Model:
    """The model with statistics folded into weights, and by how much it differs."""
    measured = statistics.measured_unless(plan.keep)
    if not any(measured(call.operation) for call, _ in plan.graph.walk()):
        return fold(model, plan.keep, found.to_dict())
    inputs = batches.arrays(model, data)
    new = fold(model, plan.keep, found.to_dict(), inputs=inputs)
    found.assumptions.append(
        "Constants, averages over data=..., take the place of what normalizations "
        "measured of each input. On these data they move the outputs by "
        f"{100 * statistics.moved(model, new, inputs):.2g} % (root mean square)."
    )
    new.conversion = found.to_dict()
    return new


def _plan(
    model: keras.Model,
    inside: Opened,
    scheme: Any,
    weights: str,
    keep: Keep,
    seed: int | None,
    data: Any,
) -> Plan:
    check_choice("weights", weights, WEIGHTS)
    graph = trace(inside.model)
    is_opened = inside.model is not model and not is_subclassed(model)
    closed = trace(model) if is_opened else graph
    keeps = checks.keeper(keep, graph, closed)
    checks.check_graph(graph, keeps, inside.shut)
    if weights == "fold":
        # Lambda layers have no statistics, and compute what they did.
        keeps = _or_lambda(keeps)
        check_foldable(inside.model, graph, keeps, data is not None)
    shape = batches.open_shape(inside.model, data)
    return Plan(graph, schemes.get(scheme), keeps, seed, shape, weights == "fold")


def _or_lambda(keeps: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Whether a layer is kept, or is a Lambda."""
    return lambda layer: keeps(layer) or is_lambda(layer)
