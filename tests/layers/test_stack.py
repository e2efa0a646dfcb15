"""A stack of blocks equals the blocks one behind the other."""

import keras
import numpy as np
import pytest
from keras import ops

from fixinit import backend
from fixinit.layers import ResidualBlock, ScalarBias, ScaledAdd, Stack
from tests.marks import ON_TORCH, mostly_slow, slow_on_tensorflow

DEPTH, WIDTH = 5, 4


def numpy(x):
    return ops.convert_to_numpy(x)


def inputs(size=6, *shape):
    shape = (size, *(shape or (WIDTH,)))
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def he(seed):
    return keras.initializers.HeNormal(seed=seed)


def plain_block(seed=3, **kwargs):
    return ResidualBlock(
        [
            ScalarBias(),
            keras.layers.Dense(8, activation="relu", kernel_initializer=he(seed)),
            keras.layers.Dense(WIDTH, kernel_initializer=he(seed + 1)),
        ],
        merge=ScaledAdd(branch_scale=0.5),
        **kwargs,
    )


def rich_block(seed=3):
    """State, noise and losses of every kind."""
    return ResidualBlock(
        [
            keras.layers.BatchNormalization(momentum=0.8),
            keras.layers.Dense(
                8,
                activation="relu",
                kernel_initializer=he(seed),
                kernel_regularizer=keras.regularizers.L2(0.01),
            ),
            keras.layers.Dropout(0.2, seed=seed + 1),
            # Stochastic depth: one draw per sample.
            keras.layers.Dropout(0.2, noise_shape=(None, 1), seed=seed + 2),
            keras.layers.Dense(
                WIDTH,
                kernel_initializer=he(seed + 3),
                activity_regularizer=keras.regularizers.L2(0.01),
            ),
        ],
        merge=ScaledAdd(branch_scale=0.5),
    )


def functional_block():
    x = keras.Input((WIDTH,))
    h = keras.layers.Dense(WIDTH, activation="tanh", kernel_initializer=he(7))(x)
    return keras.Model(x, keras.layers.Add()([x, h]), name="functional")


BLOCKS = {"plain": plain_block, "rich": rich_block, "functional": functional_block}


def sequential(layers):
    return keras.Sequential([keras.Input((WIDTH,)), *layers])


def variables_of(blocks):
    """Every variable of the blocks, stacked."""
    return [
        np.stack([numpy(v) for v in same])
        for same in zip(*(block.variables for block in blocks), strict=True)
    ]


def stacked_variables(stack):
    return [numpy(v) for v in stack.stacked_variables]


def assert_all_close(found, expected, rtol=1e-5, atol=1e-6):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


# Draws.


def test_draws_are_those_of_separate_blocks_with_shifted_seeds():
    stack = Stack(plain_block(seed=3), DEPTH, seed_step=10)
    stack.build((None, WIDTH))
    separate = [plain_block(seed=3 + 10 * i) for i in range(DEPTH)]
    for block in separate:
        block.build((None, WIDTH))
    assert_all_close(stacked_variables(stack), variables_of(separate), rtol=3e-7)


def test_by_default_no_two_blocks_share_a_seed():
    stack = Stack(plain_block(seed=3), DEPTH)
    assert stack.seed_step == 2
    stack.build((None, WIDTH))
    rows = [
        row.ravel()[:8] for v in stack.weights if v.name == "kernel" for row in numpy(v)
    ]
    assert len(np.unique(np.abs(rows))) == 2 * DEPTH * 8


def test_without_seeds_draws_are_independent_and_follow_the_global_seed():
    def draw():
        keras.utils.set_random_seed(5)
        stack = Stack(keras.layers.Dense(WIDTH), DEPTH)
        stack.build((None, WIDTH))
        return numpy(stack.weights[0])

    first = draw()
    assert len(np.unique(first)) == first.size
    assert (first == draw()).all()


