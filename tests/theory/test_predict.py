"""Predictions against networks that are run: every layer alone, and together."""

import keras
import numpy as np
import pytest

import fixinit
from fixinit import theory

layers = keras.layers
WIDTH, SIZE, BATCH = 64, 10, 32


def measure(make, shape, training=False, seeds=6, mean=0.0, variance=1.0):
    """Statistics of the output of a model, over draws: arrays of means and errors.

    Rows are the mean, the mean square, the variance over batch and space averaged over
    channels, and the correlation between inputs.
    """
    rng, found = np.random.default_rng(0), []
    for seed in range(seeds):
        keras.utils.set_random_seed(seed)
        model = make()
        x = mean + np.sqrt(variance) * rng.standard_normal((BATCH, *shape))
        y = model(x.astype("float32"), training=training)
        y = keras.ops.convert_to_numpy(y).astype("float64")
        axes = tuple(range(y.ndim - 1))
        common = (np.sum(y, 0) ** 2 - np.sum(y**2, 0)).mean() / (BATCH * (BATCH - 1))
        square = np.mean(y**2)
        found.append([y.mean(), square, np.mean(np.var(y, axis=axes)), common / square])
    found = np.array(found)
    return found.mean(0), found.std(0, ddof=1) / np.sqrt(seeds)


def check(make, shape, rtol=0.0, **options):
    """The prediction lies within 4 standard errors of what is measured.

    `rtol` is what the width of the network may add.
    """
    measured, errors = measure(make, shape, **options)
    training = options.get("training", False)
    given = {f"input_{k}": v for k, v in options.items() if k in ("mean", "variance")}
    model = make()
    row = theory.predict(model, training=training, batch_size=BATCH, **given).layers[-1]
    predicted = [row.mean, row.mean_square, row.variance, row.correlation]
    scale = np.sqrt(measured[1])
    slack = rtol * np.array([scale, measured[1], measured[2], 1.0])
    for name, a, b, e, s in zip(
        ("mean", "mean square", "variance", "correlation"),
        predicted,
        measured,
        errors,
        slack,
        strict=True,
    ):
        assert abs(a - b) <= 4 * e + s + 1e-6 * scale, (name, a, b, e)
    return row


def network(*middle, shape=(SIZE, SIZE, 16)):
    """A function that makes a Sequential model, drawn anew."""

    def make():
        return keras.Sequential([keras.Input(shape), *(f() for f in middle)])

    return make


def he(filters=WIDTH, size=3, **options):
    options = {"padding": "same", "kernel_initializer": "he_normal", **options}
    return lambda: layers.Conv2D(filters, size, **options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": "valid"},
        {"strides": 2},
        {"strides": 3, "size": 5},
        {"dilation_rate": 2},
        {"groups": 4},
        {"activation": "relu"},
        {"activation": "gelu"},
        {"bias_initializer": keras.initializers.RandomNormal(0.5, 0.3)},
    ],
    ids=lambda options: "-".join(options) or "default",
)
def test_convolutions(options):
    size = options.pop("size", 3) if "size" in options else 3
    check(network(he(), layers.ReLU, he(size=size, **options)), (SIZE, SIZE, 16), 0.03)


