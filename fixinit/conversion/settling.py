"""Steps of a kernel's variance toward a wanted mean square."""

import math

# Of mean squares behind activations of a power of 8.
_STEEPEST = 8.0


class Settling:
    """Finds factors of a variance, step by step, until a mean square is as wanted.

    The first step takes what is behind the kernel as homogeneous. Where it has not
    brought the mean square half as near, as behind activations that square or cube what
    they read, the next one divides by the slope that it has shown (secant method).
    """

    def __init__(self) -> None:
        self._gap: float | None = None
        self._step = 0.0

    def factor(self, now: float, wanted: float) -> float:
        """The next factor of the variance.

        Args:
            now: float, the mean square after all steps so far, positive.
            wanted: float, the one that it is to be, positive.
        """
        gap, slope = math.log(wanted) - math.log(now), 1.0
        before = self._gap
        if before is not None and self._step and abs(gap) > abs(before) / 2:
            slope = min(max((before - gap) / self._step, 1.0), _STEEPEST)
        self._gap, self._step = gap, gap / slope
        return math.exp(self._step)
