"""Rules for the layers of Transformers, against layers and models that are run."""

import keras
import numpy as np
import pytest
from keras import ops

import fixinit
from fixinit import layers, schemes, theory
from tests.marks import on_torch
from tests.theory.measuring import check

LENGTH, WIDTH = 8, 64


def dense(units=WIDTH, **options):
    return keras.layers.Dense(units, **options)


def sharp(units=WIDTH):
    """Queries or keys of scores of variance 16: few keys count."""
    return dense(units, kernel_initializer=keras.initializers.VarianceScaling(4.0))


def attention(x, make=dense, norms=False, **options):
    values = WIDTH // (2 if "num_key_value_heads" in options else 1)
    norm = {"query_norm": layers.RMSNormalization()} if norms else {}
    norm |= {"key_norm": layers.RMSNormalization()} if norms else {}
    parts = make(), make(values), dense(values)
    return layers.SelfAttention(*parts, num_heads=4, **norm, **options)(x)


def tokens(x):
    return layers.ClassToken("ones")(x)


LAYERS = {
    "attention": attention,
    "causal": lambda x: attention(x, is_causal=True),
    "sharp": lambda x: attention(x, sharp),
    "bounded": lambda x: attention(x, sharp, soft_cap=8.0),
    "normalized": lambda x: attention(x, sharp, norms=True),
    "rotary, groups": lambda x: attention(x, rotary_base=1e4, num_key_value_heads=2),
    "gated": lambda x: layers.GatedUnit(dense(), dense(), [keras.layers.ReLU()])(x),
    "positions": lambda x: layers.PositionEmbedding(16, "random_normal")(x),
    "sines": lambda x: layers.PositionEmbedding(
        16, fixinit.initializers.SinePositions()
    )(x),
    "first": lambda x: layers.SequencePooling("first")(tokens(x)),
    "average": lambda x: layers.SequencePooling("average", skip=1)(tokens(x)),
    "token": tokens,
}


@on_torch
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    def make():
        x = keras.Input((LENGTH, WIDTH))
        return keras.Model(x, LAYERS[name](x))

    # Keys and values of few channels are alike by chance: a share 1 / WIDTH each.
    check(make, (LENGTH, WIDTH), rtol=0.08, seeds=10)


def vision(scheme, width, seed, **options):
    return fixinit.models.VisionTransformer(
        None,
        8,
        num_blocks=2,
        width=width,
        num_heads=4,
        scheme=scheme,
        input_shape=(32, 32, 3),
        classes=10,
        seed=seed,
        **options,
    )


def language(scheme, width, seed, **options):
    return fixinit.models.LanguageModel(
        500, 24, 2, width, 4, scheme=scheme, seed=seed, **options
    )


def encoder(scheme, width, seed, **options):
    return fixinit.models.TransformerEncoder(
        500, 24, 2, width, 4, scheme=scheme, seed=seed, **options
    )


SINES = {"positions": "sine", "pooling": "average"}
LLAMA = {
    "positions": "rotary",
    "gated": True,
    "activation": "silu",
    "num_key_value_heads": 2,
    "query_key_norm": True,
    "soft_cap": 30.0,
    "tied": False,
}
# Identities as queries and keys have no rule.
SCHEMES = [name for name in schemes.names() if name not in ("zero_init", "idinit")]
QUICK = {
    "vision, sines": (vision, "derf", SINES),
    "vision": (vision, "pre_layer_norm", {}),
    "language": (language, "post_layer_norm", {}),
    "encoder": (encoder, "deep_norm", {"positions": "sine"}),
    "llama": (language, "pre_rms_norm", LLAMA),
}
MODELS = {
    f"{build.__name__}, {scheme}": (build, scheme, {})
    for build in (vision, language)
    for scheme in SCHEMES
}
# Before the pooling, behind which starting scores may be zero.
ENDS = ("block1_mlp", "block2_mlp")


@on_torch
@pytest.mark.parametrize("name", QUICK)
def test_every_block_of_a_model(name):
    compare(*QUICK[name], width=128, seeds=6, share=0.05)


@pytest.mark.evidence
@pytest.mark.parametrize("name", [*QUICK, *MODELS])
def test_every_block_of_every_model(name, record_property):
    """Mean squares of 20 draws of width 512."""
    # Orthogonal kernels of few patches.
    share = 0.1 if name == "vision, tailored" else 0.02
    found = compare(*(QUICK | MODELS)[name], width=512, seeds=20, share=share)
    record_property("ratio", str(found))


def compare(build, scheme, options, width, seeds, share):
    """Within a share and four standard errors over draws, of weights and of inputs."""
    rng, found = np.random.default_rng(0), []
    for seed in range(seeds):
        model = build(scheme, width, seed, stacked=False, **options)
        x = rng.integers(0, 500, (8, 24))
        if build is vision:
            x = rng.standard_normal((8, 32, 32, 3)).astype("float32")
        outputs = keras.Model(model.input, [model.get_layer(n).output for n in ENDS])
        found.append([ops.convert_to_numpy(ops.mean(y**2)) for y in outputs(x)])
    measured, errors = np.mean(found, 0), np.std(found, 0, ddof=1) / np.sqrt(seeds)
    ratios = []
    for stacked in (False, True):
        model = build(scheme, width, 0, stacked=stacked, **options)
        shape = None if build is vision else (24,)
        prediction = theory.predict(model, input_shape=shape)
        predicted = np.array(behind_blocks(prediction, stacked))
        assert np.all(abs(predicted - measured) <= 4 * errors + share * measured)
        ratios.append(predicted / measured)
    return ratios


def behind_blocks(prediction, stacked):
    """The mean square behind every block."""
    if stacked:
        return [prediction[f"blocks[{i}]"].mean_square for i in range(len(ENDS))]
    rows = [row for row in prediction if "_mlp/merge" in row.name]
    ends = {row.name.partition("/")[0]: row.mean_square for row in rows}
    return [ends[name] for name in ENDS]


@on_torch
def test_identities_as_queries_and_keys_have_no_rule():
    with pytest.raises(theory.NoRuleError, match="constant kernels of IDInit"):
        theory.predict(vision("idinit", 32, 0))