@pytest.mark.parametrize(
    "middle, shape",
    [
        ([lambda: layers.Conv1D(WIDTH, 3, padding="causal")], (SIZE, 16)),
        ([lambda: layers.Conv1D(WIDTH, 4, padding="same", strides=2)], (11, 16)),
        ([lambda: layers.Conv3D(WIDTH, 3, padding="same")], (4, 5, 4, 16)),
        ([lambda: layers.DepthwiseConv2D(3, padding="same")], (SIZE, SIZE, 64)),
        ([lambda: layers.DepthwiseConv1D(3, depth_multiplier=3)], (SIZE, 64)),
        ([lambda: layers.SeparableConv2D(WIDTH, 3)], (SIZE, SIZE, 64)),
        ([lambda: layers.Conv1DTranspose(WIDTH, 3, strides=2)], (SIZE, 16)),
        (
            [lambda: layers.Conv2DTranspose(WIDTH, 3, strides=2, padding="same")],
            (6, 5, 16),
        ),
        ([lambda: layers.EinsumDense("ab,bc->ac", (WIDTH,))], (64,)),
        ([lambda: layers.EinsumDense("abc,cd->abd", (None, WIDTH))], (5, 64)),
        (
            [
                lambda: layers.EinsumDense(
                    "abc,cd->abd",
                    (None, WIDTH),
                    bias_axes="d",
                    bias_initializer=keras.initializers.RandomNormal(stddev=0.5),
                )
            ],
            (5, 64),
        ),
        ([lambda: layers.Dense(WIDTH, "relu")], (5, 64)),
    ],
    ids=lambda value: None,
)
def test_other_weight_layers(middle, shape):
    check(network(*middle, shape=shape), shape, 0.02)
    with_mean = dict(mean=0.7, variance=0.5)
    check(network(*middle, shape=shape), shape, 0.05, seeds=12, **with_mean)


@pytest.mark.parametrize(
    "middle",
    [
        [lambda: layers.MaxPooling2D(2)],
        [lambda: layers.MaxPooling2D(3, 2, padding="same")],
        [lambda: layers.AveragePooling2D(3, 1, padding="same")],
        [lambda: layers.AveragePooling2D(2), lambda: layers.AveragePooling2D(2)],
        [layers.GlobalAveragePooling2D],
        [lambda: layers.ZeroPadding2D(((1, 2), (0, 3)))],
        [lambda: layers.Cropping2D(((1, 2), (0, 3)))],
        [lambda: layers.UpSampling2D(2), lambda: layers.AveragePooling2D(3, 1)],
        [layers.Flatten, lambda: layers.Dense(256)],
        [lambda: layers.Reshape((SIZE * SIZE, WIDTH))],
        [lambda: layers.Permute((2, 1, 3))],
        [layers.GlobalAveragePooling2D, lambda: layers.Reshape((1, 1, WIDTH))],
        [layers.GlobalAveragePooling2D, lambda: layers.RepeatVector(3)],
    ],
    ids=lambda middle: middle[0]().name,
)
@pytest.mark.parametrize(
    "activation", ["relu", pytest.param("silu", marks=pytest.mark.slow)]
)
def test_what_moves_and_pools(middle, activation):
    make = network(he(), lambda: layers.Activation(activation), *middle)
    check(make, (SIZE, SIZE, 16), 0.03, seeds=8)


@pytest.mark.parametrize(
    "normalization",
    [
        layers.BatchNormalization,
        layers.LayerNormalization,
        lambda: layers.LayerNormalization(axis=(1, 2, 3)),
        lambda: layers.LayerNormalization(rms_scaling=True, scale=False),
        lambda: layers.LayerNormalization(axis=(1, 2, 3), rms_scaling=True),
        lambda: layers.GroupNormalization(8),
        lambda: layers.GroupNormalization(-1),
        layers.RMSNormalization,
        layers.UnitNormalization,
        lambda: layers.BatchNormalization(
            gamma_initializer=keras.initializers.RandomNormal(1, 0.5),
            beta_initializer=keras.initializers.Constant(0.3),
        ),
        lambda: layers.Rescaling(2.0, 0.5),
        lambda: layers.Normalization(mean=1.0, variance=4.0),
    ],
    ids=[
        "batch",
        "layer",
        "all",
        "layer by deviation",
        "all by deviation",
        "group",
        "instance",
        "rms",
        "unit",
        "drawn",
        "re",
        "n",
    ],
)
@pytest.mark.parametrize(
    "training", [pytest.param(False, marks=pytest.mark.slow), True]
)
def test_normalization(normalization, training):
    make = network(he(), layers.ReLU, normalization, he())
    check(make, (SIZE, SIZE, 16), 0.04, training=training, seeds=8)


