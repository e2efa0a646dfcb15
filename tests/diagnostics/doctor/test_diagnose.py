import dataclasses
import json
import math

import keras
import numpy as np
import pytest
from keras import ops

import fixinit
from fixinit.diagnostics import diagnose
from fixinit.diagnostics.doctor.diagnose import evidence_of
from fixinit.diagnostics.doctor.program import program_of
from fixinit.diagnostics.doctor.rules import signals
from fixinit.diagnostics.report.healthy import healthy
from tests.marks import on_torch, rest_on_torch

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 8)).astype("float32")
Y = RNG.integers(10, size=64)


def mlp(scheme="unnormalized", num_blocks=12, units=32, **kwargs):
    return fixinit.models.ResidualMLP(
        num_blocks, units, scheme=scheme, input_shape=(8,), seed=0, **kwargs
    )


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def layer(diagnosis, name):
    return next(row for row in diagnosis.layers if row.name == name)


@on_torch
def test_measures_activations():
    inputs = keras.Input((8, 3))
    h = keras.layers.Conv1D(6, 3, padding="same", activation="relu", name="conv")(
        inputs
    )
    model = keras.Model(inputs, keras.layers.Dense(2, name="dense")(h))
    x = RNG.normal(size=(5, 8, 3)).astype("float32")
    diagnosis = diagnose(model, x)
    h = numpy(model.get_layer("conv")(x))
    row = layer(diagnosis, "conv")
    assert row.mean_square == pytest.approx(np.mean(h**2), rel=1e-5)
    assert row.variance == pytest.approx(h.var(axis=(0, 1)).mean(), rel=1e-5)
    assert row.peak == pytest.approx(np.abs(h).max(), rel=1e-6)
    active = (h > 0).mean(axis=(0, 1))
    assert row.never_active == pytest.approx(np.mean(active == 0))
    assert row.always_active == pytest.approx(np.mean(active == 1))
    unit = h.reshape(5, -1) / np.linalg.norm(h.reshape(5, -1), axis=1, keepdims=True)
    cosines = (unit @ unit.T)[~np.eye(5, dtype=bool)]
    assert row.correlation == pytest.approx(cosines.mean(), rel=1e-4)
    assert math.isnan(layer(diagnosis, "dense").never_active)


@pytest.mark.every_backend
def test_measures_gradients_of_activations_and_weights():
    inputs = keras.Input((8,))
    h = keras.layers.Dense(6, activation="tanh", name="first")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3, name="second")(h))
    target = RNG.normal(size=(64, 3)).astype("float32")
    diagnosis = diagnose(model, X, target)
    first, second = (numpy(model.get_layer(n)(x)) for n, x in [("first", X)] * 2)
    w1, w2 = (numpy(model.get_layer(n).kernel) for n in ("first", "second"))
    outputs = first @ w2
    assert diagnosis.loss == pytest.approx(np.mean((outputs - target) ** 2), rel=1e-5)
    d_outputs = 2 * (outputs - target) / outputs.size
    d_first = d_outputs @ w2.T
    expected = {
        "second": (d_outputs, first.T @ d_outputs),
        "first": (d_first, X.T @ (d_first * (1 - first**2))),
    }
    for name, (d_activation, d_weight) in expected.items():
        row = layer(diagnosis, name)
        assert row.gradient_mean_square == pytest.approx(
            np.mean(d_activation**2), rel=1e-4
        )
        assert row.weight_gradient_mean_square == pytest.approx(
            np.mean(d_weight**2), rel=1e-4
        )
    assert layer(diagnosis, "first").weight_mean_square == pytest.approx(
        np.mean(w1**2), rel=1e-5
    )


@on_torch
def test_update_to_weight_ratio_of_plain_gradient_descent():
    model = mlp("scaled_residual", 3)
    diagnosis = diagnose(model, X, Y, optimizer=keras.optimizers.SGD(0.3))
    row = layer(diagnosis, "block2/weight1")
    ratio = 0.3 * math.sqrt(row.weight_gradient_mean_square / row.weight_mean_square)
    assert row.update_to_weight == pytest.approx(ratio, rel=1e-4)


