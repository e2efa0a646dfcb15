"""The state that a Python function reads beside its arguments."""

import dataclasses
import dis
import functools
import inspect
import types
from collections.abc import Iterator
from typing import Any

import keras
from keras import tree

from fixinit import _keras

# What their functions read is their own affair.
_LIBRARIES = ("keras", "fixinit", "tensorflow", "torch", "jax", "numpy", "builtins")
_READS = ("LOAD_GLOBAL", "LOAD_NAME")  # instructions of Python


@dataclasses.dataclass(frozen=True)
class Captured:
    """The state that a function reads beside its arguments.

    Attributes:
        layers: List of Keras layers.
        variables: List of `keras.Variable`s, those of the layers among them.
        seeds: List of `keras.Variable`s, the states of seed generators.
        others: Whether there are variables of a backend.
    """

    layers: list[Any]
    variables: list[Any]
    seeds: list[Any]
    others: bool


def captured(function: Any, *arguments: Any) -> Captured:
    """Finds the state that a function reads.

    Args:
        function: Callable.
        arguments: Structures of what else it is called with.
    """
    values = list(_values(function, set()))
    values += [x for argument in arguments for x in tree.flatten(argument)]
    found = [x for x in values if isinstance(x, keras.layers.Layer)]
    layers = [inner for layer in found for inner in _keras.flatten_layers(layer)]
    variables = [x for x in values if isinstance(x, keras.Variable)]
    variables += [variable for layer in found for variable in layer.weights]
    generators = [x for x in values if isinstance(x, keras.random.SeedGenerator)]
    seeds = [x.state for x in generators]
    seeds += [state for layer in found for state in _keras.seed_states(layer)]
    return Captured(
        list({id(layer): layer for layer in layers}.values()),
        list({id(variable): variable for variable in variables}.values()),
        list({id(seed): seed for seed in seeds}.values()),
        any(_is_backend_variable(x) for x in values),
    )


def _values(function: Any, seen: set[int]) -> Iterator[Any]:
    """What a function reads, and what the functions that it calls read."""
    if id(function) in seen:
        return
    seen.add(id(function))
    if isinstance(function, functools.partial):
        yield from _read([*function.args, *function.keywords.values()], seen)
        yield from _values(function.func, seen)
    elif inspect.ismethod(function):
        yield from _held(function.__self__)
        yield from _values(function.__func__, seen)
    elif isinstance(function, types.FunctionType):
        if (function.__module__ or "").partition(".")[0] not in _LIBRARIES:
            yield from _read(_names_of(function), seen)
    elif isinstance(function, keras.layers.Layer):
        yield function


def _names_of(function: types.FunctionType) -> list[Any]:
    """The values of a function's free names, globals and defaults."""
    found = list(function.__defaults__ or ())
    found += (function.__kwdefaults__ or {}).values()
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:
            continue  # not assigned yet
    codes = [function.__code__]
    for code in codes:
        codes += [x for x in code.co_consts if isinstance(x, types.CodeType)]
        # Names of attributes are among `co_names`, and are none of variables.
        read = {x.argval for x in dis.get_instructions(code) if x.opname in _READS}
        found += [function.__globals__[n] for n in read if n in function.__globals__]
    return found


def _read(values: list[Any], seen: set[int]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, (list, tuple, dict)):
            if id(value) not in seen:
                seen.add(id(value))
                inside = value.values() if isinstance(value, dict) else value
                yield from _read(list(inside), seen)
        elif callable(value) and not isinstance(value, keras.layers.Layer):
            yield from _values(value, seen)
        else:
            yield from _held(value)


def _held(value: Any) -> Iterator[Any]:
    """A value, and what it holds if it is an object of a class of one's own."""
    yield value
    kind = type(value)
    is_own = kind.__module__.partition(".")[0] not in _LIBRARIES
    is_plain = isinstance(value, (type, types.ModuleType, keras.layers.Layer))
    if is_own and not is_plain and hasattr(value, "__dict__"):
        yield from vars(value).values()


def _is_backend_variable(value: Any) -> bool:
    """Whether a value is a variable of TensorFlow or a parameter of PyTorch."""
    if isinstance(value, (keras.Variable, keras.layers.Layer, type)):
        return False
    return hasattr(value, "assign_add") or bool(getattr(value, "requires_grad", False))