@pytest.mark.parametrize(
    "normalization, following",
    [
        (layers.BatchNormalization, "relu"),
        (layers.LayerNormalization, "relu"),
        (lambda: layers.GroupNormalization(-1), "relu"),
        (layers.RMSNormalization, "tanh"),
        (layers.BatchNormalization, "max"),
    ],
    ids=["batch", "layer", "instance", "rms", "pooled"],
)
def test_normalization_between_nonlinearities(normalization, following):
    last = lambda: layers.Activation(following)  # noqa: E731
    if following == "max":
        last = lambda: layers.MaxPooling2D(3, 2, padding="same")  # noqa: E731
    make = network(he(), layers.ReLU, normalization, last)
    check(make, (SIZE, SIZE, 16), 0.03, training=True, seeds=4)


@pytest.mark.parametrize("normalization", ["BatchNormalization", "LayerNormalization"])
def test_a_normalized_rectified_gaussian_is_not_gaussian(normalization):
    units = 4096
    model = keras.Sequential(
        [
            keras.Input((units,)),
            layers.Dense(units, "relu", kernel_initializer="lecun_normal"),
            getattr(layers, normalization)(epsilon=1e-9),
            layers.ReLU(),
        ]
    )
    row = theory.predict(model, training=True).layers[-1]
    # relu((relu(z) - m) / s) for a standard normal z, with m and s those of relu(z).
    z, step = np.linspace(0, 12, 100_001, retstep=True)
    m, s = 1 / np.sqrt(2 * np.pi), np.sqrt(0.5 - 0.5 / np.pi)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    values = np.maximum((z - m) / s, 0)
    mean, square = (step * np.sum(density * v) for v in (values, values**2))
    assert row.mean == pytest.approx(mean, rel=1e-3)
    assert row.mean_square == pytest.approx(square, rel=1e-3)
    assert row.variance == pytest.approx(square - mean**2, rel=1e-3)


def test_normalization_of_rectified_zeros():
    model = keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(8, "relu", kernel_initializer="zeros"),
            layers.BatchNormalization(),
            layers.ReLU(),
        ]
    )
    rows = theory.predict(model, training=True)
    assert [row.mean_square for row in rows][1:] == [0, 0, 0]


def test_channels_that_differ_stay_what_they_are_behind_batch_normalization():
    join = lambda a, b: layers.ReLU()(  # noqa: E731
        layers.BatchNormalization()(layers.Concatenate()([a, b]))
    )
    check(functional(join), (SIZE, SIZE, 16), 0.03, training=True, seeds=4)


@pytest.mark.parametrize("groups", [-1, 32])
def test_groups_of_channels_lose_their_mean_in_every_input(groups):
    middle = [f for _ in range(4) for f in (he(), layers.ReLU)]
    make = network(*middle, he(), lambda: layers.GroupNormalization(groups))
    row = theory.predict(make()).layers[-1]
    assert 0 < row.correlation < 1
    if groups == -1:
        # The average of a map over space is 0 in every input: no part is in common.
        assert row.variance == pytest.approx(row.mean_square)


@pytest.mark.parametrize("mean", [0.0, 0.5])
def test_instance_normalization_behind_correlated_maps(mean):
    middle = [f for _ in range(2) for f in (he(), layers.ReLU)]
    make = network(*middle, he(), lambda: layers.GroupNormalization(-1), he())
    check(make, (SIZE, SIZE, 16), 0.04, seeds=4, mean=mean)


