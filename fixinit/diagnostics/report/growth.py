"""Growth of a quantity from block to block, and where it leaves number formats."""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
from scipy import stats

from fixinit._checked import checked
from fixinit._typing import ArrayLike
from fixinit._validation import check_number, check_numbers

# Largest number, and smallest that is held with full precision.
FORMATS = {
    "float32": (float(np.finfo("float32").max), float(np.finfo("float32").tiny)),
    "bfloat16": ((2 - 2**-7) * 2.0**127, 2.0**-126),
    "float16": (65504.0, 2.0**-14),
}
# (1 + 1/L)^L, the growth of branches scaled by 1/sqrt(L), stays below e at any depth.
BOUNDED = 1.0
# What is called bounded has at most this times `BOUNDED` with its noise.
_NOISE = 3.0
# An exponential with less than this times the squares of the best fit stays possible.
_AMBIGUOUS = 2.0

# By number format, and by "mean_square" and "activation": the index of a block.
Leaves = Mapping[str, Mapping[str, int | None]]


@dataclasses.dataclass(frozen=True)
class Growth:
    """Growth of a mean square over the blocks of a network.

    Example:

    >>> growth = fixinit.diagnostics.fit_growth(3.0 ** np.arange(9))
    >>> growth.total, growth.leaves["float32"]["mean_square"]
    (6561.0, 81)

    Attributes:
        kind: `"exponential"`, `"linear"`, `"polynomial"`, `"bounded"`, or `"unknown"`
            where there are fewer than three blocks or values that are zero or not
            finite, and where noise leaves more than one of them possible, as it often
            does in narrow networks.
        rate: float. Factor per block: the geometric mean.
        interval: Pair of floats, the 95 % confidence interval of the rate.
        slope: float. What a block adds, relative to the first value, if the growth
            is linear; the exponent, if it is polynomial.
        total: float. The last value over the first.
        leaves: Dict from a number format to the index of the block, counted from 1,
            at which an exponential growth leaves its range: the mean square's, and
            that of the largest activation. `None` where it never does.
    """

    kind: str
    rate: float = math.nan
    interval: tuple[float, float] = (math.nan, math.nan)
    slope: float = math.nan
    total: float = math.nan
    leaves: Leaves = dataclasses.field(default_factory=dict)


@checked
def fit_growth(
    values: ArrayLike,
    peak_ratio: float = 1.0,
    segments: ArrayLike | None = None,
) -> Growth:
    """Fits the growth of positive values from block to block.

    The first value lies before all blocks.

    The values are fitted by `a_s r^l`, `a_s + c l` and `a_s (l + 1)^p`, and the fit
    that leaves the smallest squares of logarithms names the kind. The interval is
    Student's, of the mean of the logarithms of the factors from block to block.

    Growth that may be below a factor e, two standard errors down, is bounded, as that
    of branches scaled by 1/sqrt(L) is; if it may also be above e^3, two standard errors
    up, it is unknown. So is an exponential whose interval contains 1, and what an
    exponential fits almost as well (with less than twice the squares) as another law.

    Of 20 networks of 8 blocks without normalization, 15 are called exponential, 3
    unknown and 2 polynomial if they are 8 units wide; 19 are exponential with 16 units,
    and all with 64.

    Example:

    >>> growth = fixinit.diagnostics.fit_growth(2.0 ** np.arange(11))
    >>> growth.kind, round(growth.rate, 3), growth.leaves["float16"]["mean_square"]
    ('exponential', 2.0, 16)
    >>> fixinit.diagnostics.fit_growth(1.0 + np.arange(11)).kind
    'linear'

    Args:
        values: Array of shape `(num_blocks + 1,)`.
        peak_ratio: float. Largest activation over the root of the mean square.
        segments: Array of ints like `values`: which stage a value belongs to. Stages,
            of different shapes, start at levels `a_s` of their own.

    Returns:
        `Growth`.
    """
    check_number("peak_ratio", peak_ratio, "a positive number", lambda x: x > 0)
    values = _checked_curve(values)
    positive = np.isfinite(values).all() and (values > 0).all()
    if len(values) < 4 or not positive:
        return Growth("unknown", total=_total(values))
    segments = _checked_segments(segments, len(values))
    logs = np.log(values)
    within = np.diff(segments) == 0
    steps = np.diff(logs)[within] if within.sum() >= 2 else np.diff(logs)
    rate, interval = _mean_factor(steps)
    spans = [np.ptp(logs[segments == s]) for s in set(segments)]
    kind, slope, fitted = _best(values, logs, segments)
    # Twice the standard error of a sum of the steps' deviations from the fit.
    noise = 2 * np.std(np.diff(logs - fitted)) * math.sqrt(len(logs) - 1)
    span = max(*spans, abs(logs[-1] - logs[0]))
    if span <= BOUNDED + noise:
        kind = "bounded" if span + noise <= _NOISE * BOUNDED else "unknown"
    elif kind == "exponential" and interval[0] <= 1 <= interval[1]:
        kind = "unknown"
    if kind in ("bounded", "unknown"):
        slope = math.nan
    leaves: Leaves = {}
    if kind == "exponential":
        leaves = {
            name: _leaves(values, math.log(rate), peak_ratio, *limits)
            for name, limits in FORMATS.items()
        }
    return Growth(kind, rate, interval, slope, _total(values), leaves)


