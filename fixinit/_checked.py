"""Type hints of public functions, held at run time.

A hint says of which kind an argument is; checks of ranges stand in the function.
"""

import collections.abc
import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable
from typing import Any, TypeVar

import keras

from fixinit._validation import (
    check_bool,
    check_choice,
    check_integer,
    check_number,
    check_sequence,
    check_string,
    shown,
)

_F = TypeVar("_F", bound=Callable[..., Any])
# From the name of an argument and a value to the value as it is used.
Check = Callable[[str, Any], Any]

_SCALARS: dict[Any, Check] = {
    bool: check_bool,
    int: check_integer,
    float: check_number,
    str: check_string,
}
_SEQUENCES = (
    collections.abc.Sequence,
    collections.abc.Iterable,
    list,
    tuple,
)
_WORDS = {bool: "True or False", int: "an integer", float: "a finite number"}


def checked_but(*names: str) -> Callable[[_F], _F]:
    """As `checked`, but for arguments that the function itself checks in full."""
    return lambda function: _checked(function, names)


def checked(function: _F) -> _F:
    """Refuses arguments that the type hints of a function do not allow. A decorator.

    Truth values are `bool`, integers are no truth values, floats are finite, and those
    of NumPy become Python's; strings, classes, callables, and what sequences and unions
    hold, are checked likewise. `Any`, as tensors are, may be anything, and a default is
    always allowed.

    Example:

    >>> from fixinit._checked import checked
    >>> @checked
    ... def repeated(text: str, times: int = 2) -> str:
    ...     return text * times
    >>> repeated("ab", times=2.0)
    Traceback (most recent call last):
    ...
    ValueError: Argument `times` must be an integer ...

    Raises:
        ValueError: For numbers, truth values, strings and what sequences hold.
        TypeError: For objects of other classes.
    """
    return _checked(function, ())


def _checked(function: _F, left_out: tuple[str, ...]) -> _F:
    signature = inspect.signature(function)
    parameters = signature.parameters
    positional = [
        p.name
        for p in parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    defaults = {p.name: p.default for p in parameters.values()}

    def fitted(name: str, value: Any) -> Any:
        check = None if name in left_out else _checks_of(function).get(name)
        return value if check is None or value is defaults[name] else check(name, value)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        rest = args[len(positional) :]
        # Names that the function does not have are Python's to refuse.
        known = {n: fitted(n, v) for n, v in kwargs.items() if n in defaults}
        return function(*map(fitted, positional, args), *rest, **kwargs | known)

    # Keras reads the names of a constructor's arguments without unwrapping it.
    call.__signature__ = signature  # type: ignore[attr-defined]
    return typing.cast(_F, call)


def check_fields(instance: Any) -> None:
    """Refuses fields of a dataclass that its type hints do not allow.

    For `__post_init__`: as `checked`, of the arguments of its constructor.
    """
    kind: Any = type(instance)
    checks = _checks_of(kind)
    for field in dataclasses.fields(instance):
        value = getattr(instance, field.name)
        if field.init and field.name in checks and value is not field.default:
            object.__setattr__(
                instance, field.name, checks[field.name](field.name, value)
            )


@functools.cache
def _checks_of(owner: Any) -> dict[str, Check]:
    """The checks of a function's arguments or a class's fields, those that have any."""
    found = {
        name: _check_for(hint)
        for name, hint in typing.get_type_hints(owner).items()
        if name != "return"
    }
    return {name: check for name, check in found.items() if check is not None}


def _check_for(hint: Any) -> Check | None:
    """The check of one hint, `None` for one that allows anything."""
    origin = typing.get_origin(hint)
    if hint in _SCALARS:
        return _SCALARS[hint]
    if origin in (typing.Union, types.UnionType):
        return _union(typing.get_args(hint))
    if origin is typing.Literal:
        choices = typing.get_args(hint)
        return lambda argument, value: check_choice(argument, value, choices)
    if origin in (collections.abc.Callable, type):
        return functools.partial(_check_class, (origin,), _words(hint))
    if origin in _SEQUENCES:
        return _sequence(hint)
    if origin in (dict, collections.abc.Mapping):
        return functools.partial(_check_class, (origin,), "a dict")
    # `Any` is a class of its own.
    if isinstance(hint, type) and hint not in (Any, object):
        return functools.partial(_check_class, (hint,), _words(hint))
    return None


def _union(hints: tuple[Any, ...]) -> Check | None:
    """The check of alternatives: the first that a value fits counts."""
    checks = {hint: _check_for(hint) for hint in hints if hint is not type(None)}
    if any(check is None for check in checks.values()):
        return None
    has_none = len(checks) < len(hints)

    def check(argument: str, value: Any) -> Any:
        if value is None and has_none:
            return None
        errors: list[Exception] = []
        for alternative in checks.values():
            try:
                return alternative(argument, value)  # type: ignore[misc]
            except (ValueError, TypeError) as error:
                errors.append(error)
        if len(errors) == 1:
            raise errors[0]
        words = [*map(_words, checks), *(["None"] if has_none else [])]
        kind = (
            TypeError if any(isinstance(e, TypeError) for e in errors) else ValueError
        )
        raise kind(
            f"Argument `{argument}` must be {', '.join(words[:-1])} or {words[-1]}. "
            f"Received: {argument}={shown(value, repr)}"
        )

    return check


def _sequence(hint: Any) -> Check:
    """The check of a sequence and of what it holds; it becomes a tuple or a list."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    size = len(inside) if origin is tuple and Ellipsis not in inside else None
    checks = [None if item is Ellipsis else _check_for(item) for item in inside]

    def check(argument: str, value: Any) -> Any:
        items = list(check_sequence(argument, value, "(1, 2)"))
        if size is not None and len(items) != size:
            raise ValueError(
                f"Argument `{argument}` must have {size} entries. "
                f"Received: {argument}={shown(value, repr)}"
            )
        of_items = checks if size is not None else checks[:1] * len(items)
        result = [
            item if check_item is None else check_item(f"{argument}[{i}]", item)
            for i, (item, check_item) in enumerate(zip(items, of_items, strict=True))
        ]
        return result if list in (origin, type(value)) else tuple(result)

    return check


def _check_class(kinds: tuple[Any, ...], words: str, argument: str, value: Any) -> Any:
    if isinstance(value, kinds):
        return value
    hint = ""
    if keras.Model in kinds and isinstance(value, keras.layers.Layer):
        hint = (
            ". Make a model of the layer: `inputs = keras.Input(shape); "
            f"{argument} = keras.Model(inputs, layer(inputs))`."
        )
    raise TypeError(
        f"Argument `{argument}` must be {words}. Received: "
        f"{argument}={shown(value, repr)} of type {type(value).__name__}{hint}"
    )


def _words(hint: Any) -> str:
    """A hint in words."""
    if hint in _WORDS:
        return _WORDS[hint]
    origin = typing.get_origin(hint)
    if origin is collections.abc.Callable:
        return "callable"
    if origin is type:
        return "a class"
    if origin is typing.Literal:
        return f"one of {typing.get_args(hint)}"
    if origin in _SEQUENCES:
        return "a sequence"
    if origin in (dict, collections.abc.Mapping):
        return "a dict"
    if hint is str:
        return "a string"
    module, name = hint.__module__, hint.__qualname__
    if module.startswith("keras") and hasattr(keras, name):
        return f"a keras.{name}"
    return f"a {module.split('.')[0]} {name}" if "." in module else f"a {name}"