@pytest.mark.parametrize(
    "noise",
    [
        lambda: layers.Dropout(0.3),
        lambda: layers.GaussianDropout(0.3),
        lambda: layers.SpatialDropout2D(0.3),
        lambda: layers.GaussianNoise(0.5),
        lambda: layers.AlphaDropout(0.2),
        lambda: fixinit.layers.StochasticDepth(0.7, level="sample"),
        lambda: fixinit.layers.ShakeDrop(0.7, level="sample"),
        fixinit.layers.CReLU,
    ],
    ids=lambda noise: noise().name,
)
@pytest.mark.parametrize(
    "training", [pytest.param(False, marks=pytest.mark.slow), True]
)
def test_noise(noise, training):
    make = network(he(), layers.ReLU, noise, layers.GlobalAveragePooling2D)
    check(make, (SIZE, SIZE, 16), 0.04, training=training, seeds=8)


@pytest.mark.every_backend
@pytest.mark.parametrize(
    "activation",
    [
        layers.ReLU,
        lambda: layers.ReLU(max_value=2.0, negative_slope=0.1, threshold=0.2),
        layers.LeakyReLU,
        layers.PReLU,
        lambda: layers.ELU(0.5),
        layers.Softmax,
        lambda: layers.Activation("glu"),
        lambda: layers.Activation("log_softmax"),
        lambda: layers.Dense(512, activation=layers.LeakyReLU(0.3)),
        lambda: layers.Dense(512, kernel_initializer="identity"),
        lambda: layers.Dense(512, kernel_initializer="orthogonal"),
        lambda: layers.Dense(512, bias_initializer="ones"),
    ],
    ids=lambda make: make().name,
)
def test_activation_layers(activation):
    first = lambda: layers.Dense(512, kernel_initializer="lecun_normal")  # noqa: E731
    make = network(first, activation, shape=(64,))
    check(make, (64,), 0.03)


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: keras.ops.maximum(x, 0.0),
        lambda x: keras.ops.maximum(x1=-0.5, x2=x),
        lambda x: keras.ops.minimum(1, x),
        lambda x: keras.ops.clip(x, -0.5, 1),
        lambda x: keras.ops.multiply(x1=2.0, x2=x),
        keras.ops.softmax,
        keras.ops.log_softmax,
    ],
)
def test_operations_with_numbers_and_over_channels(operation):
    def make():
        x = keras.Input((64,))
        return keras.Model(x, operation(layers.Dense(512)(x)))

    check(make, (64,), 0.03)


def test_sparsemax_sums_to_one():
    model = keras.Sequential([keras.Input((512,)), layers.Activation("sparsemax")])
    row = theory.predict(model, input_variance=2.0).layers[-1]
    assert row.mean == pytest.approx(1 / 512)
    assert row.mean_square > 10 / 512**2


@pytest.mark.parametrize("level", ["batch", "element"])
def test_shake_drop_is_drawn_at_its_level(level):
    p, alpha = 0.7, (0.1, 0.8)
    layer = fixinit.layers.ShakeDrop(p, alpha=alpha, level=level)
    model = keras.Sequential([keras.Input((2, 2, 8)), layer])
    row = theory.predict(model, 1.0, 0.0, training=True).layers[-1]
    mean, square = np.mean(alpha), (0.1**2 + 0.1 * alpha[1] + alpha[1] ** 2) / 3
    shared = mean**2 if level == "element" else square
    expected = (p + (1 - p) * shared) / (p + (1 - p) * square)
    assert row.mean_square == pytest.approx(p + (1 - p) * square)
    assert row.correlation == pytest.approx(expected)


def functional(join, shape=(SIZE, SIZE, 16)):
    """A function that makes a model of two branches with weights of their own."""

    def make():
        x = keras.Input(shape)
        a, b = (he(activation=name)()(x) for name in ("relu", "tanh"))
        return keras.Model(x, join(a, b))

    return make


