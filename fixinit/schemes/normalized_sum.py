import dataclasses
import math

import keras

from fixinit._checked import check_fields
from fixinit._validation import check_number
from fixinit.schemes.scheme import Scheme
from fixinit.schemes.site import Site
from fixinit.schemes.start import Start


@keras.saving.register_keras_serializable("fixinit.schemes")
@dataclasses.dataclass(frozen=True)
class NormalizedSum(Scheme):
    """A merge that keeps the variance: `c * x + a * F(x)` with `c^2 + a^2 = 1`.

    With He initialization a branch has the variance of its input, and the
    weighted sum of the two has it again.

    Example:

    >>> scheme = fixinit.schemes.NormalizedSum(branch_scale=0.6)
    >>> site = fixinit.schemes.Site(branch=0, num_branches=9)
    >>> round(scheme.merge(site).shortcut_scale, 6)
    0.8

    Args:
        branch_scale: float between 0 and 1, exclusive: a. By default
            `sqrt(1 / 2)`, which weighs branch and shortcut alike.

    Raises:
        ValueError: If `branch_scale` is outside its range.

    Reference:

    - [Civitelli et al., 2021](https://arxiv.org/abs/2112.12299)
    """

    branch_scale: float = math.sqrt(1 / 2)

    name = "normalized_sum"
    remedies = ("exploding", "exploding_gradients")

    def __post_init__(self) -> None:
        check_fields(self)
        check_number(
            "branch_scale",
            self.branch_scale,
            "a number between 0 and 1, exclusive",
            lambda value: 0 < value < 1,
        )

    def start(self, site: Site) -> Start:
        shortcut_scale = math.sqrt(1 - self.branch_scale**2)
        return Start(self.branch_scale, "merge", shortcut_scale)
