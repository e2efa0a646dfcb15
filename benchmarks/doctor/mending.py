"""Applies remedies as they are printed, one after the other."""

import dataclasses
from typing import Any

import keras
import numpy as np

import fixinit
from benchmarks.doctor import asking

# Applying advice and asking again must end.
ROUNDS = 4


@dataclasses.dataclass
class Mended:
    """A network after its remedies.

    Attributes:
        model, x, y: What the remedies have left.
        claimed: Kinds that the doctor claims at first.
        applied: The remedies, in order.
        against: Kinds of the claims that they are the remedies of.
        left: Kinds that the doctor claims after each of them.
        error: What a remedy has raised, or `None`.
    """

    model: keras.Model
    x: Any
    y: Any
    claimed: list[str] = dataclasses.field(default_factory=list)
    applied: list[str] = dataclasses.field(default_factory=list)
    against: list[str] = dataclasses.field(default_factory=list)
    left: list[list[str]] = dataclasses.field(default_factory=list)
    error: str | None = None


def mend(
    doctor: asking.Doctor, model: keras.Model, x: Any, y: Any, rounds: int = ROUNDS
) -> Mended:
    """Follows the doctor until it claims nothing, or nothing with a remedy."""
    found = asking.ask(doctor, model, x, y)
    mended = Mended(model, x, y, asking.kinds(found))
    claims = asking.claims(found)
    while len(mended.applied) < rounds:
        first = next((claim for claim in claims if claim["remedy"]), None)
        if first is None:
            break
        mended.applied.append(first["remedy"])
        mended.against.append(first["kind"])
        try:
            _apply(mended, first["remedy"])
            found = asking.ask(doctor, mended.model, mended.x, mended.y)
        except Exception as error:  # Whatever a remedy does is its result.
            mended.error = described(error)
            break
        claims = asking.claims(found)
        mended.left.append(asking.kinds(found))
    return mended


def _apply(mended: Mended, remedy: str) -> None:
    names: dict[str, Any] = {"model": mended.model, "x": mended.x, "y": mended.y}
    names |= {"keras": keras, "np": np, "fixinit": fixinit}
    exec(remedy, names)
    mended.model = names["model"]
    mended.x, mended.y = (
        keras.tree.map_structure(keras.ops.convert_to_numpy, names[name])
        for name in "xy"
    )
    if not mended.model.compiled:
        raise ValueError("The remedy leaves the model without being compiled.")


def described(error: Exception) -> str:
    """An exception in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