def test_paths_are_those_of_a_block_behind_the_stacks_name():
    stack = Stack(plain_block(), DEPTH, name="blocks")
    stack.build((None, WIDTH))
    paths = [v.path for v in stack.weights]
    assert paths[0].startswith("blocks/scalar_bias")
    assert paths[1].split("/")[-1] == "kernel"
    assert all(len(path.split("/")) == 3 for path in paths)


# Equality with separate blocks.


@pytest.mark.parametrize("kind", BLOCKS)
def test_outputs_and_losses_equal_separate_blocks(kind):
    stack = Stack(BLOCKS[kind](), DEPTH)
    x = inputs()
    outputs = stack(x)
    expected = x
    blocks = stack.unstack()
    for block in blocks:
        expected = block(expected)
    np.testing.assert_allclose(numpy(outputs), numpy(expected), rtol=1e-5, atol=1e-6)
    losses = [float(numpy(loss)) for loss in stack.losses]
    expected = [float(numpy(loss)) for block in blocks for loss in block.losses]
    assert sum(losses) == pytest.approx(sum(expected), rel=1e-5)


@slow_on_tensorflow
@pytest.mark.parametrize(
    ("kind", "remat", "jit_compile"),
    [
        ("rich", None, False),
        pytest.param("rich", "sqrt", False, marks=pytest.mark.slow),
        pytest.param("plain", "block", False, marks=ON_TORCH),
        pytest.param("plain", 3, False, marks=ON_TORCH),
        ("functional", None, False),
        pytest.param("rich", "sqrt", True, marks=pytest.mark.slow),
    ],
)
def test_twenty_steps_equal_those_of_separate_blocks(kind, remat, jit_compile):
    if jit_compile and keras.backend.backend() != "tensorflow":
        pytest.skip("a choice on TensorFlow only")
    stack = Stack(BLOCKS[kind](), DEPTH, remat=remat)
    stack.build((None, WIDTH))
    blocks = stack.unstack()
    x = inputs(40)
    histories = []
    for model in (sequential([stack]), sequential(blocks)):
        model.compile(
            keras.optimizers.SGD(0.01, momentum=0.9),
            "mse",
            jit_compile=jit_compile or keras.backend.backend() == "jax",
        )
        history = model.fit(
            x, x[:, ::-1], batch_size=8, epochs=4, shuffle=False, verbose=0
        )
        histories.append(history.history["loss"])
    assert_all_close(histories[:1], histories[1:])
    assert histories[0][-1] < histories[0][0]
    assert_all_close(stacked_variables(stack), variables_of(blocks))


def test_gradients_equal_those_of_separate_blocks():
    stack = Stack(plain_block(), DEPTH)
    stack.build((None, WIDTH))
    blocks = stack.unstack()
    x = ops.convert_to_tensor(inputs())

    def gradients(model):
        def loss(values, x):
            outputs, _ = model.stateless_call(values, [], x, training=True)
            return ops.sum(ops.square(outputs))

        values = [v.value for v in model.trainable_variables]
        return backend.value_and_gradients(loss)(values, x)[1]

    found = [numpy(g) for g in gradients(sequential([stack]))]
    separate = [numpy(g) for g in gradients(sequential(blocks))]
    per_block = len(separate) // DEPTH
    expected = [np.stack(separate[i::per_block]) for i in range(per_block)]
    assert_all_close(found, expected, rtol=1e-4, atol=1e-5)


def test_every_block_draws_its_own_noise():
    stack = Stack(keras.layers.Dropout(0.5, seed=1), 2)
    once, again = (
        numpy(stack(np.ones((50, 8), "float32"), training=True)) for _ in range(2)
    )
    # With one mask for both, every survivor would be 4.
    assert 0.15 < (once > 0).mean() < 0.35
    assert (once != again).any()
    assert (numpy(stack(np.ones((2, 8), "float32"))) == 1).all()


