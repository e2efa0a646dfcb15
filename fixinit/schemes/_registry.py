"""The registered schemes: by name, by config or as they are."""

from typing import Any, TypeVar

import keras

from fixinit._checked import checked
from fixinit._validation import check_choice, check_keras, check_string
from fixinit.schemes._findings import FINDINGS
from fixinit.schemes.scheme import Scheme, SchemeLike

SchemeClass = TypeVar("SchemeClass", bound=type[Scheme])
_BY_NAME: dict[str, type[Scheme]] = {}
# The library's own classes. A subclass of one of them is a user's.
_OWN: set[type[Scheme]] = set()


def register(scheme: SchemeClass) -> SchemeClass:
    """Registers a scheme, so that `get` finds it by its name. A class decorator.

    Models, `fixinit.convert`, diagnostics and recipes know a registered scheme as
    they know the library's own.

    Example:

    >>> import dataclasses
    >>> @fixinit.schemes.register
    ... @keras.saving.register_keras_serializable("example.schemes")
    ... @dataclasses.dataclass(frozen=True)
    ... class Tenth(fixinit.schemes.Scheme):
    ...     name = "tenth"
    ...
    ...     def start(self, site):
    ...         return fixinit.schemes.Start(0.1)
    >>> fixinit.schemes.get("tenth")
    Tenth()
    >>> fixinit.schemes.unregister("tenth")

    Args:
        scheme: Subclass of `fixinit.schemes.Scheme` with a `name` of its own, which
            can be made without arguments.

    Returns:
        `scheme`, as it is.

    Raises:
        TypeError: If `scheme` is no such class, or cannot be made without arguments.
        ValueError: If another scheme has the name.
    """
    if not (isinstance(scheme, type) and issubclass(scheme, Scheme)):
        raise TypeError(
            "Argument `scheme` must be a subclass of fixinit.schemes.Scheme. "
            f"Received: {scheme!r}"
        )
    if not isinstance(scheme.name, str):
        raise TypeError(
            f"A registered scheme needs a name, such as name = 'my_scheme' in the body "
            f"of the class. Received: {scheme.__name__}.name = {scheme.name!r}"
        )
    try:
        scheme()
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"A registered scheme is made by its name alone, and {scheme.__name__} "
            f"cannot be made without arguments: {error}. Give its fields defaults."
        ) from error
    known = _BY_NAME.get(scheme.name, scheme)
    # A class that is defined again, as in a notebook, takes the place of the first.
    if (known.__module__, known.__qualname__) != (
        scheme.__module__,
        scheme.__qualname__,
    ):
        raise ValueError(
            f"The name {scheme.name!r} is that of {known.__module__}."
            f"{known.__qualname__}. Give {scheme.__name__} another."
        )
    _BY_NAME[scheme.name] = scheme
    return scheme


def register_own(scheme: type[Scheme]) -> None:
    """Registers one of the library's own schemes, whose facts the tests hold."""
    _OWN.add(register(scheme))


def is_own(scheme: Scheme) -> bool:
    """Whether a scheme is one of the library's own, as it stands there."""
    return type(scheme) in _OWN


def unregister(name: str) -> None:
    """Forgets a registered scheme.

    Example: see `register`.

    >>> fixinit.schemes.unregister("tenth")
    Traceback (most recent call last):
    ...
    ValueError: Argument `name` must be one of ...

    Args:
        name: The scheme's name.

    Raises:
        ValueError: If no scheme has the name.
    """
    del _BY_NAME[check_choice("name", name, names())]


def names() -> list[str]:
    """The names of the registered schemes, in the order of their registration.

    Example:

    >>> fixinit.schemes.names()[:3]
    ['unnormalized', 'batch_norm', 'fixup']
    """
    return list(_BY_NAME)


@checked
def remedies(finding: str) -> list[str]:
    """Returns the names of the registered schemes that are published for a finding.

    Example:

    >>> fixinit.schemes.remedies("exploding")[0]
    'fixup'

    Args:
        finding: `"exploding"` or `"vanishing"` (the mean square of the activations
            grows or shrinks exponentially from block to block),
            `"exploding_gradients"` or `"vanishing_gradients"` (that of the gradients
            does, on the way back), or `"collapsed"` (different inputs have nearly the
            same representation).

    Returns:
        List of strings, in the order of `fixinit.schemes.names()`: schemes whose
        `remedies` hold the finding.

    Raises:
        ValueError: If `finding` is unknown.
    """
    check_choice("finding", finding, FINDINGS)
    return [name for name, scheme in _BY_NAME.items() if finding in scheme.remedies]


def get(identifier: SchemeLike) -> Scheme:
    """Returns a scheme by name, by config or as it is.

    Example:

    >>> fixinit.schemes.get("skip_init")
    SkipInit(initial_multiplier=0.0)
    >>> config = {"class_name": "skip_init", "config": {"initial_multiplier": 0.1}}
    >>> fixinit.schemes.get(config)
    SkipInit(initial_multiplier=0.1)

    Args:
        identifier: A name from `fixinit.schemes.names()`, a config as
            `fixinit.schemes.serialize` returns it (its `class_name` may be such
            a name too), or a `fixinit.schemes.Scheme`, which is returned as it is.

    Returns:
        A `fixinit.schemes.Scheme`.

    Raises:
        ValueError: If the name is unknown.
        TypeError: If `identifier` is none of these.
    """
    if isinstance(identifier, Scheme):
        return identifier
    if isinstance(identifier, str):
        return _BY_NAME[check_choice("scheme", identifier, names())]()
    if isinstance(identifier, dict) and "class_name" in identifier:
        class_name = check_string("class_name", identifier["class_name"])
        if class_name in _BY_NAME:
            return _BY_NAME[class_name].from_config(identifier.get("config", {}))
        if "module" not in identifier and "registered_name" not in identifier:
            check_choice("class_name", class_name, names())
        scheme = check_keras(
            "scheme", identifier, keras.saving.deserialize_keras_object, "a scheme"
        )
        if isinstance(scheme, Scheme):
            return scheme
    raise TypeError(
        f"Argument `scheme` must be one of {names()}, a config with a "
        "`class_name`, or a fixinit.schemes.Scheme instance. Received: "
        f"{identifier!r} of type {type(identifier).__name__}"
    )


@checked
def serialize(scheme: Scheme) -> dict[str, Any]:
    """Returns the config of a scheme, from which `get` makes it again.

    Example:

    >>> scheme = fixinit.schemes.SkipInit(0.1)
    >>> fixinit.schemes.get(fixinit.schemes.serialize(scheme)) == scheme
    True
    """
    return keras.saving.serialize_keras_object(scheme)
