"""Batch sizes, with networks whose accuracies are known beforehand."""

import pytest

from recipes import small_batches
from recipes.small_batches import EXPERIMENT, Settings


class FakeRuns:
    """BatchNorm falls with small batches; the best rate is the second one."""

    def __init__(self, build, data, batch_size, seed, scheme):
        model = build(seed)
        self.normalized = "batch_norm" in model.name
        assert scheme in model.name
        assert len(data.x_train) == 256
        self.batch_size = batch_size

    def run(self, learning_rate, seed, epochs):
        loss = 0.3 / self.batch_size if self.normalized else 0.02
        off = 0.0 if learning_rate > 0.05 * (self.batch_size / 32) ** 0.5 else 0.1
        accuracy = 0.6 - loss - off + 0.001 * seed
        return [{"test_accuracy": accuracy}], None


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(small_batches, "Runs", FakeRuns)


def test_what_is_promised_of_every_experiment_holds(fake, check_experiment):
    content = check_experiment(EXPERIMENT, "--quick")
    assert [claim["held"] for claim in content["claims"]] == [True, True]
    assert "+13.0 ± 0.1 points" in content["claims"][0]["evidence"]
    assert {arm["batch_size"] for arm in content["arms"]} == {2, 64}


def test_batch_norm_and_another_are_needed():
    with pytest.raises(ValueError, match="must hold batch_norm and another"):
        Settings(schemes=("fixup",))
