"""Four methods that nobody knows, as a user would define them, used everywhere.

The library is not told of them but by what stands in this file.
"""

import dataclasses
import functools
import itertools

import keras
import numpy as np
import pytest
from keras import layers, ops

import fixinit
from fixinit import schemes, theory
from fixinit.schemes import Start
from tests.conversion.helpers import convert, said
from tests.marks import (
    ON_TORCH,
    SLOW_WHERE_COMPILED,
    mostly_slow,
    on_torch,
    slow_on_tensorflow,
    slow_where_compiled,
)

registered = keras.saving.register_keras_serializable("new_methods")


# --- 1. Standardized weights, scaled activations, a variance that is reset per stage.


def standardized(kernel):
    """Kernels of zero mean and variance 1 / fan_in for every output."""
    kernel = ops.convert_to_tensor(kernel)
    axes = tuple(range(len(kernel.shape) - 1))
    fan_in = int(np.prod(kernel.shape[:-1]))
    mean, variance = ops.moments(kernel, axes, keepdims=True)
    return (kernel - mean) / ops.sqrt(ops.maximum(variance * fan_in, 1e-4))


@registered
class StandardizedDense(layers.Dense):
    @property
    def kernel(self):
        return standardized(super().kernel)


@registered
class StandardizedConv2D(layers.Conv2D):
    @property
    def kernel(self):
        return standardized(super().kernel)


@registered
class ScaledActivation(layers.Layer):
    """`gain * activation(inputs)`: unit variance for a standard normal input."""

    fixinit_facts = fixinit.layers.Facts(activates=True)

    def __init__(self, activation, gain, **kwargs):
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)
        self.gain = gain

    def call(self, inputs):
        return self.gain * self.activation(inputs)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        activation = keras.activations.serialize(self.activation)
        return {**super().get_config(), "activation": activation, "gain": self.gain}


@registered
@dataclasses.dataclass(frozen=True)
class Standardized(schemes.Scheme):
    alpha: float = 0.2

    name = "standardized"
    depends_on_branch = True

    def start(self, site):
        return Start(self.alpha)

    def branch_start(self, site):
        deviation = (1 + self.alpha**2 * site.stage_block) ** 0.5
        return [layers.Rescaling(1 / deviation)]

    def weight_layer(self, site, layer):
        kinds = {layers.Dense: StandardizedDense, layers.Conv2D: StandardizedConv2D}
        kind = kinds.get(type(layer))
        if kind is None or site.role == "head":
            return layer
        return kind.from_config(layer.get_config())

    def activation(self, site, layer):
        function = getattr(layer, "activation", keras.activations.relu)
        return ScaledActivation(function, 2**0.5 / (1 - 1 / np.pi) ** 0.5)


@theory.register(StandardizedDense, StandardizedConv2D)
def standardized_weights(layer, setting, x):
    kind = next(k for k in (layers.Dense, layers.Conv2D) if isinstance(layer, k))
    config = {**layer.get_config(), "kernel_initializer": "lecun_normal"}
    plain = kind.from_config(config)
    rules = theory.rules.weight_layers
    rule = rules.dense if kind is layers.Dense else rules.convolution
    return rule(plain, setting, x)


@theory.register(ScaledActivation)
def scaled_activation(layer, setting, x):
    activate = theory.rules.activation_layers.activate
    return theory.calculus.scale(activate(x, layer.activation, setting), layer.gain)


# --- 2. A bounded pointwise function in the place of LayerNorm.


@registered
class Bounded(layers.Layer):
    """`gamma * tanh(alpha * inputs)`, alpha a scalar, gamma per channel."""

    fixinit_facts = fixinit.layers.Facts(elementwise=True)

    def build(self, input_shape):
        self.alpha = self.add_weight(
            name="alpha", shape=(), initializer=keras.initializers.Constant(0.5)
        )
        self.gamma = self.add_weight(
            name="gamma", shape=(input_shape[-1],), initializer="ones"
        )

    def call(self, inputs):
        return self.gamma * ops.tanh(self.alpha * inputs)

    def compute_output_shape(self, input_shape):
        return input_shape


@registered
@dataclasses.dataclass(frozen=True)
class BoundedFunction(schemes.Scheme):
    name = "bounded_function"

    def branch_start(self, site):
        return [Bounded()]

    def network_end(self, site):
        return [Bounded()]

    def normalization(self, site, layer):
        return [Bounded()] if isinstance(layer, layers.LayerNormalization) else []

    def predicted_variance(self, num_branches, input_variance=1.0):
        return input_variance + np.arange(num_branches + 1.0)  # at most


