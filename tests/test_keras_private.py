"""Each private part of Keras that `fixinit._keras` reads, by itself.

A test that fails names the part that a new version of Keras has moved.
"""

import random

import keras
import numpy as np
import pytest

from fixinit import _keras


@pytest.fixture(scope="module")
def model():
    """A functional model: a sum around a Sequential of Dense and Dropout."""
    inputs = keras.Input((3,), name="x")
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, name="dense")])
    branch = keras.layers.Dropout(0.1)(inner(inputs))
    return keras.Model({"x": inputs}, [keras.ops.add(inputs, branch)])


@pytest.fixture
def sequential():
    dense = keras.layers.Dense(3, name="dense")
    return keras.Sequential([keras.Input((3,)), dense])


@pytest.mark.parametrize(
    "name, function",
    [
        ("Add", lambda x: x + x),
        ("Multiply", lambda x: x * x),
        ("TrueDivide", lambda x: x / 2),
        ("GetItem", lambda x: x[:, 0]),
        ("Cast", lambda x: keras.ops.cast(x, "float16")),
        ("Relu", keras.ops.relu),
        ("Norm", keras.ops.norm),
        ("Resize", lambda x: keras.ops.image.resize(x, (2, 2))),
        ("ReLU", lambda x: keras.activations.relu(x, negative_slope=0.1)),
    ],
)
def test_operation(name, function):
    recorded, _, _ = _keras.origin(function(keras.KerasTensor((4, 4, 1))))
    assert type(recorded) is _keras.operation(name)


def test_operation_that_keras_does_not_have():
    with pytest.raises(ImportError, match="no operation class `Addition`"):
        _keras.operation("Addition")


def test_seed_states():
    layer = keras.layers.Dropout(0.5, seed=3)
    holder = keras.Sequential([keras.Input((3,)), layer])
    (state,) = _keras.seed_states(holder)
    before = keras.ops.convert_to_numpy(state).copy()
    layer(np.ones((2, 3), "float32"), training=True)
    assert not np.array_equal(keras.ops.convert_to_numpy(state), before)


def test_unseeded_state():
    name = "global_seed_generator"
    before = keras.src.backend.common.global_state.get_global_attribute(name)
    keras.src.backend.common.global_state.set_global_attribute(name, None)
    python_state = random.getstate()
    try:
        with _keras.unseeded_state() as state:
            first = keras.ops.convert_to_numpy(state).copy()
            keras.random.normal((2,))
            assert not np.array_equal(keras.ops.convert_to_numpy(state), first)
        found = keras.src.backend.common.global_state.get_global_attribute(name)
        assert found is None and random.getstate() == python_state
    finally:
        keras.src.backend.common.global_state.set_global_attribute(name, before)


def test_dense():
    """Products with numbers are no more sparse than what they are made of."""
    x = keras.Input((3,))
    y = _keras.dense(keras.ops.multiply(x * 2.0, 3.0))
    assert not y.sparse
    sparse = keras.Input((3,), sparse=True)
    assert _keras.dense(keras.ops.multiply(sparse, 2.0)).sparse


def test_lower_case_einsum():
    x = keras.KerasTensor((2, 3, 4))
    with _keras.lower_case_einsum():
        y = keras.ops.einsum("bsc,bSc->bsS", x, x)
    recorded, _, _ = _keras.origin(y)
    assert tuple(y.shape) == (2, 3, 3) and recorded.subscripts.islower()
    assert type(recorded) is _keras.operation("Einsum")


def test_copied_operation():
    """Also of one that its config does not describe."""
    x = keras.KerasTensor((4, 6))
    y = keras.ops.reshape(x, (4, np.int64(2), 3))
    recorded, _, _ = _keras.origin(y)
    new = _keras.copied_operation(recorded)
    assert tuple(new(x).shape) == (4, 2, 3) and new.name == recorded.name
    assert len(_keras.calls_of(recorded)) == len(_keras.calls_of(new)) == 1


def test_deep_copied(sequential):
    """Without the models that call the layer."""
    (dense,) = sequential.layers
    new = _keras.deep_copied(dense)
    x = np.ones((1, 3), "float32")
    np.testing.assert_array_equal(
        *(keras.ops.convert_to_numpy(layer(x)) for layer in (dense, new))
    )
    assert new.kernel is not dense.kernel and not _keras.calls_of(new)


