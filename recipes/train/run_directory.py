"""What a training run keeps on disk, so that it can be killed at any moment."""

import csv
import pathlib
import re

from recipes.common.experiment.files import read_json, replacing, write_csv, write_json

SETTINGS = "settings.json"
HISTORY = "history.csv"
RESULTS = "results.json"
MODEL = "model.keras"
TENSORBOARD = "tensorboard"
# What `recipes.compare_stability` writes first.
COMPARISON = "config.json"
_CHECKPOINT = re.compile(r"checkpoint-(\d+)\.weights\.h5")


class RunDirectory:
    """The files of one run.

    Every file is written beside its place and renamed when complete, so that what is
    there is whole. The name of a checkpoint holds the number of finished epochs: a
    rename is all it takes for an epoch to count.

    Args:
        path: The directory; made if need be.

    Raises:
        ValueError: If it holds a comparison of `recipes.compare_stability`.
        OSError: If it cannot be made or written to.
    """

    def __init__(self, path):
        self.path = pathlib.Path(path).expanduser()
        # Here, before `clear` can remove the comparison's results.json.
        if (self.path / COMPARISON).exists():
            raise ValueError(self._something_else())
        self.path.mkdir(parents=True, exist_ok=True)
        probe = self.path / ".writable"
        probe.touch()
        probe.unlink()

    def check_settings(self, settings):
        """Refuses to mix runs: `settings` must be those that were here before."""
        path = self.path / SETTINGS
        if not path.exists():
            if any(self.path.glob("checkpoint-*")) or (self.path / RESULTS).exists():
                raise ValueError(self._something_else())
            write_json(path, settings)
            return
        before = read_json(path)
        if not isinstance(before, dict):
            raise ValueError(self._something_else())
        keys = sorted({*before, *settings})
        differing = [
            f"{key}={before.get(key)} there and {settings.get(key)} here"
            for key in keys
            if before.get(key) != settings.get(key)
        ]
        if differing:
            raise ValueError(
                f"{self.path} holds a run with other settings: "
                f"{'; '.join(differing)}. Choose another --output_dir, or start over "
                "in this one with --restart."
            )

    def _something_else(self):
        return (
            f"--output_dir={self.path} holds something else than a run of "
            "recipes.train. Choose another."
        )

    def clear(self):
        """Removes what runs leave here, and nothing else."""
        for name in (RESULTS, SETTINGS, HISTORY, MODEL):
            (self.path / name).unlink(missing_ok=True)
        for _, path in self._checkpoints():
            path.unlink()
        for path in (self.path / TENSORBOARD).glob("*/events.out.tfevents.*"):
            path.unlink()

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
        write_csv(self.path / HISTORY, rows)

    def read_history(self, epochs):
        """The rows of the first `epochs` epochs."""
        path = self.path / HISTORY
        if not epochs:
            return []
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))[:epochs]
        try:
            rows = [{key: float(row[key]) for key in row} for row in rows]
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} is corrupted: {error}.") from error
        return [{**row, "epoch": int(row["epoch"])} for row in rows]

    def _checkpoint(self, epochs):
        return self.path / f"checkpoint-{epochs:05d}.weights.h5"

    def _checkpoints(self):
        matches = [(_CHECKPOINT.fullmatch(p.name), p) for p in self.path.iterdir()]
        return [(int(match[1]), path) for match, path in matches if match]
