import dataclasses

import keras
import numpy as np

from fixinit._checked import check_fields
from fixinit._typing import Identifier
from fixinit._validation import (
    MOST_BRANCHES,
    check_number,
    check_positive_int,
    check_variance,
)
from fixinit.schemes.scheme import Scheme
from fixinit.schemes.site import Site
from fixinit.schemes.start import Start, constant


@keras.saving.register_keras_serializable("fixinit.schemes")
@dataclasses.dataclass(frozen=True)
class BatchNorm(Scheme):
    """Batch normalization: the standard that the other schemes do without.

    Normalizes before every activation and, in post-activation order, at the end
    of every branch and projection. In pre-activation order each branch adds one
    unit of variance, so that it grows linearly: after block l it is that of the
    input plus l.

    Example:

    >>> fixinit.schemes.BatchNorm().predicted_variance(4).tolist()
    [1.0, 2.0, 3.0, 4.0, 5.0]

    Args:
        zero_gamma: bool. Start the last scale of every branch at 0, so that
            blocks start as the identity (Goyal et al.). Only in post-activation
            order: in pre-activation order the scale stands before the ReLU,
            which would pass no gradient at 0.
        momentum: float. Momentum of the running averages. The default 0.9 is
            what the papers' code used (PyTorch calls it 0.1); Keras's 0.99
            needs hundreds of steps to settle.
        epsilon: float. Added to the variance before its square root.

    Raises:
        ValueError: If `momentum` is not in `[0, 1)` or `epsilon` not positive, and
            from `branch_end`, if `zero_gamma` meets pre-activation order.

    References:

    - [Ioffe and Szegedy, 2015](https://arxiv.org/abs/1502.03167)
    - [He et al., 2016](https://arxiv.org/abs/1603.05027) (pre-activation)
    - [Goyal et al., 2017](https://arxiv.org/abs/1706.02677) (`zero_gamma`)
    """

    zero_gamma: bool = False
    momentum: float = 0.9
    epsilon: float = 1e-5

    name = "batch_norm"
    normalizes = True
    # The normalization's own shift takes the place of a bias.
    use_bias = False

    def __post_init__(self) -> None:
        check_fields(self)
        check_number(
            "momentum", self.momentum, "a number in [0, 1)", lambda x: 0 <= x < 1
        )
        check_number("epsilon", self.epsilon, "a positive number", lambda x: x > 0)

    def start(self, site: Site) -> Start:
        return Start(0.0 if self.zero_gamma else 1.0, by="layers")

    def _normalization(
        self, gamma_initializer: Identifier = "ones"
    ) -> keras.layers.Layer:
        return keras.layers.BatchNormalization(
            momentum=self.momentum,
            epsilon=self.epsilon,
            gamma_initializer=gamma_initializer,
        )

    def before_activation(self, site: Site) -> list[keras.layers.Layer]:
        return [self._normalization()]

    def branch_end(self, site: Site) -> list[keras.layers.Layer]:
        if not site.preactivation:
            return [self._normalization(constant(self.started(site).scale))]
        if self.zero_gamma:
            raise ValueError(
                "BatchNorm(zero_gamma=True) needs post-activation order: before a "
                "ReLU, a scale of 0 would never receive a gradient. Received: "
                "preactivation=True. Pass preactivation=False or zero_gamma=False."
            )
        return []

    def after_projection(self, site: Site) -> list[keras.layers.Layer]:
        return [] if site.preactivation else [self._normalization()]

    def predicted_variance(
        self, num_branches: int, input_variance: float = 1.0
    ) -> np.ndarray:
        check_positive_int("num_branches", num_branches, maximum=MOST_BRANCHES)
        check_variance("input_variance", input_variance)
        per_branch = 0.0 if self.zero_gamma else 1.0
        return input_variance + per_branch * np.arange(num_branches + 1.0)
