"""The claims of the literature on regularized residual networks, and their verdicts."""

import numpy as np

from recipes.common.experiment import Claim
from recipes.common.experiment.tables import format_percent
from recipes.regularizing_residuals.reading import (
    WAYS,
    by_way,
    gain,
    gap,
    ghost_sizes,
    lesion_cost,
    mean,
)

BY_NOISE = ("batch_norm_frozen", "batch_norm_128", "batch_norm_32", "batch_norm_8")
BY_DECAY = ("none", "weak_decay", "strong_decay")


def claims(results):
    """The claims that can be tested with the ways that were trained."""
    found = by_way(results)
    return [
        claim
        for needed, make in CLAIMS
        if found.keys() >= needed and (claim := make(found))
    ]


def _lesions(found):
    none, batch_norm, plain = (
        lesion_cost(found[way]) for way in ("none", "batch_norm_128", "plain")
    )
    left = mean(found["plain"], "lesioned")
    return Claim(
        "A trained residual network survives the removal of any block; without "
        "shortcuts the removal of any block destroys it.",
        max(none, batch_norm) < plain / 3 and left < 0.2,
        f"on average one block costs {_points(none)} with Fixup, "
        f"{_points(batch_norm)} with BatchNorm and {_points(plain)} without "
        f"shortcuts, where an accuracy of {format_percent(left)} % is left",
    )


def _robustness(found):
    before, after = (lesion_cost(found[way]) for way in ("none", "stochastic_depth"))
    return Claim(
        "Networks trained with stochastic depth lean less on their blocks.",
        after < before / 2,
        f"on average one block costs {_points(after)} with it, "
        f"{_points(before)} without",
    )


def _gap(found):
    ways = [w for w in ("stochastic_depth", "shake_drop", "shake_shake") if w in found]
    if not ways:
        return None
    gaps = ", ".join(f"{WAYS[way].label} {100 * gap(found[way]):.1f}" for way in ways)
    return Claim(
        "Dropping and re-weighting branches narrow the gap between training and test "
        "accuracy.",
        all(gap(found[way]) < gap(found["none"]) for way in ways),
        f"{_points(gap(found['none']))} without; {gaps}",
    )


def _accuracy(found):
    ways = [way for way in ("stochastic_depth", "shake_drop") if way in found]
    if not ways:
        return None
    gains = {way: gain(found[way], found["none"]) for way in ways}
    text = ", ".join(f"{WAYS[way].label} {x:+.1f}" for way, x in gains.items())
    return Claim(
        "What dropping branches loses on the training set, it wins on the test set.",
        all(x.is_positive for x in gains.values()),
        "test accuracy in points (standard error), over "
        f"{len(found['none']['test_accuracy'])} seeds: {text}",
    )


def _shaken(found):
    even, shaken = found["even"], found["shake_shake"]
    won = gain(shaken, even)
    return Claim(
        "Two branches with random weights generalize better than with their mean.",
        won.is_positive,
        f"Shake-Shake {won:+.1f} points of test accuracy (standard error), gap "
        f"{_points(gap(shaken))} instead of {_points(gap(even))}",
    )


def _decay(found):
    ratios = [mean(found[way], "ratios") for way in BY_DECAY]
    return Claim(
        "Weight decay on the branches pulls blocks towards the identity.",
        ratios[0] > ratios[1] > ratios[2],
        "a branch adds {:.3f} of its shortcut without, {:.3f} with the weaker and "
        "{:.3f} with the stronger decay".format(*ratios),
    )


def _noise(found):
    sizes = ghost_sizes(found)
    if len(sizes) < 2:
        return None
    powers, texts = [], []
    for key in ("initial_noise", "noise"):
        noises = [mean(found[f"batch_norm_{size}"], key) for size in sizes]
        powers.append(np.polyfit(np.log(sizes), np.log(noises), 1)[0])
        pairs = zip(sizes, noises, strict=True)
        texts.append(", ".join(f"{noise:.3f} over {size}" for size, noise in pairs))
    return Claim(
        "BatchNorm's own noise falls like one over the root of the samples that it "
        "normalizes together.",
        all(abs(power + 0.5) < 0.1 for power in powers),
        f"before training {texts[0]}: power {powers[0]:.2f}; after training, each "
        f"with its own size, {texts[1]}: power {powers[1]:.2f}",
    )


def _noise_regularizes(found):
    gaps = [gap(found[way]) for way in BY_NOISE]
    tests = ", ".join(format_percent(mean(found[w], "test_accuracy")) for w in BY_NOISE)
    return Claim(
        "The noise regularizes: the more of it, the narrower the gap.",
        sorted(gaps, reverse=True) == gaps,
        f"gaps of {', '.join(f'{100 * x:.1f}' for x in gaps)} points with frozen "
        f"statistics and over 128, 32 and 8 samples; test accuracy {tests} %",
    )


def _points(x):
    return f"{100 * x:.1f} points"


# The ways that each claim needs.
CLAIMS = (
    ({"none", "batch_norm_128", "plain"}, _lesions),
    ({"none", "stochastic_depth"}, _robustness),
    ({"none"}, _gap),
    ({"none"}, _accuracy),
    ({"even", "shake_shake"}, _shaken),
    (set(BY_DECAY), _decay),
    (set(), _noise),
    (set(BY_NOISE), _noise_regularizes),
)
