"""What has no rule and acts element by element: integrated numerically."""

import functools
import inspect
import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import tree

from fixinit.theory import calculus
from fixinit.theory.calculus.elementwise import function_of
from fixinit.theory.calculus.latents import same_latent
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.two_bases import two_latents
from fixinit.theory.errors import NoRuleError
from fixinit.theory.evaluation.evaluated import Evaluated, Known, evaluated
from fixinit.theory.gaussian.functions import Function, expectations
from fixinit.theory.gaussian.kinks import find_kinks
from fixinit.theory.registry import Setting

_KNOWN = Known()
# Panels of the integrals end there too, in standard deviations, to see whether they
# have settled.
_OTHER_EDGES = (-2.3, -1.3, -0.55, -0.11, -0.013, 0.007, 0.07, 0.31, 0.83, 1.7)
_SETTLED = 0.02
_REACH = 10.0  # standard deviations


def activation_function(activation: Callable[..., Any]) -> Function | None:
    """An activation function of the user's own; `None` if it mixes elements."""

    if getattr(activation, "variables", None):
        return None
    if inspect.ismethod(activation):
        return _function(evaluated(activation))

    def make() -> Function | None:
        owner = weakref.ref(activation)  # What is known of a function must not keep it.
        return _function(evaluated(lambda x: _alive(owner)(x)))

    return _KNOWN.get(activation, "activation", make)


def apply_activation(
    x: Moments, activation: Callable[..., Any], setting: Setting
) -> Moments | None:
    """Applies an activation function by its values; `None` if it mixes elements."""
    function = activation_function(activation)
    if function is None:
        return None
    return _settled(calculus.apply(x, function), setting)


def apply_elementwise(
    operation: Any, setting: Setting, args: tuple, kwargs: dict
) -> Moments | None:
    """Applies an operation, or a layer without variables, by its values.

    Args:
        operation, setting, args, kwargs: As in `fixinit.theory.application.apply`.

    Returns:
        `Moments`; `None` if it is no element-wise function of one Gaussian tensor.
    """
    flat = tree.flatten((args, kwargs))
    places = [i for i, value in enumerate(flat) if isinstance(value, Moments)]
    xs = [flat[i] for i in places]
    if not xs or not _keeps_shape(xs, setting):
        return None
    joined = same_latent(xs)
    if len(xs) > 1 and joined is None:
        pair = two_latents(xs)
        if pair is None:
            return None
    if getattr(operation, "variables", None):
        return None
    rest = [None if i in places else value for i, value in enumerate(flat)]
    key = repr((places, rest, setting.training))

    def make() -> tuple[Evaluated, Function | None] | None:
        call = _caller(operation, (args, kwargs), places, setting.training)
        found = evaluated(call, len(xs))
        if found is None:
            return None
        return found, _function(found) if len(xs) == 1 else None

    known = _KNOWN.get(operation, key, make)
    if known is None:
        return None
    found, single = known
    if single is not None:
        return _settled(calculus.apply(xs[0], single), setting)
    if joined is None:
        assert pair is not None
        return _finite(pair.apply(found.value, found.partials), setting)
    base, functions, xs = joined

    def partials(u: np.ndarray) -> list[np.ndarray]:
        return found.partials(*(f(u) for f in functions))

    def derivative(u: np.ndarray) -> np.ndarray:
        slopes = [f.derivative(u) for f in functions]
        return sum(a * b for a, b in zip(partials(u), slopes, strict=True))

    def value(u: np.ndarray) -> np.ndarray:
        return found.value(*(f(u) for f in functions))

    reach = _REACH * float(np.sqrt(base.squares.max()))
    kinks = find_kinks(value, derivative, -reach, reach)
    function = Function(value, derivative, kinks)
    return _settled(function_of(base, function, xs, partials), setting)


def _function(found: Evaluated | None) -> Function | None:
    if found is None:
        return None

    def derivative(x: np.ndarray) -> np.ndarray:
        return found.partials(x)[0]

    return Function(found.value, derivative, find_kinks(found.value, derivative))


def _alive(reference: Callable[[], Any]) -> Any:
    found = reference()
    assert found is not None
    return found


def _keeps_shape(xs: list[Moments], setting: Setting) -> bool:
    """Whether the output has the shape that the values are broadcast to."""
    shapes = [x.shape + (x.total_channels,) for x in xs]
    try:
        return np.broadcast_shapes(*shapes) == tuple(setting.output_shape)
    except ValueError:
        return False


def _caller(
    operation: Any, arguments: Any, places: list[int], training: bool
) -> Callable[..., Any]:
    """A function of tensors that calls an operation, and does not keep it."""
    owner = weakref.ref(operation)
    modes = {}
    if isinstance(operation, keras.layers.Layer):
        parameters = inspect.signature(operation.call).parameters
        modes = {"training": training} if "training" in parameters else {}
    flat: list[Any] = tree.flatten(arguments)
    for place in places:
        flat[place] = None
    structure = tree.map_structure(lambda value: None, arguments)

    def call(*tensors: Any) -> Any:
        filled = list(flat)
        for place, tensor in zip(places, tensors, strict=True):
            filled[place] = tensor
        args, kwargs = tree.pack_sequence_as(structure, filled)
        return _alive(owner).call(*args, **{**kwargs, **modes})

    return call


def _finite(y: Moments | None, setting: Setting) -> Moments:
    """The result of an integral over two variables, if it has settled."""
    if y is not None and np.all(np.isfinite(y.squares)):
        return y
    raise _not_integrated(setting)


def _settled(y: Moments, setting: Setting) -> Moments:
    """The result, refused where its integrals depend on the nodes."""
    parts = y.parts or [y]
    if all(map(functools.partial(_has_settled), parts)):
        return y
    raise _not_integrated(setting)


def _not_integrated(setting: Setting) -> NoRuleError:
    return NoRuleError(
        f"No variance rule for `{setting.name}`: the expectation of what it computes "
        "is not finite, or cannot be integrated numerically. Register a rule, see "
        "`help(fixinit.theory.register)`."
    )


def _has_settled(y: Moments) -> bool:
    if y.latent is None:
        return bool(np.all(np.isfinite(y.squares)))
    base, function = y.latent
    mean = float(base.mean.flat[0])
    variance = max(float(base.squares.flat[0]) - mean**2, 0.0)
    edges = (float(e) for e in mean + np.sqrt(variance) * np.array(_OTHER_EDGES))
    first, second = (
        expectations(lambda u: [function.value(u) ** 2], mean, variance, kinks)[0]
        for kinks in (function.kinks, (*function.kinks, *edges))
    )
    return bool(np.isfinite(first) and np.isclose(first, second, rtol=_SETTLED))