@pytest.mark.parametrize(
    "join",
    [
        lambda a, b: layers.Add()([a, b]),
        lambda a, b: layers.Subtract()([a, b]),
        lambda a, b: layers.Multiply()([a, b]),
        lambda a, b: layers.Average()([a, b]),
        lambda a, b: layers.Maximum()([he()()(a), he()()(b)]),
        lambda a, b: layers.Minimum()([he()()(a), he(64)()(b)]),
        lambda a, b: layers.ReLU()(layers.Concatenate()([a, b])),
        lambda a, b: fixinit.layers.ScaledAdd(0.3, 2.0)([a, b]),
        lambda a, b: a * 2 - b / 3 + 1,
        lambda a, b: keras.ops.concatenate([keras.ops.tanh(a), b], axis=-1),
        lambda a, b: keras.ops.mean(a, axis=(1, 2)),
        lambda a, b: a * keras.ops.sigmoid(a) + a,
        lambda a, b: keras.ops.relu(-a) + keras.ops.square(b),
        lambda a, b: layers.Add()([a, layers.GlobalAveragePooling2D(keepdims=True)(b)]),
        lambda a, b: layers.Multiply()(
            [
                a,
                layers.Dense(WIDTH, "sigmoid")(
                    layers.GlobalAveragePooling2D(keepdims=True)(a)
                ),
            ]
        ),
        lambda a, b: fixinit.layers.ShakeShake()([a, b]),
        lambda a, b: fixinit.layers.ZeroPaddingShortcut(100, 2)(a),
        lambda a, b: fixinit.layers.ProjectionShortcut(100, 2)(a),
        lambda a, b: fixinit.layers.ScalarMultiplier(keras.initializers.Constant(0.4))(
            fixinit.layers.ScalarBias(keras.initializers.Constant(0.7))(a)
        ),
    ],
)
def test_what_joins(join):
    # tanh of unit variance is not Gaussian, which the maximum takes it for.
    check(functional(join), (SIZE, SIZE, 16), 0.05)


@pytest.mark.parametrize("level", ["batch", "sample"])
@pytest.mark.parametrize("forward_mode", ["shake", "even"])
def test_shake_shake_in_training(forward_mode, level):
    # Constants, of which only the weights are random: E alpha^2 = 1 / 3.
    x = keras.Input((8,))
    ones = layers.Dense(8, kernel_initializer="zeros", bias_initializer="ones")(x)
    layer = fixinit.layers.ShakeShake(forward_mode, "even", level)
    y = layer([ones, layers.Dense(8, kernel_initializer="zeros")(x)])
    prediction = theory.predict(keras.Model(x, y), training=True)
    square = 1 / 3 if forward_mode == "shake" else 1 / 4
    apart = square if level == "batch" else 1 / 4
    row = prediction.layers[-1]
    assert row.mean == pytest.approx(1 / 2)
    assert row.mean_square == pytest.approx(square)
    assert row.correlation == pytest.approx(apart / square)
    assert prediction.layers[1].gradient == pytest.approx(1 / 4)


@pytest.mark.parametrize("backward_mode", ["shake", "even", "keep"])
@pytest.mark.parametrize("forward_mode", ["shake", "even"])
def test_shake_shake_passes_gradients_by_its_backward_mode(forward_mode, backward_mode):
    x = keras.Input((8,))
    branches = [layers.Dense(8, name=name)(x) for name in "ab"]
    y = fixinit.layers.ShakeShake(forward_mode, backward_mode)(branches)
    random = backward_mode if backward_mode != "keep" else forward_mode
    for training in (True, False):
        row = theory.predict(keras.Model(x, y), training=training)["b"]
        expected = 1 / 3 if training and random == "shake" else 1 / 4
        assert row.gradient == pytest.approx(expected)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"strides": 2},
        {"kernel_size": 4},
        {"padding": "valid"},
        {"dilation_rate": 2},
    ],
    ids=lambda options: "-".join(options) or "default",
)
def test_delta_orthogonal_kernels_read_their_centre(options):
    def delta():
        initializer = fixinit.initializers.DeltaOrthogonal(gain=1.5)
        given = {"kernel_size": 3, "padding": "same", **options}
        return layers.Conv2D(128, kernel_initializer=initializer, **given)

    row = check(network(he(), layers.ReLU, delta), (SIZE, SIZE, 16), 0.03)
    if not options:
        # Nothing is lost at borders: 1.5^2 * 64 / 128 of what a ReLU passes.
        before = theory.predict(network(he(), layers.ReLU, delta)()).layers[-2]
        assert row.mean_square == pytest.approx(1.125 * before.mean_square)


