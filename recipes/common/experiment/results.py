"""Results on disk: written arm by arm, so that nothing is lost when a run is killed.

    <output_dir>/config.json     flags and environment, written first
    <output_dir>/arms/<id>.json  one file per arm, written when the arm is finished
    <output_dir>/results.json    everything, written at the end
    <output_dir>/results.csv     one row per arm, for people

A file appears under its name only when it is complete, and carries a checksum. One
process at a time writes to a directory.
"""

import datetime
import hashlib
import json
import pathlib
import sys
import warnings

from recipes.common.experiment import lock
from recipes.common.experiment.environment import environment
from recipes.common.experiment.errors import OtherResultsError, UnusableFileError
from recipes.common.experiment.files import (
    decode,
    encode,
    read_json,
    read_sealed,
    remove_unfinished,
    write_csv,
    write_json,
)
from recipes.common.experiment.names import check_file_name

# What a directory without config.json must not hold: it would be overwritten, or taken
# for what has been measured.
_FOREIGN = ("results.json", "results.csv", "report.html", "arms/*.json")
# What results.json holds: that of experiments, or that of a training run.
_OF_RESULTS = ("arms", "metrics")
# Characters of a value that an error shows.
_SHOWN = 100


class Results:
    """The results directory of one run of a recipe, which it holds alone.

    Args:
        output_dir: Path of the directory. Made if it does not exist.
        recipe: str. Name of the recipe.
        config: dict. Every flag that determines the results.
        **facts: What else determines them, such as `num_classes` of a data set.

    Raises:
        OtherResultsError: If the directory holds results of other flags, or something
            else.
        UnusableFileError: If its config.json is damaged, or another process has it.
        OSError: If it cannot be written.
    """

    # What a directory without config.json must not hold.
    foreign: tuple[str, ...] = _FOREIGN
    # How to go on without an arm that is damaged.
    without_arm = "Remove it, and give the same command: it is measured again."

    def __init__(self, output_dir, recipe, config, **facts):
        self.path = pathlib.Path(output_dir)
        # As JSON holds it, which knows no tuples.
        self.head = {"recipe": recipe, "config": decode(encode(config)), **facts}
        self.head |= {
            "environment": environment(),
            "started": _iso(datetime.datetime.now().timestamp()),
        }
        try:
            self._open()
        except OSError as error:
            raise OSError(
                f"--output_dir={output_dir} cannot be used: {error.strerror}. "
                "Choose another."
            ) from error

    def _open(self):
        self._check()  # Before anything is written to a directory of others.
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = lock.hold(self.path)
        self._prepare()
        for folder in (self.path, self.path / "arms"):
            folder.mkdir(exist_ok=True)
            remove_unfinished(folder)
        # Once more, now that nobody else can write.
        there, self._is_sealed = self._check()
        if there is None:
            write_json(self.path / "config.json", self.head)
            return
        self.head = there
        if not self._is_sealed:
            print(
                f"{self.path} was begun when files carried no checksums: changed "
                "numbers in its older files are not noticed.",
                file=sys.stderr,
            )

    def _prepare(self):
        """What is to happen as soon as no other process can write."""

    def _check(self):
        """Refuses a directory of something else.

        Returns:
            `(content, whether its files carry checksums)` of its config.json; without
            one, `(None, True)`.
        """
        path = self.path / "config.json"
        if not path.exists():
            self._check_free()
            return None, True
        there, is_sealed = read_sealed(
            path, f"Choose another --output_dir, or remove {self.path}."
        )
        _check_ours(self.path, there)
        _check_same(self.path, _identity(there), _identity(self.head))
        return there, is_sealed

    def _check_free(self):
        """Refuses a directory without config.json that holds what is not ours."""
        for pattern in self.foreign:
            for path in sorted(self.path.glob(pattern))[:1]:
                found = f"{path.relative_to(self.path)} without config.json"
                raise OtherResultsError(_something_else(self.path, found))

    def arm(self, arm_id):
        """The finished arm of that id, or `None`.

        Raises:
            UnusableFileError: If its file is damaged.
        """
        path = self._arm_path(arm_id)
        if not path.exists():
            return None
        arm = read_json(path, self.without_arm, must_be_sealed=self._is_sealed)
        run = _digest(_identity(self.head))
        if (
            isinstance(arm, dict)
            and arm.pop("run", None if self._is_sealed else run) != run
        ):
            raise UnusableFileError(
                f"{path} is of a run with other flags or data. {self.without_arm}"
            )
        if not isinstance(arm, dict) or arm.get("id") != arm_id:
            reason = f"it does not hold the arm {arm_id!r}"
        elif not isinstance(arm.get("seconds"), int | float):
            reason = "it does not say how many seconds the arm took"
        else:
            return arm
        raise UnusableFileError(f"{path} is damaged: {reason}. {self.without_arm}")

    def add(self, arm):
        """Writes a finished arm."""
        run = _digest(_identity(self.head))
        write_json(self._arm_path(arm["id"]), {**arm, "run": run})

    def _finished_arm(self, arm_id):
        arm = self.arm(arm_id)
        if arm is None:
            raise UnusableFileError(
                f"{self._arm_path(arm_id)} is gone. Give the same command again: the "
                "arm is measured again."
            )
        return arm

    def _arm_path(self, arm_id):
        return self.path / "arms" / f"{check_file_name(arm_id)}.json"

    def content(self, title, arm_ids):
        """What results.json holds of the finished arms.

        Args:
            title: Title of the report.
            arm_ids: Ids of the arms, in the order of the report.
        """
        arms = [self._finished_arm(arm_id) for arm_id in arm_ids]
        last = max(self._arm_path(arm_id).stat().st_mtime for arm_id in arm_ids)
        return {
            "title": title,
            **self.head,
            "finished": _iso(last),
            # The arms' own times: the sum is right also when a run was killed.
            "seconds": round(sum(arm["seconds"] for arm in arms), 1),
            "arms": arms,
        }

    def finish(self, content, rows):
        """Writes results.json, and results.csv with these rows."""
        write_json(self.path / "results.json", content)
        write_csv(self.path / "results.csv", rows)


