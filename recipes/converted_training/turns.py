"""Both versions of a network, trained in turn."""

import math

import keras

from fixinit import schemes
from recipes.common.training.runs import Runs
from recipes.converted_training.networks import builder, make
from recipes.converted_training.regularization import REGULARIZATIONS, AveragesTested
from recipes.converted_training.samples import data, moved

# The accuracy of a network that has diverged.
CHANCE = 0.1
# As it is, and converted.
VERSIONS = ("normalized", "converted")


def optimizer_of(settings, regularization, clipping):
    """SGD whose single steps cannot be large, of learning rate 1."""
    return keras.optimizers.SGD(
        1.0,
        momentum=0.9,
        global_clipnorm=None if clipping else settings.clip_norm,
        use_ema=regularization.ema_momentum > 0,
        ema_momentum=regularization.ema_momentum,
    )


def clipping_of(settings, scheme):
    """The factor of adaptive clipping, `None` where the norm of all is clipped."""
    if scheme is None or settings.clipping == 0:
        return None
    return settings.clipping or schemes.get(scheme).clipping


def versions_of(settings, model, loaded, name):
    """`Runs` of both versions, regularized alike."""
    regularization = REGULARIZATIONS[name]
    found = {}
    for version, scheme in zip(VERSIONS, (None, settings.scheme), strict=True):
        clipping = clipping_of(settings, scheme)
        found[version] = Runs(
            builder(model, scheme, settings.size, regularization),
            loaded,
            settings.batch_size,
            settings.seeds[0],
            optimizer_of(settings, regularization, clipping),
            divergence_loss=100.0,
            clipping=clipping or 0,
            scheme=scheme,
            loss=regularization.loss(loaded.num_classes),
        )
        found[version].fit(1, seed=0)  # compiles
    return found


def train_in_turn(settings, model):
    """Trains both: the first seed in every trial, the others in the best.

    A trial is a regularization at a rate.

    Returns:
        A list of dicts: `version`, `seed`, `rate`, `regularization`, `accuracy`,
        `train_accuracy`, and `step_seconds` of every epoch.
    """
    loaded = data(settings, make(model, settings.size))
    first, *others = settings.seeds
    runs, found = {}, []
    for name in settings.regularizations:
        runs[name] = versions_of(settings, model, loaded, name)
        for rate in settings.learning_rates:
            trials = dict.fromkeys(runs[name], (rate, name))
            found += take_turns(settings, runs, trials, first)
    best = {version: best_trial(found, version) for version in runs[name]}
    for seed in others:
        found += take_turns(settings, runs, best, seed)
    return found


def take_turns(settings, runs, trials, seed):
    """A run of each version, epoch by epoch, so that disturbances hit both."""
    found = {}
    for version, (rate, name) in trials.items():
        run = runs[name][version]
        run.reset(rate, seed)
        found[version] = {"version": version, "seed": seed, "rate": rate}
        found[version] |= {"regularization": name, "step_seconds": []}
        found[version] |= {"accuracy": None, "train_accuracy": None}
        data = run.data  # of both
    epochs = settings.image_epochs if data.is_image else settings.epochs
    for epoch in range(epochs):
        samples = data.x_train, data.y_train
        if data.is_image:
            samples = moved(data, settings.batch_size, seed, epoch)
        for version, (rate, name) in trials.items():
            known = found[version]
            if known["accuracy"] is None:
                run = runs[name][version]
                warmed = min(1, (epoch + 1) / (settings.warmup_epochs + 1))
                run.set_learning_rate(rate * warmed * (1 - epoch / epochs))
                order, last = 1000 * seed + epoch, epoch + 1 == epochs
                one_epoch(settings, run, name, known, samples, order, last)
    return list(found.values())


def one_epoch(settings, run, name, known, samples, order, last):
    """Trains for an epoch, and writes down what it gave."""
    averages = REGULARIZATIONS[name].ema_momentum > 0
    callbacks = [AveragesTested()] if averages else []
    recorder = run.fit(1, order, tests=last, samples=samples, callbacks=callbacks)
    if recorder.diverged:
        known["accuracy"] = known["train_accuracy"] = CHANCE
        return
    (report,) = recorder.epochs
    steps = math.ceil(len(samples[0]) / settings.batch_size)
    known["step_seconds"].append(report["seconds"] / steps)
    known["train_accuracy"] = report["train_accuracy"]
    # None before the last.
    known["accuracy"] = report["test_accuracy"]


def of(runs, version):
    return [run for run in runs if run["version"] == version]


def best_trial(runs, version):
    """`(rate, regularization)` that is best for a version at the first seed."""
    tried = [r for r in of(runs, version) if r["seed"] == runs[0]["seed"]]
    best = max(tried, key=lambda run: run["accuracy"])
    return best["rate"], best["regularization"]