@slow_on_tensorflow
def test_nested_stacks():
    inner = Stack(plain_block(), 2)
    stack = Stack(inner, 3, remat="sqrt")
    x = inputs()
    outputs = stack(x)
    assert stack.weights[1].shape == (3, 2, WIDTH, 8)
    kernels = numpy(stack.weights[1]).reshape(6, -1)
    assert len(np.unique(kernels[:, 0])) == 6
    expected = x
    for part in stack.unstack():
        for block in part.unstack():
            expected = block(expected)
    np.testing.assert_allclose(numpy(outputs), numpy(expected), rtol=1e-5, atol=1e-6)
    model = sequential([stack])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    losses = model.fit(x, x[:, ::-1], epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


# Constants.


def test_constants_differ_from_block_to_block():
    scales = [0.1, 0.2, 0.3, 0.4, 0.5]
    stack = Stack(plain_block(), DEPTH, constants={"merge.branch_scale": scales})
    x = inputs()
    outputs = stack(x)
    blocks = stack.unstack()
    assert [block.merge.branch_scale for block in blocks] == scales
    expected = x
    for block in blocks:
        expected = block(expected)
    np.testing.assert_allclose(numpy(outputs), numpy(expected), rtol=1e-5, atol=1e-6)


def test_from_blocks_finds_constants_and_keeps_weights():
    blocks = [plain_block(seed=9 * i) for i in range(3)]
    for index, block in enumerate(blocks):
        block.merge.branch_scale = 0.1 * (index + 1)
    x = expected = inputs()
    for block in blocks:
        expected = block(expected)
    stack = Stack.from_blocks(blocks)
    assert list(stack.constants) == ["merge.branch_scale"]
    np.testing.assert_allclose(numpy(stack(x)), numpy(expected), rtol=1e-5, atol=1e-6)


def test_from_blocks_of_functional_models():
    blocks = [functional_block() for _ in range(3)]
    for index, block in enumerate(blocks):
        block.set_weights([w * (index + 1) for w in block.get_weights()])
    x = expected = inputs()
    for block in blocks:
        expected = block(expected)
    stack = Stack.from_blocks(blocks)
    np.testing.assert_allclose(numpy(stack(x)), numpy(expected), rtol=1e-5, atol=1e-6)


def test_unstack_and_from_blocks_are_inverse():
    stack = Stack(rich_block(), DEPTH)
    stack(inputs(), training=True)
    again = Stack.from_blocks(stack.unstack())
    assert_all_close(stacked_variables(again), stacked_variables(stack), rtol=0, atol=0)


# A Keras layer like any other.


@pytest.mark.slow
def test_save_load_and_go_on(tmp_path):
    x = keras.Input((WIDTH,))
    model = keras.Model(x, plain_block()(Stack(rich_block(), DEPTH, remat="sqrt")(x)))
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "mse")
    x = inputs()
    model.fit(x, x, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        loaded.predict(x, verbose=0), model.predict(x, verbose=0)
    )
    assert [v.path for v in loaded.weights] == [v.path for v in model.weights]
    loaded.fit(x, x, verbose=0)
    assert (
        np.abs(loaded.predict(x, verbose=0) - model.predict(x, verbose=0)) > 0
    ).any()


def test_constants_survive_save_and_load(tmp_path):
    scales = [0.1, 0.2, 0.3]
    stack = Stack(plain_block(), 3, constants={"merge.branch_scale": scales})
    model = sequential([stack])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[0].constants == {"merge.branch_scale": scales}
    np.testing.assert_array_equal(
        loaded.predict(inputs(), verbose=0), model.predict(inputs(), verbose=0)
    )


def test_weights_are_counted_once_per_block():
    stack = Stack(rich_block(), DEPTH)
    model = sequential([stack])
    block = rich_block()
    block.build((None, WIDTH))
    assert model.count_params() == DEPTH * block.count_params()
    lines = []
    model.summary(print_fn=lines.append)
    assert any(
        f"{model.count_params():,}" in line for line in "\n".join(lines).split("\n")
    )
    assert stack.compute_output_shape((None, WIDTH)) == (None, WIDTH)


