import keras
import numpy as np
import pytest
from keras import layers, ops

from fixinit.layers import GatedUnit, SelfAttention
from fixinit.layers.rotary import rotate
from tests.marks import on_torch, slow_on_tensorflow


def numpy(x):
    return ops.convert_to_numpy(x)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def attention(heads=4, groups=None, width=16, **options):
    kept = width // heads * (groups or heads)
    made = [
        layers.Dense(n, kernel_initializer="random_normal", name=name)
        for n, name in ((width, "query"), (kept, "key"), (kept, "value"))
    ]
    return SelfAttention(*made, num_heads=heads, num_key_value_heads=groups, **options)


def expected(layer, x, mask=None):
    """The equation of the docstring, one head after the other."""
    q, k, v = (numpy(getattr(layer, n)(x)) for n in ("query", "key", "value"))
    heads, groups = layer.num_heads, layer.num_key_value_heads
    d = q.shape[-1] // heads
    found = []
    for head in range(heads):
        group = head // (heads // groups)
        a, b, c = (
            q[..., head * d :][..., :d],
            *(y[..., group * d :][..., :d] for y in (k, v)),
        )
        scores = a @ b.transpose(0, 2, 1) / np.sqrt(d)
        if layer.soft_cap:
            scores = layer.soft_cap * np.tanh(scores / layer.soft_cap)
        seen = np.ones(scores.shape, bool)
        if layer.is_causal:
            seen &= np.tril(seen)
        if mask is not None:
            seen &= mask[:, None]
        weights = np.where(seen, np.exp(scores), 0)
        found.append(weights / weights.sum(-1, keepdims=True) @ c)
    return np.concatenate(found, axis=-1)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"is_causal": True},
        {"groups": 2, "is_causal": True},
        {"groups": 1},
        {"soft_cap": 0.5, "is_causal": True},
        {"soft_cap": 0.5},
    ],
    ids=["plain", "causal", "groups", "one group", "capped, causal", "capped"],
)
@pytest.mark.parametrize("masked", [False, True])
def test_is_what_its_equation_says(options, masked):
    layer, x = attention(**options), 3 * normal(2, 5, 16)
    mask = None
    if masked:
        mask = np.array([[True] * 5, [True, True, True, False, False]])
    outputs = numpy(layer(x, mask=mask))
    np.testing.assert_allclose(outputs, expected(layer, x, mask), rtol=1e-4, atol=1e-6)
    assert layer.compute_output_shape((2, 5, 16)) == outputs.shape


def test_scores_of_rotated_heads_depend_on_distances_alone():
    q, k = normal(1, 1, 1, 8), normal(1, 1, 1, 8, seed=1)

    def score(t, s):
        turned = (
            rotate(ops.convert_to_tensor(x), np.array([[at]]), 10_000.0)
            for x, at in ((q, t), (k, s))
        )
        a, b = map(numpy, turned)
        return float(np.sum(a * b))

    assert score(3, 1) == pytest.approx(score(12, 10), abs=1e-5)
    assert abs(score(3, 1) - score(3, 2)) > 1e-3
    turned = rotate(ops.convert_to_tensor(q), np.array([[0]]), 10_000.0)
    np.testing.assert_allclose(numpy(turned), q)


@on_torch
def test_rotary_positions_are_those_of_keras_hub():
    hub = pytest.importorskip("keras_hub")
    x = normal(2, 7, 3, 8)
    theirs = hub.layers.RotaryEmbedding(max_wavelength=10_000)(x)
    ours = rotate(ops.convert_to_tensor(x), np.arange(7)[None], 10_000.0)
    np.testing.assert_allclose(numpy(ours), numpy(theirs), rtol=1e-4, atol=1e-5)


@slow_on_tensorflow
def test_survives_saving(tmp_path):
    norms = [layers.RMSNormalization(name=f"{n}_norm") for n in ("query", "key")]
    layer = attention(
        groups=2,
        is_causal=True,
        rotary_base=100.0,
        soft_cap=5.0,
        query_norm=norms[0],
        key_norm=norms[1],
    )
    gated = GatedUnit(
        layers.Dense(8, name="gate"),
        layers.Dense(8, name="up"),
        [layers.Activation("silu")],
    )
    inputs = keras.Input((None, 16))
    model = keras.Model(inputs, gated(layer(inputs)))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    x = normal(2, 5, 16)
    np.testing.assert_array_equal(numpy(loaded(x)), numpy(model(x)))


def test_gated_unit():
    gate, up = layers.Dense(6, name="gate"), layers.Dense(6, name="up")
    x = normal(2, 3, 4)
    outputs = GatedUnit(gate, up, [layers.Activation("silu")])(x)
    a, b = numpy(gate(x)), numpy(up(x))
    np.testing.assert_allclose(numpy(outputs), a / (1 + np.exp(-a)) * b, rtol=1e-4)
    with pytest.raises(ValueError, match="must give one shape"):
        GatedUnit(layers.Dense(6), layers.Dense(5), []).build((2, 3, 4))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: attention(heads=4, groups=3), "must divide `num_heads`"),
        (lambda: attention(soft_cap=0), "`soft_cap` must be a positive"),
        (lambda: attention(rotary_base=-1.0), "`rotary_base` must be a positive"),
    ],
)
def test_refusals(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_refuses_channels_that_heads_do_not_divide():
    made = (layers.Dense(10, name=name) for name in ("query", "key", "value"))
    with pytest.raises(ValueError, match="must divide the channels"):
        SelfAttention(*made, num_heads=4).build((None, 5, 10))


def test_values_may_have_heads_of_another_width():
    parts = (layers.Dense(n, name=name) for n, name in ((8, "query"), (8, "key")))
    layer = SelfAttention(*parts, layers.Dense(12, name="value"), num_heads=2)
    x = normal(2, 5, 6)
    found = numpy(layer(x))
    assert found.shape == layer.compute_output_shape(x.shape) == (2, 5, 12)
    q, k, v = (numpy(getattr(layer, n)(x)) for n in ("query", "key", "value"))
    scores = q[..., :4] @ k[..., :4].transpose(0, 2, 1) / 2
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    np.testing.assert_allclose(found[..., :6], weights @ v[..., :6], rtol=1e-4)


@pytest.mark.parametrize(
    ("units", "options", "shape", "says"),
    [
        ((6, 6, 6), {"rotary_base": 100.0}, (1, 3, 8), "heads need an even width"),
        ((8, 4, 8), {}, (1, 3, 8), "must have one width. Received: 4 and 2"),
        ((8, 8, 8), {}, (1, 8), "takes sequences \\(batch, length, channels"),
    ],
)
def test_heads_that_do_not_fit(units, options, shape, says):
    layer = SelfAttention(*map(layers.Dense, units), num_heads=2, **options)
    with pytest.raises(ValueError, match=says):
        layer(np.ones(shape, "float32"))


def test_masks_may_be_numbers():
    layer, x = attention(), normal(2, 3, 5)
    mask = np.array([[1, 1, 0], [1, 0, 0]])
    found = numpy(layer(x, mask=mask.astype("float32")))
    np.testing.assert_allclose(found, numpy(layer(x, mask=mask > 0)), rtol=1e-6)
