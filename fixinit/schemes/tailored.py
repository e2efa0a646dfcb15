import dataclasses
import json
import math
from collections.abc import Hashable
from typing import Any

import keras

from fixinit import initializers, layers
from fixinit._checked import check_fields
from fixinit._validation import check_choice, check_number
from fixinit.layers.tailored_activation import rectifier_slope
from fixinit.schemes.scheme import Network, Scheme
from fixinit.schemes.site import Site
from fixinit.schemes.start import Start
from fixinit.theory import NoRuleError, tailoring

# What was solved for, by method, activation and local condition.
_SOLVED: dict[Hashable, dict[str, Any]] = {}
# A ReLU that clips beyond so many deviations is one.
_LEAST_CLIP = 6.0
# What has kinks has no curvature (TAT), and where it is flat, no constants (DKS).
_SMOOTH = {
    keras.activations.hard_silu: keras.activations.silu,
    keras.activations.hard_sigmoid: keras.activations.sigmoid,
    keras.activations.hard_tanh: keras.activations.tanh,
}


@keras.saving.register_keras_serializable("fixinit.schemes")
@dataclasses.dataclass(frozen=True)
class Tailored(Scheme):
    """Activations made to measure for the network, so that inputs stay apart: TAT, DKS.

    * Activations become `fixinit.layers.TailoredActivation`s, whose constants follow
      from how often the network applies them: see `fixinit.theory.tailored`. ReLUs
      become leaky ReLUs under TAT; hard SiLU, sigmoid and tanh become the smooth
      functions that they approximate.
    * Sums are normalized: `w * x + sqrt(1 - w^2) * F(x)`.
    * Kernels are orthogonal, at the centre of convolutions
      (`fixinit.initializers.ScaledUniformOrthogonal`); biases start at 0.
    * Data is normalized at every location
      (`fixinit.layers.PerLocationNormalization`).

    It needs no shortcuts: the networks of the papers have none, or `w` down to 0. What
    the papers ask for is an upper bound. Where a network is too shallow to reach it,
    its ReLUs stay ReLUs, and others bend as much as they can.

    Example:

    >>> model = fixinit.models.ResidualMLP(20, 16, scheme="tailored")
    >>> layer = model.get_layer("block1").branch[0]
    >>> type(layer).__name__, round(layer.negative_slope, 3)
    ('TailoredActivation', 0.023)
    >>> model = fixinit.models.ResidualMLP(20, 16, scheme="tailored", plain=True)
    >>> round(model.get_layer("block1").branch[0].negative_slope, 3)
    0.384

    Args:
        method: `"tat"` (default) or `"dks"`.
        shortcut_weight: float between 0 and 1, exclusive: w, by default 0.8.
        max_correlation: float between 0 and 1, exclusive. Of two inputs of correlation
            0, behind any part of the network: for ReLUs under TAT, 0.9 by default.
        max_curvature: float, positive. Of any part's C map at 1: for other activations
            under TAT, 0.3 by default.
        max_slope: float above 1. Of any part's C map at 1: under DKS, 1.5 by default.
        normalize_data: bool. Whether data is normalized at every location, which
            appends a constant channel to it; `True` by default.
        negative_slope, local: floats, what one activation is to have: the slope of
            leaky ReLUs, and its `C''(1)` under TAT or `C'(1)` under DKS. By default
            networks fill them in (`prepared`).

    Raises:
        ValueError: If an argument is outside its range; when an activation is asked
            for, if it cannot be made to measure, as under TAT one with kinks that is no
            ReLU; and from `prepared`, if what the network does to correlations is not
            known.

    References:

    - [Zhang et al., 2022](https://arxiv.org/abs/2203.08120) (TAT)
    - [Martens et al., 2021](https://arxiv.org/abs/2110.01765) (DKS)
    """

    method: str = "tat"
    shortcut_weight: float = 0.8
    max_correlation: float = 0.9
    max_curvature: float = 0.3
    max_slope: float = 1.5
    normalize_data: bool = True
    negative_slope: float | None = None
    local: float | None = None

    name = "tailored"
    remedies = ("exploding", "exploding_gradients", "collapsed")

    def __post_init__(self) -> None:
        check_fields(self)
        check_choice("method", self.method, tailoring.METHODS)
        fraction = "a number between 0 and 1, exclusive"
        for name in ("shortcut_weight", "max_correlation"):
            check_number(name, getattr(self, name), fraction, lambda x: 0 < x < 1)
        check_number(
            "max_curvature", self.max_curvature, "a positive number", lambda x: x > 0
        )
        check_number("max_slope", self.max_slope, "a number above 1", lambda x: x > 1)

    def prepared(self, network: Network) -> "Tailored":
        local, slope = self.local, self.negative_slope
        target = self.max_curvature if self.method == "tat" else self.max_slope
        try:
            if local is None:
                local = tailoring.most_local(self.method, network, target)
            if slope is None:
                slope = tailoring.most_local("leaky", network, self.max_correlation)
        except NoRuleError as error:
            raise ValueError(
                f"{error} To this scheme, pass what one activation is to have: "
                "`negative_slope` and `local`."
            ) from error
        return dataclasses.replace(self, negative_slope=slope, local=local)

    def start(self, site: Site) -> Start:
        branch_scale = math.sqrt(1 - self.shortcut_weight**2)
        return Start(branch_scale, "merge", self.shortcut_weight)

    def draw(self, site: Site) -> keras.initializers.Initializer:
        if site.role == "embedding":
            return super().draw(site)
        return initializers.ScaledUniformOrthogonal()

    def before_weight(self, site: Site) -> list[keras.layers.Layer]:
        if site.role != "stem" or not self.normalize_data:
            return []
        return [layers.PerLocationNormalization()]

    def activation(self, site: Site, layer: keras.layers.Layer) -> keras.layers.Layer:
        plain = _plain(layer)
        if plain is keras.activations.linear:
            return layer
        if layers.facts_of(layer).compares_channels:
            return layer
        if self.negative_slope is None or self.local is None:
            raise ValueError(
                f"{self!r} makes activations for one network, and has been asked for "
                "one before it was told of any. Call `prepared(network)` first."
            )
        is_leaky = self.method == "tat" and rectifier_slope(plain) is not None
        local = self.negative_slope if is_leaky else self.local
        key = self.method, _key(plain), local
        if key not in _SOLVED:
            solved = tailoring.shaped_at_most(plain, self.method, local)
            _SOLVED[key] = solved.get_config()
        config = {**_SOLVED[key], "name": layer.name, "dtype": layer.dtype_policy}
        if plain is keras.activations.relu:
            config["activation"] = "relu"  # what it stands for; its slope is given
        return layers.TailoredActivation.from_config(config)


def _plain(layer: keras.layers.Layer) -> Any:
    """What an activation computes before it is made to measure."""
    layer = layers.plain_layer(layer)
    if isinstance(layer, keras.layers.Activation):
        layer = layer.activation
    clip = getattr(layer, "max_value", None)
    is_clipped = isinstance(layer, keras.layers.ReLU) and not layer.threshold
    if layer is keras.activations.relu6 or (
        is_clipped and clip is not None and clip >= _LEAST_CLIP
    ):
        return keras.activations.relu
    return _SMOOTH.get(layer, layer)


def _key(activation: Any) -> Hashable:
    """What tells one activation from others."""
    if isinstance(activation, keras.layers.Layer):
        config = {**activation.get_config(), "name": None, "dtype": None}
        return type(activation), json.dumps(config, default=repr, sort_keys=True)
    return activation
