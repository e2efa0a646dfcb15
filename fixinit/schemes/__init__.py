"""One published method per file, and the contract that they all meet."""

import keras

from fixinit._validation import check_choice
from fixinit.schemes._findings import remedies
from fixinit.schemes.batch_norm import BatchNorm
from fixinit.schemes.fixup import Fixup
from fixinit.schemes.normalized_sum import NormalizedSum
from fixinit.schemes.rezero import ReZero
from fixinit.schemes.scaled_residual import ScaledResidual
from fixinit.schemes.scheme import Scheme, Site
from fixinit.schemes.skip_init import SkipInit
from fixinit.schemes.unnormalized import Unnormalized

__all__ = [
    "BatchNorm",
    "Fixup",
    "NormalizedSum",
    "ReZero",
    "ScaledResidual",
    "Scheme",
    "Site",
    "SkipInit",
    "Unnormalized",
    "get",
    "names",
    "remedies",
    "serialize",
]

_BY_NAME = {
    scheme.name: scheme
    for scheme in (
        Unnormalized,
        BatchNorm,
        Fixup,
        ScaledResidual,
        SkipInit,
        ReZero,
        NormalizedSum,
    )
}


def names():
    """The names that `get` knows.

    Example:

    >>> fixinit.schemes.names()[:3]
    ['unnormalized', 'batch_norm', 'fixup']
    """
    return list(_BY_NAME)


def get(identifier):
    """A scheme by name, by config or as it is.

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
        if identifier["class_name"] in _BY_NAME:
            scheme = _BY_NAME[identifier["class_name"]]
            return scheme.from_config(identifier.get("config", {}))
        if "module" not in identifier and "registered_name" not in identifier:
            check_choice("class_name", identifier["class_name"], names())
        scheme = keras.saving.deserialize_keras_object(identifier)
        if isinstance(scheme, Scheme):
            return scheme
    raise TypeError(
        f"Argument `scheme` must be one of {names()}, a config with a "
        "`class_name`, or a fixinit.schemes.Scheme instance. Received: "
        f"{identifier!r} of type {type(identifier).__name__}"
    )


def serialize(scheme):
    """The config of a scheme, from which `get` makes it again.

    Example:

    >>> scheme = fixinit.schemes.SkipInit(0.1)
    >>> fixinit.schemes.get(fixinit.schemes.serialize(scheme)) == scheme
    True
    """
    return keras.saving.serialize_keras_object(scheme)