@theory.register(Bounded)
def bounded(layer, setting, x):
    function = theory.Function(
        lambda u: np.tanh(0.5 * u), lambda u: 0.5 / np.cosh(0.5 * u) ** 2
    )
    return theory.calculus.apply(x, function)


# --- 3. Post-norm: a layer after the merge.


@registered
@dataclasses.dataclass(frozen=True)
class PostNorm(schemes.Scheme):
    name = "post_norm"

    def after_merge(self, site):
        return [layers.LayerNormalization()]

    def predicted_variance(self, num_branches, input_variance=1.0):
        return np.array([input_variance] + num_branches * [1.0])


# --- 4. A method that needs the index of the branch.


@registered
@dataclasses.dataclass(frozen=True)
class Harmonic(schemes.Scheme):
    """`x + F(x) / l` in block l."""

    name = "harmonic"
    depends_on_branch = True

    def start(self, site):
        return Start(1 / (site.branch + 1))


METHODS = (Standardized(), BoundedFunction(), PostNorm(), Harmonic())
EVERY_METHOD = pytest.mark.parametrize("scheme", METHODS, ids=lambda s: s.name)


def cifar(scheme, depth=8, **options):
    return fixinit.models.CifarResNet(
        depth, scheme=scheme, input_shape=(8, 8, 3), seed=0, **options
    )


def mlp(scheme, **options):
    return fixinit.models.ResidualMLP(
        5, 32, scheme=scheme, input_shape=(12,), seed=0, **options
    )


MODELS = {
    "cifar": cifar,
    "cifar, pre-activation": lambda s: cifar(s, preactivation=True, shortcut="B"),
    "mlp": mlp,
    "stacked": lambda s: mlp(s, stacked=True),
}


NETWORKS = {
    "MobileNetV2": lambda: keras.applications.MobileNetV2(
        (32, 32, 3), alpha=0.35, weights=None, classes=5, classifier_activation=None
    ),
    "ResNet50V2": lambda: keras.applications.ResNet50V2(
        input_shape=(32, 32, 3), weights=None, classes=5, classifier_activation=None
    ),
    "ConvNeXtTiny": lambda: keras.applications.ConvNeXtTiny(
        input_shape=(32, 32, 3), weights=None, classes=5, classifier_activation=None
    ),
}
# The layers that a method puts into a network, and nobody else does.
SIGNS = {
    "standardized": (StandardizedDense, StandardizedConv2D),
    "bounded_function": (Bounded,),
    "post_norm": (layers.LayerNormalization,),
    "harmonic": (fixinit.layers.ScaledAdd,),
}


def batch(model, size=8):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(size, *model.input_shape[1:])).astype("float32")
    return x, rng.integers(5, size=size)


def signs(model, scheme):
    """The layers of the method in a model, those inside of its blocks too."""
    found = [call.operation for call, _ in fixinit.graph.trace(model).walk()]
    return [layer for layer in found if isinstance(layer, SIGNS[scheme.name])]


def check_saved(model, path):
    """A model computes the same when it was saved and loaded."""
    x, _ = batch(model, size=2)
    model.save(path)
    loaded = keras.saving.load_model(path)
    values = [ops.convert_to_numpy(m(x)) for m in (model, loaded)]
    # How PyTorch sums up kernels depends on where they lie in memory.
    np.testing.assert_allclose(*values, rtol=1e-4, atol=1e-5)


@EVERY_METHOD
@mostly_slow("name", MODELS, quick=1)
def test_models(scheme, name, tmp_path):
    model = MODELS[name](scheme)
    assert len(signs(model, scheme)) >= (1 if name == "stacked" else 3)
    x, y = batch(model)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01), loss)
    first = model.train_on_batch(x, y)
    for _ in range(4):
        last = model.train_on_batch(x, y)
    assert last < first
    check_saved(model, tmp_path / "model.keras")


@slow_where_compiled
@EVERY_METHOD
def test_diagnose_and_predict(scheme):
    for model in (cifar(scheme, preactivation=True), mlp(scheme)):
        x, y = batch(model, size=64)
        diagnosis = fixinit.diagnostics.diagnose(model, x, y)
        prediction = theory.predict(model, training=True)
        ends = [p.mean_square for p in prediction if p.name.endswith("/merge")]
        assert len(ends) == len(diagnosis.blocks) > 0
        assert np.all(np.isfinite(ends)) and np.all(np.array(ends) > 0)


