import numpy as np
import pytest
from absl import flags

from recipes.common.data.datasets import Dataset
from recipes.common.experiment import command_line
from recipes.train.settings import Settings


def test_defaults_are_the_published_recipe():
    x, y = np.zeros((1, 32, 32, 3), "float32"), np.zeros(1, "int32")
    settings = Settings().resolved(Dataset("cifar10", x, y, x, y, 10))
    assert (settings.model, settings.depth) == ("cifar_resnet", 110)
    assert (settings.batch_size, settings.epochs) == (128, 200)
    assert (settings.learning_rate, settings.momentum) == (0.1, 0.9)
    assert settings.scalar_learning_rate_multiplier is None  # that of Fixup
    assert settings.weight_decay == 1e-4
    assert settings.decay_scalars and settings.decay_biases
    assert (settings.augment, settings.mixup_alpha) == ("crop_flip", 1.0)
    assert (settings.scheme, settings.clipping) == ("fixup", 0)
    assert (settings.cutmix_alpha, settings.rand_augment_factor) == (0, 0)
    assert (settings.label_smoothing, settings.ema_momentum) == (0, 0)


def test_flags_default_to_the_settings_and_cover_them_all():
    values = flags.FlagValues()
    command_line.define(Settings, values)
    assert command_line.parse(Settings, values(["train"]), values) == Settings()


@pytest.mark.parametrize(
    "name, shape, augment",
    [("digits", (8, 8, 1), "none"), ("npz:x", (32, 32, 1), "crop_flip")]
    + [("npz:x", (16, 40, 3), "flip"), ("mnist1d", (40,), "none")],
)
def test_augmentation_suits_the_data(name, shape, augment):
    x, y = np.zeros((1, *shape), "float32"), np.zeros(1, "int32")
    settings = Settings(dataset=name).resolved(Dataset(name, x, y, x, y, 10))
    assert settings.augment == augment
    assert settings.mixup_alpha == 0


def test_digits_come_in_small_batches():
    x, y = np.zeros((1, 8, 8, 1), "float32"), np.zeros(1, "int32")
    digits = Dataset("digits", x, y, x, y, 10)
    assert Settings().resolved(digits).batch_size == 32
    assert Settings(batch_size=64).resolved(digits).batch_size == 64


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"model": "nfnet"}, ("normalizer_free", 0.16, None, "F0")),
        ({"model": "nf_resnet"}, ("normalizer_free", 0.16, 50, None)),
        ({"model": "nfnet", "clipping": 0.0}, ("normalizer_free", 0, None, "F0")),
        ({"scheme": "skip_init", "clipping": 0.1}, ("skip_init", 0.1, 110, None)),
    ],
)
def test_clipping_is_the_schemes_and_the_scheme_that_of_the_family(changes, expected):
    x, y = np.zeros((1, 32, 32, 3), "float32"), np.zeros(1, "int32")
    settings = Settings(**changes).resolved(Dataset("cifar10", x, y, x, y, 10))
    found = (settings.scheme, settings.clipping, settings.depth, settings.variant)
    assert found == expected


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"cutmix_alpha": 1.5}, "--cutmix_alpha must be at least 0 and at most 1."),
        ({"rand_augment_factor": 2.0}, "--rand_augment_factor must be .* at most 1."),
        ({"label_smoothing": 1.0}, "--label_smoothing must be .* below 1."),
        ({"ema_momentum": 1.0}, "--ema_momentum must be .* below 1."),
        ({"clipping": -0.1}, "--clipping must be at least 0"),
        ({"model": "nfnet", "depth": 50}, "--depth means nothing to nfnet.*--variant"),
        ({"model": "nf_resnet", "variant": "F1"}, "--variant is for nfnet.*--depth"),
        ({"variant": "F9"}, "variant.*'F0'"),
        (
            {"model": "nfnet", "shake_drop_rate": 0.1},
            "--shake_drop_rate is not for nfnet.*--stochastic_depth_rate",
        ),
        (
            {"shake_drop_rate": 0.1, "stochastic_depth_rate": 0.1},
            "same branches. Received: 0.1 and 0.1",
        ),
    ],
)
def test_flags_that_mean_nothing_are_errors(changes, message):
    with pytest.raises(ValueError, match=message):
        Settings(**changes)


def test_variant_of_the_family_that_the_data_decides_is_an_error():
    x, y = np.zeros((1, 32, 32, 3), "float32"), np.zeros(1, "int32")
    with pytest.raises(ValueError, match="--model=cifar_resnet. Pass --model=nfnet"):
        Settings(variant="F1").resolved(Dataset("cifar10", x, y, x, y, 10))
