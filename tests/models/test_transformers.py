"""Vision Transformers and language models."""

import keras
import numpy as np
import pytest
from keras import ops

from fixinit import models, schemes
from fixinit.models._decoding import Decoder
from tests.marks import on_torch, slow_on_tensorflow, slow_where_compiled

TOKENS = np.array([[1, 2, 3, 4, 5]])


def numpy(x):
    return ops.convert_to_numpy(x)


def language(scheme="dyt", **options):
    sizes = {"max_length": 12, "num_blocks": 3, "width": 16, "num_heads": 4}
    return models.LanguageModel(20, scheme=scheme, seed=0, **{**sizes, **options})


def encoder(**options):
    sizes = {"max_length": 12, "num_blocks": 2, "width": 16, "num_heads": 4}
    given = {"scheme": "pre_layer_norm", "seed": 0, **sizes, **options}
    return models.TransformerEncoder(**given)


LLAMA = {
    "positions": "rotary",
    "gated": True,
    "activation": "silu",
    "use_bias": False,
    "num_key_value_heads": 2,
    "tied": False,
    "scheme": "pre_rms_norm",
}


def spread(model):
    """Draws all kernels larger, so that outputs differ."""
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        if len(variable.shape) > 1:
            variable.assign(rng.normal(0, 0.3, variable.shape))
    return model


@on_torch
@pytest.mark.parametrize(
    ("variant", "patch_size", "parameters"),
    # Those of timm's vit_tiny_patch16_224 and so on.
    [("Ti", 16, 5_717_416), ("S", 16, 22_050_664), ("B", 32, 88_224_232)],
)
def test_parameters_are_those_of_the_published_vision_transformers(
    variant, patch_size, parameters
):
    model = models.VisionTransformer(variant, patch_size, scheme="pre_layer_norm")
    assert model.count_params() == parameters


@on_torch
def test_parameters_are_those_of_gpt_2():
    model = models.LanguageModel(50_257, scheme="pre_layer_norm", stacked=True)
    assert model.count_params() == 124_439_808


@on_torch
@pytest.mark.parametrize("scheme", schemes.names())
@pytest.mark.parametrize("stochastic_depth_rate", [0.0, 0.2])
def test_stacked_is_unstacked_bit_for_bit(scheme, stochastic_depth_rate):
    rate = {"stochastic_depth_rate": stochastic_depth_rate}
    outputs = [
        language(scheme, stacked=stacked, **rate).predict_on_batch(TOKENS)
        for stacked in (False, True)
    ]
    np.testing.assert_array_equal(*outputs)
    assert np.isfinite(outputs[0]).all()


@slow_where_compiled
@pytest.mark.every_backend
@pytest.mark.parametrize("options", [{}, LLAMA], ids=["gpt-2", "llama"])
def test_stacked_computes_what_unstacked_does(options):
    outputs = [
        language(**{**options, "stacked": stacked}).predict_on_batch(TOKENS)
        for stacked in (False, True)
    ]
    np.testing.assert_allclose(*outputs, rtol=1e-5, atol=1e-6)


@on_torch
@pytest.mark.parametrize("scheme", schemes.names())
@pytest.mark.parametrize("pooling", ["token", "average"])
def test_images_of_every_scheme(scheme, pooling):
    model = models.VisionTransformer(
        "Ti", 8, 2, pooling=pooling, scheme=scheme, input_shape=(16, 16, 3), classes=5
    )
    x = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype("float32")
    assert np.isfinite(model.predict_on_batch(x)).all()


