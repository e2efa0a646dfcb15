"""Reading the arms of results.json: which there are, and what they measured.

Everything here also takes JSON that was not passed through `results.load`: null and
the strings "inf" and "nan" stand where numbers are missing or not finite.
"""

import math

import numpy as np


def numbers(values):
    """A list from results.json as a float array: null becomes nan, "inf" inf.

    Example:

    >>> numbers([1, None, "inf"]).tolist()
    [1.0, nan, inf]
    """
    values = [] if values is None else values
    return np.array([math.nan if x is None else float(x) for x in values], float)


def number(value):
    """One value from results.json as a float: null becomes nan."""
    return float(numbers([value])[0])


def select(results, kind=None, scheme=None, depth=None, **others):
    """The arms with these properties; `None` stands for any."""
    wanted = {"kind": kind, "scheme": scheme, "depth": depth, **others}
    return [
        arm
        for arm in results.get("arms") or []
        if all(x is None or arm.get(key) == x for key, x in wanted.items())
    ]


def by(results, name, **wanted):
    """The arms with these properties, by one of their arguments.

    Example:

    >>> by({"arms": [{"scheme": "fixup", "depth": 2}]}, "scheme", depth=2)
    {'fixup': {'scheme': 'fixup', 'depth': 2}}
    """
    return {arm[name]: arm for arm in select(results, **wanted) if name in arm}


def schemes(results, kind=None):
    """The schemes that have arms, in the order of the flag."""
    present = list(dict.fromkeys(arm["scheme"] for arm in select(results, kind)))
    flag = (results.get("config") or {}).get("schemes") or []
    return sorted(
        present, key=lambda name: flag.index(name) if name in flag else len(flag)
    )


def depths(results, kind=None):
    """The depths that have arms, shallowest first."""
    return sorted({arm["depth"] for arm in select(results, kind)})


def mean_of(curves):
    """Mean over curves that may differ in length; nan where no curve has a value."""
    return _reduce(np.mean, curves)


def band_of(curves):
    """`(lowest, highest)` over curves that may differ in length."""
    return _reduce(np.min, curves), _reduce(np.max, curves)


def _reduce(function, curves):
    length = max((len(curve) for curve in curves), default=0)
    columns = [[c[i] for c in curves if i < len(c)] for i in range(length)]
    columns = [[x for x in column if not math.isnan(x)] for column in columns]
    # A mean of numbers near the largest float is infinite, as it should be.
    with np.errstate(over="ignore"):
        values = [function(c) if c else math.nan for c in columns]
    return np.array(values, float)