def test_deep_copied_seed_generator():
    """A copy has a state of its own, and the modules of the given one."""
    layer = keras.layers.Layer()
    layer.generator = keras.random.SeedGenerator(3)
    new = _keras.deep_copied(layer)
    draws = [keras.random.normal((2,), seed=x.generator) for x in (layer, new)]
    np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, draws))
    assert new.generator.state is not layer.generator.state


def test_layer_scale_of_keras_applications():
    layer = _keras.LayerScale(0.5, 3)
    scaled = keras.ops.convert_to_numpy(layer(np.ones((1, 3))))
    np.testing.assert_array_equal(scaled, np.full((1, 3), 0.5))


def test_custom_scale_layer_of_keras_applications():
    total = _keras.CustomScaleLayer(0.5)([np.ones((1, 3)), np.ones((1, 3))])
    np.testing.assert_array_equal(total, np.full((1, 3), 1.5))


def test_get_mask_and_set_mask():
    ids = np.array([[1, 2, 0]])
    embedded = keras.layers.Embedding(3, 2, mask_zero=True)(ids)
    np.testing.assert_array_equal(_keras.get_mask(embedded), [[True, True, False]])
    x = keras.ops.ones((1, 3, 2))
    assert _keras.get_mask(x) is None
    _keras.set_mask(x, keras.ops.convert_to_tensor([[True, False, False]]))
    np.testing.assert_array_equal(_keras.get_mask(x), [[True, False, False]])


def test_kept_masks():
    x = keras.ops.ones((1, 3, 2))
    mask = keras.ops.convert_to_tensor([[True, True, False]])
    _keras.set_mask(x, mask)
    with _keras.kept_masks(x):
        _keras.set_mask(x, None)
    assert _keras.get_mask(x) is mask


def test_flatten_layers(sequential):
    inner = sequential.layers
    wrapped = keras.Sequential([sequential])
    flat = _keras.flatten_layers(wrapped)
    assert flat[0] is wrapped and sequential in flat and inner[0] in flat
    assert wrapped not in _keras.flatten_layers(wrapped, include_self=False)


def test_sublayers_count_the_input_layer(sequential):
    kinds = [type(layer) for layer in _keras.sublayers(sequential)]
    assert kinds == [keras.layers.InputLayer, keras.layers.Dense]


def test_own_state():
    layer = keras.layers.BatchNormalization()
    layer.build((None, 3))
    layer.trainable = False
    names = [variable.name for variable in _keras.own_state(layer)]
    assert names == ["moving_mean", "moving_variance"]
    wrapped = keras.Sequential([keras.Input((3,)), layer])
    assert _keras.own_state(wrapped) == []


def test_embedding_variable():
    layer = keras.layers.Embedding(5, 2)
    layer.build()
    layer.enable_lora(1)
    assert isinstance(_keras.embedding_variable(layer), keras.Variable)
    assert _keras.embedding_variable(layer).shape == (5, 2)


def test_initializer_and_set_initializer():
    start = keras.initializers.Constant(2.0)
    with keras.StatelessScope():
        variable = keras.Variable(start, shape=(2,), dtype="float32")
        assert _keras.initializer(variable) is start
        _keras.set_initializer(variable, keras.initializers.Constant(3.0))
    np.testing.assert_array_equal(variable, [3.0, 3.0])


def test_is_functional(model, sequential):
    class Subclass(keras.Model):
        pass

    assert _keras.is_functional(model)
    assert not _keras.is_functional(Subclass())
    assert not _keras.is_functional(keras.layers.Dense(3))


def test_functional(sequential):
    assert _keras.is_functional(_keras.functional(sequential))
    assert _keras.functional(keras.Sequential([keras.layers.Dense(3)])) is None


def test_calls(model):
    calls = list(_keras.calls(model))
    first, second, third, last = calls
    assert [call.is_input for call in calls] == [True, False, False, False]
    assert isinstance(second.operation, keras.Sequential)
    assert isinstance(third.operation, keras.layers.Dropout)
    assert last.input_tensors == [first.outputs[0], third.outputs[0]]
    assert last.outputs == model.outputs
    x = {id(first.outputs[0]): "a", id(third.outputs[0]): "b"}
    by_position, by_name = last.arguments.fill_in(x)
    assert [*by_position, *by_name.values()] == ["a", "b"]
    assert last.arguments.keras_tensors == last.input_tensors
    assert last.arguments.args == (first.outputs[0], third.outputs[0])
    assert last.arguments.kwargs == {}


def test_calls_of():
    layer = keras.layers.Dense(3)
    assert _keras.calls_of(layer) == []
    x = keras.Input((3,))
    outputs = [layer(x), layer(x)]
    assert [call.outputs for call in _keras.calls_of(layer)] == [[y] for y in outputs]


