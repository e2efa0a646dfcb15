"""Rules for attention layers, against layers that are run."""

import keras
import numpy as np
import pytest

from fixinit import theory
from fixinit.layers import Parameter
from tests.marks import on_torch
from tests.theory.calculus.measured_gradients import gradient_of_input
from tests.theory.measuring import check

layers = keras.layers
LENGTH, WIDTH = 8, 64


def sharp():
    """Scores of variance 16: few keys count."""
    return keras.initializers.VarianceScaling(4.0, "fan_in")


def model(attend, shape=(LENGTH, WIDTH)):
    def make():
        x = keras.Input(shape)
        return keras.Model(x, attend(x))

    return make


def heads(x, **options):
    call = {k: options.pop(k) for k in ("use_causal_mask",) if k in options}
    return layers.MultiHeadAttention(4, WIDTH // 4, **options)(x, x, **call)


@on_torch
@pytest.mark.parametrize(
    "attend",
    [
        heads,
        lambda x: heads(x, kernel_initializer=sharp()),
        lambda x: heads(x, use_causal_mask=True),
        lambda x: heads(x, value_dim=8, use_bias=False),
        lambda x: heads(layers.Dense(WIDTH, "relu")(x)),
        lambda x: layers.GlobalAveragePooling1D()(heads(x)),
        lambda x: layers.GroupQueryAttention(16, 4, 2)(x, x),
        lambda x: layers.Attention()([x, x]),
        lambda x: layers.Attention(score_mode="concat")(
            [x, layers.Dense(64)(x), layers.Dense(64)(x)]
        ),
        lambda x: layers.AdditiveAttention()([layers.Dense(64)(x), x]),
        lambda x: layers.Attention()(
            [0.3 * layers.Dense(64)(x), x], use_causal_mask=True
        ),
    ],
)
def test_attention_layers(attend):
    # Keys and values of few channels are alike by chance: a share 1 / WIDTH each.
    check(model(attend), (LENGTH, WIDTH), rtol=0.08, seeds=10)


def test_attention_over_two_axes():
    def attend(x):
        layer = layers.MultiHeadAttention(2, 16, attention_axes=(1, 2))
        return layer(x, x)

    check(model(attend, (4, 4, 32)), (4, 4, 32), rtol=0.08, seeds=8)


def test_attention_along_the_second_axis_leaves_the_first_apart():
    def attend(x):
        return layers.MultiHeadAttention(2, 16, attention_axes=(2,))(x, x)

    check(model(attend, (3, 6, 32)), (3, 6, 32), rtol=0.08, seeds=8)


def test_weights_are_returned_as_probabilities():
    x = keras.Input((LENGTH, WIDTH))
    layer = layers.MultiHeadAttention(4, 16, name="attention")
    output, weights = layer(x, x, return_attention_scores=True)
    found = theory.predict(keras.Model(x, [output, weights]))
    assert found["attention.1"].mean == pytest.approx(1 / LENGTH)
    assert 1 / LENGTH**2 < found["attention.1"].mean_square < 1 / LENGTH


def test_dropout_of_weights_adds_noise():
    make = model(lambda x: heads(x, dropout=0.5))
    check(make, (LENGTH, WIDTH), rtol=0.08, training=True, seeds=8)


def test_masks_that_are_known_leave_keys_out():
    # Scores are zero, so that weights are equal.
    options = {"kernel_initializer": keras.initializers.RandomNormal(stddev=1e-3)}
    x, mask = keras.Input((6, WIDTH)), keras.Input((6, 6), dtype="bool", name="m")
    seen = keras.ops.logical_and(mask, np.arange(6)[None, None] < 2)
    y = layers.MultiHeadAttention(4, 16, name="y", **options)
    few = theory.predict(keras.Model([x, mask], y(x, x, attention_mask=seen)))
    z = layers.MultiHeadAttention(4, 16, name="z", **options)
    many = theory.predict(keras.Model(x, z(x, x)))
    ratio = few["y"].mean_square / many["z"].mean_square
    assert ratio == pytest.approx(3.0)  # two keys instead of six


def test_masks_that_depend_on_activations_are_refused():
    x, mask = keras.Input((6, WIDTH)), keras.Input((6, 6))
    y = layers.MultiHeadAttention(4, 16)(x, x, attention_mask=mask)
    with pytest.raises(theory.NoRuleError, match="mask depends on activations"):
        theory.predict(keras.Model([x, mask], y))


def test_a_subclass_that_computes_the_same_has_the_same_rule():
    class Cached(layers.MultiHeadAttention):
        def call(self, query, value, key=None, cache=None):
            return super().call(query, value, key)

    x = keras.Input((LENGTH, WIDTH))
    rows = [
        theory.predict(keras.Model(x, kind(4, 16, name="y")(x, x)))["y"]
        for kind in (Cached, layers.MultiHeadAttention)
    ]
    assert rows[0].mean_square == rows[1].mean_square


@pytest.mark.slow
@pytest.mark.every_backend
@pytest.mark.parametrize("initializer", ["glorot_uniform", sharp()])
def test_gradients_of_attention(initializer):
    def make():
        return model(lambda x: heads(x, kernel_initializer=initializer))()

    measured, error = gradient_of_input(make, (LENGTH, WIDTH), seeds=8)
    predicted = theory.predict(make()).layers[0].gradient
    assert abs(predicted - measured) < 4 * error + 0.12 * measured


@pytest.mark.parametrize("lead", [(1,), ()])
def test_queries_may_be_weights_without_a_batch(lead):
    """As embeddings of positions that are decoded all at once, under a mask."""
    memory = keras.Input((5, WIDTH))
    place = Parameter((*lead, 3, WIDTH), initializer=keras.initializers.RandomNormal())
    query = place(memory) if lead else keras.ops.expand_dims(place(memory), 0)
    seen = np.array([[1, 1, 0, 0, 0]] * 3, bool)

    def output(**options):
        y = layers.MultiHeadAttention(4, 16, name="y")(query, memory, **options)
        return theory.predict(keras.Model(memory, y))["y"]

    few, many = output(attention_mask=seen), output()
    # Such scores are small: averages over two keys, and over five.
    assert few.mean_square / many.mean_square == pytest.approx(5 / 2, rel=0.01)


def test_masks_of_two_attended_axes_are_those_of_their_pairs():
    x = keras.Input((2, 3, 32))
    seen = np.zeros((1, 2, 3, 2, 3), bool)
    seen[..., 0, :2] = True
    small = keras.initializers.RandomNormal(stddev=1e-3)
    options = {"kernel_initializer": small, "attention_axes": (1, 2)}
    rows = [
        theory.predict(keras.Model(x, layer(x, x, attention_mask=mask))).layers[-1]
        for mask in (seen, None)
        for layer in [layers.MultiHeadAttention(2, 16, **options)]
    ]
    ratio = rows[0].mean_square / rows[1].mean_square
    assert ratio == pytest.approx(3.0, rel=0.01)  # two keys instead of six


def test_masks_that_do_not_fit_are_refused():
    x = keras.Input((2, 3, 32))
    y = layers.MultiHeadAttention(2, 16)(x, x, attention_mask=np.eye(3)[None] > 0)
    with pytest.raises(theory.NoRuleError, match="mask that does not broadcast"):
        theory.predict(keras.Model(x, y))
