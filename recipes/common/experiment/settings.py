"""What a recipe is asked to do: one field per flag, checked before anything runs."""

import dataclasses
import math
import numbers
import types
import typing

from fixinit._validation import check_choice

_NOTHING = object()


def setting(
    default,
    help,
    quick=_NOTHING,
    at_least=None,
    above=None,
    below=math.inf,
    at_most=None,
    choices=None,
    check=None,
):
    """A field of a `Settings`, and with it a flag.

    Integers are at least 1 and numbers positive and finite, unless bounds say
    otherwise. All that is said of one value holds for every item of a tuple.

    Args:
        default: The default. `None` stands for one that depends on other settings.
        help: What `--help` says about the flag.
        quick: The default of `--quick`, where it is another.
        at_least: Lowest value.
        above: Bound that values must exceed.
        below: Bound that values must stay below. `None`: not even infinity is.
        at_most: Highest value.
        choices: The values that are allowed.
        check: Callable that raises `ValueError` for a value that is not.
    """
    metadata = {
        "help": help,
        "at_least": at_least,
        "above": above,
        "below": below,
        "at_most": at_most,
        "choices": choices,
        "check": check,
    }
    if quick is not _NOTHING:
        metadata["quick"] = quick
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Settings:
    """Every setting that determines the results of a recipe, named as its flag.

    Subclasses are frozen dataclasses whose fields come from `setting`, of the types
    `int`, `float`, `str`, `bool`, or a tuple of them such as `tuple[int, ...]`.

    Example:

    >>> @dataclasses.dataclass(frozen=True)
    ... class MySettings(Settings):
    ...     units: int = setting(64, "Width of every layer.", quick=16)
    >>> MySettings(units=0)
    Traceback (most recent call last):
    ValueError: --units must be an integer, at least 1. Received: --units=0
    """

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is None and field.default is None:
                continue
            if kind_of(field)[1]:
                _check_tuple(field.name, value)
            for item in value if isinstance(value, tuple) else (value,):
                _check(field, item)

    @classmethod
    def quick(cls, values):
        """The defaults of `--quick` that are others.

        Args:
            values: dict. What is asked for, by name; some recipes look at it.
        """
        fields = dataclasses.fields(cls)
        return {f.name: f.metadata["quick"] for f in fields if "quick" in f.metadata}


def check_warmup(settings):
    """Refuses a warmup that takes all epochs."""
    if settings.warmup_epochs >= settings.epochs:
        raise ValueError(
            f"--warmup_epochs must be below --epochs={settings.epochs}. "
            f"Received: --warmup_epochs={settings.warmup_epochs}"
        )


def kind_of(field):
    """`(type, is_tuple)` of a field's values, or of the items of its tuples."""
    kind = field.type
    if isinstance(kind, types.UnionType):
        # `int | None`: the default may be None, values that are given are not.
        kind = next(x for x in typing.get_args(kind) if x is not type(None))
    if typing.get_origin(kind) is tuple:
        return typing.get_args(kind)[0], True
    return kind, False


def _check_tuple(name, values):
    if not values:
        raise ValueError(f"--{name} must not be empty.")
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(
            f"--{name} holds {', '.join(map(str, twice))} more than once. "
            f"Received: {','.join(map(str, values))}"
        )


def _check(field, value):
    kind, _ = kind_of(field)
    rules = field.metadata
    if rules["choices"] is not None:
        check_choice(field.name, value, rules["choices"])
    elif kind in (int, float):
        _check_number(field.name, value, kind, **_bounds(kind, rules))
    if rules["check"] is not None:
        rules["check"](value)


def _bounds(kind, rules):
    bounds = {name: rules[name] for name in ("at_least", "above", "below", "at_most")}
    if bounds["at_least"] is None and bounds["above"] is None:
        bounds |= {"at_least": 1} if kind is int else {"above": 0}
    return bounds


def _check_number(name, value, kind, at_least, above, below, at_most):
    allowed = numbers.Integral if kind is int else numbers.Real
    is_allowed = isinstance(value, allowed) and not isinstance(value, bool)
    # Written so that NaN, for which every comparison is false, is refused.
    if (
        is_allowed
        and (at_least is None or value >= at_least)
        and (above is None or value > above)
        and (below is None or value < below)
        and (at_most is None or value <= at_most)
    ):
        return
    words = [
        kind is int and "an integer",
        above is not None and (f"above {above}" if above else "positive"),
        at_least is not None and f"at least {at_least}",
    ]
    if at_most is not None:
        words.append(f"at most {at_most}")
    elif below is not None and below < math.inf:
        words.append(f"below {below}")
    elif below is not None and kind is not int:
        words.append("finite")
    text = " and ".join(filter(None, words)).replace("integer and", "integer,", 1)
    raise ValueError(f"--{name} must be {text}. Received: --{name}={value}")
