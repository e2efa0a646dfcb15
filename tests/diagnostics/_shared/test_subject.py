"""Measurements of models with a `call` of their own are those of functional ones."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from fixinit import diagnostics
from fixinit.diagnostics import Monitor
from tests.graph import own_models
from tests.marks import on_torch

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 6)).astype("float32")
Y = RNG.integers(3, size=8)
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class Network(keras.Model):
    """Three residual blocks, whose layers are made in another order than called."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.head = layers.Dense(3, name="head")
        self.norms = [layers.BatchNormalization() for _ in range(3)]
        self.blocks = [layers.Dense(6) for _ in range(3)]
        self.drop = layers.Dropout(0.2, seed=1)

    def call(self, x, training=False):
        for norm, dense in zip(self.norms, self.blocks, strict=True):
            x = x + dense(ops.tanh(norm(x, training=training)))
        return self.head(self.drop(x, training=training))


def network(kind=Network):
    keras.utils.set_random_seed(0)
    model = kind(name="net")
    model(X)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), LOSS, jit_compile=False)
    model.train_on_batch(X, Y)
    return model


def functional(model):
    inputs = keras.Input((6,))
    twin = keras.Model(inputs, model.call(inputs), name="net")
    twin.compile("sgd", LOSS)
    return twin


MEASUREMENTS = {
    "diagnose": lambda m: [
        [row.mean_square, row.gradient_mean_square]
        for row in diagnostics.diagnose(m, X, Y).blocks
    ],
    "blocks": lambda m: diagnostics.block_statistics(m, X, True).variance,
    "gradients": lambda m: sorted(
        diagnostics.gradient_norms(m, LOSS, X, Y).norms.values()
    ),
    "depth": lambda m: diagnostics.effective_depth(m, X, Y).gradient_share,
    "paths": lambda m: diagnostics.path_gradients(m, X, Y, num_samples=8).norm,
    "totals": lambda m: diagnostics.path_totals(m, X, Y).norm,
    "lesion": lambda m: diagnostics.lesion(m, X, Y, {"loss": LOSS}).measured["loss"],
    "jacobian": lambda m: diagnostics.jacobian_spectrum(m, X).singular_values,
    "correlation": lambda m: diagnostics.gradient_correlation(m, X).gradients,
    "update": lambda m: diagnostics.function_update(
        m, X, Y, keras.optimizers.SGD(0.1), training=True
    ),
    "surface": lambda m: diagnostics.loss_surface(m, X, Y, num_points=3).center,
}


@on_torch
@pytest.mark.parametrize("name", MEASUREMENTS)
def test_measurements_are_those_of_the_functional_model(name, untouched):
    model = network()
    expected = MEASUREMENTS[name](functional(model))
    with untouched(model):
        found = MEASUREMENTS[name](model)
    assert np.size(found) and np.isfinite(found).all()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@on_torch
def test_surfaces_and_steps_are_of_the_models_own_variables():
    model = network()
    shapes = [v.shape for v in model.trainable_variables]
    directions = [[np.zeros(shape) for shape in shapes] for _ in range(2)]
    # The head, made first and called last. What all logits share changes no loss.
    directions[0][shapes.index((6, 3))][:, 0] += 1.0
    surface = diagnostics.loss_surface(model, X, Y, num_points=3, directions=directions)
    assert np.ptp(surface.losses, axis=1).max() == 0
    assert np.ptp(surface.losses) > 1e-3
    # The optimizer goes on with its momentum.
    update = diagnostics.function_update(model, X, Y, model.optimizer, training=True)
    fresh = keras.optimizers.SGD(0.1, momentum=0.9)
    other = diagnostics.function_update(model, X, Y, fresh, training=True)
    assert abs(update[0] / other[0] - 1) > 1e-3


@on_torch
def test_classes_take_a_batch_to_open_a_model_on():
    for kind in (
        diagnostics.BlockStatistics,
        diagnostics.EffectiveDepth,
        diagnostics.Lesion,
        diagnostics.PathGradients,
        diagnostics.PathTotals,
    ):
        with pytest.raises(ValueError, match="not built.*data=x"):
            kind(Network())
        assert "add" in kind(Network(), data=X).names[-1]


class Undecided(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(3)

    def call(self, x):
        return self.dense(x) if float(ops.sum(x)) > 0 else x


def test_what_has_no_graph_is_refused():
    model = Undecided()
    model(X)
    for name in sorted(MEASUREMENTS):
        with pytest.raises(
            TypeError, match="there is no graph.*layers and `keras.ops`"
        ):
            MEASUREMENTS[name](model)


@on_torch
def test_what_the_graph_has_not_is_said():
    model = own_models.VAE()
    x = RNG.normal(size=(4, 8)).astype("float32")
    model(x)
    with pytest.warns(UserWarning, match="measured by its graph.*`add_loss`"):
        diagnostics.diagnose(model, x)


class Block(layers.Layer):
    """A residual block of one's own in a functional model."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm, self.dense = layers.LayerNormalization(), layers.Dense(6)

    def build(self, shape):
        self.norm.build(shape)
        self.dense.build(shape)

    def call(self, x):
        return x + self.dense(self.norm(x))


@on_torch
def test_blocks_inside_of_layers_of_ones_own_are_found():
    inputs = keras.Input((6,))
    x = Block(name="b")(Block(name="a")(inputs))
    model = keras.Model(inputs, layers.Dense(3)(x))
    assert len(diagnostics.block_statistics(model, X).names) == 3
    assert diagnostics.effective_depth(model, X, Y).share.shape == (2,)


class Counter(layers.Layer):
    def build(self, shape):
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        self.count.assign(self.count + 1)
        return x + 0 * self.count


class Counting(Network):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.counter = Counter(name="counter")

    def call(self, x, training=False):
        return super().call(self.counter(x), training=training)


class OwnStep(Network):
    """Logs the loss of a batch under a name of its own."""

    def train_step(self, *data):
        found = super().train_step(*data)
        logs = found[0] if isinstance(found, tuple) else found
        logs["mine"] = logs.pop("loss")
        return found


def trained(kind, callbacks):
    model = network(kind)
    options = {"batch_size": 4, "epochs": 2, "verbose": 0}
    model.fit(X, Y, callbacks=callbacks, **options)
    return [np.array(ops.convert_to_numpy(v)) for v in model.variables]


@pytest.mark.slow
@pytest.mark.every_backend
@pytest.mark.parametrize("kind", [Network, Counting, OwnStep])
def test_training_under_a_monitor_is_what_it_is_without(kind):
    monitor = Monitor(X, Y, every=2, measures=("mean_square", "update_to_weight"))
    for one, other in zip(trained(kind, []), trained(kind, [monitor]), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [step for step, _ in monitor.history] == [0, 1, 2, 4]
    assert len(monitor.history[0][1].blocks) == 3


@on_torch
def test_a_monitor_before_a_model_is_built():
    model = Network()
    model.compile("sgd", LOSS, jit_compile=False)
    monitor = Monitor(X, Y)
    model.fit(X, Y, batch_size=8, verbose=0, callbacks=[monitor])
    assert len(monitor.history[0][1].blocks) == 3
