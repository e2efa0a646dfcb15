from typing import Any

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
from fixinit.layers.sequence_pooling import POOLINGS
from fixinit.layers.stack_arguments import check_remat
from fixinit.models._noise import check_rate
from fixinit.models._residual_network import SequenceNetwork
from fixinit.models._stacking import is_stacked
from fixinit.models._token_network import TokenNetwork
from fixinit.models._transformer import TransformerBlocks, tables_of
from fixinit.models._transformer_plan import TransformerPlan
from fixinit.schemes.apply import Layers
from fixinit.schemes.scheme import SchemeLike

POSITIONS = ("learned", "sine", "rotary")


@checked_but("scheme", "input_shape")
def TransformerEncoder(
    vocabulary_size: int | None = None,
    max_length: int = 512,
    num_blocks: int = 12,
    width: int = 768,
    num_heads: int = 12,
    num_key_value_heads: int | None = None,
    mlp_width: int | None = None,
    scheme: SchemeLike = "dyt",
    activation: Identifier = "gelu",
    gated: bool = False,
    positions: str = "learned",
    rotary_base: float = 10_000.0,
    embedding_scale: float | str | None = "auto",
    pooling: str | None = None,
    classes: int | None = None,
    classifier_activation: Identifier = None,
    use_bias: bool = True,
    query_key_norm: bool = False,
    soft_cap: float | None = None,
    mask_token: int | None = None,
    dropout_rate: float = 0.0,
    drop_rate: float = 0.0,
    stochastic_depth_rate: float = 0.0,
    input_shape: Shape | None = None,
    seed: int | None = None,
    stacked: bool | str = "auto",
    remat: str | int | None = None,
    name: str | None = None,
) -> keras.Model:
    """A Transformer whose positions all see each other, of tokens or of vectors.

    Vectors are projected to `width`, tokens embedded; positions are added, `num_blocks`
    blocks of attention and an MLP follow. Padding, by `mask_token` or by a mask of
    Keras, is seen by nobody.

    Example:

    >>> model = fixinit.models.TransformerEncoder(
    ...     input_shape=(None, 6), num_blocks=2, width=32, num_heads=4, seed=0
    ... )
    >>> model.output_shape
    (None, None, 32)

    Args:
        vocabulary_size: int, or `None` (default) for vectors. Number of tokens.
        max_length: int. The most positions of a sequence.
        num_blocks: int. Number of blocks (N), of two residual branches each.
        width: int. Channels of the stream.
        num_heads: int that divides `width`. Heads of the queries.
        num_key_value_heads: int that divides `num_heads`, by default the same.
        mlp_width: int. Units of the MLP, by default four times the width.
        scheme: Name, config or instance: see `fixinit.schemes.get`.
        activation: Keras activation of the MLP.
        gated: bool. Whether the MLP is a gated linear unit: with `"silu"` SwiGLU.
        positions: `"learned"` (default), a table; `"sine"`, fixed sines and cosines; or
            `"rotary"`.
        rotary_base: float. Base of rotary positions.
        embedding_scale: float, `None` or `"auto"` (default). Start of a trained scalar
            behind the embeddings of tokens, `None` for no scalar: see
            `fixinit.models.LanguageModel`.
        pooling: `None` (default) for all vectors, `"first"`, or `"average"`.
        classes: int, or `None` (default) for no classification layer. Needs `pooling`.
        classifier_activation: Activation of the class scores, none by default.
        use_bias: bool. Whether weight layers have biases, where the scheme leaves it to
            the network.
        query_key_norm: bool. Whether queries and keys are normalized head by head.
        soft_cap: float or `None`. Bound of attention scores.
        mask_token: int or `None`. The token of padding: see
            `fixinit.layers.TokenEmbedding`.
        dropout_rate: float in `[0, 1)`. Dropout in front of the blocks.
        drop_rate: float in `[0, 1)`. Dropout in front of the classification layer.
        stochastic_depth_rate: float in `[0, 1)`. In training, branch l of L is dropped
            with this times l / L as probability, sample by sample.
        input_shape: Tuple `(length, channels)` of sequences of vectors. The length may
            be `None`.
        seed: int. The same seed gives the same weights, bit for bit.
        stacked: bool or `"auto"`. `True` makes one `fixinit.layers.Stack` of all
            blocks; `"auto"` (default) does so from 50 blocks on, on PyTorch from 500.
        remat: What a stack keeps for the gradient: see `fixinit.layers.Stack`.
        name: Name of the model.

    Returns:
        A `keras.Model` to vectors `(batch, length, width)`, to one `(batch, width)` of
        them, or to scores `(batch, classes)`.

    Raises:
        ValueError: If an argument is outside its range, heads do not divide the width,
            or not exactly one of `vocabulary_size` and `input_shape` is given.

    References:

    - [Vaswani et al., 2017](https://arxiv.org/abs/1706.03762)
    - [Devlin et al., 2018](https://arxiv.org/abs/1810.04805)
    """
    check_size("max_length", max_length)
    check_positive_int("num_blocks", num_blocks, maximum=MOST_BRANCHES)
    check_choice("positions", positions, POSITIONS)
    check_rate("dropout_rate", dropout_rate)
    check_rate("stochastic_depth_rate", stochastic_depth_rate)
    _check_ends(vocabulary_size, input_shape, pooling, classes, mask_token)
    draw = keras.initializers.RandomNormal(stddev=0.02)
    plan = TransformerPlan(
        num_blocks,
        width,
        num_heads,
        num_heads if num_key_value_heads is None else num_key_value_heads,
        mlp_width=4 * width if mlp_width is None else mlp_width,
        activation=activation,
        gated=gated,
        rotary_base=rotary_base if positions == "rotary" else None,
        query_key_norm=query_key_norm,
        soft_cap=soft_cap,
        use_bias=use_bias,
        draw=draw,
        last_draw=draw,
        stochastic_depth_rate=stochastic_depth_rate,
    )
    scheme = schemes.get(scheme)
    blocks = TransformerBlocks(scheme, plan, seed)
    with blocks.applicator.building():
        body = _start(blocks, vocabulary_size, mask_token, draw)
        body += blocks.positions(positions, max_length)
        if vocabulary_size is not None:
            body += blocks.embedding_scale(embedding_scale, tables_of(body))
        body += blocks.dropout(dropout_rate, "dropout")
        body += blocks.body(is_stacked(stacked, num_blocks), check_remat(remat))
        body += blocks.end()
        if pooling is not None:
            body.append(layers.SequencePooling(pooling, name="pool"))
        if classes is not None:
            body += blocks.scores(classes, classifier_activation, draw, drop_rate)
        if vocabulary_size is None:
            inputs = outputs = keras.Input(tuple(input_shape or ()))
        else:
            inputs = outputs = keras.Input((None,), dtype="int32", name="token_ids")
        for layer in body:
            outputs = layer(outputs)
    kind = SequenceNetwork if vocabulary_size is None else TokenNetwork
    return kind(inputs, outputs, name=name or f"transformer_encoder_{scheme.name}")


