"""Stacked models are the models that they stack."""

import keras
import numpy as np
import pytest

from fixinit import diagnostics, layers, models, schemes
from fixinit.models import _stacking as stacking
from tests.marks import mostly_slow, slow_on_tensorflow
from third_party import fixup_pytorch


def inputs(model):
    shape = (3, *model.input_shape[1:])
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def weights_by_block(model):
    """All weights in the order of the blocks, whether they are stacked or not."""
    values = []
    for layer in model.layers:
        parts = [layer]
        if isinstance(layer, layers.Stack):
            parts = layer.unstack()
        values += [keras.ops.convert_to_numpy(v) for p in parts for v in p.variables]
    return values


CASES = {
    "mlp": lambda **kwargs: models.ResidualMLP(4, 8, **kwargs),
    "cifar": lambda **kwargs: models.CifarResNet(20, input_shape=(8, 8, 3), **kwargs),
    "bottleneck_projections": lambda **kwargs: models.ResNet(
        (3, 2), (4, 8), block="bottleneck", shortcut="C", input_shape=(8, 8, 3),
        preactivation=True, **kwargs,
    ),
    "dropout_and_batch_norm": lambda **kwargs: models.ResidualMLP(
        4, 8, scheme="batch_norm", dropout_rate=0.3, **kwargs
    ),
    # Answers that depend on the branch.
    "decreasing": lambda **kwargs: models.ResidualMLP(
        4, 8, scheme=schemes.ScaledResidual("decreasing"), **kwargs
    ),
    "decreasing_folded": lambda **kwargs: models.ResidualMLP(
        4, 8, scheme=schemes.ScaledResidual("decreasing", "folded"), **kwargs
    ),
}  # fmt: skip


@mostly_slow("name", CASES, quick=1)
def test_the_same_seed_gives_the_same_weights_and_outputs(name):
    stacked, separate = (CASES[name](seed=3, stacked=s) for s in (True, False))
    assert any(isinstance(layer, layers.Stack) for layer in stacked.layers)
    assert not any(isinstance(layer, layers.Stack) for layer in separate.layers)
    assert stacked.count_params() == separate.count_params()
    found, expected = weights_by_block(stacked), weights_by_block(separate)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=3e-7)
    np.testing.assert_allclose(
        stacked.predict(inputs(stacked), verbose=0),
        separate.predict(inputs(stacked), verbose=0),
        rtol=1e-5,
        atol=1e-6,
    )


def test_blocks_that_change_the_shape_stay_outside():
    model = CASES["cifar"](stacked=True)
    names = [layer.name for layer in model.layers if "stage" in layer.name]
    assert names == [
        "stage1_blocks",
        "stage2_block1",
        "stage2_blocks",
        "stage3_block1",
        "stage3_blocks",
    ]


@slow_on_tensorflow
def test_save_and_load(tmp_path):
    model = CASES["decreasing"](stacked=True, remat="sqrt")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_layer("blocks").remat == "sqrt"
    np.testing.assert_array_equal(
        loaded.predict(inputs(model), verbose=0),
        model.predict(inputs(model), verbose=0),
    )


@mostly_slow("scheme", ["fixup", "batch_norm"], quick=1)
def test_deep_models_are_stacked_by_default(scheme):
    def is_stacked(num_blocks):
        model = models.ResidualMLP(num_blocks, 2, scheme=scheme)
        return any(isinstance(layer, layers.Stack) for layer in model.layers)

    on_torch = keras.backend.backend() == "torch"
    assert is_stacked(stacking.STACKED_FROM) is not on_torch
    assert not is_stacked(stacking.STACKED_FROM - 1)
    assert is_stacked(stacking.STACKED_FROM_ON_TORCH)


def test_statistics_of_stacked_blocks():
    statistics = [
        diagnostics.block_statistics(
            CASES["mlp"](seed=3, scheme="unnormalized", stacked=stacked),
            np.random.default_rng(0).normal(size=(5, 40)).astype("float32"),
        )
        for stacked in (True, False)
    ]
    for key in ("variance", "mean_square"):
        np.testing.assert_allclose(
            getattr(statistics[0], key), getattr(statistics[1], key), rtol=1e-5
        )


@pytest.mark.slow
def test_five_thousand_blocks():
    model = models.ResidualMLP(5000, 4, seed=0)
    assert len(model.layers) < 10
    assert np.isfinite(model.predict(inputs(model), verbose=0)).all()


@pytest.mark.slow
def test_the_1202_layers_of_he_et_al():
    model = models.CifarResNet(1202, input_shape=(8, 8, 3), seed=0)
    # He et al. 2016 state 19.4M parameters.
    assert model.count_params() == pytest.approx(19.4e6, rel=0.01)
    model.compile(keras.optimizers.SGD(0.01), "mse")
    x = inputs(model)
    loss = model.train_on_batch(x, np.ones((3, 10)))
    assert np.isfinite(loss)


def test_stacked_is_checked():
    with pytest.raises(ValueError, match="Argument `stacked`"):
        models.ResidualMLP(4, 8, stacked="yes")


def test_export_to_pytorch_of_a_stacked_network():
    states = [
        fixup_pytorch.export_state_dict(
            models.CifarResNet(20, seed=1, input_shape=(8, 8, 3), stacked=stacked)
        )
        for stacked in (True, False)
    ]
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        np.testing.assert_allclose(value, states[1][name], rtol=3e-7)