@pytest.mark.parametrize(
    "kernel", ["orthogonal", fixinit.initializers.DeltaOrthogonal()], ids=["o", "delta"]
)
def test_looks_linear_networks_are_linear(kernel):
    def looks_linear():
        initializer = fixinit.initializers.LooksLinear(kernel)
        return layers.Conv2D(64, 3, padding="same", kernel_initializer=initializer)

    middle = [fixinit.layers.CReLU, looks_linear] * 3
    row = check(network(he(), *middle), (SIZE, SIZE, 16), 0.03)
    # Unlike a network of ReLUs, it has no part that all inputs have in common.
    assert row.correlation == pytest.approx(0, abs=1e-9)
    dense = network(
        fixinit.layers.CReLU,
        lambda: layers.Dense(
            8, kernel_initializer=fixinit.initializers.LooksLinear("he_normal")
        ),
        shape=(8,),
    )
    prediction = theory.predict(dense(), input_mean=1.0, input_variance=3.0)
    # W draws 2 / 8 and reads x: 2 * (1 + 3), of which 2 are common to all inputs.
    assert prediction.layers[-1].mean_square == pytest.approx(8.0)
    assert prediction.layers[-1].correlation == pytest.approx(1 / 4)


def test_looks_linear_elsewhere_is_refused():
    kernel = fixinit.initializers.LooksLinear()
    model = network(lambda: layers.Conv2D(8, 3, kernel_initializer=kernel))()
    with pytest.raises(ValueError, match="right behind a fixinit.layers.CReLU"):
        theory.predict(model)


def test_deep_post_activation_blocks_that_start_at_zero_stay_as_they_are():
    def make():
        return fixinit.models.CifarResNet(
            20, scheme="fixup", input_shape=(8, 8, 3), seed=0
        )

    prediction = theory.predict(make())
    squares = [x.mean_square for x in prediction if x.name.startswith("stage1")]
    assert len(set(np.round(squares[-1:], 9))) == 1
    assert prediction.layers[-1].mean_square == 0


def test_given_statistics_of_the_inputs():
    model = keras.Sequential([keras.Input((6, 6, 4)), layers.GlobalAveragePooling2D()])
    row = theory.predict(
        model, 2.0, 3.0, input_correlation=0.2, space_correlation=0.5
    ).layers[-1]
    assert row.mean == pytest.approx(2)
    # One pixel in 36 is the same, the others are correlated by a half.
    assert row.mean_square == pytest.approx(4 + 3 * (1 / 36 + 0.5 * 35 / 36))
    assert row.variance == pytest.approx(3 * (1 / 36 + 0.5 * 35 / 36 - 0.2))


def test_a_long_axis_is_like_its_parts():
    def make(n):
        return keras.Sequential(
            [
                keras.Input((n, 8)),
                layers.Conv1D(8, 3, padding="same", activation="relu"),
                layers.MaxPooling1D(2),
                layers.GlobalAveragePooling1D(),
            ]
        )

    long, longer = (theory.predict(make(n)).layers[-1] for n in (400, 4000))
    assert longer.mean_square == pytest.approx(long.mean_square, rel=5e-3)
    assert longer.variance == pytest.approx(long.variance / 10, rel=2e-2)


@pytest.mark.every_backend
def test_nothing_changes_in_the_model():
    model = fixinit.models.ResidualMLP(3, units=8, scheme="batch_norm", seed=0)
    before = [keras.ops.convert_to_numpy(w) for w in model.weights]
    config = model.to_json()
    theory.predict(model, training=True)
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight), value)
    assert model.to_json() == config


