import keras
import numpy as np

import fixinit
from tests.diagnostics.doctor.rules.programs import (
    NUMBERS,
    X,
    claims,
    compiled,
    found,
    layers,
    mended,
)
from tests.marks import ON_TORCH

pytestmark = ON_TORCH


def residual(last="he_normal", *behind, size=None, count=2):
    """Residual blocks whose branches end in a kernel and what stands behind."""
    inputs = keras.Input((6,))
    h = layers.Dense(16, name="stem")(inputs)
    for i in range(count):
        branch = layers.ReLU()(h)
        branch = layers.Dense(16, name=f"one{i}")(branch)
        branch = layers.ReLU()(branch)
        branch = layers.Dense(16, kernel_initializer=last, name=f"two{i}")(branch)
        for make in behind:
            branch = make()(branch)
        h = layers.Add(name=f"add{i}")([h, branch])
    model = keras.Model(inputs, layers.Dense(1, name="head")(layers.ReLU()(h)))
    model = compiled(model, "mse", keras.optimizers.SGD(0.01, momentum=0.9))
    if size is not None:
        kernel = model.get_layer("two0").kernel
        kernel.assign(size * kernel)
    return model


def gate():
    return fixinit.layers.ScalarMultiplier("zeros")


def test_two_zeros_behind_each_other():
    model = residual("zeros", gate)
    after, _, _ = mended("never_opens", model, X, NUMBERS, severity="error", value=2.0)
    assert keras.ops.convert_to_numpy(after.get_layer("two0").kernel).any()


def test_one_zero_opens():
    assert claims(residual("zeros"), X, NUMBERS) == []
    assert claims(residual("he_normal", gate), X, NUMBERS) == []


def test_a_branch_that_is_multiplied_by_zero():
    model = residual("he_normal", lambda: layers.Rescaling(0.0))
    kinds = claims(model, X, NUMBERS)
    assert "never_opens" in kinds or "no_gradient" in kinds


def test_a_branch_that_drowns_its_shortcut():
    model = residual(size=200.0)
    (finding,) = found("branch_dominates", model, X, NUMBERS)
    assert finding.severity == "warning" and finding.value > 30
    mended("branch_dominates", model, X, NUMBERS, where="add0")
    assert not found("branch_dominates", residual(size=3.0), X, NUMBERS)


def test_published_schemes_are_no_finding():
    for scheme in fixinit.schemes.names()[:4]:
        model = fixinit.models.ResidualMLP(
            2, 16, scheme=scheme, input_shape=(6,), classes=1, seed=0
        )
        model = compiled(model, "mse", keras.optimizers.SGD(1e-3))
        assert not found("branch_dominates", model, X, NUMBERS)
        assert not found("never_opens", model, X, NUMBERS)
        assert np.isfinite(model.evaluate(X, NUMBERS, verbose=0))
