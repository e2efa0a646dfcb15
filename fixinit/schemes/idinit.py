import dataclasses

import keras
import numpy as np

from fixinit import initializers
from fixinit._checked import check_fields
from fixinit._validation import (
    MOST_BRANCHES,
    check_number,
    check_positive_int,
    check_variance,
)
from fixinit.schemes._identity_kernels import with_fitting_kernel
from fixinit.schemes.scheme import Scheme
from fixinit.schemes.site import ATTENTION_ROLES, Site
from fixinit.schemes.start import Start


@keras.saving.register_keras_serializable("fixinit.schemes")
@dataclasses.dataclass(frozen=True)
class IDInit(Scheme):
    """IDInit: identity kernels everywhere, times 1e-6 at the end of every branch.

    Kernels are identities, padded by repetition where they are not square: see
    `fixinit.initializers.IDInit`. The last ones of branches and the classification
    layer are multiplied by `last_gain`, which takes the place of zeros and leaves no
    unit without a gradient.

    Embeddings, attention, and kernels of other layouts, as of separable and transposed
    convolutions, start with He initialization.

    Nothing is random in it, and so a ReLU passes what is positive as it is: for inputs
    that are symmetric around 0, in pre-activation order and with g the `last_gain`, the
    variance after l blocks is `(1 + (1 + g)^(2l)) / 2` times that of the input.

    Example:

    >>> scheme = fixinit.schemes.IDInit(last_gain=1.0)
    >>> scheme.predicted_variance(2).tolist()
    [1.0, 2.5, 8.5]

    Args:
        last_gain: float, larger than 0. Gain of the last kernel of every branch and of
            the classification layer, 1e-6 by default.

    Raises:
        ValueError: If `last_gain` is outside its range.

    Reference:

    - [Pan et al., 2025](https://arxiv.org/abs/2503.04626), section 3.
    """

    last_gain: float = 1e-6

    name = "idinit"
    remedies = ("exploding", "exploding_gradients")

    def __post_init__(self) -> None:
        check_fields(self)
        check_number("last_gain", self.last_gain, "a positive number", lambda x: x > 0)

    def start(self, site: Site) -> Start:
        return Start(self.last_gain, by="kernel")

    def draw(self, site: Site) -> keras.initializers.Initializer:
        if site.role == "head":
            return initializers.IDInit(self.last_gain)
        if site.role in ("embedding", *ATTENTION_ROLES):
            return super().draw(site)
        return initializers.IDInit()

    def weight_layer(self, site: Site, layer: keras.layers.Layer) -> keras.layers.Layer:
        return with_fitting_kernel(layer)

    def predicted_variance(
        self, num_branches: int, input_variance: float = 1.0
    ) -> np.ndarray:
        check_positive_int("num_branches", num_branches, maximum=MOST_BRANCHES)
        input_variance = check_variance("input_variance", input_variance)
        if not input_variance:
            return np.zeros(num_branches + 1)
        with np.errstate(over="ignore"):
            grown = (1 + self.last_gain) ** (2.0 * np.arange(num_branches + 1))
            return (1 + grown) / 2 * input_variance
