"""Networks of any depth: whether they train, and the largest depth that does."""

import math

import keras

from recipes.common.plotting.variants import variant
from recipes.common.training import families
from recipes.common.training.runs import Runs

NETWORKS = {
    "plain": variant("Plain", "#1a1a1a", "-", "D", scheme="unnormalized", plain=True),
    "residual": variant("Residual", "#5b3a1e", "--", "v", scheme="unnormalized"),
    "plain_batch_norm": variant(
        "Plain, BatchNorm", "#8a5fc4", "-.", "P", scheme="batch_norm", plain=True
    ),
    "batch_norm": variant(
        "Residual, BatchNorm", "#3b2f9b", "-", "s", scheme="batch_norm"
    ),
    "fixup": variant("Residual, Fixup", "#c0242e", "--", "o", scheme="fixup"),
    "scaled_residual": variant(
        "Residual, scaled", "#00877a", ":", "^", scheme="scaled_residual"
    ),
}


def last_losses(settings, data, network, num_blocks):
    """The training loss of the last epoch at every rate; infinite if it diverged."""

    def build(seed):
        options = {"seed": seed, "stacked": True} | NETWORKS[network].options
        return families.residual_mlp(data, num_blocks, settings.units, **options)

    runs = Runs(
        build,
        data,
        settings.batch_size,
        settings.seed,
        scheme=NETWORKS[network].options["scheme"],
        jit_compile=True,
    )
    losses = []
    for rate in settings.learning_rates:
        epochs, diverged = runs.run(rate, settings.seed, settings.epochs, tests=False)
        losses.append(math.inf if diverged else epochs[-1]["train_loss"])
    keras.utils.clear_session()
    return losses


def search(trains, settings):
    """The largest depth that trains, to the resolution of the settings.

    Args:
        trains: Callable `num_blocks -> bool`.
        settings: The recipe's `Settings`.

    Returns:
        `(deepest, is_limit)`: the number of blocks, 0 if one block does not train, and
        `False` if the greatest depth that may be tried does.
    """
    deepest, limit = 0, 4
    while limit <= settings.max_blocks and trains(limit):
        deepest, limit = limit, 4 * limit
    if limit > settings.max_blocks:
        return deepest, False
    while limit / max(deepest, 1) > settings.resolution:
        middle = round(math.sqrt(max(deepest, 1) * limit))
        if middle in (deepest, limit):
            break
        deepest, limit = (middle, limit) if trains(middle) else (deepest, middle)
    return deepest, True
