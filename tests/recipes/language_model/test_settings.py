import pytest
from absl import flags

from recipes.common.experiment import command_line
from recipes.language_model.settings import SAMPLING, Settings


def test_flags_default_to_the_settings_and_cover_them_all():
    values = flags.FlagValues()
    command_line.define(Settings, values)
    parsed = command_line.parse(Settings, values(["language_model"]), values)
    assert parsed == Settings()


def test_samples_are_no_part_of_the_training():
    changes = {"samples": 0, "prompt": "nan", "temperature": 0.0, "top_k": 3}
    other = Settings(**changes, sample_tokens=2)
    assert other.of_training() == Settings().of_training()
    assert {*vars(other)} - {*other.of_training()} == {*SAMPLING}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"dataset": "stdlib"}, "--dataset=text:stdlib"),
        ({"tokens": "words"}, "tokens.*'bytes'"),
        ({"scheme": "dty"}, "dyt"),
        ({"validation_share": 1.0}, "--validation_share must be .* below 1"),
        ({"clip_norm": -1.0}, "--clip_norm"),
        ({"temperature": -1.0}, "--temperature"),
        ({"epochs": 1}, "--warmup_epochs must be below --epochs=1"),
    ],
)
def test_flags_that_mean_nothing_are_errors(changes, message):
    with pytest.raises(ValueError, match=message):
        Settings(**changes)