@on_torch
@pytest.mark.parametrize("stacked", [False, True])
def test_frozen_layers_have_weights_and_no_gradients(stacked):
    model = mlp("scaled_residual", 2, stacked=stacked)
    name = "blocks[0]/weight1" if stacked else "block1/weight1"
    free = layer(diagnose(model, X, Y, optimizer="sgd"), name)
    model.get_layer("blocks" if stacked else "block1").trainable = False
    frozen = layer(diagnose(model, X, Y, optimizer="sgd"), name)
    assert frozen.weight_mean_square == free.weight_mean_square > 0
    assert free.weight_gradient_mean_square > 0 and free.update_to_weight > 0
    assert math.isnan(frozen.weight_gradient_mean_square)
    assert math.isnan(frozen.update_to_weight)


@on_torch
@pytest.mark.parametrize("scheme", ["scaled_residual", "batch_norm", "fixup"])
def test_a_stack_is_measured_like_separate_blocks(scheme):
    sgd = fixinit.optimizers.with_scalar_learning_rate(keras.optimizers.SGD(0.1))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    measured = []
    for stacked in (False, True):
        model = mlp(scheme, 4, stacked=stacked)
        # From Fixup's head of zeros no gradient comes back.
        rng = np.random.default_rng(1)
        model.layers[-2].kernel.assign(rng.normal(size=(32, 10)))
        measured.append(diagnose(model, X, Y, loss, sgd))
    separate, stack = measured
    assert [b.name for b in stack.blocks] == [f"blocks[{i}]" for i in range(4)]
    assert len(separate.layers) == len(stack.layers)
    for one, two in zip(
        separate.layers + separate.blocks, stack.layers + stack.blocks, strict=True
    ):
        for key, value in dataclasses.asdict(one).items():
            if isinstance(value, float):
                assert getattr(two, key) == pytest.approx(
                    value, rel=2e-3, abs=1e-7, nan_ok=True
                )


@on_torch
def test_tells_schemes_apart():
    kinds = {
        scheme: diagnose(mlp(scheme, 16, 64, stacked=True), X, Y)
        for scheme in ("unnormalized", "batch_norm", "scaled_residual", "fixup")
    }
    exploding = kinds["unnormalized"]
    low, high = exploding.growth.interval
    assert exploding.verdict.kind == "exploding" and low < 2 < high
    first = exploding.growth.leaves["float16"]["activation"]
    assert f"float16 overflows at block {first} (squares: " in exploding.verdict.cause
    assert exploding.verdict.remedy == 'model = fixinit.convert(model, "fixup")'
    assert kinds["batch_norm"].verdict.kind == "healthy"
    assert "grows linearly" in kinds["batch_norm"].verdict.cause
    assert kinds["batch_norm"].growth.kind == "linear"
    assert kinds["scaled_residual"].verdict.kind == "healthy"
    assert "comes with the second step" in kinds["fixup"].verdict.cause


def test_a_head_alone_has_no_layers_whose_gradient_is_zero():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
    cause = diagnose(model, X).verdict.cause
    assert cause.endswith("gradients of all 2 layers are finite.")


@on_torch
def test_remedies_are_code_that_runs():
    model = mlp(stacked=True)
    remedy = diagnose(model, X).verdict.remedy
    names = {"fixinit": fixinit, "model": model}
    exec(remedy, names)
    assert diagnose(names["model"], X).findings == []


@dataclasses.dataclass(frozen=True)
class Quiet(fixinit.schemes.Scheme):
    """A method that nobody knows."""

    name = "quiet"
    remedies = ("exploding", "vanishing")


@on_torch
def test_a_scheme_that_nobody_knows_is_named_as_a_remedy():
    evidence, _ = evidence_of(program_of(mlp(stacked=True), X))
    exploding = evidence.diagnosis
    blocks = [
        dataclasses.replace(row, mean_square=0.1 ** (i + 1), gradient_mean_square=1.0)
        for i, row in enumerate(exploding.blocks)
    ]
    first = dataclasses.replace(
        exploding.input, mean_square=1.0, gradient_mean_square=1.0
    )
    vanishing = dataclasses.replace(exploding, blocks=blocks, input=first)
    vanishing = dataclasses.replace(evidence, diagnosis=vanishing)
    assert "convert" not in next(signals.vanishing(vanishing)).remedy
    fixinit.schemes.register(Quiet)
    try:
        verdict = next(signals.exploding(evidence))
        assert verdict.schemes[0] == "fixup" and verdict.schemes[-1] == "quiet"
        verdict = next(signals.vanishing(vanishing))
        assert (verdict.kind, verdict.schemes) == ("vanishing", ("quiet",))
        assert verdict.remedy == 'model = fixinit.convert(model, "quiet")'
    finally:
        fixinit.schemes.unregister("quiet")


