import keras
import pytest

import fixinit
from fixinit import _keras
from recipes.common.training.schedule import warmup_and_cosine
from recipes.language_model.model import build_model, compile_model
from recipes.language_model.settings import Settings


def compiled(**changes):
    sizes = {"num_blocks": 2, "width": 8, "num_heads": 2, "length": 8}
    settings = Settings(**(sizes | changes))
    model = build_model(settings, vocabulary_size=5)
    compile_model(model, settings, warmup_and_cosine(settings, 10), "auto")
    return model


@pytest.mark.every_backend
@pytest.mark.parametrize("scheme", ["dyt", "fixup"])
@pytest.mark.parametrize("stacked", ["on", "off"])
def test_kernels_alone_decay(scheme, stacked):
    model = compiled(scheme=scheme, stacked=stacked)
    kernels = fixinit.optimizers.Rule("kernel")
    for part in _keras.parts(model.optimizer):
        for v in _keras.trained_variables(part):
            decays = not _keras.is_excluded_from_decay(part, v)
            assert decays == kernels.matches(v), v.path


def test_scheme_has_its_rules_and_its_clipping():
    fixup = compiled(scheme="fixup", warmup_epochs=0).optimizer
    rates = [
        float(keras.ops.convert_to_numpy(x.learning_rate)) for x in fixup.optimizers
    ]
    assert rates == pytest.approx([1e-3, 1e-4])
    assert all(part.global_clipnorm == 1 for part in fixup.optimizers)
    clipped = compiled(scheme="normalizer_free", clip_norm=0.0).optimizer
    assert isinstance(clipped, fixinit.optimizers.AdaptiveClipping)


def test_flags_reach_the_model():
    model = compiled(
        gated=True,
        activation="silu",
        positions="rotary",
        use_bias=False,
        scheme="pre_rms_norm",
        num_key_value_heads=1,
        query_key_norm=True,
        soft_cap=5.0,
        tied=False,
        dropout_rate=0.1,
        stochastic_depth_rate=0.2,
    )
    expected = fixinit.models.LanguageModel(
        5,
        8,
        2,
        8,
        2,
        num_key_value_heads=1,
        scheme="pre_rms_norm",
        activation="silu",
        gated=True,
        positions="rotary",
        tied=False,
        use_bias=False,
        query_key_norm=True,
        soft_cap=5.0,
        dropout_rate=0.1,
        stochastic_depth_rate=0.2,
        seed=0,
    )
    paths = [[v.path for v in x.trainable_variables] for x in (model, expected)]
    assert paths[0] == paths[1]
    assert model.get_layer("embedding_dropout").rate == 0.1


@pytest.mark.parametrize("scheme", fixinit.schemes.names())
def test_every_scheme_has_an_optimizer(scheme):
    assert compiled(scheme=scheme, num_blocks=1).optimizer.built
