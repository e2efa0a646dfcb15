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
    assert settings.scalar_learning_rate_multiplier == 0.1
    assert settings.weight_decay == 1e-4
    assert settings.decay_scalars and settings.decay_biases
    assert (settings.augment, settings.mixup_alpha) == ("crop_flip", 1.0)


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
