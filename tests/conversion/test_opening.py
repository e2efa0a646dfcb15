"""Blocks inside of branches: zeros in zeros multiply."""

import keras
import numpy as np
import pytest
from keras import initializers, layers

import fixinit
from fixinit import schemes
from tests.conversion.helpers import assert_close, convert, normal, said, still
from tests.marks import on_torch, slow_on_tensorflow

AT_IDENTITY = ("fixup", "skip_init", "rezero")
WIDTH = 64


def weight(x):
    return layers.Dense(WIDTH)(layers.ReLU()(layers.BatchNormalization()(x)))


def block(x, inside=weight, **kwargs):
    return layers.Add(**kwargs)([x, weight(inside(x))])


def nested(levels):
    """A block in the branch of a block in the branch of a block."""

    def inside(x, level=levels):
        if level == 0:
            return weight(x)
        return block(x, lambda y: inside(weight(y), level - 1))

    inputs = keras.Input((WIDTH,))
    return keras.Model(inputs, layers.Dense(3)(inside(weight(inputs))))


@on_torch
@pytest.mark.parametrize("scheme", AT_IDENTITY)
def test_everything_opens_at_any_depth(scheme):
    free = convert(nested(levels=5), scheme)
    assert free.conversion["num_branches"] == 5
    assert not still(free)


@on_torch
@pytest.mark.parametrize("scheme", AT_IDENTITY)
@pytest.mark.parametrize("own_weights", [True, False])
def test_small_starts_keep_the_variance(scheme, own_weights):
    x = inputs = keras.Input((WIDTH,))
    for _ in range(12):
        y = block(block(x))
        x = layers.add([x, weight(y) if own_weights else y])
    free = convert(keras.Model(inputs, x), scheme)
    data = normal(32, WIDTH)
    ratio = np.mean(free.predict(data, verbose=0) ** 2) / np.mean(data**2)
    # L = 36, 12 of which hold others: (1 + 1 / L)^12 = 1.4 or, without weights of
    # their own, (1 + 1 / L)^24 = 1.9.
    expected = (1 + 1 / 36) ** (12 if own_weights else 24)
    assert 0.8 * expected < ratio < 1.25 * expected


def decoder(levels, back=weight):
    """Nested sums, as in LinkNet: level after level down, and back up."""

    def inside(x, level):
        x = layers.Add(name=f"block_{level}")([x, weight(weight(x))])
        if level == levels:
            return x
        y = back(inside(weight(x), level + 1))
        return layers.Add(name=f"sum_{level}")([x, y])

    inputs = keras.Input((WIDTH,))
    return keras.Model(inputs, layers.Dense(3)(inside(layers.Dense(WIDTH)(inputs), 0)))


@slow_on_tensorflow
@pytest.mark.every_backend
@pytest.mark.parametrize("scheme", AT_IDENTITY)
@pytest.mark.parametrize("back", [weight, lambda x: x], ids=["weights", "none"])
def test_streams_inside_of_branches_are_as_large_as_others(scheme, back):
    levels = 4
    free = convert(decoder(levels, back), scheme)
    names = [f"block_{level}" for level in range(levels + 1)]
    streams = keras.Model(free.input, [free.get_layer(name).output for name in names])
    squares = [np.mean(np.square(x)) for x in streams.predict(normal(64, WIDTH))]
    # Each is drawn anew: the logarithm's variance is 5 / 64 a layer at most.
    deviations = np.sqrt(5 / WIDTH * np.arange(1, levels + 2))
    assert np.all(np.abs(np.log(squares)) < 3 * deviations), squares
    # The layers on the way down are in the branches, and are no others.
    assert [other["role"] for other in free.conversion["others"]] == ["stem", "head"]
    sums = [b for b in free.conversion["blocks"] if b["name"].startswith("sum")]
    depth = 2 if back is weight else 1
    assert [len(b["branches"][0]["weights"]) for b in sums] == [depth] * levels


