"""Ways to regularize, and numbers of theirs from results.json."""

import dataclasses

import numpy as np

from recipes.common.plotting.style import scheme_style
from recipes.common.training.differences import Difference


@dataclasses.dataclass(frozen=True)
class Way:
    """A way to regularize.

    Attributes:
        label: Its name in figures, tables and claims.
        like: The scheme whose color it is drawn in.
    """

    label: str
    like: str = "fixup"

    @property
    def color(self):
        return scheme_style(self.like)["color"]


WAYS = {
    "none": Way("Fixup, nothing added"),
    "stochastic_depth": Way("stochastic depth"),
    "shake_drop": Way("ShakeDrop"),
    "even": Way("two branches, mean"),
    "shake_shake": Way("two branches, Shake-Shake"),
    "weak_decay": Way("weak decay of branches"),
    "strong_decay": Way("strong decay of branches"),
    "batch_norm_frozen": Way("BatchNorm, frozen statistics", "batch_norm"),
    "batch_norm_128": Way("BatchNorm over 128", "batch_norm"),
    "batch_norm_32": Way("BatchNorm over 32", "batch_norm"),
    "batch_norm_8": Way("BatchNorm over 8", "batch_norm"),
    "plain": Way("BatchNorm over 128, no shortcuts", "unnormalized"),
}


def by_way(results):
    return {arm["way"]: arm for arm in results["arms"]}


def ghost_sizes(found):
    """Sample counts that the BatchNorm networks normalize together, smallest first."""
    return [size for size in (8, 32, 128) if f"batch_norm_{size}" in found]


def mean(arm, key):
    """A measurement averaged over networks and, where it has them, over blocks."""
    return float(np.mean(arm[key]))


def gap(arm):
    """Training accuracy minus test accuracy."""
    return mean(arm, "train_accuracy") - mean(arm, "test_accuracy")


def lesion_cost(arm):
    """Test accuracy that the removal of one block costs, averaged over blocks."""
    return mean(arm, "test_accuracy") - mean(arm, "lesioned")


def gain(arm, base):
    """The `Difference` between the test accuracies of two ways, in points."""
    return Difference.of(
        *(100 * np.array(a["test_accuracy"], "float64") for a in (arm, base))
    )
