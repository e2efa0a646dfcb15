import dataclasses

import keras

from fixinit.schemes.scheme import Scheme
from fixinit.schemes.site import Site
from fixinit.schemes.start import Start


@keras.saving.register_keras_serializable("fixinit.schemes")
@dataclasses.dataclass(frozen=True)
class ReZero(Scheme):
    """ReZero: `x + a_l * F(x)` with one trainable scalar a branch, started at 0.

    The network starts as the identity, whatever its weight layers are drawn
    from: the scalar is the method's only change. It differs from SkipInit in
    this zero start alone, which SkipInit leaves open.

    Example:

    >>> fixinit.schemes.ReZero().predicted_variance(2).tolist()
    [1.0, 1.0, 1.0]

    Reference:

    - [Bachlechner et al., 2021](https://arxiv.org/abs/2003.04887), section 3.
    """

    name = "rezero"
    remedies = ("exploding", "exploding_gradients", "collapsed")

    def start(self, site: Site) -> Start:
        return Start(0.0, by="multiplier")