def test_frozen_stacks_do_not_train():
    stack = Stack(rich_block(), DEPTH)
    model = sequential([stack, keras.layers.Dense(WIDTH)])
    stack.trainable = False
    assert len(model.trainable_variables) == 2
    before = [numpy(v).copy() for v in stack.weights]
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(inputs(), inputs(), verbose=0)
    # A frozen BatchNormalization does not update its averages either.
    assert_all_close([numpy(v) for v in stack.weights], before, rtol=0, atol=0)
    stack.trainable = True
    assert len(model.trainable_variables) == 2 + 6


def test_what_is_frozen_in_the_block_is_frozen_in_the_stack():
    block = plain_block()
    block.branch[1].trainable = False
    stack = Stack(block, DEPTH)
    stack.build((None, WIDTH))
    assert len(stack.trainable_variables) == 3
    assert len(stack.non_trainable_variables) == 2


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16"])
def test_half_precision(policy):
    keras.config.set_dtype_policy(policy)
    stack = Stack(rich_block(), DEPTH)
    outputs = stack(inputs(), training=True)
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
    expected = "float32" if policy.startswith("mixed") else "bfloat16"
    assert {keras.backend.standardize_dtype(v.dtype) for v in stack.weights} == {
        expected
    }


def test_masks_reach_blocks_that_take_them():
    @keras.saving.register_keras_serializable("test_stack")
    class AddMask(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.supports_masking = True

        def call(self, inputs, mask=None):
            if mask is None:
                return inputs
            return inputs + ops.cast(mask, inputs.dtype)[..., None]

    stack = Stack(AddMask(), 3)
    x = np.zeros((1, 4, 2), "float32")
    outputs = stack(x, mask=np.array([[True, True, False, False]]))
    assert numpy(outputs)[0, :, 0].tolist() == [3, 3, 0, 0]


def test_constraints_hold_for_every_block():
    dense = keras.layers.Dense(WIDTH, kernel_constraint=keras.constraints.UnitNorm())
    stack = Stack(dense, DEPTH)
    model = sequential([stack])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(inputs(), inputs(), verbose=0)
    norms = np.linalg.norm(numpy(stack.weights[0]), axis=1)
    np.testing.assert_allclose(norms, 1, rtol=1e-4)


def test_regularizers_add_up_over_blocks():
    dense = keras.layers.Dense(
        WIDTH, kernel_regularizer=keras.regularizers.OrthogonalRegularizer(0.1)
    )
    stack = Stack(dense, DEPTH)
    stack.build((None, WIDTH))
    expected = sum(float(numpy(loss)) for b in stack.unstack() for loss in b.losses)
    (loss,) = stack.losses
    assert float(numpy(loss)) == pytest.approx(expected, rel=1e-5)


def test_scan_blocks_runs_a_body_with_every_blocks_values():
    stack = Stack(rich_block(), DEPTH)
    stack.build((None, WIDTH))
    factors = np.arange(1, DEPTH + 1, dtype="float32")

    def body(x, rows):
        x = rows[0] * stack.block(x, training=False)
        return x, [ops.mean(ops.square(x))]

    x = ops.convert_to_tensor(inputs())
    like = [keras.KerasTensor((), "float32")]
    outputs, (observed,) = stack.scan_blocks(
        x, body, [ops.convert_to_tensor(factors)], like
    )
    expected = []
    for block, factor in zip(stack.unstack(), factors, strict=True):
        x = factor * block(x)
        expected.append(np.mean(np.square(numpy(x))))
    np.testing.assert_allclose(numpy(observed), expected, rtol=1e-4)
    np.testing.assert_allclose(numpy(outputs), numpy(x), rtol=1e-3, atol=1e-4)


# Wrong use.


def test_a_block_that_changes_the_shape_is_refused():
    with pytest.raises(ValueError, match="must put out the shape"):
        Stack(keras.layers.Dense(WIDTH + 1), DEPTH)(inputs())


@pytest.mark.parametrize("depth", [0, -1, 2.5, True])
def test_depth_is_at_least_one(depth):
    with pytest.raises(ValueError, match="`depth` must be an integer of at least 1"):
        Stack(plain_block(), depth)


@pytest.mark.parametrize("remat", ["all", 0, 1.5, True])
def test_remat_is_known(remat):
    with pytest.raises(ValueError, match="Argument `remat`"):
        Stack(plain_block(), DEPTH, remat=remat)


def test_a_block_that_was_built_on_another_shape_is_refused():
    block = keras.layers.Dense(WIDTH)
    block.build((None, WIDTH + 3))
    with pytest.raises(ValueError, match="was built on the shape"):
        Stack(block, DEPTH)(inputs())


def test_a_block_in_use_elsewhere_is_refused():
    block = keras.layers.Dense(WIDTH)
    block(keras.Input((WIDTH,)))
    with pytest.raises(ValueError, match="is in use"):
        Stack(block, DEPTH)
    block = keras.layers.Dense(WIDTH)
    Stack(block, DEPTH)
    with pytest.raises(ValueError, match="is in use"):
        Stack(block, DEPTH)


def test_a_block_that_is_used_elsewhere_before_the_stack_is_built_is_refused():
    block = keras.layers.Dense(WIDTH)
    stack = Stack(block, DEPTH)
    block(keras.Input((WIDTH,)))
    with pytest.raises(ValueError, match="is in use"):
        stack(inputs())


def test_a_block_with_several_inputs_is_refused():
    x, y = keras.Input((WIDTH,)), keras.Input((WIDTH,))
    with pytest.raises(ValueError, match="must take one tensor"):
        Stack(keras.Model([x, y], keras.layers.Add()([x, y])), DEPTH)


def test_what_is_no_layer_is_refused():
    with pytest.raises(ValueError, match="`block` must be a Keras layer"):
        Stack(lambda x: x, DEPTH)


@pytest.mark.parametrize(
    "constants", [{"merge.scale": [1.0] * DEPTH}, {"merge.branch_scale": [1.0]}]
)
def test_constants_are_checked(constants):
    with pytest.raises(ValueError, match="Argument `constants`"):
        Stack(plain_block(), DEPTH, constants=constants)


def test_blocks_that_differ_are_refused():
    other = ResidualBlock([keras.layers.Dense(WIDTH, activation="tanh")])
    with pytest.raises(ValueError, match="may differ in names"):
        Stack.from_blocks([ResidualBlock([keras.layers.Dense(WIDTH)]), other])
    with pytest.raises(ValueError, match="`blocks` must be a list"):
        Stack.from_blocks([])


def test_integers_are_refused():
    with pytest.raises(ValueError, match="floating-point"):
        Stack(plain_block(), DEPTH)(np.ones((2, WIDTH), "int32"))


def test_unstacking_needs_weights():
    with pytest.raises(ValueError, match="has no weights yet"):
        Stack(plain_block(), DEPTH).unstack()


# Frozen when saved, frozen when built.


@pytest.mark.parametrize("saved_frozen", [True, False])
def test_save_and_load_whatever_is_frozen(tmp_path, saved_frozen):
    x = keras.Input((WIDTH,))
    stack = Stack(
        ResidualBlock(
            [keras.layers.BatchNormalization(), keras.layers.LayerNormalization()]
        ),
        3,
    )
    model = keras.Model(x, stack(x))
    rng = np.random.default_rng(0)
    stack.set_weights([rng.uniform(0.5, 1, size=v.shape) for v in stack.weights])
    stack.trainable = not saved_frozen
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        loaded.predict(inputs(), verbose=0), model.predict(inputs(), verbose=0)
    )
    loaded.layers[1].trainable = True
    assert len(loaded.trainable_variables) == 4