def test_a_scheme_refuses_findings_that_do_not_exist():
    with pytest.raises(ValueError, match="Did you mean 'exploding'"):
        type("Typo", (fixinit.schemes.Scheme,), {"remedies": ("explodes",)})
    with pytest.raises(ValueError, match="Argument `finding`.*'dead'"):
        fixinit.schemes.remedies("dead")


def plain(num_layers, activation, std, units=32):
    layers = [
        keras.layers.Dense(
            units,
            activation=activation,
            kernel_initializer=keras.initializers.RandomNormal(stddev=std, seed=i),
        )
        for i in range(num_layers)
    ]
    return keras.Sequential([keras.Input((8,)), *layers, keras.layers.Dense(10)])


@on_torch
@pytest.mark.parametrize(
    "num_layers, activation, std, kind",
    [
        (12, "tanh", 0.05, "vanishing"),
        # Behind some 30 layers float32 holds nothing but zeros.
        (35, "tanh", 0.005, "vanishing"),
        (12, "relu", 1.0, "exploding"),
        # Activations stay below one, gradients grow by 32 (1 - tanh^2).
        (12, "tanh", 1.0, "exploding"),
        (6, "relu", 0.25, "healthy"),
        (3, "relu", 0.25, "healthy"),
    ],
)
def test_networks_without_blocks_are_judged_by_their_weight_layers(
    num_layers, activation, std, kind
):
    diagnosis = diagnose(plain(num_layers, activation, std), X, Y)
    assert diagnosis.verdict.kind == kind and not diagnosis.blocks
    assert len(diagnosis.weight_path) == num_layers
    assert "block" not in diagnosis.verdict.cause
    if kind == "exploding" and activation == "relu":
        # 32 / 2 per layer, with five standard errors sqrt(5 / 32) / sqrt(11).
        assert abs(math.log(diagnosis.growth.rate / 16)) < 0.6


@on_torch
def test_the_weight_path_is_the_one_with_most_weight_layers():
    inputs = keras.Input((8, 8, 3))
    h = keras.layers.Conv2D(4, 3, name="a")(inputs)
    one = keras.layers.Conv2D(4, 3, padding="same", name="b1")(h)
    one = keras.layers.Conv2D(4, 3, padding="same", name="b2")(one)
    h = keras.layers.Concatenate()([keras.layers.Conv2D(4, 1, name="c")(h), one])
    h = keras.layers.GlobalAveragePooling2D()(h)
    model = keras.Model(inputs, keras.layers.Dense(3, name="head")(h))
    x = RNG.normal(size=(4, 8, 8, 3)).astype("float32")
    path = diagnose(model, x).weight_path
    assert [row.name for row in path] == ["a", "b1", "b2"]
    assert not any(row.changes_shape for row in path)


@on_torch
def test_a_polynomial_that_falls_is_not_called_growth():
    model, x = plain(20, "tanh", 512**-0.5, units=512), 10 * X
    diagnosis = diagnose(model, x)
    # At the edge of chaos: q is 1 / (2 l), and slower at first.
    assert diagnosis.growth.kind == "polynomial" and diagnosis.growth.slope < 0
    assert [finding.kind for finding in diagnosis.findings] == ["input_scale"]
    assert "falls like the power -" in healthy(diagnosis).cause


@on_torch
def test_batch_norm_of_one_sample_is_named_as_the_cause():
    layers = [keras.layers.Dense(16), keras.layers.BatchNormalization(name="norm")]
    layers = [keras.Input((8,)), *layers, keras.layers.ReLU(), keras.layers.Dense(3)]
    model = keras.Sequential(layers)
    verdict = diagnose(model, X[:1]).verdict
    assert (verdict.kind, verdict.where) == ("normalization_batch", "norm")
    assert diagnose(model, X[:1], training=False).findings == []
    assert diagnose(model, X).findings == []


@on_torch
def test_values_without_a_batch_axis_and_samples_of_zeros():
    inputs = keras.Input((8,))
    h = keras.layers.Dense(8, name="dense", use_bias=False)(inputs)
    number = keras.ops.mean(h)
    by_sample = keras.ops.mean(h, axis=1)
    outputs = (h - number) * keras.ops.reshape(by_sample, (-1, 1))
    model = keras.Model(inputs, outputs)
    x = np.concatenate([np.zeros((1, 8), "float32"), X])
    diagnosis = diagnose(model, x)
    h = numpy(model.get_layer("dense")(x))
    means = {r.variance > 0: r for r in diagnosis.layers if r.kind == "Mean"}
    number, means = means[False], means[True]
    assert number.mean_square == pytest.approx(h.mean() ** 2, rel=1e-3)
    assert math.isnan(number.correlation)
    assert means.variance == pytest.approx(h.mean(axis=1).var(), rel=1e-3)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    cosines = (unit @ unit.T)[~np.eye(64, dtype=bool)]
    assert diagnosis.layers[0].correlation == pytest.approx(cosines.mean(), abs=1e-5)


