import pytest
from absl import flags

from fixinit import schemes
from recipes.common.experiment import command_line
from recipes.compare_stability.settings import Settings


def _settings(*arguments):
    flag_values = flags.FlagValues()
    command_line.define(Settings, flag_values)
    rest = flag_values(["recipe", *arguments])
    return command_line.parse(Settings, rest, flag_values)


def test_no_flags_give_the_defaults():
    settings = _settings()
    assert settings == Settings()
    assert settings.schemes[:3] == ("unnormalized", "batch_norm", "fixup")
    assert len(settings.depths) >= 3 and len(settings.seeds) == 3


def test_lists_are_parsed_and_sorted_where_order_means_nothing():
    settings = _settings("--depths=26,10", "--learning_rates=1,1e-3", "--seeds=5,2")
    assert settings.depths == (10, 26)
    assert settings.learning_rates == (0.001, 1.0)
    assert settings.seeds == (5, 2)


def test_default_rates_depend_on_the_optimizer():
    assert max(_settings("--optimizer=adam").learning_rates) <= 0.01


def test_a_ranking_of_all_schemes_has_more_seeds_and_shorter_runs():
    settings = _settings("--schemes=all", "--epochs=7")
    assert settings.schemes == tuple(schemes.names())
    assert settings.depths == (Settings().depths[0], Settings().depths[-1])
    assert settings.seeds == (0, 1, 2, 3, 4)
    assert settings.map_epochs < Settings().map_epochs
    assert settings.epochs == 7
    few = _settings("--schemes=all", "--quick")
    assert few.seeds == _settings("--quick").seeds


def test_quick_changes_only_what_was_not_given():
    settings = _settings("--quick", "--seeds=7,8,9")
    assert settings.seeds == (7, 8, 9)
    assert settings.epochs < Settings().epochs
    assert settings.schemes == Settings().schemes


def test_flags_can_come_from_a_file(tmp_path):
    (tmp_path / "flags").write_text("--quick\n--epochs=4\n")
    arguments = flags.FLAGS.read_flags_from_files([f"--flagfile={tmp_path}/flags"])
    assert _settings(*arguments).epochs == 4


@pytest.mark.parametrize("flag", ["schemes", "depths", "learning_rates", "seeds"])
def test_empty_list_is_an_error(flag):
    with pytest.raises(ValueError, match=f"--{flag}.*empty"):
        _settings(f"--{flag}=")


@pytest.mark.parametrize(
    "argument",
    [
        "--seeds=1,1",
        "--depths=10,10",
        "--schemes=fixup,fixup",
        "--learning_rates=1,1.0",
    ],
)
def test_duplicates_are_an_error(argument):
    with pytest.raises(ValueError, match="more than once"):
        _settings(argument)


@pytest.mark.parametrize(
    "argument, message",
    [
        ("--seeds=-1", "seeds"),
        ("--depths=2", "4 and 6"),
        ("--depths=-10", "--depths must be an integer, at least 1"),
        ("--depths=11", "10 and 12"),
        ("--depths=ten", "--depths takes integers"),
        ("--learning_rates=0.1,-1", "--learning_rates.*positive"),
        ("--learning_rates=nan", "--learning_rates.*positive"),
        ("--learning_rates=inf", "--learning_rates.*positive"),
        ("--schemes=fixop", "Did you mean 'fixup'"),
        ("--model=residual_mpl", "Did you mean 'residual_mlp'"),
        ("--optimizer=sdg", "Did you mean 'sgd'"),
        ("--mixed_precision=float16", "mixed_float16"),
        ("--epochs=0", "epochs"),
        ("--batch_size=-5", "batch_size"),
        ("--divergence_loss=0", "--divergence_loss"),
    ],
)
def test_bad_value_is_an_error_that_names_the_flag_or_the_likely_fix(argument, message):
    with pytest.raises(ValueError, match=message):
        _settings(argument)


def test_every_flag_has_help():
    flag_values = flags.FlagValues()
    command_line.define(Settings, flag_values)
    assert all(len(flag_values[name].help) > 20 for name in flag_values)
