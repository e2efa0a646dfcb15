import keras

from fixinit import layers, schemes
from fixinit._checked import checked_but
from fixinit._typing import Identifier
from fixinit._validation import (
    MOST_BRANCHES,
    check_choice,
    check_positive_int,
    check_size,
)
from fixinit.layers.stack_arguments import check_remat
from fixinit.models._causal_network import CausalNetwork
from fixinit.models._noise import check_rate
from fixinit.models._scores import in_float32
from fixinit.models._stacking import is_stacked
from fixinit.models._transformer import TransformerBlocks, tables_of
from fixinit.models._transformer_plan import TransformerPlan
from fixinit.schemes.scheme import SchemeLike

POSITIONS = ("learned", "rotary")


@checked_but("scheme")
def LanguageModel(
    vocabulary_size: int,
    max_length: int = 1024,
    num_blocks: int = 12,
    width: int = 768,
    num_heads: int = 12,
    num_key_value_heads: int | None = None,
    mlp_width: int | None = None,
    scheme: SchemeLike = "dyt",
    activation: Identifier = layers.gelu_tanh,
    gated: bool = False,
    positions: str = "learned",
    rotary_base: float = 10_000.0,
    tied: bool = True,
    embedding_scale: float | str | None = "auto",
    use_bias: bool = True,
    query_key_norm: bool = False,
    soft_cap: float | None = None,
    mask_token: int | None = None,
    dropout_rate: float = 0.0,
    stochastic_depth_rate: float = 0.0,
    seed: int | None = None,
    stacked: bool | str = "auto",
    remat: str | int | None = None,
    name: str | None = None,
) -> keras.Model:
    """A decoder-only Transformer: scores of the next token at every position.

    By default GPT-2 small, with DyT in the place of layer normalization. Llama's blocks
    are `gated=True, activation="silu", positions="rotary", use_bias=False`.

    Example:

    >>> model = fixinit.models.LanguageModel(
    ...     50, max_length=16, num_blocks=2, width=32, num_heads=4, seed=0
    ... )
    >>> model.predict(np.array([[1, 2, 3]]), verbose=0).shape
    (1, 3, 50)

    Args:
        vocabulary_size: int. Number of tokens.
        max_length: int. The most positions of a sequence.
        num_blocks: int. Number of blocks (N), of two residual branches each.
        width: int. Channels of the stream.
        num_heads: int that divides `width`. Heads of the queries.
        num_key_value_heads: int that divides `num_heads`, by default the same.
        mlp_width: int. Units of the MLP, by default four times the width.
        scheme: Name, config or instance: see `fixinit.schemes.get`.
        activation: Keras activation of the MLP, by default GELU in its tanh form.
        gated: bool. Whether the MLP is a gated linear unit: with `"silu"` SwiGLU.
        positions: `"learned"` (default), a table, or `"rotary"`.
        rotary_base: float. Base of rotary positions.
        tied: bool. Whether tokens are scored by the table of their embeddings.
        embedding_scale: float, `None` or `"auto"` (default). Start of a trained scalar
            behind the embeddings, `None` for no scalar. `"auto"` is none where the
            scheme normalizes, and else gives the stream a mean square of 1: branches
            that read numbers of 0.02 as they are hardly learn. DyT's authors have
            sqrt(width) in Llama.
        use_bias: bool. Whether weight layers have biases, where the scheme leaves it to
            the network.
        query_key_norm: bool. Whether queries and keys are normalized head by head.
        soft_cap: float or `None`. Bound of attention scores.
        mask_token: int or `None`. The token of padding, on either side: see
            `fixinit.layers.TokenEmbedding`.
        dropout_rate: float in `[0, 1)`. Dropout behind the embedding.
        stochastic_depth_rate: float in `[0, 1)`. In training, branch l of L is dropped
            with this times l / L as probability, sample by sample.
        seed: int. The same seed gives the same weights, bit for bit.
        stacked: bool or `"auto"`. `True` makes one `fixinit.layers.Stack` of all
            blocks; `"auto"` (default) does so from 50 blocks on, on PyTorch from 500.
        remat: What a stack keeps for the gradient: see `fixinit.layers.Stack`.
        name: Name of the model.

    Returns:
        A `keras.Model` from integers `(batch, length)` to logits
        `(batch, length, vocabulary_size)`.

    Raises:
        ValueError: If an argument is outside its range, or heads do not divide the
            width.

    References:

    - [Radford et al., 2019](https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf)
    - [Touvron et al., 2023](https://arxiv.org/abs/2302.13971)
    """
    check_size("vocabulary_size", vocabulary_size)
    check_size("max_length", max_length)
    check_positive_int("num_blocks", num_blocks, maximum=MOST_BRANCHES)
    check_choice("positions", positions, POSITIONS)
    check_rate("dropout_rate", dropout_rate)
    check_rate("stochastic_depth_rate", stochastic_depth_rate)
    normal = keras.initializers.RandomNormal
    plan = TransformerPlan(
        num_blocks,
        width,
        num_heads,
        num_heads if num_key_value_heads is None else num_key_value_heads,
        mlp_width=4 * width if mlp_width is None else mlp_width,
        activation=activation,
        gated=gated,
        is_causal=True,
        rotary_base=rotary_base if positions == "rotary" else None,
        query_key_norm=query_key_norm,
        soft_cap=soft_cap,
        use_bias=use_bias,
        draw=normal(stddev=0.02),
        # GPT-2: what L branches add has the size of one.
        last_draw=normal(stddev=0.02 / (2 * num_blocks) ** 0.5),
        stochastic_depth_rate=stochastic_depth_rate,
    )
    scheme = schemes.get(scheme)
    blocks = TransformerBlocks(scheme, plan, seed)
    with blocks.applicator.building():
        embedding = layers.TokenEmbedding(
            vocabulary_size,
            width,
            mask_token=mask_token,
            embeddings_initializer=blocks.embedding(normal(stddev=0.02)),
            name="tokens",
        )
        body: list[keras.layers.Layer] = [embedding]
        body += blocks.positions(positions, max_length)
        body += blocks.embedding_scale(embedding_scale, tables_of(body))
        body += blocks.dropout(dropout_rate, "embedding_dropout")
        body += blocks.body(is_stacked(stacked, num_blocks), check_remat(remat))
        body += blocks.end()
        inputs = outputs = keras.Input((None,), dtype="int32", name="token_ids")
        for layer in body:
            outputs = layer(outputs)
        scoring = _scoring(blocks, None if tied else vocabulary_size)
        if scoring is None:
            outputs = embedding(outputs, reverse=True)
        else:
            outputs = scoring(outputs)
        outputs = in_float32(scoring or embedding, None, "logits")(outputs)
    return CausalNetwork(inputs, outputs, name=name or f"language_model_{scheme.name}")


def _scoring(
    blocks: TransformerBlocks, vocabulary_size: int | None
) -> keras.layers.Layer | None:
    """The layer that scores tokens, where the embedding does not."""
    if vocabulary_size is None:
        return None
    site = blocks.site(2 * blocks.plan.num_blocks - 1, role="head")
    normal = keras.initializers.RandomNormal(stddev=0.02)
    dense = keras.layers.Dense(
        vocabulary_size, use_bias=False, kernel_initializer=normal, name="head"
    )
    return blocks.applicator.weight(site, dense)
