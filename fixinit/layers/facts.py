"""Facts that layers and operations declare about what they compute."""

import dataclasses
from collections.abc import Callable, Hashable
from typing import Any, TypeAlias

import keras

from fixinit._checked import check_fields


@dataclasses.dataclass(frozen=True)
class Facts:
    """Facts about what a layer, an operation or an activation function computes.

    `fixinit.graph`, `fixinit.convert` and `fixinit.diagnostics` read them. A layer of
    your own declares its facts in an attribute `fixinit_facts`: an instance of this
    class, or a method that returns one.

    Example:

    A layer of a branch that starts it at zero, which `fixinit.convert` takes out:

    >>> class Gain(keras.layers.Layer):
    ...     fixinit_facts = fixinit.layers.Facts(scales_branch=True)
    ...     def build(self, shape):
    ...         self.gain = self.add_weight(shape=shape[-1:], initializer="zeros")
    ...     def call(self, x):
    ...         return self.gain * x
    >>> x = inputs = keras.Input((8,))
    >>> branch = keras.layers.Dense(8, "relu")(x)
    >>> x = x + Gain()(keras.layers.Dense(8)(branch))
    >>> free = fixinit.convert(keras.Model(inputs, x), "fixup")
    >>> any(isinstance(layer, Gain) for layer in free.layers)
    False

    Attributes:
        adds: bool. Adds its inputs, as `keras.layers.Add` does. An addition whose
            inputs share an ancestor ends a residual block.
        factors: Tuple of floats, what an addition multiplies its inputs by, one for
            each; `None` where all are 1. Those of a difference are 1 and -1.
        joins: bool. Combines its inputs element by element, and is no addition:
            `keras.layers.Average`, `keras.layers.Maximum`.
        multiplies: bool. Multiplies its inputs element by element, or one input by
            a constant. A product may be that of a signal and its gate.
        divides: bool. Divides its first input by the second, or by a constant.
        linear: bool. Gives zero for zero, and has a slope there: a change that it
            reads changes what it gives.
        passes: bool. Pads, pools neighbours or drops: linear in the sense above, and
            without a change in the size of signals that the closed forms need.
        pads: bool. Pads with zeros.
        rearranges: bool. Gives the numbers that it reads in another shape or order.
        normalizes: bool. Normalizes its input. `fixinit.convert` takes such a layer
            out, and refuses such an operation.
        pointwise: bool. With `normalizes`: stands in the place of a normalization, and
            is a function of single numbers, without a statistic.
        measures: bool. Measures how far values spread, as `keras.ops.std` does.
        activates: bool. Is an activation and nothing else.
        bounded: bool. Is an activation with bounded outputs, as gates have.
        flat: bool. Is an activation that is 0, without a slope, over a range of inputs,
            as a ReLU: units that read nothing else are dead.
        unit_variance: bool. Is an activation made for inputs of mean 0 and variance 1,
            whatever mean square it gives for them.
        compares_channels: bool. Is an activation that compares channels, such as a
            softmax.
        follows_head: bool. May stand between the last weight layer of a network and its
            output, or join several heads: activations for probabilities and positive
            estimates, sums and concatenations, changes of the shape, global pooling.
        scales_branch: bool. Scales or shifts a residual branch and nothing else. With
            `adds`, scales the branch that it adds. A scheme takes its place.
        elementwise: bool. Its weights act element by element, whatever their shape. A
            layer that normalizes, activates or scales a branch does so anyway.
        kernels: Tuple of strings, the arguments with the initializers of its kernels,
            the main one last. A converter draws them anew.
        kernels_scale: String, the argument with the initializer of a weight that the
            size of the kernels is proportional to; `None` where it is that of the
            kernels as they are drawn. A converter sets it in the place of these.
        constant: bool. Gives the same whatever it reads, as a weight that stands in a
            graph by itself.
        start: String, the argument with the initializer at whose zero the layer gives
            zero; `None` if there is none.
        units: Dict from the names of attributes that hold weights to tuples of ints:
            the axes that count the units of a weight, such as `{"kernel": (-1,)}` for
            the outputs of a dense layer. The other axes are what one unit consists of;
            `()` stands for a weight that is one unit. They hold for subclasses too,
            whatever these override. `fixinit.optimizers.adaptive_clipping` reads them.
    """

    adds: bool = False
    factors: tuple[Any, ...] | None = None
    joins: bool = False
    multiplies: bool = False
    divides: bool = False
    linear: bool = False
    passes: bool = False
    pads: bool = False
    rearranges: bool = False
    normalizes: bool = False
    pointwise: bool = False
    measures: bool = False
    activates: bool = False
    bounded: bool = False
    flat: bool = False
    unit_variance: bool = False
    compares_channels: bool = False
    follows_head: bool = False
    scales_branch: bool = False
    elementwise: bool = False
    kernels: tuple[str, ...] = ()
    kernels_scale: str | None = None
    constant: bool = False
    start: str | None = None
    units: dict[str, tuple[int, ...]] = dataclasses.field(
        default_factory=dict, hash=False
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.pointwise and not self.normalizes:
            raise ValueError(
                "Argument `pointwise` says how a normalization is replaced. Received: "
                "pointwise=True with normalizes=False. Pass normalizes=True too."
            )

    @property
    def has_statistics(self) -> bool:
        """Whether it normalizes, by a statistic of what it reads."""
        return self.normalizes and not self.pointwise


Declaration: TypeAlias = Facts | Callable[[Any], Facts]

ATTRIBUTE = "fixinit_facts"
_UNKNOWN = Facts()
_REGISTERED: dict[Any, Declaration] = {}
# What a subclass overrides that computes something else.
_COMPUTES = ("call",)
_DRAWS = ("call", "build", "convolution_op", "kernel", "embeddings")


def register_facts(target: Any, facts: Declaration) -> None:
    """Declares facts about a class or a function of somebody else.

    They hold for subclasses too, unless a subclass overrides `call` or, where there
    are kernels, how these are made.

    Example:

    >>> class Foreign(keras.layers.Layer):
    ...     def call(self, x):
    ...         return keras.ops.rms_normalization(x)
    >>> fixinit.layers.register_facts(Foreign, fixinit.layers.Facts(normalizes=True))
    >>> fixinit.layers.facts_of(Foreign()).normalizes
    True

    Args:
        target: Class of layers or operations, or activation function.
        facts: `Facts`, or a callable that makes them of a layer.

    Raises:
        TypeError: If `target` can be no class or function, or `facts` are no facts.
    """
    if not (callable(target) and isinstance(target, Hashable)):
        raise TypeError(
            "Argument `target` must be a class or a function. Received: "
            f"target={target!r}. For one layer, set its attribute `{ATTRIBUTE}`."
        )
    if not (isinstance(facts, Facts) or callable(facts)):
        raise TypeError(
            "Argument `facts` must be a fixinit.layers.Facts, or a callable from a "
            f"layer to one. Received: facts={facts!r}"
        )
    _REGISTERED[target] = facts


def facts_of(operation: Any) -> Facts:
    """The facts about a layer, an operation or an activation function.

    The object's attribute `fixinit_facts` comes first, then the nearest class in its
    method resolution order that has such an attribute or is registered. Facts of a
    base class do not hold for a subclass that overrides `call`, or how its kernels are
    made: it may compute something else, and declares facts of its own.

    Example:

    >>> fixinit.layers.facts_of(keras.layers.Add()).adds
    True
    >>> class Shifted(keras.layers.Add):
    ...     def call(self, inputs):
    ...         return 1 + super().call(inputs)
    >>> fixinit.layers.facts_of(Shifted()).adds
    False

    Args:
        operation: Keras layer, operation, or activation function.

    Returns:
        `Facts`, all `False` or empty where nothing is declared.

    Raises:
        TypeError: If what is declared is no `Facts`.
    """
    if ATTRIBUTE in getattr(operation, "__dict__", ()):
        return _resolved(vars(operation)[ATTRIBUTE], operation, bound=True)
    if not isinstance(operation, keras.Operation):
        # Tensors have a hash that raises.
        hashable = callable(operation) and isinstance(operation, Hashable)
        found = _REGISTERED.get(operation, _UNKNOWN) if hashable else _UNKNOWN
        return _resolved(found, operation)
    owner = _declaring_class(type(operation))
    if owner is None:
        return _UNKNOWN
    facts = _facts_by(owner, operation)
    return facts if _computes_as(type(operation), owner, facts) else _UNKNOWN


def inherited_facts(operation: Any) -> Facts:
    """The facts of the nearest class that declares some, whatever overrides `call`."""
    return facts_by(type(operation), operation)


def facts_by(kind: type, operation: Any) -> Facts:
    """The facts about an operation that one of its base classes has."""
    owner = _declaring_class(kind)
    return _UNKNOWN if owner is None else _facts_by(owner, operation)


def _declaring_class(kind: type) -> type | None:
    """The first class in the method resolution order that declares facts."""
    for base in kind.__mro__:
        if ATTRIBUTE in vars(base) or base in _REGISTERED:
            return base
    return None


def _facts_by(owner: type, operation: Any) -> Facts:
    """What a class of an operation declares about it."""
    if ATTRIBUTE in vars(owner):
        return _resolved(getattr(operation, ATTRIBUTE), operation, bound=True)
    return _resolved(_REGISTERED[owner], operation)


def _resolved(declared: Any, operation: Any, bound: bool = False) -> Facts:
    """Facts from facts, or from a callable that makes them."""
    facts = declared
    if not isinstance(declared, Facts) and callable(declared):
        facts = declared() if bound else declared(operation)
    if isinstance(facts, Facts):
        return facts
    raise TypeError(
        f"`{ATTRIBUTE}` must be a fixinit.layers.Facts, or a method that returns one. "
        f"Received: {facts!r} from {operation!r}"
    )


def _computes_as(kind: type, owner: type, facts: Facts) -> bool:
    """Whether a class computes what the class that it has its facts from does."""
    if not issubclass(owner, keras.Operation):
        return True  # a mixin, which computes nothing
    names = _DRAWS if facts.kernels else _COMPUTES
    return all(
        getattr(kind, name, None) is getattr(owner, name, None) for name in names
    )
