"""What a slice of the loss shows, and the directions that it misses."""

import numpy as np
from keras import ops

from fixinit.diagnostics.geometry import WeightFunction, filter_normalized_direction

# The loss of a guess among 10 classes.
CHANCE = float(np.log(10))
POWER_ITERATIONS = 15
# Of the weights' norm: the step of finite differences of gradients.
STEP = 1e-3


def basin(surface):
    """The share of the slice in which the network is better than a guess."""
    return float(np.mean(surface.losses < CHANCE))


def negative_curvature(surface):
    """The mean of -l/|L| where l < 0, the eigenvalues l < L of the slice's Hessian."""
    losses = surface.losses
    with np.errstate(invalid="ignore", over="ignore"):
        xx = losses[2:, 1:-1] - 2 * losses[1:-1, 1:-1] + losses[:-2, 1:-1]
        yy = losses[1:-1, 2:] - 2 * losses[1:-1, 1:-1] + losses[1:-1, :-2]
        xy = losses[2:, 2:] - losses[2:, :-2] - losses[:-2, 2:] + losses[:-2, :-2]
        root = np.hypot(xx - yy, xy / 2)
        low, high = (xx + yy - root) / 2, (xx + yy + root) / 2
        largest = np.maximum(np.abs(low), np.abs(high))
        shares = np.maximum(0, -low) / np.where(largest > 0, largest, 1)
    return float(np.nanmean(shares))


def sharpest(model, x, y, seed):
    """The direction in which the loss curves most, by power iteration.

    Products with the Hessian are differences of gradients.
    """
    function = WeightFunction(model, x, y)
    weights = [v.value for v in model.trainable_variables]
    norm = np.sqrt(sum(np.sum(np.square(ops.convert_to_numpy(w))) for w in weights))
    step = STEP * float(norm)

    def product(direction):
        gradients = []
        for sign in (1, -1):
            moved = [
                w + sign * step * ops.convert_to_tensor(d, dtype="float32")
                for w, d in zip(weights, direction, strict=True)
            ]
            gradients.append(function.loss_and_gradients(moved)[1])
        return [
            (ops.convert_to_numpy(a) - ops.convert_to_numpy(b)) / (2 * step)
            for a, b in zip(*gradients, strict=True)
        ]

    start = filter_normalized_direction(model, [seed, 0])
    length = np.sqrt(inner(start, start))
    direction = unit(start)
    random = inner(direction, product(direction))
    for _ in range(POWER_ITERATIONS):
        new = product(direction)
        largest = inner(direction, new)
        direction = unit(new)
    # As long as the random direction, which takes its place in the slice.
    scaled = [(length * d).astype("float32") for d in direction]
    other = filter_normalized_direction(model, [seed, 1])
    return {"largest": largest, "random": random, "directions": (scaled, other)}


def inner(a, b):
    pairs = zip(a, b, strict=True)
    return float(sum(np.sum(p.astype("float64") * q) for p, q in pairs))


def unit(direction):
    length = np.sqrt(inner(direction, direction))
    return [d / length if length > 0 else d for d in direction]


def alignment(model, seed):
    """The share of the way from start to end of training that lies in the slice."""
    way = [
        ops.convert_to_numpy(v.value) - start
        for v, start in zip(model.trainable_variables, model.start, strict=True)
    ]
    directions = [filter_normalized_direction(model, [seed, i]) for i in range(2)]
    parts = [inner(unit(way), unit(direction)) for direction in directions]
    return float(np.hypot(*parts))
