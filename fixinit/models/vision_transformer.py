import keras

from fixinit import layers, schemes
from fixinit._checked import checked_but
from fixinit._typing import Identifier, Shape
from fixinit._validation import (
    MOST_BRANCHES,
    check_choice,
    check_positive_int,
    check_shape,
    check_size,
)
from fixinit.layers.stack_arguments import check_remat
from fixinit.models._noise import check_rate
from fixinit.models._residual_network import ResidualNetwork
from fixinit.models._stacking import is_stacked
from fixinit.models._transformer import TransformerBlocks
from fixinit.models._transformer_plan import TransformerPlan
from fixinit.schemes.apply import Layers
from fixinit.schemes.scheme import SchemeLike

# Width and heads; all but L have 12 blocks.
VARIANTS = {
    "Ti": (192, 3, 12),
    "S": (384, 6, 12),
    "B": (768, 12, 12),
    "L": (1024, 16, 24),
}
POSITIONS = ("learned", "sine")
POOLINGS = ("token", "average")


@checked_but("scheme", "input_shape")
def VisionTransformer(
    variant: str | None = "S",
    patch_size: int = 16,
    num_blocks: int | None = None,
    width: int | None = None,
    num_heads: int | None = None,
    mlp_width: int | None = None,
    scheme: SchemeLike = "dyt",
    activation: Identifier = "gelu",
    positions: str = "learned",
    pooling: str = "token",
    class_token: bool = True,
    query_key_norm: bool = False,
    soft_cap: float | None = None,
    drop_rate: float = 0.0,
    stochastic_depth_rate: float = 0.0,
    input_shape: Shape = (224, 224, 3),
    classes: int = 1000,
    classifier_activation: Identifier = None,
    seed: int | None = None,
    stacked: bool | str = "auto",
    remat: str | int | None = None,
    name: str | None = None,
) -> keras.Model:
    """A Vision Transformer (ViT): patches of an image as a sequence.

    Patches become vectors, a class token and positions are added, `num_blocks` blocks
    of attention and an MLP follow, then the class scores of the token or the average.

    Example:

    >>> model = fixinit.models.VisionTransformer(
    ...     "Ti", 8, num_blocks=2, input_shape=(32, 32, 3), classes=10, seed=0
    ... )
    >>> model.output_shape
    (None, 10)

    Args:
        variant: `"Ti"`, `"S"` (default), `"B"` or `"L"`: width, heads and blocks, where
            the arguments of these names are not given; `None` needs all three.
        patch_size: int. Height and width of a patch.
        num_blocks: int. Number of blocks (N), of two residual branches each.
        width: int. Channels of the stream.
        num_heads: int that divides `width`.
        mlp_width: int. Units of the MLP, by default four times the width.
        scheme: Name, config or instance: see `fixinit.schemes.get`.
        activation: Keras activation of the MLP.
        positions: `"learned"` (default), or `"sine"`, fixed sines and cosines.
        pooling: `"token"` (default), the class token is read; or `"average"`, the
            average of all patches.
        class_token: bool. Whether there is a class token. It needs one to be read.
        query_key_norm: bool. Whether queries and keys are normalized head by head.
        soft_cap: float or `None`. Bound of attention scores: see
            `fixinit.layers.SelfAttention`.
        drop_rate: float in `[0, 1)`. Dropout in front of the classification layer.
        stochastic_depth_rate: float in `[0, 1)`. In training, branch l of L is dropped
            with this times l / L as probability, sample by sample.
        input_shape: Tuple `(height, width, channels)`.
        classes: int. Number of classes.
        classifier_activation: Activation of the class scores, none by default.
        seed: int. The same seed gives the same weights, bit for bit.
        stacked: bool or `"auto"`. `True` makes one `fixinit.layers.Stack` of all
            blocks; `"auto"` (default) does so from 50 blocks on, on PyTorch from 500.
        remat: What a stack keeps for the gradient: see `fixinit.layers.Stack`.
        name: Name of the model.

    Returns:
        A `keras.Model`.

    Raises:
        ValueError: If an argument is outside its range, patches do not fill the image,
            or heads do not divide the width.

    References:

    - [Dosovitskiy et al., 2020](https://arxiv.org/abs/2010.11929)
    - [Touvron et al., 2020](https://arxiv.org/abs/2012.12877) (`"Ti"`, `"S"`)
    """
    sizes = _sizes(variant, width, num_heads, num_blocks)
    check_choice("positions", positions, POSITIONS)
    check_choice("pooling", pooling, POOLINGS)
    check_size("classes", classes)
    height, breadth = _check_image(input_shape, patch_size)
    if pooling == "token" and not class_token:
        raise ValueError(
            "Argument `pooling='token'` reads the class token. Received: "
            "class_token=False. Pass pooling='average'."
        )
    # timm cuts it off at 100 standard deviations.
    draw = keras.initializers.RandomNormal(stddev=0.02)
    plan = TransformerPlan(
        num_blocks=sizes["num_blocks"],
        width=sizes["width"],
        num_heads=sizes["num_heads"],
        num_key_value_heads=sizes["num_heads"],
        mlp_width=4 * sizes["width"] if mlp_width is None else mlp_width,
        activation=activation,
        query_key_norm=query_key_norm,
        soft_cap=soft_cap,
        draw=draw,
        last_draw=draw,
        stochastic_depth_rate=check_rate(
            "stochastic_depth_rate", stochastic_depth_rate
        ),
    )
    scheme = schemes.get(scheme)
    blocks = TransformerBlocks(scheme, plan, seed)
    is_average = pooling == "average"
    with blocks.applicator.building():
        body = _patches(blocks, patch_size, height * breadth)
        if class_token:
            body += _class_token(blocks)
        body += blocks.positions(positions, height * breadth + class_token)
        body += blocks.body(is_stacked(stacked, plan.num_blocks), check_remat(remat))
        body += _pooled(blocks, is_average, class_token)
        body += blocks.scores(classes, classifier_activation, draw, drop_rate)
        inputs = outputs = keras.Input(tuple(input_shape))
        for layer in body:
            outputs = layer(outputs)
    return ResidualNetwork(
        inputs, outputs, name=name or f"vision_transformer_{scheme.name}"
    )


