"""What the runs of a network come to: each version at its best, and whether level."""

import numpy as np

from recipes.common.training.differences import CONFIDENCE, Difference
from recipes.converted_training.turns import VERSIONS, best_trial, of


def best_runs(arm, version):
    """The runs of all seeds in the trial that is best for a version, and that trial."""
    trial = best_trial(arm["runs"], version)
    runs = of(arm["runs"], version)
    return [r for r in runs if (r["rate"], r["regularization"]) == trial], trial


def accuracies(arm, version, key="accuracy"):
    """Accuracies of all seeds in percent, at the version's best."""
    return [100 * run[key] for run in best_runs(arm, version)[0]]


def level(arm):
    """Whether, and why not, the converted network is at least level.

    Returns:
        dict: the `Difference` that is `lost`; `level`, which it is if not more is lost
        than chance has it, two standard errors, or with one seed nothing; and `why`, a
        string, empty if it is.
    """
    before, after = (accuracies(arm, version) for version in VERSIONS)
    lost = Difference.of(before, after)
    lost_by_chance = 0.0 if np.isnan(lost.error) else CONFIDENCE * lost.error
    held = bool(np.mean(before) > 50 and lost.mean <= lost_by_chance)
    fitted = [np.mean(accuracies(arm, v, "train_accuracy")) for v in VERSIONS]
    if held:
        why = ""
    elif np.mean(before) <= 50:
        why = "BatchNorm's network has not learned"
    elif fitted[0] - fitted[1] > lost.mean / 2:
        why = f"it fits less, {fitted[1]:.1f} for {fitted[0]:.1f} % in training"
    else:
        why = f"it fits as well, {fitted[1]:.1f} for {fitted[0]:.1f} % in training"
    return {"lost": lost, "level": held, "why": why}