@on_torch
def test_branch_to_shortcut_is_that_of_what_is_added():
    diagnosis = diagnose(mlp("scaled_residual", 4, 512), X)
    # (1/4) of the branch's variance, which is that of the shortcut. Eight inputs give
    # the stem little to vary in, so that a single block may be off by a third.
    ratios = [row.branch_to_shortcut for row in diagnosis.blocks]
    assert np.mean(ratios) == pytest.approx(0.25, rel=0.25)
    assert max(ratios) < 2 * min(ratios)


@pytest.mark.slow
def test_batch_norm_in_training_mode_and_in_test_mode():
    model = mlp("batch_norm", stacked=True)
    # Beside the input's hundred, every branch adds one.
    assert diagnose(model, 10 * X).growth.total < 3
    found = diagnose(model, 10 * X, training=False).findings
    assert [one.kind for one in found] == ["input_scale", "exploding"]


@pytest.mark.slow
@pytest.mark.every_backend
def test_nothing_of_the_model_changes():
    model = mlp("batch_norm", 3, dropout_rate=0.3)
    optimizer = keras.optimizers.Adam(0.1)
    model.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=False)
    model.fit(X, Y, epochs=1, verbose=0)
    keras.utils.set_random_seed(0)
    before = [np.array(numpy(v.value)) for v in model.variables + optimizer.variables]
    nodes = [len(x._inbound_nodes) for x in model._flatten_layers()]
    diagnosis = diagnose(model, X, Y)
    after = [numpy(v.value) for v in model.variables + optimizer.variables]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)
    assert nodes == [len(x._inbound_nodes) for x in model._flatten_layers()]
    assert np.isfinite(layer(diagnosis, "block1/weight1").update_to_weight)
    # The next random numbers are what they would have been.
    drawn = numpy(keras.random.normal((3,)))
    keras.utils.set_random_seed(0)
    np.testing.assert_array_equal(drawn, numpy(keras.random.normal((3,))))


@pytest.mark.every_backend
def test_dropout_is_on_in_training_mode():
    layers = [keras.Input((8,)), keras.layers.Dropout(0.5, name="dropout")]
    model = keras.Sequential([*layers, keras.layers.Dense(3)])
    ratio = [
        layer(diagnose(model, X, training=training), "dropout").mean_square
        / np.mean(X**2)
        for training in (False, True)
    ]
    # Half of the squares, four times as large; 512 of them.
    assert ratio[0] == pytest.approx(1) and 1.5 < ratio[1] < 2.5


@pytest.mark.every_backend
def test_noise_without_a_seed_does_not_move_the_random_state():
    layers = [keras.Input((8,)), keras.layers.Dropout(0.5), keras.layers.Dense(3)]
    model = keras.Sequential(layers)
    drawn = []
    for measure in (True, False):
        keras.utils.set_random_seed(0)
        if measure:
            diagnose(model, X)
        drawn.append(numpy(keras.random.normal((3,))))
    np.testing.assert_array_equal(*drawn)


@on_torch
@pytest.mark.parametrize("last", ["block_5_add", "out_relu"])
def test_any_keras_model(last):
    whole = keras.applications.MobileNetV2(
        weights=None, input_shape=(32, 32, 3), include_top=False, alpha=0.35
    )
    pooled = keras.layers.GlobalAveragePooling2D()(whole.get_layer(last).output)
    outputs = keras.layers.Dense(4, activation="softmax")(pooled)
    model = keras.Model(whole.input, outputs)
    x = RNG.normal(size=(4, 32, 32, 3)).astype("float32")
    diagnosis = diagnose(model, x, RNG.integers(4, size=4))
    assert [row.name for row in diagnosis.blocks][:2] == [
        "block_2_add",
        "block_4_add",
    ]
    assert len(diagnosis.layers) == len(model.layers)
    assert all(math.isfinite(row.mean_square) for row in diagnosis.layers)


