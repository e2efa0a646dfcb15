"""Verdicts on the claims of words.md."""

import numpy as np

from recipes.common.experiment import Verdict
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
        verdict
        for needed, judge in CLAIMS
        if found.keys() >= needed and (verdict := judge(found))
    ]


def _lesions(found):
    none, batch_norm, plain = (
        lesion_cost(found[way]) for way in ("none", "batch_norm_128", "plain")
    )
    left = mean(found["plain"], "lesioned")
    held = max(none, batch_norm) < plain / 3 and left < 0.2
    costs = {"none": none, "batch_norm": batch_norm, "plain": plain}
    return Verdict("survives_lesions", held, costs=costs, left=left)


def _robustness(found):
    before, after = (lesion_cost(found[way]) for way in ("none", "stochastic_depth"))
    held = after < before / 2
    return Verdict("leans_less", held, before=before, after=after)


def _gap(found):
    ways = [w for w in ("stochastic_depth", "shake_drop", "shake_shake") if w in found]
    if not ways:
        return None
    without, gaps = gap(found["none"]), {WAYS[w].label: gap(found[w]) for w in ways}
    held = all(value < without for value in gaps.values())
    return Verdict("narrows_gap", held, without=without, gaps=gaps)


def _accuracy(found):
    ways = [way for way in ("stochastic_depth", "shake_drop") if way in found]
    if not ways:
        return None
    gains = {WAYS[way].label: gain(found[way], found["none"]) for way in ways}
    held = all(x.is_positive for x in gains.values())
    seeds = len(found["none"]["test_accuracy"])
    return Verdict("wins_on_test_set", held, gains=gains, seeds=seeds)


def _shaken(found):
    even, shaken = found["even"], found["shake_shake"]
    won, gaps = gain(shaken, even), {"even": gap(even), "shaken": gap(shaken)}
    return Verdict("shaking_helps", won.is_positive, won=won, gaps=gaps)


def _decay(found):
    ratios = [mean(found[way], "ratios") for way in BY_DECAY]
    held = ratios[0] > ratios[1] > ratios[2]
    return Verdict("decay_shrinks_branches", held, ratios=ratios)


def _noise(found):
    sizes = ghost_sizes(found)
    if len(sizes) < 2:
        return None
    noises, powers = {}, {}
    for key in ("initial_noise", "noise"):
        values = [mean(found[f"batch_norm_{size}"], key) for size in sizes]
        noises[key] = list(zip(values, sizes, strict=True))
        powers[key] = np.polyfit(np.log(sizes), np.log(values), 1)[0]
    held = all(abs(power + 0.5) < 0.1 for power in powers.values())
    return Verdict("noise_falls", held, noises=noises, powers=powers)


def _noise_regularizes(found):
    gaps = [gap(found[way]) for way in BY_NOISE]
    tests = [mean(found[way], "test_accuracy") for way in BY_NOISE]
    held = sorted(gaps, reverse=True) == gaps
    return Verdict("noise_regularizes", held, gaps=gaps, tests=tests)


# The ways that each claim needs.
CLAIMS: tuple = (
    ({"none", "batch_norm_128", "plain"}, _lesions),
    ({"none", "stochastic_depth"}, _robustness),
    ({"none"}, _gap),
    ({"none"}, _accuracy),
    ({"even", "shake_shake"}, _shaken),
    (set(BY_DECAY), _decay),
    (set(), _noise),
    (set(BY_NOISE), _noise_regularizes),
)