def test_a_table_and_a_dict():
    prediction = theory.predict(fixinit.models.ResidualMLP(1, units=8))
    assert "head" in prediction and len(prediction) == len(list(prediction))
    table = str(prediction).splitlines()
    assert len(table) == len(prediction) + 1 and "variance" in table[0]
    first = prediction.to_dict()["layers"][0]
    assert {"name", "kind", "mean", "variance", "mean_square"} < set(first)


def test_a_name_that_no_call_has_suggests_near_ones():
    prediction = theory.predict(fixinit.models.ResidualMLP(1, units=8))
    with pytest.raises(KeyError, match=r"'block1/merg'.*'block1/merge'"):
        prediction["block1/merg"]


class Unknown(layers.Layer):
    def call(self, x):
        return x


class Sparser(layers.Dense):
    def call(self, x):
        return x * 0


def my_activation(x):
    return x


@pytest.mark.parametrize(
    "layer, message",
    [
        (
            lambda: Unknown(name="u"),
            r"Unknown `u`.*@fixinit.theory.register\(Unknown\)",
        ),
        (lambda: Sparser(8), r"register\(Sparser\)"),
        (lambda: layers.Dense(8, my_activation), "The activation .* is not known"),
        (
            lambda: layers.Dense(8, kernel_initializer=lambda s, dtype: np.zeros(s)),
            "initializer",
        ),
        (lambda: layers.Softmax(axis=1), "Softmax"),
        (lambda: layers.UpSampling2D(2, interpolation="bilinear"), "nearest"),
        (lambda: layers.BatchNormalization(axis=1), "last axis"),
        (lambda: layers.Reshape((8, 6, 6)), "reshapes"),
    ],
)
def test_what_is_not_known_is_refused(layer, message):
    model = keras.Sequential([keras.Input((6, 6, 8)), layer()])
    with pytest.raises(ValueError, match=message):
        theory.predict(model)


@pytest.mark.parametrize(
    "operation, message",
    [
        (lambda x: x / keras.ops.exp(x), r"divides by activations.*register\('"),
        (lambda x: 1 / x, r"divides by activations.*\(operation, setting, \*args"),
        (keras.ops.cumsum, r"register\('Cumsum'\)`.*\(operation, setting, \*args"),
        (lambda x: keras.ops.softmax(x, axis=1), "other axes than the last"),
    ],
)
def test_operations_that_are_not_known_are_refused(operation, message):
    x = keras.Input((6, 6, 8))
    with pytest.raises(ValueError, match=message):
        theory.predict(keras.Model(x, operation(x)))


def test_dependent_values_are_refused():
    x = keras.Input((6, 6, 8))
    y = layers.Conv2D(8, 3, padding="same")(x)
    pooled = layers.AveragePooling2D(3, 1, padding="same")(y)
    with pytest.raises(ValueError, match="depend on the same weights"):
        theory.predict(keras.Model(x, layers.Add(name="sum")([y, pooled])))


def _called_twice(layer, join, read=lambda x: (x, x)):
    x = keras.Input((8,))
    a, b = read(x)
    return keras.Model(x, join()([layer(a), layer(b)]))


@pytest.mark.parametrize(
    "make",
    [
        lambda d: _called_twice(d, layers.Add),
        lambda d: _called_twice(d, layers.Subtract, lambda x: (x, x / 2)),
        lambda d: _called_twice(d, layers.Multiply, lambda x: (x, layers.ReLU()(x))),
        lambda d: _called_twice(lambda x: layers.ReLU()(d(x)), layers.Maximum),
        lambda d: _called_twice(keras.Sequential([d, layers.ReLU()]), layers.Add),
    ],
)
@pytest.mark.parametrize("activation", [None, "tanh"])
def test_a_layer_that_is_called_twice_has_one_kernel(make, activation):
    model = make(layers.Dense(8, activation))
    with pytest.raises(ValueError, match="depend on the same weights"):
        theory.predict(model)