def conversions():
    """Every method on a network of its own; one on the smallest on all backends."""
    own = dict(zip(METHODS, itertools.cycle(NETWORKS), strict=False))
    for scheme in METHODS:
        for name in NETWORKS:
            marks = ON_TORCH if own[scheme] == name else pytest.mark.evidence
            if name == "MobileNetV2" and scheme is METHODS[0]:
                marks = SLOW_WHERE_COMPILED
            yield pytest.param(scheme, name, marks=marks, id=f"{scheme.name}-{name}")


@pytest.mark.parametrize(("scheme", "name"), conversions())
def test_convert(scheme, name, tmp_path):
    model = NETWORKS[name]()
    free = convert(model, scheme)
    assert free.conversion["num_branches"] > 5
    assert len(signs(free, scheme)) > 5
    assert not any(isinstance(x, layers.BatchNormalization) for x in free.layers)
    x, _ = batch(free)
    y = ops.convert_to_numpy(free(x))
    assert np.all(np.isfinite(y))
    prediction = theory.predict(free)
    assert all(np.isfinite(p.mean_square) for p in prediction)
    check_saved(free, tmp_path / "free.keras")


@slow_where_compiled
def test_the_variance_starts_anew_in_every_stage():
    model = cifar(Standardized(), 20, preactivation=True)
    starts = [x.scale for x in (c.operation for c, _ in walk(model)) if scales(x)]
    expected = [1 / (1 + 0.04 * index) ** 0.5 for _ in range(3) for index in range(3)]
    np.testing.assert_allclose(starts, expected)
    free = convert(cifar("batch_norm", 20, preactivation=True), Standardized())
    starts = [x.scale for x in (c.operation for c, _ in walk(free)) if scales(x)]
    np.testing.assert_allclose(starts, expected)


def walk(model):
    return fixinit.graph.trace(model).walk()


def scales(layer):
    return isinstance(layer, layers.Rescaling)


@on_torch
def test_a_function_takes_the_place_of_each_layer_norm_and_stands_nowhere_else():
    model = NETWORKS["ConvNeXtTiny"]()
    norms = [x for x in model.layers if isinstance(x, layers.LayerNormalization)]
    norms += [
        x
        for part in model.layers
        if isinstance(part, keras.Sequential)
        for x in part.layers
        if isinstance(x, layers.LayerNormalization)
    ]
    free = convert(model, BoundedFunction())
    assert len(signs(free, BoundedFunction())) == len(norms)


@slow_on_tensorflow
def test_blocks_know_their_index_in_stacks_and_converted_stacks():
    stacked = mlp(Harmonic(), stacked=True)
    scales = [1 / (index + 1) for index in range(5)]
    for model in (stacked, convert(stacked, Harmonic())):
        (stack,) = (x for x in model.layers if isinstance(x, fixinit.layers.Stack))
        assert stack.constants == {"merge.branch_scale": scales}


@registered
@dataclasses.dataclass(frozen=True)
class Undeclared(Harmonic):
    name = "undeclared"
    depends_on_branch = False


def test_an_undeclared_dependence_is_an_error_and_not_a_wrong_network():
    for make in (mlp, lambda s, **kw: convert(mlp("fixup", **kw), s)):
        with pytest.raises(ValueError, match="depends_on_branch = True"):
            make(Undeclared(), stacked=True)


def test_a_registered_method_is_found_by_name_and_named_by_its_config():
    schemes.register(Harmonic)
    try:
        assert schemes.get("harmonic") == Harmonic()
        assert "harmonic" in schemes.names()
        model = fixinit.models.ResidualMLP(2, 8, scheme="harmonic")
        assert convert(model, "harmonic").conversion["num_branches"] == 2
    finally:
        schemes.unregister("harmonic")
    with pytest.raises(ValueError, match="harmonic"):
        schemes.get("harmonic")


def residual(activation):
    x = inputs = keras.Input((8,))
    for _ in range(3):
        x = x + layers.Dense(8)(activation(layers.Dense(8)(x)))
    return keras.Model(inputs, x)


def test_one_activation_at_many_sites_is_replaced_at_each():
    free = convert(residual(layers.ReLU(name="relu")), Standardized())
    found = [x.name for x in free.layers if isinstance(x, ScaledActivation)]
    assert found == ["relu", "relu_call2", "relu_call3"]


def test_activations_that_cannot_be_replaced_are_named():
    # Keras's activation of that name has another slope.
    leaky = functools.partial(ops.leaky_relu, negative_slope=0.05)
    with pytest.warns(UserWarning, match="Activations that stay.*leaky_relu"):
        fixinit.convert(residual(leaky), Standardized())
    assert "Activations that stay" not in said(residual(ops.relu), Standardized())