def test_origin():
    x = keras.Input((4,))
    _, second = keras.ops.split(x, 2)
    layer = keras.layers.Dense(3)
    layer(x)
    assert _keras.origin(layer(x)) == (layer, 1, 0)
    operation, call, output = _keras.origin(second)
    assert type(operation) is _keras.operation("Split")
    assert (call, output) == (0, 1)


def test_input_and_output_structure(model):
    assert _keras.input_structure(model) == {"x": model.inputs[0]}
    assert _keras.output_structure(model) == [model.outputs[0]]


def test_compiled_loss():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    assert _keras.compiled_loss(model) is None
    model.compile(loss="mse")
    first = _keras.compiled_loss(model)
    model.compile(loss="mse")
    assert first is not None and _keras.compiled_loss(model) is not first


def test_trained_variables(sequential):
    optimizer = keras.optimizers.Adam()
    optimizer.build(sequential.trainable_variables)
    trained = _keras.trained_variables(optimizer)
    ids = [id(variable) for variable in trained]
    assert ids == [id(variable) for variable in sequential.trainable_variables]


def test_is_excluded_from_decay(sequential):
    kernel, bias = sequential.trainable_variables
    optimizer = keras.optimizers.AdamW()
    assert not _keras.is_excluded_from_decay(optimizer, kernel)
    optimizer.exclude_from_weight_decay(var_list=[kernel])
    assert _keras.is_excluded_from_decay(optimizer, kernel)
    assert not _keras.is_excluded_from_decay(optimizer, bias)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    assert _keras.is_excluded_from_decay(optimizer, bias)


def test_copy_decay_exclusions(sequential):
    kernel, bias = sequential.trainable_variables
    first, second = keras.optimizers.AdamW(), keras.optimizers.AdamW()
    first.exclude_from_weight_decay(var_list=[kernel])
    _keras.copy_decay_exclusions(first, second)
    assert _keras.is_excluded_from_decay(second, kernel)
    assert not _keras.is_excluded_from_decay(second, bias)


def test_num_batches_seen_and_accumulated_gradients():
    optimizer = keras.optimizers.SGD(1.0, gradient_accumulation_steps=2)
    variable = keras.Variable(1.0)
    optimizer.build([variable])
    optimizer.apply([keras.ops.convert_to_tensor(0.25)])
    assert int(optimizer.iterations) == 0
    assert int(_keras.num_batches_seen(optimizer)) == 1
    (accumulated,) = _keras.accumulated_gradients(optimizer)
    assert float(accumulated) == 0.25
    plain = keras.optimizers.SGD(1.0)
    plain.build([variable])
    assert _keras.accumulated_gradients(plain) == []


def test_kept_names():
    before = keras.layers.Dense(1).name
    with _keras.kept_names():
        keras.layers.Dense(1)
    first, second = (
        int(name.rpartition("_")[2])
        for name in (keras.layers.Dense(1).name, keras.layers.Dense(1).name)
    )
    assert second == first + 1
    assert before in ("dense", f"dense_{first - 1}")


on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="Keras keeps logits there alone"
)


@on_tensorflow
@pytest.mark.parametrize("name", ["softmax", "sigmoid"])
def test_logits(name):
    z = keras.ops.convert_to_tensor([[300.0, -300.0]])
    outputs = keras.layers.Activation(name)(z)
    assert _keras.logits(outputs) is z and _keras.logits(z) is None
    # Both losses are infinite, but for the rounding of probabilities.
    copy = keras.ops.convert_to_tensor(keras.ops.convert_to_numpy(outputs))
    target = keras.ops.convert_to_tensor([[0.0, 1.0]])
    of_copy = keras.losses.categorical_crossentropy(target, copy)
    _keras.hand_on(outputs, copy)
    handed = keras.losses.categorical_crossentropy(target, copy)
    assert float(of_copy[0]) < 17 and float(handed[0]) == 600


def test_hand_on():
    mask = keras.ops.convert_to_tensor([True, False])
    source, target = keras.ops.ones((2, 3)), keras.ops.zeros((1, 3))
    _keras.hand_on(source, target)
    assert _keras.get_mask(target) is None
    _keras.set_mask(source, mask)
    _keras.hand_on(source, target, lambda x: x[:1])
    assert keras.ops.convert_to_numpy(_keras.get_mask(target)).tolist() == [True]


