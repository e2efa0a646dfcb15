"""Converts published networks that nobody here made: the backbones of keras-hub.

    pip install keras-hub
    python -m recipes.real_models

Each is taken apart down to the layers of Keras, converted, and trained for some steps.
"""

import dataclasses

import keras
import numpy as np

import fixinit
from fixinit.conversion.kinds import is_normalization
from recipes.common import experiment
from recipes.common.experiment import Table, Verdict, format_number, setting
from recipes.common.experiment.reading import number
from recipes.common.training import conversion
from recipes.real_models.networks import BACKBONES, build, check_name

STEPS = 3
LEARNING_RATE = 1e-3
# Mean squares of outputs may leave 1 by this factor, either way, as features do.
FACTOR = 10.0


@dataclasses.dataclass(frozen=True)
class Settings(experiment.Settings):
    models: tuple[str, ...] = setting(
        tuple(BACKBONES),
        "Classes of keras_hub.models.",
        quick=("BertBackbone",),
        check=check_name,
    )
    scheme: str = setting(
        "fixup", "Scheme to convert with.", choices=fixinit.schemes.names()
    )


def arms(settings):
    return experiment.grid(model=settings.models)


def sample(tensor, rng):
    """Random numbers for an input: tokens, ones for masks, standard normal values."""
    batch, *sizes = tensor.shape
    shape = (batch or 2, *(size or 8 for size in sizes))
    if "mask" in tensor.name:
        return np.ones(shape, tensor.dtype)
    if keras.backend.is_float_dtype(tensor.dtype):
        return rng.normal(size=shape).astype("float32")
    return rng.integers(0, 2, shape).astype(tensor.dtype)


def measure(settings, model):
    network = build(model)
    measured = {"parameters": network.count_params()}
    try:
        free = conversion.convert(network, settings.scheme, seed=settings.seed)
    except (ValueError, TypeError) as error:
        # Refusals name the layer and the reason; other errors are none.
        return {**measured, "refused": str(error).splitlines()[0]}
    rng = np.random.default_rng(settings.seed)
    x = keras.tree.map_structure(lambda tensor: sample(tensor, rng), free.input)
    outputs = free(x, training=False)
    last = keras.ops.convert_to_numpy(keras.tree.flatten(outputs)[-1])
    targets = keras.tree.map_structure(
        lambda y: rng.normal(size=y.shape).astype("float32"), outputs
    )
    free.compile(keras.optimizers.SGD(LEARNING_RATE), "mse")
    left = [h.name for h in free._flatten_layers() if is_normalization(h)]
    return {
        **measured,
        "refused": "",
        "num_branches": free.conversion["num_branches"],
        "blocks": len(free.conversion["blocks"]),
        "left": left,
        "mean_square": float(np.mean(last.astype("float64") ** 2)),
        "losses": conversion.batch_losses(free, x, targets, STEPS),
    }


def tables(results):
    columns = {
        "network": "model",
        "parameters": "parameters",
        "blocks": lambda arm: arm.get("blocks", "–"),
        "L": lambda arm: arm.get("num_branches", "–"),
        "mean square": lambda arm: number(arm.get("mean_square", "nan")),
        f"losses of {STEPS} steps": lambda arm: ", ".join(
            format_number(number(loss)) for loss in arm.get("losses", [])
        ),
        "refused": "refused",
    }
    return [Table.of("converted", results["arms"], columns)]


def claims(results):
    arms = results["arms"]
    found = [arm for arm in arms if not arm["refused"]]
    counts = {"networks": len(arms), "converted": len(found)}
    yield Verdict("converts", len(found) >= 0.95 * len(arms), **counts)
    left = [arm["model"] for arm in found if arm["left"]]
    yield Verdict("nothing_left", not left, left=left, **counts)
    finite = [np.all(np.isfinite([number(x) for x in arm["losses"]])) for arm in found]
    yield Verdict("trains", all(finite), finite=int(np.sum(finite)), **counts)
    sizes = {arm["model"]: number(arm["mean_square"]) for arm in found}
    outside = {
        name: square
        for name, square in sizes.items()
        if not 1 / FACTOR < square < FACTOR
    }
    yield Verdict("keeps_sizes", not outside, outside=outside, factor=FACTOR)


EXPERIMENT = experiment.Experiment(
    __file__, Settings, arms, measure, claims, tables, {}
)

if __name__ == "__main__":
    EXPERIMENT.start()
