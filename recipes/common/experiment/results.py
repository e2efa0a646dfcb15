"""Results on disk: written arm by arm, so that nothing is lost when a run is killed.

    <output_dir>/config.json     flags and environment, written first
    <output_dir>/arms/<id>.json  one file per arm, written when the arm is finished
    <output_dir>/results.json    everything, written at the end
    <output_dir>/results.csv     one row per arm, for people

A file appears under its name only when it is complete.
"""

import datetime
import pathlib

from recipes.common.experiment.environment import environment
from recipes.common.experiment.files import (
    decode,
    encode,
    read_json,
    write_csv,
    write_json,
)

# What a directory without config.json must not hold: it would be overwritten.
_FOREIGN = ("results.json", "results.csv", "report.html")


class Results:
    """The results directory of one run of a recipe.

    Args:
        output_dir: Path of the directory. Made if it does not exist.
        recipe: str. Name of the recipe.
        config: dict. Every flag that determines the results.
        **facts: What else determines them, such as `num_classes` of a data set.

    Raises:
        ValueError: If the directory holds results of other flags, or something else.
        OSError: If it cannot be written.
    """

    def __init__(self, output_dir, recipe, config, **facts):
        self.path = pathlib.Path(output_dir)
        # As JSON holds it, which knows no tuples.
        self.head = {"recipe": recipe, "config": decode(encode(config)), **facts}
        try:
            self._open()
        except OSError as error:
            raise OSError(
                f"--output_dir={output_dir} cannot be used: {error.strerror}. "
                "Choose another."
            ) from error

    def _open(self):
        path = self.path / "config.json"
        self.head |= {
            "environment": environment(),
            "started": _iso(datetime.datetime.now().timestamp()),
        }
        if path.exists():
            here, self.head = self.head, read_json(path)
            _check_ours(self.path, self.head)
            _check_same(self.path, _identity(self.head), _identity(here))
        else:
            _check_free(self.path)
        (self.path / "arms").mkdir(parents=True, exist_ok=True)
        # Fails here, and not after the first arm, where nothing can be written.
        write_json(path, self.head)

    def arm(self, arm_id):
        """The finished arm of that id, or `None`."""
        path = self._arm_path(arm_id)
        return read_json(path) if path.exists() else None

    def add(self, arm):
        """Writes a finished arm."""
        write_json(self._arm_path(arm["id"]), arm)

    def _arm_path(self, arm_id):
        return self.path / "arms" / f"{arm_id}.json"

    def content(self, title, arm_ids):
        """What results.json holds of the finished arms.

        Args:
            title: Title of the report.
            arm_ids: Ids of the arms, in the order of the report.
        """
        arms = [self.arm(arm_id) for arm_id in arm_ids]
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

    Args:
        path: Path of results.json or of the directory that holds it.
    """
    path = pathlib.Path(path)
    return read_json(path / "results.json" if path.is_dir() else path)


def _check_free(path):
    """Refuses a directory without config.json that holds what is not ours."""
    for name in _FOREIGN:
        if (path / name).exists():
            raise ValueError(_something_else(path, f"{name} without config.json"))


def _check_ours(path, content):
    """Refuses a config.json that no run has written."""
    kinds = {"recipe": str, "config": dict, "environment": dict, "started": str}
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key), kind) for key, kind in kinds.items()
    ):
        raise ValueError(_something_else(path, "another kind of config.json"))


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


def _check_same(path, there, here):
    different = [
        f"{key} ({there.get(key)} there, {here.get(key)} now)"
        for key in {**there, **here}
        if there.get(key) != here.get(key)
    ]
    if different:
        raise ValueError(
            f"--output_dir={path} holds results of other flags, data or recipes: "
            f"{', '.join(different)}. Choose another, such as "
            f"--output_dir={path}_2, or give the same flags to go on from there."
        )


def _iso(timestamp):
    time = datetime.datetime.fromtimestamp(timestamp, datetime.UTC)
    return time.isoformat(timespec="seconds")