def test_frozen_from_the_start():
    stack = Stack(plain_block(), 3, trainable=False)
    stack.build((None, WIDTH))
    assert stack.trainable_variables == []
    stack.trainable = True
    assert len(stack.trainable_variables) == 5


# Other ways to use it.


def test_in_a_layer_that_builds_itself_by_calling():
    class Outer(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.stack = Stack(rich_block(), DEPTH)

        def call(self, x):
            return self.stack(x)

    outputs = Outer()(inputs())
    assert outputs.shape == (6, WIDTH)


def test_weights_made_with_the_layer():
    @keras.saving.register_keras_serializable("test_stack")
    class Early(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.shift = self.add_weight(shape=(), initializer="ones")
            self.dense = keras.layers.Dense(WIDTH)

        def call(self, x):
            return self.dense(x) + self.shift

    stack = Stack(Early(), 3)
    outputs = stack(inputs())
    expected = inputs()
    for block in stack.unstack():
        expected = block(expected)
    np.testing.assert_allclose(numpy(outputs), numpy(expected), rtol=1e-5, atol=1e-6)


def test_images_of_any_size():
    convolution = keras.layers.Conv2D(3, 3, padding="same", activation="relu")
    model = keras.Sequential([keras.Input((None, None, 3)), Stack(convolution, 4)])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    for size in (5, 8):
        x = inputs(2, size, size, 3)
        assert np.isfinite(model.train_on_batch(x, x))


def test_gathers_from_a_weight():
    @keras.saving.register_keras_serializable("test_stack")
    class Bias(keras.layers.Layer):
        def build(self, input_shape):
            self.table = self.add_weight(shape=(7,), name="table")

        def call(self, x):
            return x + ops.take(self.table, [1, 1, 2, 5])

    model = sequential([Stack(Bias(), 3)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    losses = model.fit(inputs(), inputs() + 1, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_the_block_itself_stays_an_ordinary_layer():
    block = keras.layers.Dense(WIDTH)
    Stack(block, 3)(inputs())
    assert np.abs(numpy(block(inputs()))).max() > 0


def test_sequential_blocks_with_constants():
    blocks = [
        sequential([keras.layers.Rescaling(s), keras.layers.Rescaling(0.3)])
        for s in (1.5, 2.5, 3.5)
    ]
    stack = Stack.from_blocks(blocks)
    expected = inputs() * 1.5 * 2.5 * 3.5 * 0.3**3
    np.testing.assert_allclose(numpy(stack(inputs())), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda i: keras.layers.Dense(
            WIDTH, kernel_regularizer=keras.regularizers.L2(0.1 * (i + 1))
        ),
        lambda i: keras.layers.Activation(
            ["relu", "tanh"][i], name=["relu", "tanh"][i]
        ),
    ],
    ids=["regularizers", "activations"],
)
def test_from_blocks_refuses_what_it_cannot_stack(make):
    with pytest.raises(ValueError, match="may differ in names"):
        Stack.from_blocks([make(0), make(1)])


def test_constants_that_a_layer_does_not_take_as_tensors():
    block = keras.layers.Dropout(0.5, seed=1)
    stack = Stack(block, 2, constants={"rate": [0.1, 0.2]})
    if keras.backend.backend() == "torch":
        pytest.skip("PyTorch's scalars are numbers")
    with pytest.raises(ValueError, match="perhaps because"):
        stack(inputs(), training=True)


def test_a_layer_shared_with_the_block_is_refused():
    dense = keras.layers.Dense(WIDTH)
    dense(keras.Input((WIDTH,)))
    with pytest.raises(ValueError, match="is in use"):
        Stack(ResidualBlock([dense]), DEPTH)


def test_dtype_is_the_blocks():
    with pytest.raises(ValueError, match="Argument `dtype`"):
        Stack(plain_block(), DEPTH, dtype="bfloat16")


@pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="only JAX tells what XLA needs"
)
def test_remat_saves_memory():
    import jax

    def megabytes(remat):
        model = sequential([Stack(plain_block(), 100, remat=remat)])
        values = [v.value for v in model.trainable_variables]

        def loss(x):
            return ops.sum(model.stateless_call(values, [], x, training=True)[0])

        compiled = jax.jit(jax.grad(loss)).lower(np.ones((4000, WIDTH), "float32"))
        return compiled.compile().memory_analysis().temp_size_in_bytes / 2**20

    everything, root = megabytes(None), megabytes("sqrt")
    # 100 blocks against 10 inputs and 10 blocks.
    assert root < everything / 3


@slow_on_tensorflow
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="a format of TensorFlow"
)
def test_export(tmp_path):
    import tensorflow as tf

    model = sequential([Stack(plain_block(), 3)])
    model.export(str(tmp_path / "saved"), verbose=False)
    saved = tf.saved_model.load(str(tmp_path / "saved"))
    served = saved.serve(inputs())
    np.testing.assert_allclose(served, model.predict(inputs(), verbose=0), rtol=1e-5)


# Initializers of whatever kind.


@keras.saving.register_keras_serializable("fixinit_tests")
class Wrapped(keras.initializers.Initializer):
    """An initializer around one without a seed."""

    def __init__(self, inner=None):
        self.inner = keras.initializers.HeNormal() if inner is None else inner

    def __call__(self, shape, dtype=None):
        return 0.5 * self.inner(shape, dtype)

    def get_config(self):
        return {"inner": keras.initializers.serialize(self.inner)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.initializers.deserialize(config["inner"]))


@keras.saving.register_keras_serializable("fixinit_tests")
class WithNumPy(keras.initializers.Initializer):
    """Uses its seed itself."""

    def __init__(self, seed=None):
        self.seed = seed

    def __call__(self, shape, dtype=None):
        return ops.cast(np.random.default_rng(self.seed).normal(size=shape), dtype)

    def get_config(self):
        return {"seed": self.seed}


@keras.saving.register_keras_serializable("fixinit_tests")
class DrawsByFunction(keras.layers.Layer):
    def build(self, input_shape):
        he = keras.initializers.HeNormal()
        self.kernel = self.add_weight(
            shape=(WIDTH, WIDTH), initializer=lambda s, dtype=None: 0.5 * he(s, dtype)
        )
        self.shift = self.add_weight(
            shape=(), initializer=lambda s, dtype=None: ops.ones(s, dtype)
        )

    def call(self, inputs):
        return ops.matmul(inputs, self.kernel) + self.shift


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.layers.Dense(WIDTH, kernel_initializer=Wrapped()),
        lambda: keras.layers.Dense(WIDTH, kernel_initializer=WithNumPy(3)),
        DrawsByFunction,
    ],
)
def test_every_block_draws_for_itself_whatever_the_initializer(make):
    stack = Stack(make(), DEPTH)
    stack.build((None, WIDTH))
    kernels = numpy(stack.weights[0])
    assert len(np.unique(kernels)) == kernels.size