@on_torch
def test_several_inputs_and_outputs_and_integers():
    a, b = keras.Input((4,), name="a"), keras.Input((3,), dtype="int32", name="b")
    embedded = keras.layers.Embedding(5, 4)(b)
    h = keras.layers.Dense(4)(a) + keras.ops.mean(embedded, axis=1)
    model = keras.Model({"a": a, "b": b}, [h, keras.layers.Dense(2)(h)])
    x = {"a": X[:, :4], "b": RNG.integers(5, size=(64, 3))}
    y = [np.zeros((64, 4), "float32"), np.arange(64) % 2]
    diagnosis = diagnose(model, x, y)
    assert diagnosis.loss > 0 and not diagnosis.blocks
    assert diagnosis.verdict.kind == "healthy"
    assert "are finite" in diagnosis.verdict.cause


def test_layers_called_twice_have_two_rows():
    shared = keras.layers.Dense(8, name="shared")
    inputs = keras.Input((8,))
    diagnosis = diagnose(keras.Model(inputs, shared(shared(inputs))), X)
    names = [row.name for row in diagnosis.layers]
    assert names[1:] == ["shared", "shared:2"]


@on_torch
def test_a_batch_of_one_has_no_correlation():
    diagnosis = diagnose(mlp(num_blocks=4), X[:1])
    assert all(math.isnan(row.correlation) for row in diagnosis.layers)
    assert diagnosis.growth.kind == "exponential"


@on_torch
def test_a_model_that_has_diverged_is_told_where():
    model = mlp("scaled_residual", 4)
    block = next(x for x in model.layers if x.name == "block2")
    kernel = block.branch[1].kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    verdict = diagnose(model, X).verdict
    assert verdict.kind == "not_finite" and verdict.where == kernel.path


@on_torch
def test_overflow_is_told_where():
    diagnosis = diagnose(mlp(num_blocks=300, stacked=True), X)
    assert diagnosis.verdict.kind == "not_finite"
    # Activations of 2^(l/2), whose largest are some times that.
    assert diagnosis.verdict.where.startswith("blocks[2")
    assert not math.isfinite(diagnosis.blocks[-1].mean_square)


def test_dead_units_and_collapsed_inputs_are_found():
    inputs = keras.Input((8,))
    dead = keras.layers.Dense(
        16, activation="relu", bias_initializer=keras.initializers.Constant(-100.0)
    )
    diagnosis = diagnose(keras.Model(inputs, dead(inputs)), X)
    assert diagnosis.verdict.kind == "dead_units"
    assert diagnosis.verdict.where == dead.name
    shift = keras.layers.Dense(
        16,
        activation="softplus",
        bias_initializer=keras.initializers.Constant(100.0),
        name="shift",
    )
    model = keras.Model(inputs, keras.layers.Dense(2)(shift(inputs)))
    verdict = diagnose(model, X).verdict
    assert (verdict.kind, verdict.where) == ("inputs_alike", "shift")


FLAT = {"relu", "relu6", "hard_sigmoid", "sparse_sigmoid", "hard_silu", "sparse_plus"}


@rest_on_torch(
    "activation",
    [
        *sorted(FLAT),
        *("elu", "celu", "selu", "gelu", "silu", "mish", "tanh", "sigmoid", "softplus"),
        *("log_sigmoid", "softsign", "hard_tanh", "leaky_relu", "squareplus"),
        keras.layers.LeakyReLU(0.1),
        keras.layers.ReLU(negative_slope=0.1),
        keras.layers.ReLU(),
        keras.layers.LeakyReLU(0.0),
    ],
    quick=2,
    ids=str,
)
def test_units_are_dead_where_an_activation_is_flat(activation):
    # Everything lies below -4, where even hard_sigmoid is flat.
    inputs = keras.Input((8,))
    bias = keras.initializers.Constant(-8.0)
    h = keras.layers.Dense(16, kernel_initializer="he_normal", bias_initializer=bias)
    h = keras.layers.Activation(activation, name="act")(h(inputs))
    diagnosis = diagnose(keras.Model(inputs, keras.layers.Dense(2)(h)), X / 4)
    slope = getattr(activation, "negative_slope", None)
    if activation in FLAT or (slope is not None and not slope):
        found = [f for f in diagnosis.findings if f.kind == "dead_units"]
        assert [finding.where for finding in found] == ["act"]
    else:
        assert all(f.kind != "dead_units" for f in diagnosis.findings)
        assert math.isnan(layer(diagnosis, "act").dead)


