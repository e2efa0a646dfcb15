"""Both versions of a network, trained in turn."""

import math

import keras

from recipes.common.training.runs import Runs
from recipes.converted_training.networks import builder, make
from recipes.converted_training.samples import data, moved

# The accuracy of a network that has diverged.
CHANCE = 0.1


def clipped_sgd(settings):
    """SGD whose single steps cannot be large, of learning rate 1."""
    return keras.optimizers.SGD(1.0, momentum=0.9, global_clipnorm=settings.clip_norm)


def train_in_turn(settings, model):
    """Trains both: the first seed at every rate, the others at the best.

    Returns:
        A list of dicts: `version`, `seed`, `rate`, `accuracy`, and `step_seconds` of
        every epoch.
    """
    loaded = data(settings, make(model))
    first, *others = settings.seeds
    schemes = {"normalized": None, "converted": settings.scheme}
    runs = {
        version: Runs(
            builder(model, scheme),
            loaded,
            settings.batch_size,
            first,
            clipped_sgd(settings),
            divergence_loss=100.0,
        )
        for version, scheme in schemes.items()
    }
    for run in runs.values():
        run.fit(1, seed=0)  # compiles
    found = []
    for rate in settings.learning_rates:
        found += take_turns(settings, runs, dict.fromkeys(runs, rate), first)
    best = {version: best_rate(found, version) for version in runs}
    for seed in others:
        found += take_turns(settings, runs, best, seed)
    return found


def take_turns(settings, runs, rates, seed):
    """A run of each version, epoch by epoch, so that disturbances hit both."""
    found = {}
    for version, run in runs.items():
        run.reset(rates[version], seed)
        found[version] = {"version": version, "seed": seed, "rate": rates[version]}
        found[version] |= {"step_seconds": [], "accuracy": None}
        data = run.data  # of both
    epochs = settings.image_epochs if data.is_image else settings.epochs
    for epoch in range(epochs):
        samples = data.x_train, data.y_train
        if data.is_image:
            samples = moved(data, settings.batch_size, seed, epoch)
        steps = math.ceil(len(samples[0]) / settings.batch_size)
        for version, run in runs.items():
            known = found[version]
            if known["accuracy"] is not None:
                continue
            run.set_learning_rate(rates[version] * (1 - epoch / epochs))
            last, order = epoch + 1 == epochs, 1000 * seed + epoch
            recorder = run.fit(1, order, tests=last, samples=samples)
            if recorder.diverged:
                known["accuracy"] = CHANCE
                continue
            (report,) = recorder.epochs
            known["step_seconds"].append(report["seconds"] / steps)
            # None before the last.
            known["accuracy"] = report["test_accuracy"]
    return list(found.values())


def of(runs, version):
    return [run for run in runs if run["version"] == version]


def best_rate(runs, version):
    """The rate that is best for a version at the first seed."""
    tried = [r for r in of(runs, version) if r["seed"] == runs[0]["seed"]]
    return max(tried, key=lambda run: run["accuracy"])["rate"]