def _check_ends(
    vocabulary_size: int | None,
    input_shape: Shape | None,
    pooling: str | None,
    classes: int | None,
    mask_token: int | None,
) -> None:
    """Refuses inputs of no kind or of two, and scores of many vectors."""
    if (vocabulary_size is None) == (input_shape is None):
        raise ValueError(
            "Arguments `vocabulary_size`, for tokens, and `input_shape`, for vectors: "
            f"give one of them. Received: vocabulary_size={vocabulary_size}, "
            f"input_shape={input_shape}"
        )
    if vocabulary_size is not None:
        check_size("vocabulary_size", vocabulary_size)
    else:
        if mask_token is not None:
            raise ValueError(
                "Argument `mask_token` is for tokens. Received: mask_token="
                f"{mask_token} with vectors. Use keras.layers.Masking in front."
            )
        shape = check_shape("input_shape", input_shape, "(None, 16)", 0)
        if len(shape) != 2 or not shape[1]:
            raise ValueError(
                "Argument `input_shape` must be (length, channels). Received: "
                f"input_shape={tuple(shape)}"
            )
    if pooling is not None:
        check_choice("pooling", pooling, POOLINGS)
    if classes is not None:
        check_size("classes", classes)
        if pooling is None:
            raise ValueError(
                "Argument `classes` needs one vector of each sequence. Received: "
                f"classes={classes}, pooling=None. Pass pooling='average' or 'first'."
            )


def _start(
    blocks: TransformerBlocks, vocabulary_size: int | None, mask_token: Any, draw: Any
) -> Layers:
    """From tokens or vectors to vectors of the stream's width."""
    width = blocks.plan.width
    if vocabulary_size is not None:
        return [
            layers.TokenEmbedding(
                vocabulary_size,
                width,
                mask_token=mask_token,
                embeddings_initializer=blocks.embedding(draw),
                name="tokens",
            )
        ]
    site = blocks.site(role="stem")
    stem = keras.layers.Dense(width, kernel_initializer="lecun_normal", name="stem")
    before = blocks.applicator.at("before_weight", site, "stem")
    return [*before, blocks.applicator.weight(site, stem)]
