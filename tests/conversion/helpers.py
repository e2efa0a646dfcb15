"""What the tests of conversion share."""

import warnings

import keras
import numpy as np
from keras import ops

import fixinit

# What no converted network holds.
NORMALIZATIONS = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
    keras.layers.RMSNormalization,
    keras.layers.UnitNormalization,
)


# Those that networks with batch normalization convert with.
FOR_BATCH_NORM = [
    name
    for name in fixinit.schemes.names()
    if not fixinit.schemes.get(name).refuses_batch_norm
]


def convert(model, scheme="fixup", seed=0, **options):
    """`fixinit.convert` with a seed and without warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return fixinit.convert(model, scheme, seed=seed, **options)


def said(model, scheme="fixup", seed=0, **options):
    """All that `fixinit.convert` warns about."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fixinit.convert(model, scheme, seed=seed, **options)
    return "\n".join(str(warning.message) for warning in caught)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def assert_close(got, expected, rtol=1e-5, atol=1e-5):
    """Tensors of any backend, of which PyTorch's may have gradients."""
    arrays = [ops.convert_to_numpy(x) for x in (got, expected)]
    np.testing.assert_allclose(*arrays, rtol=rtol, atol=atol)


def zeros(free):
    """How the branches of a model start at zero."""
    blocks = free.conversion["blocks"]
    return [branch["zero"] for block in blocks for branch in block["branches"]]


def roles(free):
    """Dict from the weight layers outside of branches to their roles."""
    return {other["name"]: other["role"] for other in free.conversion["others"]}


def still(model, x=None, y=None):
    """The trainable variables that four steps of Adam do not move."""
    x = normal(16, *model.input_shape[1:]) if x is None else x
    y = normal(16, *model.output_shape[1:], seed=1) if y is None else y
    before = [ops.convert_to_numpy(v) for v in model.trainable_variables]
    # Its steps do not get lost in the rounding of a multiplier that is 1.
    model.compile(keras.optimizers.Adam(1e-3), "mse", run_eagerly=True)
    for _ in range(4):
        model.train_on_batch(x, y)
    pairs = zip(before, model.trainable_variables, strict=True)
    return [v.path for old, v in pairs if np.array_equal(old, ops.convert_to_numpy(v))]
