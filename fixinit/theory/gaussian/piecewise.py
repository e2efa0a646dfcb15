"""Piecewise linear functions: their Gaussian expectations are known exactly."""

import dataclasses

import numpy as np
from scipy import special

from fixinit.theory.gaussian.functions import Function

_FAR = 38.0  # standard deviations: the normal density underflows there


@dataclasses.dataclass(frozen=True)
class PiecewiseLinear(Function):
    """A piecewise linear function, which may jump: ReLU and its relatives.

    `f(x) = slopes[i] * x + intercepts[i]` between `kinks[i - 1]` and `kinks[i]`.
    In terms of ramps `max(x - t, 0)` and steps `x > t` at the kinks t, all
    expectations are those of a bivariate normal distribution that is cut off, which
    Owen's T function gives. For ReLU and zero means it is the arc-cosine kernel.

    Example:

    >>> leaky = fixinit.theory.PiecewiseLinear([0.0], [0.1, 1.0])
    >>> mean, second, slope = leaky.moments(mean=0.0, variance=2.0)
    >>> round(float(second), 9), round(float(slope), 9)
    (1.01, 0.505)

    Args:
        kinks: Sequence of k increasing numbers.
        slopes: Sequence of k + 1 numbers.
        intercepts: Sequence of k + 1 numbers. By default the function is
            continuous and, where it has kinks, 0 at the one nearest to 0.

    References:

    - [Cho and Saul, 2009](https://papers.nips.cc/paper/3628) (arc-cosine kernel)
    - [Owen, 1956](https://doi.org/10.1214/aoms/1177728074)
    """

    value: None = dataclasses.field(default=None, repr=False, compare=False)
    derivative: None = dataclasses.field(default=None, repr=False, compare=False)
    kinks: tuple = ()
    slopes: tuple = (1.0,)
    intercepts: tuple | None = None

    def __init__(self, kinks=(), slopes=(1.0,), intercepts=None):
        kinks, slopes = (np.asarray(x, "float64") for x in (kinks, slopes))
        if len(slopes) != len(kinks) + 1 or np.any(np.diff(kinks) <= 0):
            raise ValueError(
                "A piecewise linear function has increasing kinks and one slope "
                f"more than kinks. Received: kinks={kinks}, slopes={slopes}"
            )
        if intercepts is None:
            steps = np.concatenate([[0.0], np.cumsum(-np.diff(slopes) * kinks)])
            nearest = int(np.argmin(np.abs(kinks))) if len(kinks) else 0
            zero = kinks[nearest] if len(kinks) else 0.0
            intercepts = steps - steps[nearest] - slopes[nearest] * zero
        for name, x in (("kinks", kinks), ("slopes", slopes)):
            object.__setattr__(self, name, tuple(x.tolist()))
        object.__setattr__(self, "intercepts", tuple(map(float, intercepts)))
        object.__setattr__(self, "value", self._value)
        object.__setattr__(self, "derivative", self._derivative)

    def _value(self, x):
        piece = np.searchsorted(self.kinks, x)
        return np.take(self.slopes, piece) * x + np.take(self.intercepts, piece)

    def _derivative(self, x):
        return np.take(self.slopes, np.searchsorted(self.kinks, x))

    def then(self, outer):
        """The piecewise linear function `outer(self(x))`."""
        edges = [-np.inf, *self.kinks, np.inf]
        kinks = set(self.kinks)
        pieces = list(zip(self.slopes, self.intercepts, strict=True))
        for (a, b), low, high in zip(pieces, edges[:-1], edges[1:], strict=True):
            if a:
                kinks |= {x for t in outer.kinks if low < (x := (t - b) / a) < high}
        kinks = np.array(sorted(kinks))
        inside = _inside(kinks)
        a, b = (
            np.take(x, np.searchsorted(self.kinks, inside))
            for x in (self.slopes, self.intercepts)
        )
        piece = np.searchsorted(outer.kinks, a * inside + b)
        c, d = np.take(outer.slopes, piece), np.take(outer.intercepts, piece)
        return PiecewiseLinear(kinks, a * c, c * b + d)._simplified()

    def _simplified(self):
        keep = [
            i
            for i in range(len(self.kinks))
            if self.slopes[i] != self.slopes[i + 1]
            or self.intercepts[i] != self.intercepts[i + 1]
        ]
        pieces = [0, *(i + 1 for i in keep)]
        return PiecewiseLinear(
            np.take(self.kinks or (0.0,), keep),
            np.take(self.slopes, pieces),
            np.take(self.intercepts, pieces),
        )

    @property
    def is_linear(self):
        """Whether there is but one piece."""
        return not self.kinks

    def moments(self, mean, variance):
        mean, deviation = np.broadcast_arrays(
            np.asarray(mean, "float64"), np.sqrt(variance)
        )
        # Moments of the standard normal over each piece, from its edges.
        edges = [np.full(mean.shape, -np.inf)]
        edges += [_standardized(t - mean, deviation) for t in self.kinks]
        edges += [np.full(mean.shape, np.inf)]
        value = second = slope = np.zeros(mean.shape)
        for low, high, a, b in zip(
            edges[:-1], edges[1:], self.slopes, self.intercepts, strict=True
        ):
            if not a and not b:
                continue
            m0, m1, m2 = _truncated(low, high)
            c, d = a * deviation, a * mean + b
            value = value + c * m1 + d * m0
            second = second + c**2 * m2 + 2 * c * d * m1 + d**2 * m0
            slope = slope + a**2 * m0
        return value, second, slope

    def joint_moment(self, means, deviations, correlation):
        m, n, s, t = (np.asarray(x, "float64") for x in (*means, *deviations))
        a, b = self.slopes[0], self.intercepts[0]
        covariance = s * t * correlation
        # The part that is linear everywhere, with itself and with each kink.
        total = (a * m + b) * (a * n + b) + a**2 * covariance
        kinks = self._kink_parts()
        for kink, ramp, step in kinks:
            for (mu, sd), (nu, _) in (((m, s), (n, t)), ((n, t), (m, s))):
                h = _standardized(mu - kink, sd)
                above, density = special.ndtr(h), _density(h)
                part = ramp * ((mu - kink) * above + sd * density) + step * above
                # Stein's lemma: the covariance of v with g(u) is cov E[g'(u)].
                slope = ramp * above * covariance
                if step:
                    slope = slope + step * density * covariance / np.maximum(sd, 1e-300)
                total = total + (a * nu + b) * part + a * slope
        for kink_u, *part_u in kinks:
            for kink_v, *part_v in kinks:
                total = total + _kinks(
                    (m - kink_u, s, *part_u), (n - kink_v, t, *part_v), correlation
                )
        return total

    def _kink_parts(self):
        """`(t, change of slope, jump)` for every kink t."""
        parts = []
        for i, t in enumerate(self.kinks):
            ramp = self.slopes[i + 1] - self.slopes[i]
            jump = ramp * t + self.intercepts[i + 1] - self.intercepts[i]
            # Rounding of a continuous function is no jump.
            scale = abs(self.intercepts[i + 1]) + abs(self.intercepts[i])
            parts.append((t, ramp, jump if abs(jump) > 1e-12 * scale else 0.0))
        return parts


