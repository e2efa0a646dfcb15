"""The search for the largest depth, on losses that are known beforehand."""

import math

import pytest

from recipes.trainable_depth import __main__ as trainable_depth
from recipes.trainable_depth.__main__ import EXPERIMENT, Settings

# The deepest network that trains, in blocks, at rates 0.01 and 0.1.
LIMITS = {
    "plain": (10, 2),
    "residual": (21, 0),
    "plain_batch_norm": (10, 10),
    "batch_norm": (300, 70),
    "fixup": (9999, 9999),
    "scaled_residual": (9999, 50),
}


@pytest.fixture
def tried(monkeypatch):
    """The depths that are tried; nothing is trained."""
    tried = []

    def last_losses(settings, data, network, num_blocks):
        tried.append(num_blocks)
        # Beyond the limit: as good as a guess, or diverged.
        beyond = math.log(10) if network == "plain" else math.inf
        return [1.5 if num_blocks <= x else beyond for x in LIMITS[network]]

    monkeypatch.setattr(trainable_depth, "last_losses", last_losses)
    return tried


RATES = "--learning_rates=0.01,0.1"


@pytest.mark.slow
def test_what_is_promised_of_every_experiment_holds(tried, check_experiment):
    content = check_experiment(EXPERIMENT, RATES, "--resolution=1.01")
    deepest = {arm["network"]: arm["deepest"] for arm in content["arms"]}
    assert deepest == {
        "plain": 10,
        "residual": 21,
        "batch_norm": 256,
        "fixup": 256,
        "scaled_residual": 256,
    }
    limits = {arm["network"]: arm["is_limit"] for arm in content["arms"]}
    assert limits["residual"] and not limits["fixup"]
    doubled, normalized, free = content["claims"]
    assert (doubled["held"], normalized["held"], free["held"]) == (True, True, True)
    assert "22 layers without and 44 with them" in doubled["evidence"]
    assert "2 times as many" in doubled["evidence"]


def test_the_gap_is_bisected_to_the_resolution(tried):
    settings = Settings(learning_rates=(0.01, 0.1), resolution=1.5)
    arm = trainable_depth.measure(settings, "residual")
    assert tried == [4, 16, 64, 32, 23, 2, 1]
    assert arm["deepest"] == 16 and arm["deepest_at_rate"] == [16, 0]


def test_every_rate_has_a_limit_of_its_own(tried):
    settings = Settings(learning_rates=(0.01, 0.1), resolution=1.01)
    arm = trainable_depth.measure(settings, "batch_norm")
    assert arm["deepest_at_rate"] == [256, 70]
    assert arm["is_limit_at_rate"] == [False, True] and not arm["is_limit"]
    assert arm["num_blocks"] == sorted(tried)


def test_nothing_trains(tried, monkeypatch):
    monkeypatch.setitem(LIMITS, "residual", (0, 0))
    arm = trainable_depth.measure(Settings(learning_rates=(0.01, 0.1)), "residual")
    assert arm["deepest"] == 0 and arm["is_limit"]


def test_claims_need_the_networks_that_they_compare(tried):
    networks = ("plain", "residual")
    settings = Settings(learning_rates=(0.01, 0.1))
    arms = [{"network": n} | trainable_depth.measure(settings, n) for n in networks]
    assert trainable_depth.claims({"arms": arms}) == []


def test_unknown_network_is_refused():
    with pytest.raises(ValueError, match="--networks takes plain, residual"):
        Settings(networks=("resnet",))


@pytest.mark.slow
def test_networks_are_trained(check_experiment):
    arguments = ("--quick", RATES, "--max_blocks=4", "--units=8", "--epochs=1")
    content = check_experiment(EXPERIMENT, *arguments)
    for arm in content["arms"]:
        assert all(0 < loss < 10 for loss in arm["losses"][0])