def repmixer(x, name):
    """`x + s (mix(x) - norm(x))`, where mix(x) adds up x and two convolutions of it."""

    def norm(x):
        return layers.BatchNormalization()(x)

    pointwise = norm(layers.DepthwiseConv1D(1)(x))
    mixed = layers.Add()([norm(x), pointwise])
    mixed = layers.Add()(
        [mixed, norm(layers.DepthwiseConv1D(3, padding="same", name=f"{name}_last")(x))]
    )
    change = layers.Subtract(name=f"{name}_change")([mixed, norm(x)])
    scale = fixinit.layers.ChannelMultiplier(initializers.Constant(1e-5))
    return layers.Add(name=name)([x, scale(change)])


@on_torch
@pytest.mark.parametrize("scheme", ["fixup", "skip_init", "scaled_residual"])
def test_what_a_branch_takes_away_of_its_input(scheme):
    x = inputs = keras.Input((6, WIDTH))
    x = layers.Conv1D(WIDTH, 1)(x)
    for index in range(2):
        x = repmixer(x, f"mix{index}")
    model = keras.Model(inputs, layers.Dense(3)(x))
    text = said(model, scheme)
    assert "differ from the prediction" not in text and "not settle" not in text
    free = convert(model, scheme)
    assert free.conversion["num_branches"] == 4
    names = [f"mix{i}{end}" for i in range(2) for end in ("", "_change")]
    outputs = [free.get_layer(name).output for name in names]
    x = keras.Model(free.input, outputs).predict(normal(64, 6, WIDTH), verbose=0)
    first, change, second, _ = (np.mean(np.square(y)) for y in x)
    # Two of four branches are small, and hold the other two.
    assert 0.6 < first < second < 1.5**2
    # The scheme starts it by these kernels, and not at the rounding of x - x.
    assert change > (0.1 if scheme == "fixup" else 0.5)
    assert not still(free, normal(16, 6, WIDTH), normal(16, 6, 3, seed=1))


def test_outer_branches_are_named():
    inputs = keras.Input((WIDTH,))
    model = keras.Model(
        inputs, block(inputs, lambda x: block(x, name="in"), name="out")
    )
    with pytest.warns(UserWarning, match="hold other branches.*: out"):
        free = fixinit.convert(model, "fixup", seed=0)
    starts = {b["name"]: b["branches"][0]["zero"] for b in free.conversion["blocks"]}
    assert starts == {"in": "kernel", "out": None}


def test_only_zeros_are_opened():
    site = schemes.Site(0, 4, smallest_start=0.25)
    for start, expected in ((0.0, 0.25), (1.0, 1.0)):
        (multiplier,) = schemes.SkipInit(start).branch_end(site)
        assert multiplier.initializer.value == expected
    (gamma,) = schemes.BatchNorm(zero_gamma=True).branch_end(site)
    assert gamma.gamma_initializer.value == 0.25
    assert isinstance(
        schemes.Fixup().branch_end(site)[0].initializer, initializers.Ones
    )


def test_lambdas():
    """Copies, slices and calls of layers; the graph has what they do."""
    dense, norm = layers.Dense(8, name="inner"), layers.BatchNormalization(name="norm")
    inputs = keras.Input((5, 8))
    x = layers.Lambda(lambda x: x, name="same")(inputs)
    x = layers.Add()([x, layers.Lambda(lambda x: dense(norm(x)))(inputs)])
    x = layers.Lambda(lambda x, axis: x[:, axis], arguments={"axis": -1})(x)
    model = keras.Model(inputs, layers.Dense(2)(x))
    x = normal(3, 5, 8)
    expected = model(x)
    free = convert(model, "skip_init")
    (block,) = free.conversion["blocks"]
    assert block["branches"][0]["weights"] == ["inner"]
    assert free.conversion["removed"] == {"BatchNormalization": ["norm"]}
    assert not any(isinstance(layer, layers.Lambda) for layer in free.layers)
    assert "does not hold, as in a Lambda" in said(model) and dense.name == "inner"
    assert_close(convert(model, weights="fold")(x), expected)