def _inside(kinks):
    """One point inside every piece."""
    if not len(kinks):
        return np.zeros(1)
    middle = (kinks[1:] + kinks[:-1]) / 2
    return np.concatenate([kinks[:1] - 1, middle, kinks[-1:] + 1])


def _standardized(x, deviation):
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        h = np.where(deviation > 0, x / deviation, np.sign(x) * _FAR)
    return np.clip(h, -_FAR, _FAR)


def _density(x):
    return np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)


def _truncated(low, high):
    """`E[1]`, `E[z]` and `E[z^2]` over `low < z < high` for a standard normal z."""
    ends = [np.where(np.isfinite(h), h, 0.0) for h in (low, high)]
    densities = [
        np.where(np.isfinite(h), _density(e), 0.0)
        for h, e in zip((low, high), ends, strict=True)
    ]
    # By symmetry in the tail where the distribution function is accurate.
    flip = low > 0
    a, b = np.where(flip, -high, low), np.where(flip, -low, high)
    m0 = special.ndtr(b) - special.ndtr(a)
    m1 = densities[0] - densities[1]
    return m0, m1, m0 + ends[0] * densities[0] - ends[1] * densities[1]


def _kinks(first, second, rho):
    """`E[(r u+ + p 1(u > 0)) (r' v+ + p' 1(v > 0))]` for Gaussian u and v.

    Args:
        first, second: Mean, deviation, r and p of u and of v.
        rho: Their correlation.
    """
    (m, s, ramp, step), (n, t, ramp2, step2) = first, second
    a, b = _standardized(m, s), _standardized(n, t)
    rho = np.clip(rho, -1.0, 1.0)
    root = np.sqrt(np.maximum((1 - rho) * (1 + rho), 1e-24))
    if not np.any(a) and not np.any(b):
        # Zero means and kinks at 0: the arc-cosine kernel.
        both = 0.25 + np.arcsin(rho) / (2 * np.pi)
        if not step and not step2:
            return ramp * ramp2 * s * t * (rho * both + root / (2 * np.pi))
    else:
        both = orthant(a, b, rho)
    edge_u = _density(a) * special.ndtr((b - rho * a) / root)
    edge_v = _density(b) * special.ndtr((a - rho * b) / root)
    result = step * step2 * both
    if ramp and ramp2:
        exponent = -(a**2 + (b - rho * a) ** 2 / root**2) / 2
        corner = root * np.exp(exponent) / (2 * np.pi)
        result = result + ramp * ramp2 * (
            (m * n + rho * s * t) * both
            + n * s * edge_u
            + m * t * edge_v
            + s * t * corner
        )
    if ramp and step2:
        result = result + ramp * step2 * (m * both + s * (edge_u + rho * edge_v))
    if step and ramp2:
        result = result + step * ramp2 * (n * both + t * (edge_v + rho * edge_u))
    return result


def orthant(a, b, rho):
    """`P(u < a, v < b)` for standard normal u and v with correlation rho.

    Example:

    >>> from fixinit.theory.gaussian.piecewise import orthant
    >>> round(float(orthant(0.0, 0.0, 0.5)), 9)  # 1/4 + asin(1/2) / (2 pi)
    0.333333333
    """
    root = np.sqrt(np.maximum((1 - rho) * (1 + rho), 1e-24))
    # Owen's formula divides by both: a number too small to matter for a zero.
    a = np.where(a == 0, 1e-200, a)
    b = np.where(b == 0, 1e-200, b)
    owen = special.owens_t(a, (b - rho * a) / (a * root))
    owen = owen + special.owens_t(b, (a - rho * b) / (b * root))
    opposite = np.where(a * b < 0, 0.5, 0.0)
    return (special.ndtr(a) + special.ndtr(b)) / 2 - owen - opposite
