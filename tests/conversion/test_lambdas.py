import keras
import numpy as np
import pytest
from keras import layers, ops

import fixinit
from fixinit.conversion import explain
from tests.conversion.helpers import assert_close, convert, normal, said
from tests.marks import on_torch, slow_on_tensorflow

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def hidden(function):
    """A function that takes no symbolic tensors, as those of a backend."""

    def call(x):
        if any(isinstance(y, keras.KerasTensor) for y in keras.tree.flatten(x)):
            raise ValueError("symbolic")
        return function(x)

    return call


def block(x, merge=None, activation=None):
    """A residual block whose merge and activation may be Lambda layers."""
    y = layers.BatchNormalization()(layers.Dense(8)(x))
    y = (activation or layers.ReLU())(y)
    y = layers.Dense(8)(y)
    return layers.add([x, y]) if merge is None else merge([x, y])


def network(*parts, merge=None, activation=None, before=(), width=8):
    """A network of two blocks, with some layers in front of the head or behind."""
    x = inputs = keras.Input((width,))
    for layer in before:
        x = layer(x)
    x = layers.Dense(8)(x)
    for _ in range(2):
        x = block(x, merge and merge(), activation and activation())
    x = layers.Dense(3)(x)
    for layer in parts:
        x = layer(x)
    model = keras.Model(inputs, x)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 2, w.shape) for w in layer.weights])
    return model


def lambdas(model):
    found = [layer for layer in model.layers if isinstance(layer, layers.Lambda)]
    return [layer.name for layer in found]


@pytest.mark.parametrize(
    "merge",
    [
        lambda: layers.Lambda(lambda xs: xs[0] + xs[1]),
        lambda: layers.Lambda(hidden(lambda xs: xs[0] + xs[1]), output_shape=(8,)),
    ],
    ids=["opened", "by what it computes"],
)
def test_lambdas_that_add_are_the_merges_of_blocks(merge):
    free = convert(network(merge=merge))
    plain = convert(network())
    assert free.conversion["num_branches"] == 2
    assert not lambdas(free)
    shapes = [[w.shape for w in model.weights] for model in (free, plain)]
    assert shapes[0] == shapes[1]


@on_torch
@pytest.mark.parametrize(
    "activation",
    [
        lambda: layers.Lambda(ops.silu),
        lambda: layers.Lambda(hidden(ops.silu), output_shape=(8,)),
    ],
    ids=["opened", "by what it computes"],
)
@pytest.mark.parametrize("scheme", ["fixup", "skip_init", "scaled_residual"])
def test_lambdas_that_activate_are_activations(activation, scheme):
    free = convert(network(activation=activation), scheme)
    plain = convert(network(activation=lambda: layers.Activation("silu")), scheme)
    assert not lambdas(free)
    pairs = zip(free.weights, plain.weights, strict=True)
    assert all(np.array_equal(*map(ops.convert_to_numpy, pair)) for pair in pairs)


@on_torch
def test_activations_that_keras_has_not_get_what_the_scheme_puts_in_front():
    def wave():
        return layers.Lambda(lambda x: x + ops.sin(x), name=None)

    free = convert(network(activation=wave), "fixup")
    assert len(lambdas(free)) == 2
    plain = convert(network(), "fixup")
    assert [w.shape for w in free.weights] == [w.shape for w in plain.weights]


@pytest.mark.parametrize("scheme", ["fixup", "skip_init"])
def test_scales_and_shapes_around_the_network(scheme):
    before = [
        layers.Lambda(lambda x: x / 127.5 - 1.0),
        layers.Lambda(
            lambda x, size: ops.reshape(x, (-1, size)), arguments={"size": 8}
        ),
    ]
    free = convert(network(layers.Lambda(lambda x: 100 * x), before=before), scheme)
    assert not lambdas(free)
    (head,) = [o for o in free.conversion["others"] if o["role"] == "head"]
    assert head["zero"] == (scheme == "fixup")


