"""Cases from Python files that define `CASES` and `HEALTHY`."""

import dataclasses
import importlib.util
import pathlib
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any

# What `faulty`, `repaired` and `make` return: compiled model, inputs, targets.
Build = Callable[[], tuple[Any, Any, Any]]

_VISIBLE = {True: True, False: False, "yes": True, "no": False}


class CasesError(ValueError):
    """A file that does not hold cases."""


@dataclasses.dataclass(frozen=True)
class Faulty:
    """A faulty program and its repair.

    Attributes:
        name: Its name.
        faults: Labels, the main fault first.
        faulty, repaired: Functions that build the two.
        visible: Whether one sees the fault who sees the model, one batch, the loss and
            the optimizer.
        batch: Samples of a training step.
        steps: Training steps after which the repair pays.
    """

    name: str
    faults: tuple[str, ...]
    faulty: Build
    repaired: Build
    visible: bool = True
    batch: int = 32
    steps: int = 300


@dataclasses.dataclass(frozen=True)
class Healthy:
    """A healthy program; `train` steps of it under `Monitor` take not too long."""

    name: str
    make: Build
    group: str = "ordinary"
    train: int = 30


@dataclasses.dataclass(frozen=True)
class Cases:
    faulty: tuple[Faulty, ...]
    healthy: tuple[Healthy, ...]

    def only(self, names: Iterable[str]) -> "Cases":
        """The cases of these names, all for none.

        Raises:
            CasesError: If there is no case of a name.
        """
        names = set(names)
        known = {case.name for case in (*self.faulty, *self.healthy)}
        if names - known:
            raise CasesError(
                f"Names must be of {sorted(known)}. Received: {sorted(names - known)}"
            )
        if not names:
            return self
        return Cases(
            tuple(case for case in self.faulty if case.name in names),
            tuple(case for case in self.healthy if case.name in names),
        )


def merged(many: Iterable[Cases]) -> Cases:
    """All cases of several files; of two of one name, the last."""
    faulty: dict[str, Faulty] = {}
    healthy: dict[str, Healthy] = {}
    for cases in many:
        faulty |= {case.name: case for case in cases.faulty}
        healthy |= {case.name: case for case in cases.healthy}
    return Cases(tuple(faulty.values()), tuple(healthy.values()))


def load(path: str | pathlib.Path) -> Cases:
    """The cases of a file.

    Raises:
        CasesError: If the file is none of Python, or holds no cases.
    """
    path = pathlib.Path(path)
    spec = importlib.util.spec_from_file_location(f"cases_of_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise CasesError(f"--cases must be the path of a Python file. Received: {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return of_module(module)


def of_module(module: ModuleType) -> Cases:
    """The cases of a module that defines `CASES` and `HEALTHY`.

    Raises:
        CasesError: If it defines neither, or if a case lacks what it needs.
    """
    faulty = getattr(module, "CASES", None)
    healthy = getattr(module, "HEALTHY", None)
    if faulty is None and healthy is None:
        raise CasesError(
            f"{module.__name__} must define CASES or HEALTHY, lists of dicts, as "
            "benchmarks/doctor/cases does. Received neither."
        )
    return Cases(
        tuple(_case(Faulty, entry) for entry in faulty or ()),
        tuple(_case(Healthy, entry) for entry in healthy or ()),
    )


def _case(kind: type, entry: Mapping[str, Any]) -> Any:
    fields = dataclasses.fields(kind)
    missing = [f.name for f in fields if _needed(f) and f.name not in entry]
    if missing:
        raise CasesError(
            f"A {kind.__name__.lower()} case needs {missing}. Received the keys "
            f"{sorted(entry)}."
        )
    values = {f.name: entry[f.name] for f in fields if f.name in entry}
    if "faults" in values:
        values["faults"] = tuple(values["faults"])
    if "visible" in values:
        if values["visible"] not in _VISIBLE:
            raise CasesError(
                f"`visible` of case {entry['name']!r} must be true or false, or 'yes' "
                f"or 'no'. Received: {values['visible']!r}"
            )
        values["visible"] = _VISIBLE[values["visible"]]
    return kind(**values)


def _needed(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING
