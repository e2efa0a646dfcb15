import dataclasses

import keras

from fixinit._checked import check_fields
from fixinit.schemes.scheme import Scheme
from fixinit.schemes.site import Site
from fixinit.schemes.start import Start


@keras.saving.register_keras_serializable("fixinit.schemes")
@dataclasses.dataclass(frozen=True)
class SkipInit(Scheme):
    """SkipInit: a trainable scalar at the end of every branch, started near 0.

    He initialization and biases in the weight layers complete the method. Block
    l multiplies the variance by `1 + a^2`, where a is the scalar's start.

    Example:

    >>> fixinit.schemes.SkipInit().predicted_variance(2).tolist()
    [1.0, 1.0, 1.0]

    Args:
        initial_multiplier: float, 0 by default. The paper recommends 0 or a
            small constant up to `1 / sqrt(L)`.

    Raises:
        ValueError: If `initial_multiplier` is not finite.

    Reference:

    - [De and Smith, 2020](https://arxiv.org/abs/2002.10444), section 4.
    """

    initial_multiplier: float = 0.0

    name = "skip_init"
    remedies = ("exploding", "exploding_gradients")

    def __post_init__(self) -> None:
        check_fields(self)

    def start(self, site: Site) -> Start:
        return Start(self.initial_multiplier, by="multiplier")