def test_two_inputs_through_one_layer_are_not_added_as_independent():
    a, b = keras.Input((8,)), keras.Input((8,))
    dense = layers.Dense(8)
    model = keras.Model([a, b], layers.Multiply()([dense(a), dense(b)]))
    with pytest.raises(ValueError, match="depend on the same weights"):
        theory.predict(model, input_mean=1.0)


def test_a_layer_called_twice_in_a_row_is_predicted():
    def make():
        x = inputs = keras.Input((512,))
        dense = layers.Dense(512, "relu", kernel_initializer="he_normal")
        for _ in range(2):
            x = dense(x)
        return keras.Model(inputs, x)

    # The kernel draws anew of what it has not seen.
    check(make, (512,), 0.03)


def test_a_stack_that_reads_its_own_outputs_is_refused():
    block = fixinit.layers.ResidualBlock([layers.Dense(8)])
    stack = fixinit.layers.Stack(block, 3)
    x = keras.Input((8,))
    y = layers.Dense(8)(stack(x))
    assert len(theory.predict(keras.Model(x, stack(y)))) > 6
    with pytest.raises(ValueError, match="depend on its own weights"):
        theory.predict(keras.Model(x, stack(stack(x))))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"input_variance": -1.0}, "`input_variance` must be"),
        ({"input_mean": "0"}, "`input_mean` must be"),
        ({"batch_size": 0}, "`batch_size` must be"),
        ({"input_correlation": 1.5}, "`input_correlation` must be"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4)])
    with pytest.raises(ValueError, match=message):
        theory.predict(model, **options)


def test_sizes_must_be_known():
    model = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(4, 3)])
    with pytest.raises(ValueError, match="fixed size"):
        theory.predict(model)


def test_a_rule_of_the_users_own():
    class Halved(layers.Layer):
        def call(self, x):
            return x / 2

    class Spread(keras.initializers.Initializer):
        def __call__(self, shape, dtype=None):
            return keras.random.normal(shape, stddev=2.0, dtype=dtype)

    def cube(x):
        return x**3

    @theory.register(Halved)
    def halved(layer, setting, x):
        assert setting.output_shape == (8,)
        return theory.calculus.scale(x, 0.5)

    @theory.register(Spread)
    def spread(initializer, shape):
        return 0.0, 4.0

    @theory.register(cube)
    def cubed(function):
        return theory.Function(lambda x: x**3, lambda x: 3 * x**2)

    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(8, kernel_initializer=Spread(), name="dense"),
            Halved(name="halved"),
            layers.Activation(cube, name="cube"),
        ]
    )
    prediction = theory.predict(model)
    assert prediction["dense"].variance == pytest.approx(16)
    assert prediction["halved"].variance == pytest.approx(4)
    # The sixth moment of a Gaussian is 15 times the cube of its variance.
    assert prediction["cube"].mean_square == pytest.approx(15 * 4**3)
    # E[f'^2] = 9 E[h^4] = 27 * 4^2, and a quarter of it before the halving.
    assert prediction["halved"].gradient == pytest.approx(27 * 16)
    assert prediction["dense"].gradient == pytest.approx(27 * 4)


def test_global_maximum_of_positions_that_are_alike():
    # Zero padding would make the borders weaker, which one window does not tell apart.
    make = network(he(padding="valid"), layers.ReLU, layers.GlobalMaxPooling2D)
    check(make, (SIZE, SIZE, 16), 0.03, seeds=8)


def test_padding_keeps_what_a_rectified_gaussian_is():
    make = network(
        he(), layers.ReLU, layers.ZeroPadding2D, lambda: layers.MaxPooling2D(3, 2)
    )
    check(make, (SIZE, SIZE, 16), 0.03, seeds=8)
