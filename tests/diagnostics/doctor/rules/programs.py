"""Small training programs, what is found in them, and remedies as printed."""

import keras
import numpy as np

import fixinit
from fixinit.diagnostics import diagnose

layers = keras.layers
RNG = np.random.default_rng(0)
# Standardized columns, a class that follows from them, and numbers that do.
X = RNG.normal(size=(64, 6)).astype("float32")
CLASSES = (2 * (X[:, 0] > 0) + (X[:, 1] > 0)).astype("int32")
HOT = np.eye(4, dtype="float32")[CLASSES]
BINARY = (X[:, :1] > 0).astype("float32")
NUMBERS = (X[:, :1] - X[:, 1:2]).astype("float32")


def net(*last, shape=(6,), hidden=16, loss=None, optimizer="adam", **options):
    """A hidden ReLU layer and what follows, compiled if there is a loss."""
    model = keras.Sequential(
        [keras.Input(shape), layers.Dense(hidden, "relu", name="hidden"), *last]
    )
    return compiled(model, loss, optimizer, **options)


def compiled(model, loss=None, optimizer="adam", **options):
    if loss is not None:
        model.compile(optimizer, loss, **options)
    return model


def found(kind, model, x=X, y=None, **options):
    """The findings of a kind."""
    return [f for f in diagnose(model, x, y, **options).findings if f.kind == kind]


def claims(model, x=X, y=None, **options):
    """Kinds of the errors and warnings."""
    findings = diagnose(model, x, y, **options).findings
    return [f.kind for f in findings if f.severity != "note"]


def mended(kind, model, x=X, y=None, **expected):
    """The program that the remedy of the one finding of a kind leaves.

    The finding has the `expected` attributes. After its remedy, there is none of its
    kind, and the model takes a step of training, by an optimizer of the same settings
    but the rate.
    """
    (finding,) = found(kind, model, x, y)
    for name, value in expected.items():
        assert getattr(finding, name) == value, (name, finding)
    assert finding.remedy, finding
    before = settings(model)
    names = {"model": model, "x": x, "y": y}
    names |= {"keras": keras, "np": np, "fixinit": fixinit}
    exec(finding.remedy, names)
    model, x, y = (names[name] for name in ("model", "x", "y"))
    assert model.compiled, finding.remedy
    assert settings(model) == before, finding.remedy
    assert not found(kind, model, x, y), found(kind, model, x, y)
    assert np.isfinite(model.train_on_batch(x, y)).all()
    return model, x, y


def settings(model):
    """Settings of the optimizer of a compiled model, without name and rate."""
    optimizer = model.optimizer
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    return _without_rates(optimizer.get_config())


def _without_rates(config):
    if isinstance(config, dict):
        kept = {k: v for k, v in config.items() if k not in ("name", "learning_rate")}
        return {k: _without_rates(v) for k, v in kept.items()}
    return config
