"""The files of a training run: the results of its epochs, and the newest checkpoint."""

import pathlib
import re

from recipes.common.experiment.files import (
    read_json,
    replacing,
    write_csv,
    write_json,
)
from recipes.common.experiment.results import Results

RECIPE = "train"
HISTORY = "history.csv"
RESULTS = "results.json"
MODEL = "model.keras"
TENSORBOARD = "tensorboard"
# What --restart removes.
_FILES = (
    *("config.json", "arms/epoch-*.json", "checkpoint-*.weights.h5"),
    *(HISTORY, RESULTS, MODEL, f"{TENSORBOARD}/*/events.out.tfevents.*"),
)
_CHECKPOINT = re.compile(r"checkpoint-(\d+)\.weights\.h5")


class RunDirectory(Results):
    """The results directory of one run; its arms are epochs.

    The name of a checkpoint holds the number of finished epochs: a rename is all it
    takes for an epoch to count.

    Args:
        path: The directory; made if need be.
        settings: dict. Every setting that determines the results.
        restart: bool. Whether to remove what an earlier run left there.

    Raises:
        ValueError: If it holds a run with other settings, or something else.
        OSError: If it cannot be made or written to.
    """

    def __init__(self, path, settings, restart=False):
        path = pathlib.Path(path).expanduser()
        if restart:
            _clear(path)
        try:
            super().__init__(path, RECIPE, settings)
        except ValueError as error:
            raise ValueError(
                f"{error} --restart starts over in the directory of an earlier run."
            ) from error

    def write_results(self, results):
        write_json(self.path / RESULTS, results)

    def finished_epochs(self):
        """Number of epochs in the newest checkpoint, 0 without one."""
        return max((epochs for epochs, _ in self._checkpoints()), default=0)

    def save_checkpoint(self, model, epochs):
        """Keeps the weights and the optimizer's state, in place of older ones."""
        older = self._checkpoints()
        with replacing(self._checkpoint(epochs)) as temporary:
            model.save_weights(temporary)
        for _, path in older:
            path.unlink()

    def load_checkpoint(self, model):
        path = self._checkpoint(self.finished_epochs())
        try:
            model.load_weights(path)
        except (OSError, KeyError, ValueError) as error:
            raise ValueError(
                f"Cannot read {path}: {error}. Start over with --restart."
            ) from error

    def save_model(self, model):
        with replacing(self.path / MODEL) as temporary:
            model.save(temporary)

    def write_history(self, rows):
        """Keeps the rows of all finished epochs, of which the last is new."""
        row = rows[-1]
        self.add({"id": _arm_id(row["epoch"]), **row})
        write_csv(self.path / HISTORY, rows)

    def read_history(self, epochs):
        """The rows of the first `epochs` epochs."""
        arms = [self.arm(_arm_id(epoch)) for epoch in range(1, epochs + 1)]
        if None in arms:
            raise ValueError(
                f"{self.path} lacks arms/{_arm_id(arms.index(None) + 1)}.json. Start "
                "over with --restart."
            )
        return [{k: value for k, value in arm.items() if k != "id"} for arm in arms]

    def _checkpoint(self, epochs):
        return self.path / f"checkpoint-{epochs:05d}.weights.h5"

    def _checkpoints(self):
        matches = [(_CHECKPOINT.fullmatch(p.name), p) for p in self.path.iterdir()]
        return [(int(match[1]), path) for match, path in matches if match]


def _arm_id(epoch):
    return f"epoch-{epoch:05d}"


def _clear(path):
    """Removes what a run leaves there, and nothing where another recipe has been."""
    config = path / "config.json"
    content = read_json(config) if config.exists() else None
    if isinstance(content, dict) and content.get("recipe") == RECIPE:
        for pattern in _FILES:
            for file in path.glob(pattern):
                file.unlink()