def load(path):
    """Reads results.json, with numbers that are not finite as floats.

    A file without a checksum, which earlier versions wrote, is read with a warning.

    Args:
        path: Path of results.json or of the directory that holds it.

    Raises:
        UnusableFileError: If the file is missing or damaged.
    """
    path = pathlib.Path(path)
    path = path / "results.json" if path.is_dir() else path
    what_to_do = "The command that wrote it writes it again, from its finished arms."
    content, is_sealed = read_sealed(path, what_to_do)
    if not isinstance(content, dict) or content.keys().isdisjoint(_OF_RESULTS):
        raise UnusableFileError(f"{path} holds no results of a recipe. {what_to_do}")
    if not is_sealed:
        warnings.warn(
            f"{path} carries no checksum: whether it is as it was written is unknown. "
            f"{what_to_do}",
            stacklevel=2,
        )
    return content


def _check_ours(path, content):
    """Refuses a config.json that no run has written."""
    kinds = {"recipe": str, "config": dict, "environment": dict, "started": str}
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key), kind) for key, kind in kinds.items()
    ):
        raise OtherResultsError(_something_else(path, "another kind of config.json"))


def _something_else(path, found):
    return (
        f"--output_dir={path} holds something else than results of a recipe: {found}. "
        f"Choose another, such as --output_dir={path}_2."
    )


def _identity(content):
    """What must agree for arms to belong to the same run."""
    facts = content.keys() - {"config", "environment", "started"}
    return {
        **{key: content[key] for key in sorted(facts)},
        **content["config"],
        # Backends differ in the last digits, and training amplifies them.
        "KERAS_BACKEND": content["environment"].get("backend"),
    }


def _digest(identity):
    """A short name of a run, by which its arms are told from those of others."""
    text = json.dumps(identity, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _check_same(path, there, here):
    different = [
        f"{key} ({_short(there.get(key))} there, {_short(here.get(key))} now)"
        for key in {**there, **here}
        if there.get(key) != here.get(key)
    ]
    if different:
        raise OtherResultsError(
            f"--output_dir={path} holds results of other flags, data or recipes: "
            f"{', '.join(different)}. Choose another, such as "
            f"--output_dir={path}_2, or give the same flags to go on from there."
        )


def _short(value):
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _iso(timestamp):
    time = datetime.datetime.fromtimestamp(timestamp, datetime.UTC)
    return time.isoformat(timespec="seconds")
