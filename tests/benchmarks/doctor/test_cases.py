"""The visible cases build and train."""

import collections
import math

import keras
import numpy as np
import pytest

from benchmarks.doctor import cases, loading, training
from benchmarks.doctor.cases import nets
from tests.marks import ON_TORCH

FOUND = loading.of_module(cases)
# Whole architectures of which one step takes many seconds.
LARGE = ("applications", "converted")


# Targets of a cross-entropy that are no probabilities: PyTorch refuses them.
REFUSED = ("damage_3class_sigmoid1", "regression_bce")


def builds():
    for case in FOUND.faulty:
        refused = case.name in REFUSED and keras.backend.backend() == "torch"
        marks = [*ON_TORCH]
        marks += [pytest.mark.xfail(raises=RuntimeError)] if refused else []
        yield pytest.param(case.faulty, id=case.name, marks=marks)
        yield pytest.param(case.repaired, id=f"{case.name}-repaired", marks=ON_TORCH)
    for case in FOUND.healthy:
        marks = [pytest.mark.evidence] if case.group in LARGE else ON_TORCH
        yield pytest.param(case.make, id=case.name, marks=marks)


def test_there_are_as_many_as_were_collected():
    assert len(FOUND.faulty) == 21
    assert sum(case.visible for case in FOUND.faulty) == 16
    assert len(FOUND.healthy) == 58
    names = [case.name for case in (*FOUND.faulty, *FOUND.healthy)]
    assert max(collections.Counter(names).values()) == 1


@pytest.mark.parametrize("build", builds())
def test_builds_and_trains(build):
    model, x, y = build()
    assert len(x) == len(y)
    assert np.isfinite(x).all() and np.isfinite(y).all()
    loss = model.train_on_batch(x[:8], y[:8])
    assert not math.isnan(float(np.mean(loss)))
    outputs = model.predict(x[:8], verbose=0)
    truth = training.Truth.of(y[:8])
    assert truth.quality(outputs, y[:8], training.takes_logits(model)) <= 1


def test_reads_layers():
    model = nets.network(
        (8, 8, 3),
        "S255 C4x3:relu:he_normal c6x3x2 BN LR P2 GA X.5 D5:-:standard_normal A:tanh",
    )
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == [
        *("Rescaling", "Conv2D", "Conv2D", "BatchNormalization", "LeakyReLU"),
        *("MaxPooling2D", "GlobalAveragePooling2D", "Dropout", "Dense", "Activation"),
    ]
    same, valid, dense = model.layers[1], model.layers[2], model.layers[8]
    assert (same.padding, same.activation.__name__) == ("same", "relu")
    assert type(same.kernel_initializer).__name__ == "HeNormal"
    assert (valid.padding, valid.strides, valid.filters) == ("valid", (2, 2), 6)
    assert (dense.activation.__name__, dense.bias_initializer.stddev) == ("linear", 1.0)


def test_reads_sequences():
    model = nets.network((7,), "E9x4 B6s G5s K3x2 L2 D1", dtype="int32")
    shapes = [layer.output.shape for layer in model.layers]
    assert shapes == [(None, 7, n) for n in (4, 12, 5, 3)] + [(None, 2), (None, 1)]


@pytest.mark.parametrize("word", ["Q3", "3D", ""])
def test_refuses_what_is_no_layer(word):
    with pytest.raises(ValueError, match=f"begins with one of.*Received: {word!r}"):
        nets.layer(word)


def test_reads_optimizers():
    sgd = nets.optimizer("sgd:.1:.9n")
    assert (sgd.momentum, sgd.nesterov) == (0.9, True)
    assert float(sgd.learning_rate) == pytest.approx(0.1)
    assert isinstance(nets.optimizer("adam"), keras.optimizers.Adam)
