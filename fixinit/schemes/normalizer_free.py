import dataclasses
import functools
import types
from typing import Any

import keras

from fixinit import layers, theory
from fixinit._checked import check_fields
from fixinit._validation import check_choice, check_factor, check_number
from fixinit.schemes.scheme import Scheme
from fixinit.schemes.site import Site
from fixinit.schemes.start import Start

# 1 / std of the outputs on a sample of standard normal numbers, as the authors' code
# has them, by Keras's names. Their GELU is the tanh form, their leaky ReLU has a slope
# of 0.01.
PUBLISHED_GAINS = {
    "linear": 1.0,
    "celu": 1.270926833152771,
    "elu": 1.2716004848480225,
    "gelu": 1.7015043497085571,
    "gelu_tanh": 1.7015043497085571,
    "glu": 1.8484294414520264,
    "leaky_relu": 1.70590341091156,
    "log_sigmoid": 1.9193484783172607,
    "log_softmax": 1.0002083778381348,
    "relu": 1.7139588594436646,
    "relu6": 1.7131484746932983,
    "selu": 1.0008515119552612,
    "sigmoid": 4.803835391998291,
    "silu": 1.7881293296813965,
    "softsign": 2.338853120803833,
    "softplus": 1.9203323125839233,
    "tanh": 1.5939117670059204,
}
GAINS = ("computed", "published")


@keras.saving.register_keras_serializable("fixinit.schemes")
@dataclasses.dataclass(frozen=True)
class NormalizerFree(Scheme):
    """Normalizer-free networks: standardized kernels and blocks of known variance.

        h_l+1 = h_l + alpha * gain * F(h_l / beta_l)

    Every kernel but the head's is standardized (`fixinit.layers.StandardizedKernel`),
    every activation multiplied by the constant that gives it unit variance for standard
    normal inputs (`fixinit.layers.ScaledActivation`). So a branch F gives unit variance
    for unit variance, and beta_l, the standard deviation of its input, is known:

        beta_l^2 = 1 + k alpha^2

    where k counts the sums in the stream since the last block that changed the shape,
    whose own sum counts. The gain is a trained scalar for each branch, 0 at the start
    as in SkipInit. The factor `1 / beta_l` stands in front of the first weight layer,
    behind the activation in pre-activation order, as in the authors' code.

    The closed form is for pre-activation order. In post-activation order activations of
    sums are scaled only where the block changes the shape, since they leave a stream
    that is positive already as it is.

    `optimizer` clips gradients adaptively (`fixinit.optimizers.adaptive_clipping`), the
    classification layer's aside.

    Example:

    >>> scheme = fixinit.schemes.NormalizerFree(initial_gain=1.0)
    >>> scheme.predicted_variance(2).round(2).tolist()
    [1.0, 1.04, 1.08]

    Args:
        alpha: float. Constant factor of every branch, 0.2 by default.
        initial_gain: float. Start of the trained scalars, 0 by default.
        activation_gains: `"computed"` (default), from the variance of the activation,
            or `"published"`, the constants of the authors' code, which were sampled and
            which their weights were trained with.
        clipping: float, larger than 0, or `None` for none. Factor of adaptive gradient
            clipping; by default 0.16, the authors' for batches of 256. They take 0.01
            for batches of 4096.

    Raises:
        ValueError: If a number is not finite or `activation_gains` is unknown; when it
            is applied, if an activation has no finite variance, or no published
            constant.

    References:

    - [Brock et al., 2021a](https://arxiv.org/abs/2101.08692), section 4.
    - [Brock et al., 2021b](https://arxiv.org/abs/2102.06171)
    """

    alpha: float = 0.2
    initial_gain: float = 0.0
    activation_gains: str = "computed"
    clipping: float | None = 0.16

    name = "normalizer_free"
    depends_on_branch = True
    remedies = ("exploding", "exploding_gradients", "collapsed")

    def __post_init__(self) -> None:
        check_fields(self)
        check_factor("alpha", self.alpha)
        check_factor("initial_gain", self.initial_gain)
        check_choice("activation_gains", self.activation_gains, GAINS)
        if self.clipping is not None:
            check_number(
                "clipping", self.clipping, "a positive number", lambda x: x > 0
            )

    def start(self, site: Site) -> Start:
        return Start(self.initial_gain, by="multiplier", branch_scale=self.alpha)

    def input_variance(self, site: Site) -> float:
        """`beta_l^2`: the expected variance of what the block at `site` reads."""
        return 1 + self.alpha**2 * site.stream_sums

    def variance_factor(self, site: Site) -> float:
        added = (self.alpha * self.initial_gain) ** 2
        return 1 + added / self.input_variance(site)

    def draw(self, site: Site) -> keras.initializers.Initializer:
        if site.role == "head":
            return keras.initializers.RandomNormal(stddev=0.01)
        return keras.initializers.VarianceScaling(1.0, "fan_in", "untruncated_normal")

    def weight_layer(self, site: Site, layer: keras.layers.Layer) -> keras.layers.Layer:
        if site.role == "head" or not layers.can_be_standardized(layer):
            return layer
        return layers.standardized(layer)

    def before_weight(self, site: Site) -> list[keras.layers.Layer]:
        if not site.is_in_branch or site.layer:
            return []
        # A factor of 1 too: blocks of one kind become a stack.
        return [layers.BranchInputScale(self.input_variance(site) ** -0.5)]

    def activation(self, site: Site, layer: keras.layers.Layer) -> keras.layers.Layer:
        ends_block = site.is_last and not site.preactivation
        if ends_block and not site.changes_shape:
            return layer
        function = getattr(layer, "activation", layer)
        if function is keras.activations.linear:
            return layer
        return layers.ScaledActivation(function, self._gain(layer, function))

    def _gain(self, layer: keras.layers.Layer, function: object) -> float:
        if self.activation_gains == "computed":
            is_plain = type(layer) is keras.layers.Activation
            if is_plain and isinstance(function, types.FunctionType):
                return _gain_of(function)
            return theory.variance_gain(layer)
        name = getattr(function, "__name__", type(function).__name__)
        return PUBLISHED_GAINS[check_choice("activation", name, list(PUBLISHED_GAINS))]


# Every block asks for that of the same function.
@functools.lru_cache
def _gain_of(function: Any) -> float:
    return theory.variance_gain(keras.layers.Activation(function))
