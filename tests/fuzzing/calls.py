"""Calls of public functions with valid and hostile arguments, and how they end."""

import collections
import collections.abc
import contextlib
import dataclasses
import inspect
import io
import json
import re
import signal
import types
import typing
import warnings

import keras
import numpy as np
from keras import ops, tree

from fixinit import graph, schemes, theory
from tests.fuzzing import values

# A bound on what a call may take, for calls that would never end.
SECONDS = 30
# How a call may end, and how it may not.
FINE = ("returned", "refused")
FAULTS = ("raised", "unnamed", "hung", "accepted", "not finite", "not JSON")
# Sizes and counts.
POSITIVE = re.compile(
    r"num_(?!extremes)\w+|depth|units|filters|classes|kernel_size|strides|batch_size"
    r"|every|branch_depth|seed_step|kernel|stride|repeat|groups|multiplier"
)
NOT_NEGATIVE = re.compile(r"(input_|weight_|bias_)?variance|epsilon|tolerance|smallest")
# Results that may be infinite or NaN, as their docstrings say.
DOCUMENTED = {
    "layers.gelu_tanh",
    "theory.MeanField.fixed_point",
    "theory.MeanField.correlation_fixed_point",
    "theory.MeanField.depth_scales",
    "theory.MeanField.gradient_factor",
    "theory.Moments.inputs",
}


class Hung(BaseException):
    """Raised in a call that takes too long; no handler of exceptions stops it."""


@dataclasses.dataclass(frozen=True)
class Ended:
    """How one call ended."""

    how: str
    target: str
    arguments: str
    message: str = ""

    def __str__(self):
        return f"{self.how}: {self.target}({self.arguments}): {self.message}"


def call(target, rng):
    """Calls a target once, with arguments drawn by a generator: `Ended`."""
    arguments, bad = drawn(target, rng)
    text = ", ".join(f"{k}={_short(v)}" for k, v in arguments.items())

    def ended(how, message=""):
        return Ended(how, target.name, text, str(message)[:300])

    instance = () if target.make is None else (target.make(rng),)
    try:
        with _bounded(), _quiet():
            result = target.function(*instance, **arguments)
            fault = used(target, result, rng)
    except Hung:
        return ended("hung")
    except (ValueError, TypeError) as error:
        names = [*arguments, *(p.name for p in target.parameters), *target.aliases]
        named = any(re.search(rf"\b{name}\b", str(error)) for name in names)
        # Python's own, of a call that does not fit the signature.
        missing = re.search(
            "required .*argument|unexpected keyword|takes no", str(error)
        )
        return ended("refused" if named or missing else "unnamed", error)
    except Exception as error:
        return ended("raised", f"{type(error).__name__}: {error}")
    if fault and not (
        fault[0] == "not finite" and any(map(_is_huge, arguments.values()))
    ):
        return ended(*fault)
    wrong = [name for name in bad if must_refuse(target, name, arguments[name])]
    if wrong:
        return ended("accepted", wrong)
    return ended("returned")


def drawn(target, rng):
    """`(arguments, names)`: a dict, and which of its values are hostile."""
    hints, arguments = target.hints, {}
    for parameter in target.parameters:
        needed = parameter.default is inspect.Parameter.empty
        if needed or rng.random() < 0.5:
            arguments[parameter.name] = valid(target, parameter, hints, rng)
    names = list(arguments)
    count = min(rng.choice(3, p=[0.15, 0.65, 0.2]), len(names))
    bad = list(rng.choice(names, size=count, replace=False)) if names else []
    for name in bad:
        arguments[name] = values.hostile(rng)
    if rng.random() < 0.02:
        arguments["nonsense"] = 1
    return arguments, bad


def valid(target, parameter, hints, rng):
    """A value that an argument should take."""
    name, hint = parameter.name, hints.get(parameter.name)
    alternatives = _alternatives(hint)
    pool = target.valid.get(name)
    if pool is None:
        for kind in alternatives:
            made = _of_class(kind, rng)
            if made is not None:
                return made
        pool = values.BY_NAME.get(name)
    if pool is None:
        pool = _of_name(name, rng) or [
            value
            for kind, value in ((bool, True), (int, 3), (float, 0.5), (str, "x"))
            if kind in alternatives
        ]
    if not pool:
        default = parameter.default
        return None if default is inspect.Parameter.empty else default
    value = pool[rng.integers(len(pool))]
    return value(rng) if isinstance(value, types.FunctionType) else value


def _of_name(name, rng):
    if name == "x":
        return [rng.normal(size=(4, 5)).astype("float32")]
    return [np.arange(4) % 3] if name == "y" else None


def _of_class(kind, rng):
    """An object of a class of the library or of Keras; `None` for other hints."""
    makers = {
        keras.Model: lambda: values.model(),
        keras.layers.Layer: lambda: values.layer(rng),
        theory.Moments: lambda: values.moments(rng),
        theory.Function: values.smooth,
        schemes.Site: lambda: schemes.Site(1, 4),
        graph.Graph: values.traced,
        graph.Call: lambda: values.traced().calls[-1],
    }
    if kind in makers:
        return makers[kind]()
    if typing.get_origin(kind) is collections.abc.Sequence:
        (inside,) = typing.get_args(kind)
        if inside is theory.Moments:
            return [values.moments(np.random.default_rng(0)) for _ in range(2)]
    return None


