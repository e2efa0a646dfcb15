"""Rules for layers that move values without changing them."""

import keras

from fixinit.theory import calculus
from fixinit.theory.calculus.windows import Window
from fixinit.theory.errors import NoRuleError
from fixinit.theory.registry import register


@register(keras.layers.InputLayer, keras.layers.Identity)
@register(keras.layers.ActivityRegularization, keras.layers.Masking)
def unchanged(layer, setting, x):
    return x


@register(keras.layers.Flatten)
def flatten(layer, setting, x):
    return calculus.flatten(x)


@register(keras.layers.Reshape)
def reshape(layer, setting, x):
    return to_shape(x, setting)


def to_shape(x, setting):
    """`x` in the output shape of a call, where that is known."""
    *space, channels = setting.output_shape
    if channels == x.total_channels and _without_ones(space) == _without_ones(x.shape):
        return calculus.reshape(x, space)
    if not space:
        return calculus.flatten(x)
    if all(n == 1 for n in x.shape) and len(x.channels) == 1:
        return calculus.unflatten(calculus.flatten(x), setting.output_shape)
    if channels == x.total_channels and len(space) < len(x.shape):
        return calculus.merge_space(x, space)
    raise NoRuleError(
        f"`{setting.name}` reshapes {(*x.shape, x.total_channels)} to "
        f"{setting.output_shape}, which mixes positions and channels in a way that is "
        "not known."
    )


def _without_ones(shape):
    return [n for n in shape if n != 1]


@register(keras.layers.RepeatVector)
def repeat_vector(layer, setting, x):
    x = calculus.reshape(x, (1,))
    return calculus.spatial(x, [Window.gather(1, 0, layer.n, repeat=layer.n)])


@register(
    keras.layers.ZeroPadding1D, keras.layers.ZeroPadding2D, keras.layers.ZeroPadding3D
)
def zero_padding(layer, setting, x):
    return calculus.spatial(
        x,
        [
            Window.gather(n, -low, n + low + high)
            for n, (low, high) in zip(x.shape, _sides(layer.padding), strict=True)
        ],
    )


@register(keras.layers.Cropping1D, keras.layers.Cropping2D, keras.layers.Cropping3D)
def cropping(layer, setting, x):
    return calculus.spatial(
        x,
        [
            Window.gather(n, low, n - low - high)
            for n, (low, high) in zip(x.shape, _sides(layer.cropping), strict=True)
        ],
    )


@register(
    keras.layers.UpSampling1D, keras.layers.UpSampling2D, keras.layers.UpSampling3D
)
def up_sampling(layer, setting, x):
    if getattr(layer, "interpolation", "nearest") != "nearest":
        raise NoRuleError(
            f"UpSampling2D `{setting.name}` is known with interpolation='nearest'. "
            f"Received: interpolation={layer.interpolation!r}"
        )
    sizes = layer.size if isinstance(layer.size, (list, tuple)) else [layer.size]
    return calculus.spatial(
        x,
        [
            Window.gather(n, 0, n * size, repeat=size)
            for n, size in zip(x.shape, sizes, strict=True)
        ],
    )


@register(keras.layers.Permute)
def permute(layer, setting, x):
    dims = tuple(layer.dims)
    if dims[-1] != len(dims):
        raise NoRuleError(
            f"Permute `{setting.name}` is known where the channels stay the last axis. "
            f"Received: dims={layer.dims}"
        )
    return calculus.permute(x, [dim - 1 for dim in dims[:-1]])


def _sides(sides):
    pairs = [sides] if isinstance(sides[0], int) else sides
    return [(int(low), int(high)) for low, high in pairs]
