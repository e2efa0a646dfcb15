"""Trains the arms of a comparison: one compiled network, many short runs."""

import time

import keras

from fixinit import schemes
from recipes.common.training.initial import BlockMeasurements, probe
from recipes.common.training.memory import PeakMemory
from recipes.common.training.runs import Runs


class Trainer:
    """Trains networks of one scheme and depth, at any learning rate and seed.

    Args:
        settings: `recipes.compare_stability.settings.Settings`.
        data: `recipes.common.data.datasets.Dataset` in the family's shape.
        scheme: Name of a scheme.
        depth: int. Weight layers.
    """

    def __init__(self, settings, data, scheme, depth):
        self.settings = settings
        self.scheme = scheme
        self.depth = depth
        self.num_blocks = settings.family.num_blocks(depth)
        keras.config.set_dtype_policy(settings.dtype_policy)
        self.runs = Runs(
            lambda seed: settings.family.build(
                depth, settings.units, data, scheme, seed
            ),
            data,
            settings.batch_size,
            settings.seeds[0],
            settings.make_optimizer(),
            settings.divergence_loss,
            scheme=scheme,
        )
        self._probe = probe(data)
        self._measurements = BlockMeasurements(self.runs.model, self.runs.loss)

    def train(self, arm_id, kind, learning_rate, seed, epochs, on_epoch=lambda: None):
        """Trains one arm.

        Args:
            arm_id: Its id in results.json.
            kind: `"train"`, with measurements of the network, or `"map"`.
            learning_rate: float.
            seed: int. Draws the weights and the order of the samples.
            epochs: int.
            on_epoch: Called after every epoch.

        Returns:
            dict. The arm as results.json holds it.
        """
        start = time.perf_counter()
        memory = PeakMemory()
        self.runs.reset(learning_rate, seed)
        measures = kind == "train"
        initial = self._initial() if measures else None
        gradient_norm = self._gradient_norm if measures else None
        recorder = self.runs.fit(epochs, seed, gradient_norm, on_epoch)
        return {
            "id": arm_id,
            "kind": kind,
            "scheme": self.scheme,
            "depth": self.depth,
            "num_blocks": self.num_blocks,
            "learning_rate": learning_rate,
            "seed": seed,
            "parameters": self.runs.model.count_params(),
            "diverged": recorder.diverged,
            "epochs": recorder.epochs,
            "initial": initial,
            "steps_per_second": recorder.steps_per_second,
            "peak_memory_mb": memory.megabytes(),
            "seconds": round(time.perf_counter() - start, 3),
        }

    def _initial(self):
        """Activations and gradients before the first step."""
        scheme = None
        if self.settings.family.predictable:
            scheme = schemes.get(self.scheme)
        return self._measurements.initial(*self._probe, scheme)

    def _gradient_norm(self):
        return self._measurements.gradient_norm(*self._probe)