def _checked_curve(values: ArrayLike) -> np.ndarray:
    """Values by block; they may be infinite or NaN, as those of a diverged network."""
    try:
        curve = np.asarray(values)
        if curve.ndim == 1 and curve.dtype.kind in "iuf":
            return curve.astype("float64")
    except ValueError:
        pass  # ragged
    raise ValueError(
        "Argument `values` must be one number for the input and one for every block. "
        f"Received: values={values!r}"
    )


def _checked_segments(segments: ArrayLike | None, count: int) -> np.ndarray:
    if segments is None:
        return np.zeros(count, int)
    stages = check_numbers("segments", segments)
    if stages.shape != (count,):
        raise ValueError(
            f"Argument `segments` must hold one stage for each of the {count} values. "
            f"Received: segments={segments!r}"
        )
    return stages


def _total(values: np.ndarray) -> float:
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(values[-1] / values[0]) if len(values) else math.nan


def _mean_factor(steps: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Geometric mean of factors, given as logarithms, and its 95 % interval."""
    mean = float(np.mean(steps))
    if len(steps) < 2:
        return math.exp(mean), (math.nan, math.nan)
    error = stats.sem(steps) * stats.t.ppf(0.975, len(steps) - 1)
    return math.exp(mean), (math.exp(mean - error), math.exp(mean + error))


def _best(
    values: np.ndarray, logs: np.ndarray, segments: np.ndarray
) -> tuple[str, float, np.ndarray]:
    """Finds the fit with the smallest squares of logarithms: `(kind, slope, fit)`.

    The kind is `"unknown"` if another fit is not clearly better than the exponential.
    """
    index = np.arange(len(values), dtype="float64")
    slope, line = _fit(index, values, segments)
    exponent, power = _fit(np.log(index + 1), logs, segments)
    _, exponential = _fit(index, logs, segments)
    with np.errstate(invalid="ignore", divide="ignore"):
        linear = np.log(line) if slope > 0 else np.full_like(line, np.nan)
    fits = {
        "linear": (slope / values[0], linear),
        "polynomial": (exponent, power),
        "exponential": (math.nan, exponential),
    }

    def error(kind: str) -> float:
        squares = np.sum((logs - fits[kind][1]) ** 2)
        return squares if np.isfinite(squares) else math.inf

    kind = min(fits, key=error)
    if kind == "polynomial" and error("linear") < 2 * error(kind):
        # A power that is no better than chance would be: the simpler law.
        kind = "linear"
    slope, fitted = fits[kind]
    if kind != "exponential" and error("exponential") < _AMBIGUOUS * error(kind):
        kind = "unknown"
    return kind, float(slope), fitted


def _fit(
    x: np.ndarray, y: np.ndarray, segments: np.ndarray
) -> tuple[float, np.ndarray]:
    """Fits a common slope, and a level per segment: `(slope, fitted values)`."""
    x_mean, y_mean = np.zeros_like(x), np.zeros_like(y)
    for s in set(segments):
        x_mean[segments == s] = x[segments == s].mean()
        y_mean[segments == s] = y[segments == s].mean()
    x = x - x_mean
    slope = float(x @ (y - y_mean) / (x @ x)) if x.any() else 0.0
    return slope, y_mean + slope * x


def _leaves(
    values: np.ndarray,
    log_rate: float,
    peak_ratio: float,
    largest: float,
    smallest: float,
) -> dict[str, int | None]:
    """Computes the blocks at which mean square and activations leave a format."""

    def block(value: float, bound: float) -> int | None:
        if not log_rate:
            return None
        ahead = (math.log(bound) - math.log(value)) / log_rate
        return max(1, math.ceil(len(values) - 1 + ahead))

    bound = largest if log_rate > 0 else smallest
    root = math.sqrt(values[-1]) * (peak_ratio if log_rate > 0 else 1.0)
    # An activation grows by the root of the rate.
    return {
        "mean_square": block(values[-1], bound),
        "activation": block(root**2, bound**2),
    }