def _alternatives(hint):
    """The hints of a union, or the hint itself."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return (hint,)


def must_refuse(target, name, value):
    """Whether a value that was accepted makes no sense for the hint or the name."""
    kinds = _alternatives(target.hints.get(name))
    if is_record(target):
        return False
    is_float = isinstance(value, (float, np.floating))
    if target.name in DOCUMENTED and is_float and np.isinf(value):
        return False
    is_bool = isinstance(value, (bool, np.bool_))
    if kinds == (bool,):
        return not is_bool
    if bool in kinds or not {int, float} & set(kinds):
        return False
    if is_bool or isinstance(value, (complex, bytes)):
        return True
    if isinstance(value, str):
        return str not in kinds
    if not isinstance(value, (int, float, np.number)):
        return False
    if not np.isfinite(float(value) if abs(value) < 1e300 else np.inf):
        return not np.isfinite(value) if isinstance(value, (float, np.floating)) else 0
    if float not in kinds and value != int(value):
        return True
    if POSITIVE.fullmatch(name) and int in kinds and value < 1:
        return not name.startswith("num_extremes")
    return bool(NOT_NEGATIVE.fullmatch(name)) and value < 0


def is_record(target):
    """Whether a class only holds what was measured or found, NaN included."""
    package = target.name.split(".")[0]
    return dataclasses.is_dataclass(target.function) and (
        package in ("diagnostics", "graph", "conversion")
        or target.name == "theory.LayerPrediction"
    )


def used(target, result, rng):
    """`(how, message)` of a fault that shows where a result is used, or `None`."""
    if isinstance(result, contextlib.AbstractContextManager):
        with result as result:
            return None
    if isinstance(result, keras.Model):
        return None
    if isinstance(result, keras.layers.Layer):
        return _configured(result) or _called(result, rng)
    if isinstance(result, keras.initializers.Initializer):
        shape = [(4, 6), (3, 3, 4, 6), (6,), (2, 4, 4)][rng.integers(4)]
        return _configured(result) or _not_finite(_tolerant(result, shape))
    if isinstance(result, keras.optimizers.schedules.LearningRateSchedule):
        return _configured(result) or _not_finite(result(1))
    if isinstance(result, (keras.optimizers.Optimizer, schemes.Scheme)):
        return _configured(result)
    if target.name in DOCUMENTED or dataclasses.is_dataclass(result):
        return None
    return _not_finite(result)


def _configured(thing):
    """The fault of an object whose configuration is no JSON."""
    try:
        json.dumps(keras.saving.serialize_keras_object(thing))
    except TypeError as error:
        return "not JSON", error
    return None


def _called(layer, rng):
    """Calls a layer on small tensors; ones that do not fit may be refused."""
    shapes = [(2, 5), (2, 4, 3), (2, 4, 4, 2), (2,)]
    shape = shapes[rng.integers(len(shapes))]
    dtype = "int32" if rng.random() < 0.1 else "float32"
    x = ops.ones(shape, dtype)
    if rng.random() < (0.8 if hasattr(layer, "branch_scale") else 0.2):
        x = [x, x if rng.random() < 0.8 else ops.ones((2, 5))]
    training = bool(rng.integers(2))
    takes = "training" in inspect.signature(layer.call).parameters
    result = _tolerant(layer, x, **({"training": training} if takes else {}))
    return _not_finite(result)


def _tolerant(function, *args, **kwargs):
    """What a function returns, `None` where it refuses its arguments."""
    try:
        return function(*args, **kwargs)
    except (ValueError, TypeError):
        return None
    except Exception as error:
        # TensorFlow's, of tensors in a list that do not make one: also Keras's own
        # layers of one input leave them to it.
        if isinstance(args[0], list) and type(error).__name__ == "InvalidArgumentError":
            return None
        raise


def _not_finite(result):
    """The fault of a result that holds NaN or infinities."""
    for leaf in tree.flatten(result):
        if ops.is_tensor(leaf):
            leaf = ops.convert_to_numpy(leaf)
        if isinstance(leaf, (float, np.floating, np.ndarray)):
            array = np.asarray(leaf)
            if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
                return "not finite", repr(result)
    return None


@contextlib.contextmanager
def _bounded():
    """Ends what takes too long by `Hung`."""

    def end(*_):
        raise Hung

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _quiet():
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with np.errstate(all="ignore"):
            yield


def _is_huge(value):
    """Whether a finite number may overflow in single precision."""
    return isinstance(value, float) and 1e30 < abs(value) < np.inf


def _short(value):
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) < 80 else f"{text[:77]}..."


def run(targets, weights, indices, seed=0):
    """Makes calls by their indices, each with a generator of its own: `[Ended]`."""
    found = []
    for index in indices:
        rng = np.random.default_rng([seed, index])
        target = targets[rng.choice(len(targets), p=weights)]
        found.append(call(target, rng))
    return found


def counts(found):
    """How many calls ended how."""
    return dict(collections.Counter(ended.how for ended in found))
