"""Paths through residual networks: counted by length, and expanded one by one."""

import itertools
import math

import numpy as np

from fixinit.diagnostics.paths import ChainGradient, backward_only
from recipes.common.data import datasets
from recipes.common.training import families, initial

# Veit et al.: 5 to 17 of the 54 blocks of a ResNet-110 carry almost all gradient.
BLOCKS, LENGTHS = 54, (5, 17)


def band(num_blocks):
    """The lengths of Veit et al., in proportion for networks of other depths."""
    return tuple(round(k * num_blocks / BLOCKS) for k in LENGTHS)


def fraction_of_paths(num_blocks, shortest, longest):
    """`(count, part)` of the paths of these lengths."""
    count = sum(math.comb(num_blocks, k) for k in range(shortest, longest + 1))
    return count, count / 2**num_blocks


def expand(settings):
    """The 16 paths of a real network of 4 blocks, one backward pass for each."""
    data = families.get("residual_mlp").adapt(datasets.load(settings.dataset))
    options = {"scheme": "scaled_residual", "seed": settings.seed}
    model = families.residual_mlp(data, 4, settings.units, **options)
    x, _ = initial.probe(data)
    gradient = ChainGradient(model, None, _select).on([x])

    def through(branches, shortcuts):
        return gradient(np.stack([branches, shortcuts], axis=1)).astype("float64")

    masks = np.array(list(itertools.product((0, 1), repeat=4)))
    paths = np.stack([through(mask, 1 - mask) for mask in masks])
    ones = np.ones(4)
    whole, without = through(ones, ones), through(np.arange(4) > 0, ones)
    first = masks[:, 0] == 1
    return {
        "paths": len({path.tobytes() for path in paths if path.any()}),
        "paths_through_first": int(first.sum()),
        "error": _distance(paths.sum(axis=0), whole),
        "error_through_first": _distance(paths[first].sum(axis=0), whole - without),
    }


def _select(tensors, shortcut, control):
    """Gradients times the first number in branches, the second in the shortcut."""
    return [
        backward_only(x, control[int(index == shortcut)] * x)
        for index, x in enumerate(tensors)
    ]


def _distance(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)