def test_functions_that_draw_nothing_are_the_same_in_every_block():
    stack = Stack(DrawsByFunction(), DEPTH)
    stack.build((None, WIDTH))
    np.testing.assert_array_equal(numpy(stack.weights[1]), np.ones(DEPTH))


# Sequences and images.


def dense_block(seed):
    return keras.layers.Dense(WIDTH, activation="tanh", kernel_initializer=he(seed))


def recurrent_block(seed):
    return keras.layers.GRU(
        WIDTH,
        return_sequences=True,
        kernel_initializer=he(seed),
        recurrent_initializer=he(seed + 100),
        seed=seed + 200,
    )


@mostly_slow(
    "block, remat, jit_compile",
    [
        (dense_block, None, True),
        (dense_block, "sqrt", False),
        (recurrent_block, "sqrt", True),
        (recurrent_block, None, False),
    ],
    quick=1,
)
def test_blocks_on_sequences_train_like_separate_blocks(block, remat, jit_compile):
    if jit_compile and keras.backend.backend() == "torch":
        pytest.skip("Keras has no compiler for PyTorch on the CPU.")
    stack = Stack(block(3), DEPTH, seed_step=1, remat=remat)
    models = []
    for layers in ([stack], [block(3 + i) for i in range(DEPTH)]):
        model = keras.Sequential([keras.Input((7, WIDTH)), *layers])
        model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=jit_compile)
        x = inputs(6, 7, WIDTH)
        model.fit(x, 0.5 * x, batch_size=3, epochs=3, shuffle=False, verbose=0)
        models.append(model)
    separate = variables_of(models[1].layers)
    assert_all_close(stacked_variables(stack), separate)