@pytest.mark.every_backend
@pytest.mark.parametrize(
    "function",
    [
        lambda x: ops.normalize(x, axis=-1),
        hidden(lambda x: ops.normalize(x, axis=-1)),
        lambda x: x / ops.sum(ops.abs(x), axis=-1, keepdims=True),
        hidden(lambda x: ops.sum(x, axis=-1, keepdims=True)),
        lambda x: ops.expand_dims(x, -1),
        lambda x: ops.relu(ops.normalize(x)),
    ],
)
def test_folding_leaves_what_lambdas_compute(function):
    model = network(layers.Lambda(function, name="mine"))
    folded = convert(model, weights="fold")
    kinds = {type(layer) for layer in folded.layers}
    assert layers.BatchNormalization not in kinds
    x = normal(5, 8)
    assert_close(folded(x), model(x))


@on_torch
def test_lambdas_that_normalize_are_taken_out():
    def unit():
        return layers.Lambda(lambda x: x / ops.sqrt(ops.sum(x * x, -1, keepdims=True)))

    model = network(unit(), activation=unit)
    names = lambdas(model)
    free = convert(model)
    assert free.conversion["removed"]["Lambda"] == names
    told = said(model)
    assert f"are taken out: {names[0]}, {names[1]}. Pass keep={names[:2]}" in told
    assert f"outputs is taken out like any other: {names[2]}" in told
    assert lambdas(convert(model, keep=names)) == names


def test_lambdas_that_are_kept_stay_whatever_they_hold():
    dense = layers.Dense(3)
    dense.build((None, 3))
    mine = layers.Lambda(hidden(lambda x: ops.normalize(dense(x))), (3,), name="mine")
    model = network(mine)
    with pytest.raises(ValueError, match=r"`mine` reads weights.*keep=\['mine'\]"):
        fixinit.convert(model)
    assert lambdas(convert(model, keep="mine")) == ["mine"]
    assert lambdas(convert(model, keep="Lambda", weights="fold")) == ["mine"]


def test_weights_that_a_lambda_computes_with_beforehand_are_refused():
    """The converted model would hold those of this one, as constants."""
    model = network()
    kernel = model.layers[-1].kernel
    tied = layers.Lambda(lambda x: ops.matmul(x, ops.transpose(kernel)), name="tied")
    with pytest.raises(ValueError, match=r"`tied` reads weights.*/kernel.*einsum"):
        fixinit.convert(keras.Model(model.input, tied(model.output)))
    # As the message says:
    y = ops.einsum("...d,vd->...v", model.output, kernel)
    free = convert(keras.Model(model.input, y))
    (copy,) = [w for w in free.weights if w.path == kernel.path]
    before = free(normal(4, 8))
    copy.assign(2 * copy)
    assert_close(free(normal(4, 8)), 4 * ops.convert_to_numpy(before))
    assert np.any(ops.convert_to_numpy(before))


def test_lambdas_that_call_layers():
    dense = layers.Dense(8, name="inner")
    dense.build((None, 8))
    model = network(before=[layers.Lambda(lambda x: dense(x))])
    free = convert(model)
    assert "inner" in [layer.name for layer in free.layers]
    assert "as in a Lambda, are part of the graph, and train: inner" in said(model)
    assert len(free.trainable_weights) > len(model.trainable_weights)


def test_lambdas_that_stay_are_copied_and_named():
    model = network(layers.Lambda(hidden(lambda x: ops.sum(x, -1)), (), name="mine"))
    free = convert(model)
    assert free.get_layer("mine") is not model.get_layer("mine")
    assert free.get_layer("mine").function is model.get_layer("mine").function
    assert len(model.get_layer("mine")._inbound_nodes) == 1
    told = said(model)
    assert "stay as they are, also if they normalize: mine." in told
    assert "safe_mode=False" in told