def _sizes(
    variant: str | None,
    width: int | None,
    num_heads: int | None,
    num_blocks: int | None,
) -> dict[str, int]:
    """Width, heads and blocks: those given, or those of the variant."""
    standard: tuple[int | None, ...] = (None, None, None)
    if variant is not None:
        standard = VARIANTS[check_choice("variant", variant, list(VARIANTS))]
    given = {"width": width, "num_heads": num_heads, "num_blocks": num_blocks}
    return {
        name: check_positive_int(
            name,
            default if value is None else value,
            maximum=MOST_BRANCHES,
            hint="Give it, or a variant.",
        )
        for (name, value), default in zip(given.items(), standard, strict=True)
    }


def _check_image(input_shape: Shape, patch_size: int) -> tuple[int, int]:
    """How many patches an image has, by height and width."""
    check_size("patch_size", patch_size)
    shape = check_shape("input_shape", input_shape, "(224, 224, 3)", 0)
    if len(shape) != 3 or any(not n or n % patch_size for n in shape[:2]):
        raise ValueError(
            "Argument `input_shape` must be (height, width, channels), both a multiple "
            f"of the patch size. Received: input_shape={tuple(shape)}, "
            f"patch_size={patch_size}"
        )
    height, width = (int(n or 0) // patch_size for n in shape[:2])
    return height, width


def _patches(blocks: TransformerBlocks, patch_size: int, count: int) -> Layers:
    """From images to sequences of patches."""
    site, width = blocks.site(role="stem"), blocks.plan.width
    patches = keras.layers.Conv2D(
        width,
        patch_size,
        strides=patch_size,
        data_format="channels_last",
        # As PyTorch draws convolutions.
        kernel_initializer=keras.initializers.VarianceScaling(
            1 / 3, "fan_in", "uniform"
        ),
        name="patches",
    )
    return [
        *blocks.applicator.at("before_weight", site, "patches"),
        blocks.applicator.weight(site, patches),
        keras.layers.Reshape((count, width), name="sequence"),
    ]


def _class_token(blocks: TransformerBlocks) -> Layers:
    token = blocks.applicator.seeded(keras.initializers.RandomNormal(stddev=1e-6))
    return [layers.ClassToken(token, name="class_token")]


def _pooled(blocks: TransformerBlocks, is_average: bool, class_token: bool) -> Layers:
    """What is behind the blocks, and the vector that is classified."""
    end = blocks.end()
    pooling = "average" if is_average else "first"
    pool = layers.SequencePooling(pooling, skip=int(class_token), name="pool")
    # The average is normalized, not what it is of.
    return [pool, *end] if is_average else [*end, pool]
