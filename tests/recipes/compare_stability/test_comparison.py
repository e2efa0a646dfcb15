import pytest

from recipes.compare_stability import comparison
from recipes.compare_stability.comparison import (
    best_learning_rate,
    map_arms,
    train_arms,
)
from recipes.compare_stability.settings import Settings


def _record(rate, loss, diverged=None):
    return {
        "learning_rate": rate,
        "diverged": diverged,
        "epochs": [{"train_loss": 9.0}, {"train_loss": loss}],
    }


def test_best_rate_has_the_lowest_last_training_loss():
    records = [_record(0.1, 2.0), _record(0.2, 1.0), _record(0.3, 1.5)]
    assert best_learning_rate(records) == 0.2


def test_diverged_rates_are_not_taken():
    assert (
        best_learning_rate([_record(0.1, 2.0), _record(0.2, 1.0, {"step": 3})]) == 0.1
    )


def test_smallest_rate_where_all_diverged():
    records = [_record(rate, 1.0, {"step": 1}) for rate in (0.3, 0.1, 0.2)]
    assert best_learning_rate(records) == 0.1


def test_rates_that_are_close_have_ids_of_their_own():
    settings = Settings(learning_rates=(0.1, 0.10000001))
    assert len({arm["arm_id"] for arm in map_arms(settings, "fixup", 10)}) == 2


def test_map_takes_the_first_seed_and_training_all_of_them():
    settings = Settings(seeds=(5, 3))
    assert {arm["seed"] for arm in map_arms(settings, "fixup", 10)} == {5}
    arms = train_arms(settings, "fixup", 10, 0.05)
    assert [arm["seed"] for arm in arms] == [5, 3]
    assert arms[0]["arm_id"] == "train-fixup-depth10-lr0.05-seed5"
    assert arms[0]["epochs"] == settings.epochs


class FakeTrainer:
    """Diverges at rates above 0.1; counts how many were made."""

    made = 0

    def __init__(self, settings, data, scheme, depth):
        FakeTrainer.made += 1
        self.scheme, self.depth = scheme, depth

    def train(self, arm_id, kind, learning_rate, seed, epochs, on_epoch):
        diverged = {"step": 1, "epoch": 1, "reason": "loss is not finite"}
        diverged = diverged if learning_rate > 0.1 else None
        done = 0 if diverged else epochs
        for _ in range(done):
            on_epoch()
        return {
            "id": arm_id,
            "kind": kind,
            "scheme": self.scheme,
            "depth": self.depth,
            "learning_rate": learning_rate,
            "seed": seed,
            "diverged": diverged,
            "epochs": [{"train_loss": 1 - learning_rate, "test_accuracy": 0.5}] * done,
        }


class FakeResults(dict):
    def arm(self, arm_id):
        return self.get(arm_id)

    def add(self, arm):
        self[arm["id"]] = arm


class FakeData:
    x_train = range(500)


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setattr(comparison, "Trainer", FakeTrainer)
    monkeypatch.setattr(FakeTrainer, "made", 0)

    def run(results, **changes):
        settings = Settings(
            schemes=("rezero", "fixup"),
            depths=(6, 4),
            **{"learning_rates": (0.05, 0.1, 1.0), **changes},
        )
        job = comparison.Comparison(settings, FakeData, results)
        return job.run(), job

    return run


def test_shallow_networks_come_first_and_schemes_in_the_order_of_the_flag(run):
    arm_ids, _ = run(FakeResults())
    cells = [tuple(arm_id.split("-")[1:3]) for arm_id in arm_ids]
    assert list(dict.fromkeys(cells)) == [
        ("rezero", "depth4"),
        ("fixup", "depth4"),
        ("rezero", "depth6"),
        ("fixup", "depth6"),
    ]
    assert all("lr0.1" in arm_id for arm_id in arm_ids if arm_id.startswith("train"))


@pytest.mark.parametrize(
    ("rates", "more", "tried", "best"),
    [
        # The loss falls up to 0.1, beyond which arms diverge.
        ((0.01, 0.02), 0, [0.01, 0.02], 0.02),
        ((0.01, 0.02), 2, [0.01, 0.02, 0.04, 0.08], 0.08),
        ((0.01, 0.02), 9, [0.01, 0.02, 0.04, 0.08, 0.16], 0.08),
        ((0.2, 0.4), 9, [0.05, 0.1, 0.2, 0.4], 0.1),
        ((0.01, 0.1, 1.0), 9, [0.01, 0.1, 1.0], 0.1),
    ],
)
def test_rates_go_on_beyond_an_end_that_is_the_best(run, rates, more, tried, best):
    results = FakeResults()
    arm_ids, job = run(results, learning_rates=rates, more_rates=more)
    fields = [x.split("-") for x in arm_ids if "fixup-depth6" in x]
    found = {
        kind: {float(x[3][2:]) for x in fields if x[0] == kind}
        for kind in ("map", "train")
    }
    assert found == {"map": set(tried), "train": {best}}
    assert job.progress.done == pytest.approx(job.progress.total)
    del results[arm_ids[-1]]
    assert run(results, learning_rates=rates, more_rates=more)[0] == arm_ids


def test_one_network_is_compiled_per_scheme_and_depth(run):
    run(FakeResults())
    assert FakeTrainer.made == 4


def test_finished_arms_are_not_trained_again(run):
    results = FakeResults()
    arm_ids, _ = run(results)
    FakeTrainer.made = 0
    del results[arm_ids[-1]]
    again, job = run(results)
    assert again == arm_ids and FakeTrainer.made == 1
    FakeTrainer.made = 0
    assert run(results)[0] == arm_ids and FakeTrainer.made == 0


@pytest.mark.parametrize("finished", [0, 5])
def test_progress_ends_at_the_end(run, finished):
    results = FakeResults()
    arm_ids, _ = run(results)
    for arm_id in arm_ids[finished:]:
        del results[arm_id]
    _, job = run(results)
    assert job.progress.done == pytest.approx(job.progress.total)
