"""Training for a number of steps, and how good a network is whatever its loss."""

import dataclasses
import math
from typing import Any

import keras
import numpy as np

# Times at which a network is judged, as shares of all steps.
_STAGES = 4


def batches(x: np.ndarray, y: np.ndarray, batch: int, steps: int, seed: int) -> Any:
    """Inputs and targets for `steps` full batches, one permutation after the other."""
    rng, needed = np.random.default_rng(seed), batch * steps
    turns = -(-needed // len(x))
    order = np.concatenate([rng.permutation(len(x)) for _ in range(turns)])[:needed]
    return x[order], y[order]


def train(
    model: keras.Model,
    x: np.ndarray,
    y: np.ndarray,
    batch: int,
    steps: int,
    seed: int,
    callbacks: Any = (),
) -> None:
    """Trains for so many steps, as one epoch."""
    # A model of one batch shape is compiled once.
    x, y = batches(x, y, batch, steps, seed)
    model.fit(
        x, y, batch_size=batch, shuffle=False, verbose=0, callbacks=list(callbacks)
    )


def learning(
    model: keras.Model,
    x: np.ndarray,
    y: np.ndarray,
    truth: "Truth",
    batch: int,
    steps: int,
    seed: int,
) -> tuple[float, float]:
    """Trains, and returns the quality at the end and its mean over four stages."""
    qualities = []
    for stage in range(_STAGES):
        part = steps * (stage + 1) // _STAGES - steps * stage // _STAGES
        train(model, x, y, batch, max(part, 1), seed + stage)
        outputs = model.predict(x, batch_size=256, verbose=0)
        qualities.append(truth.quality(outputs, y, takes_logits(model)))
    return qualities[-1], float(np.mean(qualities))


def is_better(mended: tuple[float, float], before: tuple[float, float]) -> bool:
    """Whether a network has learned more; of two that end alike, has learned faster."""
    ends = round(mended[0], 3), round(before[0], 3)
    return mended[1] > before[1] if ends[0] == ends[1] else ends[0] > ends[1]


def takes_logits(model: keras.Model) -> bool:
    """Whether the loss of a compiled model reads outputs as logits."""
    return bool(getattr(keras.losses.get(model.loss), "from_logits", False))


@dataclasses.dataclass(frozen=True)
class Truth:
    """What the targets of a case say, in whatever form a remedy puts them.

    Attributes:
        values: Classes as integers, or several labels of 0 and 1 in a row. `None` for
            quantities: R^2 is the same for rescaled ones.
    """

    values: np.ndarray | None = None

    @classmethod
    def of(cls, y: Any) -> "Truth":
        y = np.asarray(y)
        found = np.unique(y)
        if not np.issubdtype(y.dtype, np.integer):
            # As where classes are written as floating-point numbers.
            if len(found) > 20 or not np.array_equal(found, np.arange(len(found))):
                return cls()
        is_row = y.ndim > 1 and y.shape[-1] > 1
        if is_row and set(found) <= {0, 1} and (y.sum(-1) == 1).all():
            y = y.argmax(-1)
        elif y.ndim > 1 and y.shape[-1] == 1:
            y = y[..., 0]
        return cls(y.astype(int))

    def quality(self, outputs: np.ndarray, y: np.ndarray, logits: bool) -> float:
        """Accuracy of classes and labels, R^2 of quantities; -inf if not finite.

        Args:
            outputs: What the network gives.
            y: The targets that it has been trained for.
            logits: Whether outputs of one unit are logits, which 0 parts, not 0.5.
        """
        if not np.isfinite(outputs).all():
            return -math.inf
        if self.values is None:
            return _r_squared(outputs, y)
        if outputs.ndim > self.values.ndim and outputs.shape[-1] > 1:
            found = outputs.argmax(-1)
        else:
            single = outputs.reshape(self.values.shape)
            border = 0.0 if logits else 0.5
            found = np.rint(single) if self.values.max() > 1 else single > border
        return float(np.mean(found == self.values))


def _r_squared(outputs: np.ndarray, y: np.ndarray) -> float:
    """Share of the variance that is explained, the mean over columns."""
    y = np.asarray(y, "float64")
    outputs = np.asarray(outputs, "float64").reshape(y.shape)
    y, outputs = y.reshape(len(y), -1), outputs.reshape(len(y), -1)
    residual = np.mean((y - outputs) ** 2, axis=0)
    total = np.var(y, axis=0)
    return float(np.mean(1 - residual / np.where(total == 0, 1, total)))
