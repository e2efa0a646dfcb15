"""Six kinds of networks, with and without shortcuts and normalization."""

import keras

import fixinit
from recipes.common.plotting.style import scheme_style
from recipes.common.plotting.variants import variant


def network(label, scheme, plain=False):
    """A `Variant` in the color of its scheme, dotted where it has no shortcuts."""
    color = scheme_style(scheme)["color"]
    return variant(label, color, ":" if plain else "-", scheme=scheme, plain=plain)


NETWORKS = {
    "he_plain": network("He alone, no shortcuts", "unnormalized", plain=True),
    "batch_norm_plain": network("BatchNorm, no shortcuts", "batch_norm", plain=True),
    "looks_linear_plain": network(
        "looks-linear, no shortcuts", "looks_linear", plain=True
    ),
    "he_residual": network("He alone, residual", "unnormalized"),
    "batch_norm_residual": network("BatchNorm, residual", "batch_norm"),
    "fixup_residual": network("Fixup, residual", "fixup"),
}


def build(settings, network, input_shape, classes):
    """The untrained network of one arm; its layer `blocks` is a `Stack`."""
    if network == "looks_linear_plain":
        return looks_linear(settings, input_shape, classes)
    return fixinit.models.ResidualMLP(
        settings.num_blocks,
        settings.units,
        **NETWORKS[network].options,
        input_shape=input_shape,
        classes=classes,
        seed=settings.seed,
        stacked=True,
    )


def looks_linear(settings, input_shape, classes):
    """A network without shortcuts whose layers start as one orthogonal map."""

    def mirrored(units, seed):
        kernel = fixinit.initializers.LooksLinear(seed=seed)
        return keras.layers.Dense(units, kernel_initializer=kernel)

    seed, CReLU = 3 * settings.seed, fixinit.layers.CReLU
    stem = keras.layers.Dense(
        settings.units, kernel_initializer=keras.initializers.LecunNormal(seed)
    )
    layer = fixinit.layers.ResidualBlock(
        [CReLU(), mirrored(settings.units, seed + 2)], plain=True, name="layer"
    )
    blocks = fixinit.layers.Stack(layer, 2 * settings.num_blocks, name="blocks")
    head = [CReLU(), mirrored(classes, seed + 1)]
    return keras.Sequential([keras.Input(input_shape), stem, blocks, *head])
