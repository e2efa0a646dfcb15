import dataclasses
import math

import keras

from fixinit import layers
from fixinit._checked import check_fields
from fixinit._validation import check_number
from fixinit.schemes.scheme import Scheme
from fixinit.schemes.site import Site
from fixinit.schemes.start import Start, constant

# The largest number of blocks for every start; deeper networks take the last.
PUBLISHED = ((18, 0.1), (24, 1e-5))
DEEPEST = 1e-6


@keras.saving.register_keras_serializable("fixinit.schemes")
@dataclasses.dataclass(frozen=True)
class LayerScale(Scheme):
    """LayerScale: a trainable multiplier for each channel at the end of every branch.

        x + diag(gamma) F(x),    gamma_i = initial_scale

    It starts near the identity rather than at it, so that all weights train at once,
    and frees every channel to grow at its own pace. Block l multiplies the variance by
    `1 + initial_scale^2`.

    The authors put it behind the branches of Transformers, which start with layer
    normalization. As any scheme, this one stands without; it changes neither the order
    of layers nor their kernels.

    Example:

    >>> site = fixinit.schemes.Site(branch=0, num_branches=48, num_blocks=24)
    >>> fixinit.schemes.LayerScale().start(site).scale
    1e-05

    Args:
        initial_scale: float, not 0, or `None` (default) for the paper's by the number
            of blocks: 0.1 up to 18, 1e-5 up to 24, 1e-6 beyond.

    Raises:
        ValueError: If `initial_scale` is 0 or not finite.

    Reference:

    - [Touvron et al., 2021](https://arxiv.org/abs/2103.17239), section 2.
    """

    initial_scale: float | None = None

    name = "layer_scale"
    remedies = ("exploding", "exploding_gradients")

    def __post_init__(self) -> None:
        check_fields(self)
        if self.initial_scale is not None:
            check_number(
                "initial_scale",
                self.initial_scale,
                "a number other than 0 (`fixinit.schemes.ReZero` starts there)",
                lambda scale: scale != 0 and math.isfinite(scale * scale),
            )

    def start(self, site: Site) -> Start:
        if self.initial_scale is not None:
            return Start(self.initial_scale, by="layers")
        blocks = site.num_blocks or site.num_branches
        scales = (scale for most, scale in PUBLISHED if blocks <= most)
        return Start(next(scales, DEEPEST), by="layers")

    def branch_end(self, site: Site) -> list[keras.layers.Layer]:
        return [layers.ChannelMultiplier(constant(self.started(site).scale))]
