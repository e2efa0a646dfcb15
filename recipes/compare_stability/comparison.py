"""The arms of a comparison, trained in order or read from disk."""

import math

import keras

from recipes.common.experiment.progress import Progress
from recipes.compare_stability.trainer import Trainer

# Building, tracing and compiling a network takes as long as about so many steps.
SETUP_STEPS = 1000


def map_arm(settings, scheme, depth, rate):
    """An arm that compares learning rates: one of them, at the first seed."""
    return _arm("map", scheme, depth, rate, settings.seeds[0], settings.map_epochs)


def map_arms(settings, scheme, depth):
    """The arms of all learning rates that are asked for."""
    return [map_arm(settings, scheme, depth, x) for x in settings.learning_rates]


def next_rate(rates, best):
    """The rate to try beyond the end that is the best, `None` where neither is.

    Steps repeat: 0.01, 0.03, 0.1 goes on with 0.3, to 0.1 what 0.03 is to 0.01.
    """
    towards = sorted(rates, reverse=best == min(rates))
    if len(rates) < 2 or best != towards[-1]:
        return None
    *before, last = towards
    earlier = before[-2:] if len(before) > 1 else [before[-1], last]
    return float(f"{last * earlier[1] / earlier[0]:.2g}")


def train_arms(settings, scheme, depth, learning_rate):
    """The arms that are measured: every seed, at one learning rate."""
    return [
        _arm("train", scheme, depth, learning_rate, seed, settings.epochs)
        for seed in settings.seeds
    ]


def _arm(kind, scheme, depth, learning_rate, seed, epochs):
    """The arguments of `Trainer.train`."""
    return {
        "arm_id": f"{kind}-{scheme}-depth{depth}-lr{learning_rate!r}-seed{seed}",
        "kind": kind,
        "learning_rate": learning_rate,
        "seed": seed,
        "epochs": epochs,
    }


def best_learning_rate(records):
    """The rate with the lowest last training loss among arms that did not diverge.

    The training loss, as the running averages of BatchNorm lag behind in so few
    epochs. If every arm diverged, it is the smallest rate.
    """
    alive = [record for record in records if not record["diverged"]]
    if not alive:
        return min(record["learning_rate"] for record in records)
    best = min(alive, key=lambda record: record["epochs"][-1]["train_loss"])
    return best["learning_rate"]


class Comparison:
    """Trains every scheme at every depth; finished arms are read from disk.

    Args:
        settings: `recipes.compare_stability.settings.Settings`.
        data: `recipes.common.data.datasets.Dataset` in the family's shape.
        results: `recipes.common.experiment.results.Results`.
    """

    def __init__(self, settings, data, results):
        self.settings = settings
        self.data = data
        self.results = results
        self.steps = math.ceil(len(data.x_train) / settings.batch_size)
        self._trainer = None
        rates = len(settings.learning_rates) + settings.more_rates
        epochs = rates * settings.map_epochs
        epochs += len(settings.seeds) * settings.epochs
        work = sum(
            self._setup_work(depth) + epochs * self._epoch_work(depth)
            for depth in settings.depths
        )
        self.progress = Progress(work * len(settings.schemes))

    def run(self):
        """Returns the ids of all arms, in the order in which they are trained."""
        records = []
        # Shallow networks first, so that results appear early.
        for depth in self.settings.depths:
            for scheme in self.settings.schemes:
                records += self._run_cell(scheme, depth)
        self.progress.finish()
        return [record["id"] for record in records]

    def _run_cell(self, scheme, depth):
        """All arms of one scheme at one depth: one compiled network trains them."""
        records = [
            self._record(scheme, depth, arm)
            for arm in map_arms(self.settings, scheme, depth)
        ]
        rate = self._bracketed(scheme, depth, records)
        records += [
            self._record(scheme, depth, arm)
            for arm in train_arms(self.settings, scheme, depth, rate)
        ]
        if self._trainer is None:
            self.progress.skip(self._setup_work(depth))
        else:
            self._trainer = None
            keras.utils.clear_session()
        return records

    def _bracketed(self, scheme, depth, records):
        """The best rate, between others where `more_rates` are enough for that.

        Adds the records of the rates that it tries to the given ones.
        """
        best = best_learning_rate(records)
        left = self.settings.more_rates
        while left:
            alive = any(not record["diverged"] for record in records)
            rate = next_rate([r["learning_rate"] for r in records], best)
            if rate is None:
                break
            arm = map_arm(self.settings, scheme, depth, rate)
            records.append(self._record(scheme, depth, arm))
            best, left = best_learning_rate(records), left - 1
            if not alive and records[-1]["diverged"]:
                break  # no rate will do
        self.progress.skip(left * self.settings.map_epochs * self._epoch_work(depth))
        return best

    def _record(self, scheme, depth, arm):
        """The record of an arm, from the disk or from training it now."""
        work = self._epoch_work(depth)
        record = self.results.arm(arm["arm_id"])
        if record is not None:
            self.progress.skip(work * arm["epochs"])
            return record
        self.progress.start(arm["arm_id"])
        is_first = self._trainer is None
        if is_first:
            self._trainer = Trainer(self.settings, self.data, scheme, depth)
        record = self._trainer.train(
            **arm, on_epoch=lambda: self.progress.advance(work)
        )
        self.results.add(record)
        if is_first:
            # Tracing takes place in the first arm.
            self.progress.advance(self._setup_work(depth))
        self.progress.skip(work * (arm["epochs"] - len(record["epochs"])))
        self.progress.write(describe(record))
        return record

    def _epoch_work(self, depth):
        return self._size(depth) * self.steps

    def _setup_work(self, depth):
        return self._size(depth) * SETUP_STEPS

    def _size(self, depth):
        # Stem, head, and what does not grow with depth, count as two blocks.
        return self.settings.family.num_blocks(depth) + 2


def describe(record):
    """A finished arm in one line."""
    arm = (
        f"{record['kind']:5s} {record['scheme']:15s} depth {record['depth']:<4d} "
        f"rate {record['learning_rate']:<6g} seed {record['seed']}"
    )
    if record["diverged"]:
        step, reason = record["diverged"]["step"], record["diverged"]["reason"]
        return f"{arm}  diverged at step {step}: {reason}"
    last = record["epochs"][-1]
    return (
        f"{arm}  train loss {last['train_loss']:.3f}, "
        f"test accuracy {100 * last['test_accuracy']:.1f} %"
    )