def test_negative_units_of_hard_silu_are_dead_only_where_it_is_flat():
    inputs = keras.Input((8,))
    bias = keras.initializers.Constant(-1.0)
    dense = keras.layers.Dense(16, "hard_silu", bias_initializer=bias, name="dense")
    row = layer(diagnose(keras.Model(inputs, dense(inputs)), X / 10), "dense")
    assert row.never_active == 1 and row.dead == 0


@pytest.mark.parametrize(
    "x, error, message",
    [
        (np.ones((4, 8), int), TypeError, "dtype int64.*astype"),
        (np.full((4, 8), np.nan, "float32"), ValueError, "NaN or infinity in sample 0"),
        (np.ones((4, 9), "float32"), ValueError, r"shape \(None, 8\).*\(4, 9\)"),
        (np.ones((0, 8), "float32"), ValueError, r"\(0, 8\)"),
        ([np.ones(8, "float32"), np.ones(3, "float32")], TypeError, "different shapes"),
        (np.array([[1.0], [1.0, 2.0]], dtype=object), TypeError, "ragged"),
    ],
)
def test_refuses_bad_inputs(x, error, message):
    with pytest.raises(error, match=message):
        diagnose(mlp(num_blocks=1), x)


def test_refuses_targets_that_do_not_fit():
    with pytest.raises(ValueError, match="64 and.*3"):
        diagnose(mlp(num_blocks=1), X, Y[:3])


@on_torch
def test_table_fits_a_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = str(diagnose(mlp(num_blocks=100, units=8, stacked=True), X, Y))
    lines = text.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines.count('    model = fixinit.convert(model, "fixup")') == 1
    assert len(text[: text.index("error exploding")].splitlines()) < 60
    assert "blocks[99]" in text


@on_torch
def test_dict_is_strict_json():
    diagnosis = diagnose(mlp(num_blocks=12), X)
    content = json.loads(json.dumps(diagnosis.to_dict(), allow_nan=False))
    assert content["blocks"][0]["name"] == "block1"
    assert content["verdict"]["kind"] == "exploding"
    assert content["layers"][0]["weight_mean_square"] is None
    assert content["growth"]["leaves"]["float16"]["mean_square"] > 4


@on_torch
def test_figure_and_page_of_two_diagnoses(tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    one = diagnose(mlp(stacked=True), X, Y)
    two = diagnose(mlp("batch_norm", stacked=True), X, Y)
    figure = one.plot(two, labels=["He", "BatchNorm"])
    assert len(figure.axes[0].get_lines()) == 2
    np.testing.assert_allclose(
        figure.axes[0].get_lines()[1].get_ydata(), two.curve("mean_square")[1:]
    )
    one.to_html(tmp_path / "d.html", two, labels=["He <alone>", "BatchNorm"])
    html = (tmp_path / "d.html").read_text()
    assert "He &lt;alone&gt;" in html and "data:image/png;base64," in html
    assert "http" not in html and "blocks[11]" in html
    with pytest.raises(ValueError, match="labels"):
        one.plot(two, labels=["one"])


def test_rows_are_read_by_name_of_the_column_too():
    model = fixinit.models.ResidualMLP(1, 8, input_shape=(8,), seed=0)
    found = diagnose(model, np.ones((2, 8), "float32"))
    for row in (found.layers[-1], found.blocks[0]):
        assert {**dict(row), "asked": {}} == dataclasses.asdict(row)
        with pytest.raises(KeyError, match="no column 'x'.*mean_square"):
            row["x"]


@on_torch
def test_gates_that_are_alike_for_all_inputs_are_no_collapse():
    inputs = keras.Input((8, 8, 16))
    x = inputs
    for index in range(3):
        y = keras.layers.Conv2D(16, 3, padding="same")(x)
        gate = keras.layers.GlobalAveragePooling2D(keepdims=True)(y)
        gate = keras.layers.Conv2D(16, 1, activation="sigmoid", name=f"gate{index}")(
            gate
        )
        y = keras.layers.Multiply()([y, gate])
        x = keras.layers.Add()([x, y])
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    images = np.random.default_rng(0).normal(size=(8, 8, 8, 16)).astype("float32")
    diagnosis = diagnose(model, images)
    gates = [row for row in diagnosis.layers if row.name.startswith("gate")]
    assert min(row.correlation for row in gates) > 0.99
    assert not any(row.is_cut for row in gates)
    assert all(f.kind != "inputs_alike" for f in diagnosis.findings)
