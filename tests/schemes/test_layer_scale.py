import math

import keras
import numpy as np
import pytest

import fixinit
from fixinit.layers import ChannelMultiplier
from fixinit.schemes import LayerScale, Site


@pytest.mark.parametrize(
    ("blocks", "scale"),
    [(1, 0.1), (18, 0.1), (19, 1e-5), (24, 1e-5), (25, 1e-6), (48, 1e-6)],
)
def test_published_starts(blocks, scale):
    scheme = LayerScale()
    # Transformers have two branches a block; the paper counts blocks.
    site = Site(0, 2 * blocks, layer=1, num_blocks=blocks)
    assert scheme.start(site).scale == scale
    assert scheme.start(Site(0, blocks)).scale == scale
    (layer,) = scheme.branch_end(site)
    layer.build((None, 3))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer.gamma), [scale] * 3)
    assert scheme.merge(site).branch_scale == 1
    assert not scheme.starts_at_identity


def test_variance_grows_with_the_square_of_the_start():
    found = LayerScale(0.5).predicted_variance(2)
    assert found.tolist() == [1.0, 1.25, 1.5625]
    assert LayerScale().predicted_variance(18)[-1] == pytest.approx(1.01**18)


@pytest.mark.parametrize("scale", [0, math.inf, 1e200, "a", True])
def test_refuses(scale):
    with pytest.raises(ValueError, match="`initial_scale` must be"):
        LayerScale(scale)


@pytest.mark.every_backend
def test_multipliers_of_channels_train_apart():
    model = fixinit.models.ResNet1D(
        (2,), (4,), scheme="layer_scale", input_shape=(8, 2), classes=3, seed=0
    )
    ends = [x for x in model._flatten_layers() if isinstance(x, ChannelMultiplier)]
    assert ends and all(len(x.gamma.shape) == 1 for x in ends)
    gammas = [w for w in model.trainable_weights if w.path.endswith("gamma")]
    before = [keras.ops.convert_to_numpy(w).copy() for w in gammas]
    np.testing.assert_allclose(before[0], 0.1)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss)
    x = np.random.default_rng(0).normal(size=(8, 8, 2)).astype("float32")
    model.train_on_batch(x, np.arange(8) % 3)
    for old, new in zip(before, gammas, strict=True):
        step = keras.ops.convert_to_numpy(new) - old
        assert len(np.unique(step)) == step.size


def test_takes_the_place_of_a_models_own():
    """ConvNeXt's layers of the same kind go; the scheme's stand at the branch ends."""
    x = inputs = keras.Input((8,))
    for _ in range(2):
        y = keras.layers.Dense(8)(keras.layers.LayerNormalization()(x))
        y = ChannelMultiplier(keras.initializers.Constant(1e-6))(
            keras.layers.Dense(8)(keras.layers.ReLU()(y))
        )
        x = keras.layers.Add()([x, y])
    free = fixinit.convert(keras.Model(inputs, x), "layer_scale", seed=0)
    found = [x for x in free.layers if isinstance(x, ChannelMultiplier)]
    assert len(found) == 2
    np.testing.assert_allclose(keras.ops.convert_to_numpy(found[0].gamma), [0.1] * 8)