@on_torch
def test_lambdas_that_decide_by_numbers_stay():
    def halved(x):
        return x / 2 if ops.max(x) > 1 else x

    model = network(before=[layers.Lambda(halved, (8,), name="mine")])
    assert lambdas(convert(model)) == ["mine"]
    assert "not opened stay as they are, also if they normalize: mine" in said(model)


def test_lambdas_in_other_layers():
    class Around(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.norm = layers.BatchNormalization(name="norm")
            self.mine = layers.Lambda(lambda x: 2 * x + 1, name="mine")

        def call(self, x):
            return self.mine(self.norm(x))

    free = convert(network(before=[Around(name="around")]))
    assert free.conversion["removed"]["BatchNormalization"][0] == "around_norm"
    assert "around_mine" in [operation.name for operation in free.operations]


def test_lambdas_along_time():
    x = inputs = keras.Input((5, 8))
    x = layers.BatchNormalization()(layers.Dense(8)(x))
    x = layers.TimeDistributed(layers.Lambda(lambda x: 2 * x + 1))(x)
    model = keras.Model(inputs, layers.Dense(2)(x))
    folded = convert(model, weights="fold")
    assert_close(folded(normal(3, 5, 8)), model(normal(3, 5, 8)))
    assert not any(isinstance(x, layers.TimeDistributed) for x in folded.layers)


@slow_on_tensorflow
@pytest.mark.every_backend
def test_converted_models_are_saved_without_the_lambdas(tmp_path):
    model = network(
        layers.Lambda(lambda x: ops.sum(x**2, axis=-1, keepdims=True)),
        merge=lambda: layers.Lambda(lambda xs: xs[0] + 0.5 * xs[1]),
        activation=lambda: layers.Lambda(hidden(ops.silu), (8,)),
    )
    free = convert(model, fixinit.schemes.get("skip_init"))
    assert not lambdas(free)
    free.save(tmp_path / "free.keras")
    loaded = keras.models.load_model(tmp_path / "free.keras")
    assert_close(loaded(normal(3, 8)), free(normal(3, 8)))


@on_torch
def test_a_lambda_that_stays_is_loaded_where_that_is_allowed(tmp_path):
    def wave(x):
        import keras

        return x + keras.ops.sin(x)

    keras.saving.get_custom_objects()["wave"] = wave
    try:
        free = convert(network(activation=lambda: layers.Lambda(wave)))
        free.save(tmp_path / "free.keras")
        loaded = keras.models.load_model(tmp_path / "free.keras", safe_mode=False)
    finally:
        del keras.saving.get_custom_objects()["wave"]
    assert_close(loaded(normal(3, 8)), free(normal(3, 8)))


@slow_on_tensorflow
@pytest.mark.every_backend
def test_explaining_diagnosing_and_predicting():
    model = network(
        layers.Lambda(hidden(lambda x: 100 * x), (3,)),
        merge=lambda: layers.Lambda(hidden(lambda xs: xs[0] + xs[1]), (8,)),
        activation=lambda: layers.Lambda(lambda x: ops.maximum(x, 0)),
    )
    assert explain(model).num_branches == 2
    assert len(fixinit.diagnostics.diagnose(model, normal(4, 8)).blocks) == 2
    names = lambdas(model)
    assert names[-1] in [row.name for row in fixinit.theory.predict(model).layers]


def test_operations_without_a_rule_are_measured_by_name():
    inputs = [keras.Input((8,)), keras.Input((8,))]
    shared = layers.Dense(4)
    distance = layers.Lambda(lambda xs: ops.abs(xs[0] - xs[1]), name="distance")
    model = keras.Model(inputs, distance([shared(x) for x in inputs]))
    with pytest.raises(fixinit.theory.NoRuleError, match="distance_subtract"):
        fixinit.theory.predict(model)
    found = fixinit.theory.predict(model, unknown="measure")
    assert found["distance_subtract"].measured and found["distance"].mean > 0
