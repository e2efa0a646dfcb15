"""Results on disk: written arm by arm, so that nothing is lost when a run is killed.

    <output_dir>/config.json     flags and environment, written first
    <output_dir>/arms/<id>.json  one file per arm, written when the arm is finished
    <output_dir>/results.json    everything, written at the end
    <output_dir>/results.csv     one row per arm, for people

A file appears under its name only when it is complete.
"""

import csv
import datetime
import importlib.metadata
import json
import math
import os
import pathlib
import platform

import keras

import fixinit

_NOT_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


class Results:
    """The results directory of one comparison.

    Args:
        output_dir: Path of the directory. Made if it does not exist.
        config: dict. Every flag that determines the results.

    Raises:
        ValueError: If the directory holds results of other flags.
        OSError: If it cannot be written.
    """

    def __init__(self, output_dir, config):
        self.path = pathlib.Path(output_dir)
        self.config = config
        try:
            (self.path / "arms").mkdir(parents=True, exist_ok=True)
            self._open()
        except (OSError, json.JSONDecodeError) as error:
            reason = getattr(error, "strerror", None) or f"config.json: {error}"
            raise OSError(
                f"--output_dir={output_dir} cannot be used: {reason}. Choose another."
            ) from error

    def _open(self):
        path = self.path / "config.json"
        if not path.exists():
            self.environment = environment()
            self.started = _iso(datetime.datetime.now().timestamp())
            content = {
                "config": self.config,
                "environment": self.environment,
                "started": self.started,
            }
            write_json(path, content)
            return
        content = read_json(path)
        self.environment, self.started = content["environment"], content["started"]
        _check_same(
            self.path,
            self._identity(content["config"], self.environment),
            self._identity(self.config, environment()),
        )
        # Fails here, and not after the first arm, where nothing can be written.
        write_json(path, content)

    @staticmethod
    def _identity(config, environment):
        # Backends differ in the last digits, and training amplifies them.
        return {**config, "KERAS_BACKEND": environment["backend"]}

    def arm(self, arm_id):
        """The finished arm of that id, or `None`."""
        path = self._arm_path(arm_id)
        return read_json(path) if path.exists() else None

    def add(self, arm):
        """Writes a finished arm."""
        write_json(self._arm_path(arm["id"]), arm)

    def _arm_path(self, arm_id):
        return self.path / "arms" / f"{arm_id}.json"

    def finish(self, recipe, title, arm_ids):
        """Writes results.json and results.csv, and returns the results."""
        arms = [self.arm(arm_id) for arm_id in arm_ids]
        last = max(self._arm_path(arm_id).stat().st_mtime for arm_id in arm_ids)
        results = {
            "recipe": recipe,
            "title": title,
            "config": self.config,
            "environment": self.environment,
            "started": self.started,
            "finished": _iso(last),
            # The arms' own times: the sum is right also when a run was killed.
            "seconds": round(sum(arm["seconds"] for arm in arms), 1),
            "arms": arms,
        }
        write_json(self.path / "results.json", results)
        write_csv(self.path / "results.csv", [row(arm) for arm in arms])
        return results


def load(path):
    """Reads results.json, with numbers that are not finite as floats.

    Args:
        path: Path of results.json or of the directory that holds it.
    """
    path = pathlib.Path(path)
    return read_json(path / "results.json" if path.is_dir() else path)


def environment():
    """What else than the flags results may depend on."""
    backend = keras.backend.backend()
    return {
        "fixinit": fixinit.__version__,
        "keras": keras.__version__,
        "backend": backend,
        backend: importlib.metadata.version(backend),
        "numpy": importlib.metadata.version("numpy"),
        "python": platform.python_version(),
        "cpu_count": os.cpu_count(),
        "platform": platform.platform(),
    }


def row(arm):
    """One arm as a row of results.csv: what people look at first."""
    final = arm["epochs"][-1] if arm["epochs"] else {}
    initial = arm["initial"] or {}
    diverged = arm["diverged"] or {}
    keys = ("id", "kind", "scheme", "depth", "num_blocks", "learning_rate", "seed")
    curves = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
    return {
        **{key: arm[key] for key in (*keys, "parameters")},
        "epochs": len(arm["epochs"]),
        **{f"final_{key}": final.get(key) for key in curves},
        "diverged_step": diverged.get("step"),
        "diverged_reason": diverged.get("reason"),
        "initial_loss": initial.get("loss"),
        "initial_gradient_norm": initial.get("gradient_norm"),
        "growth": _growth(initial.get("mean_square")),
        "predicted_growth": _growth(initial.get("predicted")),
        "steps_per_second": arm["steps_per_second"],
        "peak_memory_mb": arm["peak_memory_mb"],
        "seconds": arm["seconds"],
    }


def _growth(curve):
    """The mean square after the last block over that of the first one's input."""
    return curve[-1] / curve[0] if curve and curve[0] else None


def read_json(path):
    """Reads strict JSON; the strings "inf", "-inf" and "nan" become floats."""
    return _decode(json.loads(pathlib.Path(path).read_text()))


def write_json(path, content):
    """Writes strict JSON, whole or not at all."""
    text = json.dumps(_encode(content), indent=1, allow_nan=False)
    _write(pathlib.Path(path), lambda file: file.write(text + "\n"))


def write_csv(path, rows):
    """Writes rows, dicts of equal keys, as CSV, whole or not at all."""

    def write(file):
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)

    _write(pathlib.Path(path), write)


def _write(path, write):
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        write(file)
        file.flush()
        # Else a power cut may leave the new name on an empty file.
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _encode(value):
    if isinstance(value, dict):
        return {key: _encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _decode(value):
    if isinstance(value, dict):
        return {key: _decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decode(item) for item in value]
    return _NOT_FINITE.get(value, value) if isinstance(value, str) else value


def _check_same(path, there, here):
    # Through JSON, which knows no tuples.
    here = _decode(json.loads(json.dumps(_encode(here))))
    different = [
        f"{key} ({there.get(key)} there, {here.get(key)} now)"
        for key in {**there, **here}
        if there.get(key) != here.get(key)
    ]
    if different:
        raise ValueError(
            f"--output_dir={path} holds results of other flags: "
            f"{', '.join(different)}. Choose another, such as "
            f"--output_dir={path}_2, or give the same flags to go on from there."
        )


def _iso(timestamp):
    time = datetime.datetime.fromtimestamp(timestamp, datetime.UTC)
    return time.isoformat(timespec="seconds")