@slow_where_compiled
@pytest.mark.every_backend
def test_trains_and_survives_saving(tmp_path):
    model = models.VisionTransformer(
        None, 4, 2, 16, 2, positions="sine", input_shape=(8, 8, 3), classes=3, seed=0
    )
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 48)
    x = rng.normal(size=(48, 8, 8, 3)).astype("float32") + y[:, None, None, None]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-2), loss)
    losses = model.fit(x, y, epochs=12, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    assert not any("positions" in v.path for v in model.trainable_variables)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_allclose(
        loaded.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6
    )


@slow_on_tensorflow
@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("options", [{}, LLAMA], ids=["gpt-2", "llama"])
def test_padding_on_either_side_changes_nothing(options, stacked):
    model = spread(language(**options, mask_token=0, stacked=stacked))
    alone = model.predict_on_batch(np.array([[5, 6, 7]]))[0]
    left, right = model.predict_on_batch(np.array([[0, 0, 5, 6, 7], [5, 6, 7, 0, 0]]))
    np.testing.assert_allclose(left[2:], alone, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(right[:3], alone, rtol=1e-4, atol=1e-5)


@slow_on_tensorflow
@pytest.mark.parametrize("positions", ["learned", "sine", "rotary"])
@pytest.mark.parametrize("pooling", ["first", "average"])
def test_padding_of_an_encoder_changes_nothing(positions, pooling):
    options = {"positions": positions, "pooling": pooling, "classes": 3}
    model = spread(encoder(vocabulary_size=20, mask_token=0, **options))
    (alone,) = model.predict_on_batch(np.array([[5, 6, 7]]))
    padded = np.array([[0, 0, 5, 6, 7], [5, 6, 7, 0, 0]])
    for found in model.predict_on_batch(padded):
        np.testing.assert_allclose(found, alone, rtol=1e-4, atol=1e-5)


@slow_where_compiled
@pytest.mark.every_backend
def test_vectors_with_a_mask_of_keras(tmp_path):
    inputs = keras.Input((None, 6))
    masked = keras.layers.Masking()(inputs)
    inner = spread(encoder(input_shape=(None, 6), pooling="average", stacked=True))
    model = keras.Model(inputs, inner(masked))
    x = np.random.default_rng(0).normal(size=(1, 4, 6)).astype("float32")
    longer = np.concatenate([x, np.zeros((1, 3, 6), "float32")], axis=1)
    expected = inner.predict_on_batch(x)
    found = model.predict_on_batch(longer)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_allclose(loaded.predict_on_batch(longer), found, rtol=1e-5)


@on_torch
def test_an_encoder_sees_in_both_directions():
    model = spread(encoder(vocabulary_size=20))
    first, second = model.predict_on_batch(np.array([[1, 2, 3], [1, 2, 4]]))
    assert np.abs(first[0] - second[0]).max() > 1e-3
    assert model.output_shape == (None, None, 16)


@on_torch
@pytest.mark.parametrize("positions", ["learned", "rotary"])
@pytest.mark.parametrize("scheme", ["dyt", "t_fixup", "fixup", "pre_layer_norm"])
def test_streams_of_schemes_that_do_not_normalize_start_at_1(scheme, positions):
    model = models.LanguageModel(
        500, 64, 1, 64, 4, scheme=scheme, positions=positions, seed=0
    )
    scalars = [x for x in model.layers if x.name == "embedding_scale"]
    assert len(scalars) == (scheme != "pre_layer_norm")
    tokens = np.random.default_rng(0).integers(0, 500, (16, 64))
    for scalar in scalars:
        stream = keras.Model(model.input, scalar.output).predict(tokens, verbose=0)
        assert np.mean(stream**2) == pytest.approx(1, rel=0.05)
        assert scalar.trainable_variables


@on_torch
def test_a_scheme_may_draw_the_tables_of_tokens():
    model = models.LanguageModel(500, 8, 1, 64, 4, scheme="t_fixup", seed=0)
    table = numpy(model.get_layer("tokens").embeddings)
    # Of 32,000 numbers: five standard errors.
    assert table.std() == pytest.approx(64**-0.5, rel=5 / 64_000**0.5)


GENERATING = {
    "gpt-2": {"scheme": "pre_layer_norm"},
    "stacked": {"scheme": "pre_layer_norm", "stacked": True},
    "llama": {**LLAMA, "query_key_norm": True, "soft_cap": 20.0},
    "llama, stacked": {**LLAMA, "stacked": True},
}


@slow_where_compiled
@pytest.mark.every_backend
@pytest.mark.parametrize("name", GENERATING)
def test_generates_what_whole_passes_would(name):
    model = spread(language(**GENERATING[name], mask_token=0))
    tokens = np.array([[5, 6, 7], [9, 8, 3]])
    found = model.generate(tokens, num_tokens=6)
    expected = tokens
    for _ in range(6):
        scores = model.predict_on_batch(expected)[:, -1]
        expected = np.concatenate([expected, scores.argmax(-1)[:, None]], axis=1)
    np.testing.assert_array_equal(found, expected)
    padded = model.generate(np.array([[0, 0, 5, 6, 7], [0, 0, 9, 8, 3]]), 6)
    np.testing.assert_array_equal(padded[:, 2:], expected)


@on_torch
def test_draws_tokens_in_proportion_to_their_probabilities():
    model = spread(language())
    start = np.tile([[3, 4]], (4000, 1))
    drawn = model.generate(start, 1, temperature=0.7, seed=0)[:, -1]
    scores = model.predict_on_batch(start[:1])[0, -1].astype("float64") / 0.7
    p = np.exp(scores - scores.max())
    p /= p.sum()
    share = np.bincount(drawn, minlength=20) / 4000
    # Five standard errors of each of the twenty shares.
    assert np.all(np.abs(share - p) < 5 * np.sqrt(p * (1 - p) / 4000) + 1e-9)
    again = model.generate(start, 1, temperature=0.7, seed=0)[:, -1]
    np.testing.assert_array_equal(again, drawn)
    few = model.generate(start, 1, temperature=0.7, top_k=2, seed=0)[:, -1]
    assert set(few) == set(np.argsort(p)[-2:])


@on_torch
def test_padding_is_never_chosen_and_tokens_keep_their_numbers():
    model = spread(models.LanguageModel(300, 12, 2, 16, 4, mask_token=0, seed=0))
    start = np.full((64, 1), 7, "uint8")
    found = model.generate(start, 8, temperature=5.0, seed=0)
    assert found.min() > 0 and found[:, 1:].max() > 255
    # In two calls as in one.
    whole = model.generate(start, 8)
    halves = model.generate(model.generate(start, 4), 4)
    np.testing.assert_array_equal(halves, whole)


@on_torch
def test_generating_keeps_nothing_for_gradients():
    model = language()
    decoder = Decoder(model, 1, 4)
    decoder(TOKENS[:, :2], 0, np.ones((1, 4), bool))
    assert not any(cache.requires_grad for cache in decoder.caches)


@pytest.mark.slow
def test_grouped_queries_in_a_stack_under_xla():
    model = language(**{**LLAMA, "stacked": True})
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, jit_compile=True)
    assert np.isfinite(model.fit(TOKENS, TOKENS, verbose=0).history["loss"]).all()


@on_torch
@pytest.mark.parametrize("token", [-1, 20])
def test_tokens_outside_of_the_vocabulary_are_refused(token):
    with pytest.raises(ValueError, match=f"tokens from 0 to 19. Received.*{token}"):
        language()(np.array([[1, token]]))


@on_torch
def test_sines_stay_when_all_trains_again():
    model = encoder(input_shape=(None, 6), positions="sine")
    count = len(model.trainable_variables)
    model.trainable = False
    model.trainable = True
    assert len(model.trainable_variables) == count


@on_torch
@pytest.mark.parametrize("shape", [(2, 1), (2, 4), (3,), (2, 3, 3)])
def test_masks_of_other_shapes_are_refused(shape):
    for pooling in (None, "average"):
        model = encoder(input_shape=(None, 6), positions="rotary", pooling=pooling)
        with pytest.raises(ValueError, match="takes a mask of shape \\(batch, length"):
            model(np.ones((2, 3, 6), "float32"), mask=np.ones(shape, bool))


@on_torch
def test_sequences_of_more_positions_are_refused():
    for model in (language(max_length=1), language(max_length=1, mask_token=0)):
        with pytest.raises(
            ValueError, match="has 1 positions. Received: sequences of 5"
        ):
            model.predict(TOKENS, verbose=0)


@on_torch
def test_sequences_stop():
    model = spread(language())
    first = model.generate(TOKENS, 1)[0, -1]
    found = model.generate(TOKENS, 6, stop_token=int(first))
    assert found.shape == (1, 6)


@on_torch
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"tokens": [[1.0]]}, "must be integers"),
        ({"tokens": [1, 2]}, "must be integers"),
        ({"tokens": [[20]]}, "0 to 19"),
        ({"tokens": [[1]], "num_tokens": 40}, "has 12 positions"),
        ({"tokens": [[1]], "temperature": -1.0}, "`temperature` must be"),
        ({"tokens": [[1]], "top_k": 0}, "`top_k` must be"),
        ({"tokens": [[1, 2], [3]]}, "Pad the shorter ones on the left"),
        ({"tokens": [[1]], "stop_token": 20}, "`stop_token` must be one of 0 to 19"),
        ({"tokens": [[0, 0], [0, 1]]}, "a beginning of padding alone"),
    ],
)
def test_what_cannot_be_continued(arguments, says):
    with pytest.raises(ValueError, match=says):
        language(mask_token=0).generate(**{"num_tokens": 2, **arguments})


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: language(num_heads=3), "must divide `width`"),
        (lambda: language(num_key_value_heads=3), "must divide `num_heads`"),
        (lambda: language(positions="none"), "`positions` must be one of"),
        (lambda: language(positions="rotary", width=12), "even width"),
        (lambda: language(mask_token=20), "`mask_token` must be"),
        (lambda: encoder(), "give one of them"),
        (lambda: encoder(vocabulary_size=3, input_shape=(4, 2)), "give one of them"),
        (lambda: encoder(vocabulary_size=3, classes=2), "needs one vector"),
        (lambda: encoder(vocabulary_size=3, pooling="max"), "`pooling` must be one of"),
        (lambda: encoder(input_shape=(4,)), "must be \\(length, channels\\)"),
        (lambda: encoder(input_shape=(4, 2), mask_token=0), "is for tokens"),
        (lambda: language(embedding_scale="own"), "`embedding_scale` must be one of"),
        (lambda: language(stacked="yes"), "`stacked` must be one of"),
        (lambda: models.VisionTransformer("XL"), "`variant` must be one of"),
        (lambda: models.VisionTransformer(None), "`width` must be"),
        (lambda: models.VisionTransformer(patch_size=15), "multiple of the patch"),
        (lambda: models.VisionTransformer(class_token=False), "reads the class token"),
    ],
)
def test_refusals(make, says):
    with pytest.raises(ValueError, match=says):
        make()
