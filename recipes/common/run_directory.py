"""What a training run keeps on disk, so that it can be killed at any moment."""

import contextlib
import csv
import json
import os
import pathlib
import re

SETTINGS = "settings.json"
HISTORY = "history.csv"
RESULTS = "results.json"
MODEL = "model.keras"
TENSORBOARD = "tensorboard"
_CHECKPOINT = re.compile(r"checkpoint-(\d+)\.weights\.h5")


class RunDirectory:
    """The files of one run.

    Every file is written beside its place and renamed when complete, so that what is
    there is whole. The name of a checkpoint holds the number of finished epochs: a
    rename is all it takes for an epoch to count.

    Args:
        path: The directory; made if need be.

    Raises:
        OSError: If it cannot be made or written to.
    """

    def __init__(self, path):
        self.path = pathlib.Path(path).expanduser()
        self.path.mkdir(parents=True, exist_ok=True)
        probe = self.path / ".writable"
        probe.touch()
        probe.unlink()

    def check_settings(self, settings):
        """Refuses to mix runs: `settings` must be those that were here before."""
        path = self.path / SETTINGS
        if not path.exists():
            if any(self.path.glob("checkpoint-*")) or (self.path / RESULTS).exists():
                raise ValueError(
                    f"{self.path} holds results of something else. Choose another "
                    "--output_dir."
                )
            return self.write_json(SETTINGS, settings)
        before = self.read_json(SETTINGS)
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

    def clear(self):
        """Removes what runs leave here, and nothing else."""
        for name in (RESULTS, SETTINGS, HISTORY, MODEL):
            (self.path / name).unlink(missing_ok=True)
        for _, path in self._checkpoints():
            path.unlink()
        for path in (self.path / TENSORBOARD).glob("*/events.out.tfevents.*"):
            path.unlink()

    def write_json(self, name, content):
        with _replacing(self.path / name) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n")

    def read_json(self, name):
        path = self.path / name
        try:
            return json.loads(path.read_text())
        except ValueError as error:
            raise ValueError(f"{path} is corrupted: {error}.") from error

    def finished_epochs(self):
        """Number of epochs in the newest checkpoint, 0 without one."""
        return max((epochs for epochs, _ in self._checkpoints()), default=0)

    def save_checkpoint(self, model, epochs):
        """Keeps the weights and the optimizer's state, in place of older ones."""
        older = self._checkpoints()
        with _replacing(self._checkpoint(epochs)) as temporary:
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
        with _replacing(self.path / MODEL) as temporary:
            model.save(temporary)

    def write_history(self, rows):
        with _replacing(self.path / HISTORY) as temporary:
            with temporary.open("w", newline="") as file:
                writer = csv.DictWriter(file, fieldnames=list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)

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


@contextlib.contextmanager
def _replacing(path):
    """A path to write to; what was written takes the place of `path` at the end."""
    # The same suffix, from which Keras tells what to write.
    temporary = path.with_name(f"unfinished-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
