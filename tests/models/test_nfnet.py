import keras
import numpy as np
import pytest
from keras import ops

from fixinit import layers, models, schemes, theory
from tests.marks import slow_on_tensorflow, slow_where_compiled

TINY = {
    "stages": (1, 2, 2, 1),
    "filters": (16, 32, 48, 48),
    "group_size": 8,
    "input_shape": (64, 64, 3),
    "classes": 10,
}
# Of the authors' code, with 1,000 classes.
PARAMETERS = {
    "F0": 71_489_284,
    "F1": 132_634_256,
    "F2": 193_779_228,
    "F3": 254_924_200,
    "F4": 316_069_172,
    "F5": 377_214_144,
    "F6": 438_359_116,
    "F7": 499_504_088,
}


@pytest.fixture(scope="module")
def tiny():
    return models.NFNet(**TINY, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["F0", "F1"])
def test_counts_of_parameters(variant):
    check_count(variant)


@pytest.mark.evidence
@pytest.mark.parametrize("variant", list(PARAMETERS)[2:])
def test_counts_of_parameters_of_large_networks(variant):
    check_count(variant)


def check_count(variant):
    with keras.StatelessScope():
        model = models.NFNet(variant, input_shape=(32, 32, 3))
        assert model.count_params() == PARAMETERS[variant]


@slow_where_compiled
def test_deviations_are_reset_where_the_shape_changes(tiny):
    model = models.NFResNet(
        stages=(2, 3, 1, 1), filters=(16, 32, 48, 64), input_shape=(32, 32, 3)
    )
    found = {}
    for block in model.layers:
        if isinstance(block, layers.ResidualBlock):
            scales = [x for x in block.branch if isinstance(x, layers.BranchInputScale)]
            found[block.name] = scales[0].scale if scales else 1.0
    # k sums in the stream since the last change of shape, with that of the change.
    sums = {
        "stage1_block1": 0,
        "stage1_block2": 1,
        "stage2_block1": 2,
        "stage2_block2": 1,
        "stage2_block3": 2,
        "stage3_block1": 3,
        "stage4_block1": 1,
    }
    expected = {name: (1 + 0.04 * k) ** -0.5 for name, k in sums.items()}
    assert found == pytest.approx(expected)


@slow_where_compiled
@pytest.mark.every_backend
def test_stacked_equals_unstacked(tiny):
    stacked = models.NFNet(**{**TINY, "stages": (1, 3, 3, 1)}, seed=0, stacked=True)
    plain = models.NFNet(**{**TINY, "stages": (1, 3, 3, 1)}, seed=0, stacked=False)
    assert any(isinstance(layer, layers.Stack) for layer in stacked.layers)
    x = np.random.default_rng(0).standard_normal((2, 64, 64, 3)).astype("float32")
    for model in (stacked, plain):
        # Branches that are shut would show nothing.
        for variable in model.trainable_variables:
            if variable.path.endswith("scalar_multiplier"):
                variable.assign(0.5 + 0 * variable)
    np.testing.assert_allclose(
        ops.convert_to_numpy(stacked(x)), ops.convert_to_numpy(plain(x)), atol=1e-5
    )


@slow_on_tensorflow
@pytest.mark.every_backend
def test_saved_and_loaded_it_is_the_same(tiny, tmp_path):
    tiny.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = np.random.default_rng(0).standard_normal((2, 64, 64, 3)).astype("float32")
    np.testing.assert_array_equal(
        ops.convert_to_numpy(loaded(x)), ops.convert_to_numpy(tiny(x))
    )


@slow_on_tensorflow
@pytest.mark.parametrize("scheme", ["fixup", "batch_norm", "scaled_residual"])
def test_is_a_model_for_any_scheme(scheme):
    model = models.NFNet(**TINY, scheme=scheme, seed=0)
    assert type(model.get_layer("final")) is keras.layers.Conv2D
    assert model.output_shape == (None, 10)


@slow_on_tensorflow
def test_blocks_are_dropped_more_and_more():
    model = models.NFNet(**TINY, stochastic_depth_rate=0.3, seed=0)
    rates = [
        1 - layer.survival_probability
        for block in model.layers
        if isinstance(block, layers.ResidualBlock)
        for layer in block.branch
        if isinstance(layer, layers.StochasticDepth)
    ]
    assert rates == pytest.approx([0.3 * i / 6 for i in range(1, 6)])


@slow_on_tensorflow
@pytest.mark.parametrize("stacked", [False, True])
def test_variance_of_the_stream_as_predicted(stacked):
    scheme = schemes.NormalizerFree(initial_gain=1.0)
    model = models.ResidualMLP(
        12, 256, preactivation=True, scheme=scheme, seed=0, stacked=stacked
    )
    if stacked:
        assert theory.predict(model)["blocks"].variance == pytest.approx(1.48, rel=0.01)
        return
    predicted = theory.predict(model)
    found = [predicted[f"block{i + 1}/merge"].variance for i in range(12)]
    np.testing.assert_allclose(found, scheme.predicted_variance(12)[1:], rtol=0.01)


class TestErrors:
    @pytest.mark.parametrize("make", [models.NFResNet, models.NFNet])
    def test_three_stages(self, make):
        with pytest.raises(ValueError, match="one entry for each of the four stages"):
            make(stages=(1, 1, 1), filters=(16, 16, 16))

    def test_groups_that_do_not_divide_the_channels(self):
        with pytest.raises(ValueError, match="multiple of 7. Received: 8"):
            models.NFNet(**{**TINY, "group_size": 7})

    @pytest.mark.parametrize("rate", [1.0, -0.1])
    def test_rates(self, rate):
        with pytest.raises(ValueError, match="stochastic_depth_rate"):
            models.NFNet(**TINY, stochastic_depth_rate=rate)
        with pytest.raises(ValueError, match="drop_rate"):
            models.NFNet(**TINY, drop_rate=rate)

    def test_small_images(self):
        with pytest.raises(ValueError, match="each side at least 32"):
            models.NFNet(**{**TINY, "input_shape": (16, 16, 3)})

    def test_unknown_names(self):
        with pytest.raises(ValueError, match="variant"):
            models.NFNet("F9")
        with pytest.raises(ValueError, match="depth"):
            models.NFResNet(34)
