"""Results as a comparison writes them, made up but realistic."""

import math

import numpy as np
import pytest

from recipes.common.plotting import style

SCHEMES = (
    "unnormalized",
    "batch_norm",
    "fixup",
    "scaled_residual",
    "skip_init",
    "rezero",
)
FLOAT32_MAX = float(np.finfo("float32").max)


@pytest.fixture(autouse=True)
def low_resolution(monkeypatch):
    """Figures at a third of the resolution take half the time."""
    monkeypatch.setitem(style.RC_PARAMS, "savefig.dpi", 70)


@pytest.fixture
def make_results():
    return _make_results


def _make_results(
    schemes=SCHEMES,
    depths=(22, 74, 302),
    learning_rates=(0.003, 0.01, 0.03, 0.1, 0.3),
    seeds=(0, 1, 2),
    epochs=8,
    kinds=("map", "train"),
    diverges=None,
):
    """Results of the recipe `compare_stability`.

    Args:
        diverges: A function of scheme, depth and learning rate that says after how
            many epochs an arm diverges, or `None` where it does not.
    """
    diverges = diverges or _diverges
    arms = []
    for scheme in schemes:
        for depth in depths:
            if "map" in kinds:
                arms += [
                    _arm("map", scheme, depth, rate, 0, 3, diverges)
                    for rate in learning_rates
                ]
            if "train" in kinds:
                arms += [
                    _arm("train", scheme, depth, 0.03, seed, epochs, diverges)
                    for seed in seeds
                ]
    return {
        "recipe": "compare_stability",
        "title": "Stability of deep residual networks",
        "config": {
            "schemes": list(schemes),
            "depths": list(depths),
            "learning_rates": list(learning_rates),
            "seeds": list(seeds),
            "epochs": epochs,
            "dataset": "mnist1d",
            "mixed_precision": False,
            "quick": True,
            "data_dir": None,
        },
        "num_classes": 10,
        "environment": {
            "fixinit": "0.1.0",
            "keras": "3.15.0",
            "backend": "tensorflow",
            "python": "3.12.1",
            "cpu_count": 2,
        },
        "started": "2025-01-02T03:04:05",
        "finished": "2025-01-02T03:12:15",
        "seconds": 490.0,
        "arms": arms,
    }


def _diverges(scheme, depth, learning_rate):
    if scheme == "unnormalized" and depth > 50:
        return 0
    if scheme == "unnormalized":
        return 2 if learning_rate > 0.01 else None
    limit = {"batch_norm": 1.0, "fixup": 0.2, "rezero": 0.2}.get(scheme, 0.08)
    return 1 if learning_rate > limit * (1 if depth < 100 else 0.5) else None


def _arm(kind, scheme, depth, learning_rate, seed, epochs, diverges):
    # A string's own hash would differ from run to run.
    rng = np.random.default_rng([sum(map(ord, scheme)), depth, seed])
    num_blocks = (depth - 2) // 2
    after = diverges(scheme, depth, learning_rate)
    # One of three seeds gets further than the others.
    after = None if after is None else after * (1 + seed % 2)
    return {
        "id": f"{kind}-{scheme}-depth{depth}-lr{learning_rate:g}-seed{seed}",
        "kind": kind,
        "scheme": scheme,
        "depth": depth,
        "num_blocks": num_blocks,
        "learning_rate": learning_rate,
        "seed": seed,
        "parameters": 8000 * num_blocks,
        "diverged": None
        if after is None
        else {
            "step": 40 * after + 3,
            "epoch": after + 1,
            "reason": "loss is not finite",
        },
        "epochs": _epochs(
            rng, learning_rate, epochs if after is None else min(after, epochs)
        ),
        "initial": _initial(rng, scheme, num_blocks) if kind == "train" else None,
        "steps_per_second": 1500 / num_blocks if kind == "train" else None,
        "peak_memory_mb": 610.5 if kind == "train" else None,
    }


def _epochs(rng, learning_rate, count):
    final = 0.7 + 0.25 * abs(math.log10(learning_rate / 0.05)) + rng.normal() * 0.02
    losses = final + (2.3 - final) * np.exp(-np.arange(1, count + 1) / 3)
    losses += 0.02 * rng.normal(size=count)
    return [
        {
            "epoch": i + 1,
            "train_loss": float(loss),
            "train_accuracy": float(1 - loss / 2.6),
            "test_loss": float(loss + 0.1),
            "test_accuracy": float(0.97 - loss / 2.6),
            "gradient_norm": 1.2,
            "seconds": 0.4,
        }
        for i, loss in enumerate(losses)
    ]


def _initial(rng, scheme, num_blocks):
    index = np.arange(num_blocks + 1)
    predicted = {
        "unnormalized": 2.0 ** np.minimum(index, 1000),
        "batch_norm": 1.0 + index,
        "scaled_residual": (1 + 1 / num_blocks) ** index,
    }.get(scheme, np.ones(num_blocks + 1))
    noise = 0 if (predicted == 1).all() else 0.04
    walk = np.exp(np.cumsum(noise * rng.normal(size=num_blocks + 1) / 2))
    measured = [float(x) for x in predicted * walk / walk[0]]
    measured = ["inf" if x > FLOAT32_MAX else x for x in measured]
    gradients = {
        "unnormalized": 2.0 ** (num_blocks / 2) * np.ones(num_blocks),
        "batch_norm": 3.0 / np.sqrt(index[1:]),
        "fixup": np.zeros(num_blocks),
        "scaled_residual": np.full(num_blocks, 0.5 / math.sqrt(num_blocks)),
        "skip_init": np.full(num_blocks, 0.31),
        "rezero": np.full(num_blocks, 0.3),
    }.get(scheme, np.full(num_blocks, 1.0))
    gradients = gradients * np.exp(0.2 * rng.normal(size=num_blocks))
    overflow = "inf" in measured
    return {
        "blocks": ["input", *(f"block{i}" for i in index[1:])],
        "variance": measured,
        "mean_square": measured,
        "predicted": predicted.tolist(),
        "loss": "nan" if overflow else 2.35,
        "gradient_norm": "nan" if overflow else 1.3,
        "branch_gradient_norms": ["nan"] * num_blocks
        if overflow
        else gradients.tolist(),
    }
