import dataclasses
import json

import keras
import pytest

from fixinit import schemes


def test_by_name():
    assert [schemes.get(name).name for name in schemes.names()] == schemes.names()


def test_instances_pass_through():
    scheme = schemes.SkipInit(0.5)
    assert schemes.get(scheme) is scheme


def test_a_config_may_name_the_scheme():
    config = {"class_name": "scaled_residual", "config": {"scale": 0.1}}
    assert schemes.get(config) == schemes.ScaledResidual(0.1)


def test_unknown_name_lists_the_names_and_the_nearest():
    with pytest.raises(ValueError, match="normalized_sum.*Did you mean 'fixup'"):
        schemes.get("fix_up")


@pytest.mark.parametrize("identifier", [None, 3, {}, schemes.Fixup])
def test_refuses_other_things(identifier):
    with pytest.raises(TypeError, match="scheme.*Received"):
        schemes.get(identifier)


@keras.saving.register_keras_serializable("test_get")
@dataclasses.dataclass(frozen=True)
class Mine(schemes.Scheme):
    strength: float = 1.0
    name = "mine"


def test_a_users_own_scheme_survives_its_config():
    assert schemes.get(schemes.serialize(Mine(2.0))) == Mine(2.0)


@keras.saving.register_keras_serializable("test_get")
@dataclasses.dataclass(frozen=True)
class Holds(schemes.Scheme):
    start_of: object = None
    several: tuple = ()
    inner: schemes.Scheme = dataclasses.field(default_factory=Mine)
    name = "holds"


def test_what_a_field_holds_survives_its_config():
    he, rate = keras.initializers.HeNormal(3), keras.optimizers.schedules.CosineDecay
    scheme = Holds(he, (he, 2, rate(0.1, 10)), Mine(3.0))
    config = json.loads(json.dumps(schemes.serialize(scheme)))
    for made in (schemes.get(config), Holds.from_config(scheme.get_config())):
        first, second, third = made.several
        for initializer in (made.start_of, first):
            assert isinstance(initializer, keras.initializers.HeNormal)
            assert initializer.get_config() == he.get_config()
        assert second == 2
        assert third.get_config() == rate(0.1, 10).get_config()
        assert made.inner == Mine(3.0)


def test_a_scheme_with_a_field_that_must_be_given_is_not_registered():
    @dataclasses.dataclass(frozen=True)
    class Needs(schemes.Scheme):
        strength: float
        name = "needs"

    with pytest.raises(TypeError, match="Needs.*strength.*defaults"):
        schemes.register(Needs)
    assert "needs" not in schemes.names()


def test_remedies_make_no_scheme():
    @dataclasses.dataclass(frozen=True)
    class Once(schemes.Scheme):
        name, remedies, made = "once", ("exploding",), []

        def __post_init__(self):
            if self.made:
                raise ValueError("made twice")
            self.made.append(self)

    schemes.register(Once)
    try:
        assert schemes.remedies("exploding")[-1] == "once"
    finally:
        schemes.unregister("once")


def test_a_constant_zero_in_front_of_a_branch_is_refused():
    with pytest.raises(ValueError, match="scale.*'merge'.*never trains.*by="):
        schemes.Start(0.0)
    assert schemes.Start(0.0, by="multiplier").is_zero


@pytest.mark.parametrize(
    "arguments",
    [
        {"branch": 0, "num_branches": 0},
        {"branch": 4, "num_branches": 4},
        {"branch": -1, "num_branches": 4},
        {"branch": 0, "num_branches": 4, "layer": 2},
        {"branch": 0, "num_branches": 4, "role": "tail"},
    ],
)
def test_a_site_outside_the_network_is_refused(arguments):
    with pytest.raises(ValueError, match="Received"):
        schemes.Site(**arguments)


def test_a_config_that_names_nothing_lists_the_names():
    with pytest.raises(ValueError, match="Did you mean 'fixup'"):
        schemes.get({"class_name": "fixpu"})


def test_a_config_with_an_unknown_argument_lists_the_arguments():
    config = {"class_name": "skip_init", "config": {"multiplier": 0.1}}
    with pytest.raises(ValueError, match="initial_multiplier"):
        schemes.get(config)
