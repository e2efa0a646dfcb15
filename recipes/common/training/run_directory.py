"""The files of a training run: the results of its epochs, and the newest checkpoint."""

import pathlib
import re
import sys

from recipes.common.experiment import checksums
from recipes.common.experiment.errors import OtherResultsError, UnusableFileError
from recipes.common.experiment.files import (
    csv_text,
    read_sealed,
    replacing,
    write_csv,
    write_json,
)
from recipes.common.experiment.results import Results
from recipes.common.training.saved_models import save_model

HISTORY = "history.csv"
RESULTS = "results.json"
MODEL = "model.keras"
_FILES = (
    *("arms/epoch-*.json", "checkpoint-*.weights.h5*", f"{MODEL}*"),
    *(HISTORY, RESULTS),
)
_CHECKPOINT = re.compile(r"checkpoint-(\d+)\.weights\.h5")
_ROW = re.compile(r"epoch-(\d+)\.json")
_RESTART = "Start over with --restart."


class RunDirectory(Results):
    """The results directory of one run; its arms are epochs. Recipes name theirs.

    The name of a checkpoint holds the number of finished epochs: a rename is all it
    takes for an epoch to count.

    Args:
        path: The directory; made if need be.
        settings: dict. Every setting that determines the results.
        restart: bool. Whether to remove what an earlier run left there.
        **facts: What else determines the results, such as a digest of the data.

    Attributes:
        recipe: str. Name of the recipe.
        more_files: Patterns of what else the recipe writes there.
        held_out: str. What the recipe calls the data that it does not train on.

    Raises:
        OtherResultsError: If it holds a run with other settings, or something else.
        UnusableFileError: If its config.json is damaged, or another process has it.
        OSError: If it cannot be made or written to.
    """

    recipe: str
    more_files: tuple[str, ...] = ()
    held_out = "test"
    foreign = (*Results.foreign, HISTORY, MODEL, "checkpoint-*.weights.h5")
    without_arm = _RESTART

    def __init__(self, path, settings, restart=False, **facts):
        self._restart = restart
        try:
            path = pathlib.Path(path).expanduser()
            super().__init__(path, self.recipe, settings, **facts)
        except OtherResultsError as error:
            raise OtherResultsError(
                f"{error} --restart starts over in the directory of an earlier run."
            ) from error

    def _check(self):
        if self._restart and self._is_run():
            return None, True  # What it holds will be gone.
        return super()._check()

    def _prepare(self):
        if self._restart and self._is_run():
            # Without config.json, the last, a directory stops being a run.
            for pattern in (*_FILES, *self.more_files, "config.json"):
                for file in self.path.glob(pattern):
                    file.unlink()

    def _is_run(self):
        """Whether the directory holds a run of this recipe, of whichever settings."""
        config = self.path / "config.json"
        if not config.exists():
            return False
        what_to_do = f"Choose another --output_dir, or remove {self.path}."
        content, _ = read_sealed(config, what_to_do)
        return isinstance(content, dict) and content.get("recipe") == self.recipe

    def write_results(self, results):
        write_json(self.path / RESULTS, results)

    def restore(self, model):
        """Brings a compiled model to the end of the last finished epoch.

        Returns:
            List of the rows of all finished epochs.

        Raises:
            UnusableFileError: If a file of them is missing or damaged.
        """
        finished = self.finished_epochs()
        if finished:
            self.load_checkpoint(model)
        return self.read_history(finished)

    def finished_epochs(self):
        """Number of epochs in the newest checkpoint, 0 without one.

        Raises:
            UnusableFileError: If there are results of more epochs.
        """
        finished = max((epochs for epochs, _ in self._checkpoints()), default=0)
        found = map(_ROW.fullmatch, (path.name for path in self._arms()))
        rows = max((int(match[1]) for match in found if match), default=0)
        # A kill may leave one row without its checkpoint, but not in a finished run.
        allowed = finished + (not (self.path / RESULTS).exists())
        if rows > allowed:
            raise UnusableFileError(
                f"{self._checkpoint(rows)} is missing: the newest checkpoint is of "
                f"{finished} epochs, and arms/ has results of {rows}. {_RESTART}"
            )
        return finished

    def save_checkpoint(self, model, epochs):
        """Keeps the weights and the optimizer's state, in place of older ones."""
        new = self._checkpoint(epochs)
        with replacing(new, checksum=True) as temporary:
            model.save_weights(temporary)
        for _, path in self._checkpoints():
            if path == new:
                continue
            path.unlink()
            checksums.beside(path).unlink(missing_ok=True)

    def load_checkpoint(self, model):
        path = self._checkpoint(self.finished_epochs())
        checksums.check_beside(path, _RESTART, must_exist=self._is_sealed)
        try:
            model.load_weights(path)
        # Whatever h5py and Keras raise, which is much: without a checksum the file may
        # hold anything, with one it is of another version.
        except Exception as error:
            raise UnusableFileError(
                f"{path} cannot be read: {error or type(error).__name__}. {_RESTART}"
            ) from error

    def save_model(self, model):
        save_model(model, self.path / MODEL)

    def write_history(self, rows):
        """Keeps the rows of all finished epochs, of which the last is new."""
        row = rows[-1]
        self.add({"id": _arm_id(row["epoch"]), **row})
        write_csv(self.path / HISTORY, rows)

    def read_history(self, epochs):
        """The rows of the first `epochs` epochs; history.csv is made to hold them.

        Raises:
            UnusableFileError: If one is missing or damaged.
        """
        rows = [self._row(epoch) for epoch in range(1, epochs + 1)]
        if rows:
            self._mend_history(rows)
        return rows

    def _row(self, epoch):
        path = self._arm_path(_arm_id(epoch))
        arm = self.arm(_arm_id(epoch))
        if arm is None:
            raise UnusableFileError(f"{path} is missing. {_RESTART}")
        if arm.get("epoch") != epoch:
            raise UnusableFileError(
                f"{path} is damaged: it is not of epoch {epoch}. {_RESTART}"
            )
        return {key: value for key, value in arm.items() if key != "id"}

    def _mend_history(self, rows):
        """Writes history.csv again where it lacks rows or holds others; says so."""
        path, right = self.path / HISTORY, csv_text(rows)
        try:
            found = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            found = ""
        if found == right:
            return
        # A kill may leave the row of an epoch that has no checkpoint.
        if not (found.startswith(right) and found.count("\n") == len(rows) + 2):
            print(
                f"{path} did not hold what arms/ has of the {len(rows)} finished "
                "epochs. It is written again.",
                file=sys.stderr,
            )
        write_csv(path, rows)

    def _arms(self):
        return (self.path / "arms").iterdir()

    def _checkpoint(self, epochs):
        return self.path / f"checkpoint-{epochs:05d}.weights.h5"

    def _checkpoints(self):
        matches = [(_CHECKPOINT.fullmatch(p.name), p) for p in self.path.iterdir()]
        return [(int(match[1]), path) for match, path in matches if match]


def _arm_id(epoch):
    return f"epoch-{epoch:05d}"