@on_tensorflow
@pytest.mark.parametrize(
    "name, loss", [("softmax", "categorical"), ("sigmoid", "binary")]
)
def test_raw_activation(name, loss):
    import tensorflow as tf

    entropy = getattr(keras.losses, f"{loss}_crossentropy")
    target = tf.constant([[0.0, 1.0]])

    @tf.function
    def losses(z):
        outputs = getattr(tf.nn, name)(z)
        logits, activation = _keras.raw_activation(outputs)
        assert logits is z and _keras.raw_activation(z) is None
        assert _keras.raw_activation(getattr(keras.ops, name)(z)) is None
        again = activation(tf.identity(logits))
        return [entropy(target, h)[0] for h in (outputs, again, tf.identity(again))]

    own, again, rounded = losses(tf.constant([[300.0, -300.0]]))
    assert float(own) == float(again) > 2 * float(rounded)
    assert _keras.raw_activation(target) is None


def test_compile_loss():
    y, h = keras.ops.ones((2, 1)), 3 * keras.ops.ones((2, 1))
    assert float(_keras.CompileLoss("mse")(y, h)) == 4
    assert float(_keras.CompileLoss("mse")(y, h, keras.ops.zeros((2,)))) == 0


class OldLoss(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        return 3 * keras.ops.mean(y_pred)


def test_compute_loss_without_an_argument_for_the_mode():
    inputs = keras.Input((3,))
    model = OldLoss(inputs, keras.layers.ReLU()(inputs))
    h = keras.ops.ones((2, 3))
    found = _keras.compute_loss(model, y=h, y_pred=h, sample_weight=None, training=True)
    assert float(found) == 3


def test_inside_call():
    """Losses of a layer that is called twice add up where they do so in `fit`."""
    layer = keras.layers.ReLU(activity_regularizer="l1")
    holder = keras.Sequential([layer])
    x = keras.ops.ones((2, 3))
    count = 1 if keras.backend.backend() == "jax" else 2
    with keras.StatelessScope(collect_losses=True):
        layer(x)
        layer(x)
        assert len(holder.losses) == 1
        with _keras.inside_call(holder):
            layer(x)
            layer(x)
        assert len(holder.losses) == count
        layer(x)
        assert len(holder.losses) == 1


def test_with_losses(sequential):
    value = keras.ops.ones(())
    with _keras.with_losses(sequential, [value]):
        assert sequential.losses == [value]
    with _keras.with_losses(sequential, None):
        assert sequential.losses == []
    assert sequential.losses == []


def test_in_measurement():
    assert not _keras.in_measurement()
    with keras.StatelessScope():
        assert not _keras.in_measurement()
    with keras.StatelessScope(collect_losses=True):
        assert _keras.in_measurement()


def test_conv_lstm_cell():
    assert isinstance(keras.layers.ConvLSTM2D(2, 3).cell, _keras.ConvLSTMCell)


def test_own_weights():
    dense = keras.layers.Dense(3)
    wrapper = keras.layers.SpectralNormalization(dense)
    wrapper.build((2, 5))
    dense.trainable = False
    assert [v.name for v in _keras.own_weights(dense)] == ["kernel", "bias"]
    # Weights of others that a layer holds as its own attributes are among them.
    assert _keras.own_weights(wrapper) == [dense.kernel]


def test_parts():
    sgd, adam = keras.optimizers.SGD(), keras.optimizers.Adam()
    assert _keras.parts(sgd) == [sgd]
    pattern = keras.optimizers.OptimizerMap(sgd, {"bias": adam})
    assert set(_keras.parts(keras.optimizers.MultiOptimizer(pattern))) == {sgd, adam}


@pytest.mark.every_backend
def test_clip_before_update():
    """Behind unscaling, in front of the optimizer's own clipping and decay."""
    seen = []

    def halved(gradients, variables):
        seen.append([v.path for v in variables])
        return [g / 2 for g in gradients]

    sgd = keras.optimizers.SGD(
        1.0, clipvalue=3.0, loss_scale_factor=8.0, weight_decay=0.1
    )
    _keras.clip_before_update(sgd, halved)
    kernel, bias = (keras.Variable([1.0, 1.0], name=x) for x in ("kernel", "bias"))
    gradient = keras.ops.convert_to_tensor([16.0, 160.0])
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        sgd.apply([None, gradient], [kernel, bias])
    assert seen == [["bias"]]
    found = keras.ops.convert_to_numpy(bias)
    np.testing.assert_allclose(found, [0.9 - 1.0, 0.9 - 3.0], rtol=1e-6)
