"""The network is the Fixup authors' own: compared with values recorded from it."""

import pathlib

import keras
import numpy as np
import pytest

from fixinit.diagnostics import block_statistics
from fixinit.diagnostics.report import loss_and_gradients
from fixinit.models import ResNet
from tests.marks import slow_on_tensorflow
from third_party import fixup_pytorch
from third_party.fixup_pytorch import export_state_dict, import_state_dict

RECORDED = pathlib.Path(fixup_pytorch.__file__).parent / "fixup_cifar_stages_2_2_1.npz"
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.fixture(scope="module")
def recorded():
    with np.load(RECORDED) as file:
        return dict(file)


@pytest.fixture(scope="module")
def model(recorded):
    return import_state_dict(with_prefix(recorded, "param/"))


@pytest.fixture
def state_dict(recorded):
    return with_prefix(recorded, "param/")


def with_prefix(recorded, prefix):
    return {
        name.removeprefix(prefix): value
        for name, value in recorded.items()
        if name.startswith(prefix)
    }


def relative_error(actual, expected):
    """The largest error of a tensor, relative to its largest entry."""
    error, scale = np.max(np.abs(actual - expected)), np.max(np.abs(expected))
    # Nothing but zero is near a tensor of zeros.
    return error / scale if scale > 0 else (0.0 if error == 0 else np.inf)


class TestAgainstRecordedValues:
    def test_logits(self, model, recorded):
        logits = model.predict_on_batch(recorded["x"])
        assert np.max(np.abs(logits - recorded["logits"])) <= 1e-5

    @slow_on_tensorflow
    def test_loss_and_every_gradient(self, model, recorded):
        loss, gradients = loss_and_gradients(model, LOSS)(recorded["x"], recorded["y"])
        assert abs(float(loss) - recorded["loss"]) <= 1e-5
        # A model that holds the gradients puts them in PyTorch's names and layouts.
        holder = ResNet(stages=(2, 2, 1))
        for variable, gradient in zip(
            holder.trainable_variables, gradients, strict=True
        ):
            variable.assign(gradient)
        actual, expected = export_state_dict(holder), with_prefix(recorded, "grad/")
        assert actual.keys() == expected.keys()
        errors = {n: relative_error(actual[n], expected[n]) for n in expected}
        assert {n: e for n, e in errors.items() if not e <= 1e-4} == {}

    def test_mean_square_after_every_block(self, model, recorded):
        expected = [recorded[f"block_mean_square/{block}"] for block in range(5)]
        statistics = block_statistics(model, recorded["x"])
        np.testing.assert_allclose(statistics.mean_square[1:], expected, rtol=1e-5)


class TestReadingTheNames:
    def test_stages_classes_and_input_channels(self):
        network = ResNet(stages=(1, 3, 2), input_shape=(32, 32, 1), classes=7, seed=1)
        model = import_state_dict(export_state_dict(network), image_size=(16, 24))
        assert model.input_shape == (None, 16, 24, 1)
        assert model.output_shape == (None, 7)
        blocks = [layer.name for layer in model.layers if "block" in layer.name]
        assert blocks == [
            "stage1_block1",
            *(f"stage2_block{index}" for index in (1, 2, 3)),
            *(f"stage3_block{index}" for index in (1, 2)),
        ]

    def test_round_trip_keeps_every_value(self, model, state_dict):
        exported = export_state_dict(model)
        assert exported.keys() == state_dict.keys()
        for name, value in state_dict.items():
            np.testing.assert_array_equal(exported[name], value)

    def test_names_of_data_parallel(self, model, state_dict):
        prefixed = {f"module.{name}": x for name, x in state_dict.items()}
        assert_same_weights(import_state_dict(prefixed), model)

    @slow_on_tensorflow
    def test_pytorch_tensors(self, model, state_dict):
        torch = pytest.importorskip("torch")
        tensors = {
            # As in a live module's `state_dict(keep_vars=True)`.
            name: torch.nn.Parameter(torch.from_numpy(value))
            for name, value in state_dict.items()
        }
        assert_same_weights(import_state_dict(tensors), model)

    def test_one_class(self):
        network = ResNet(stages=(1, 1, 1), classes=1, seed=1)
        assert_same_weights(import_state_dict(export_state_dict(network)), network)


@slow_on_tensorflow
def test_saved_and_loaded_it_is_the_same(model, recorded, tmp_path):
    model.save(tmp_path / "imported.keras")
    loaded = keras.models.load_model(tmp_path / "imported.keras")
    np.testing.assert_array_equal(
        loaded.predict_on_batch(recorded["x"]), model.predict_on_batch(recorded["x"])
    )
    assert export_state_dict(loaded).keys() == export_state_dict(model).keys()


class TestErrors:
    def test_lists_every_problem_at_once(self, state_dict):
        del state_dict["bias1"], state_dict["layer1.1.scale"]
        state_dict["layer2.0.bn1.weight"] = np.ones(32, "float32")
        state_dict["layer2.1.conv1.weight"] = np.ones((3, 3, 32, 32), "float32")
        state_dict["layer3.0.bias1a"] = np.ones((), "float32")
        state_dict["fc.bias"] = np.zeros(10, "int64")
        assert problems(state_dict) == [
            "fc.bias: expected float16, float32 or float64, received dtype int64",
            "bias1: expected shape [1], received nothing",
            "layer1.1.scale: expected shape [1], received nothing",
            "layer2.1.conv1.weight: expected shape [32, 32, 3, 3], "
            "received [3, 3, 32, 32]",
            "layer3.0.bias1a: expected shape [1], received []",
            "layer2.0.bn1.weight: expected no such name, received shape [32]",
        ]

    def test_gap_in_the_numbering(self, state_dict):
        renamed = {
            n.replace("layer2.1.", "layer2.3."): x for n, x in state_dict.items()
        }
        assert problems(renamed) == [
            "layer2: expected blocks numbered 0, 1, 2, ..., received [0, 3]"
        ]

    def test_numbering_that_does_not_start_at_zero(self, state_dict):
        renamed = {n.replace("layer3.0.", "layer3.1.") for n in state_dict}
        found = problems(dict.fromkeys(renamed, np.ones(1, "float32")))
        message = "layer3: expected blocks numbered 0, 1, 2, ..., received [1]"
        assert message in found

    def test_stage_without_blocks(self, state_dict):
        kept = {n: x for n, x in state_dict.items() if not n.startswith("layer3.")}
        assert problems(kept) == [
            "layer3: expected blocks numbered 0, 1, 2, ..., received []"
        ]

    def test_padded_block_number(self, state_dict):
        state_dict["layer1.01.scale"] = state_dict["layer1.1.scale"]
        assert problems(state_dict) == [
            "layer1.01.scale: expected no such name, received shape [1]"
        ]

    def test_prefix_on_some_names_only(self, state_dict):
        state_dict["module.fc.bias"] = state_dict.pop("fc.bias")
        assert problems(state_dict) == [
            "fc.bias: expected shape [10], received nothing",
            "module.fc.bias: expected no such name, received shape [10]",
        ]

    def test_classes_that_disagree(self, state_dict):
        state_dict["fc.bias"] = np.zeros(9, "float32")
        assert problems(state_dict) == ["fc.bias: expected shape [10], received [9]"]

    def test_unknown_lengths(self, state_dict):
        del state_dict["fc.weight"]
        state_dict["conv1.weight"] = np.ones((16, 0, 3, 3), "float32")
        assert problems(state_dict) == [
            "conv1.weight: expected shape [16, any, 3, 3], received [16, 0, 3, 3]",
            "fc.weight: expected shape [any, 64], received nothing",
        ]

    def test_other_widths(self, state_dict):
        state_dict["fc.weight"] = np.ones((10, 128), "float32")
        assert problems(state_dict) == [
            "fc.weight: expected shape [10, 64], received [10, 128]"
        ]

    def test_tensors_that_numpy_cannot_hold(self, state_dict):
        torch = pytest.importorskip("torch")
        state_dict["fc.weight"] = torch.ones((10, 64), dtype=torch.bfloat16)
        (problem,) = problems(state_dict)
        assert (
            problem.startswith("fc.weight: expected float16") and "BFloat16" in problem
        )

    def test_whole_checkpoint_instead_of_its_state_dict(self, state_dict):
        found = problems({"net": state_dict, "acc": 93.0, "epoch": 199})
        assert any(problem.startswith("net: expected float16") for problem in found)
        assert "epoch: expected no such name, received shape []" in found

    def test_imagenet_model(self, state_dict):
        state_dict["layer4.0.bias1a"] = np.zeros(1, "float32")
        state_dict["layer3.0.conv3.weight"] = np.zeros((256, 64, 1, 1), "float32")
        assert problems(state_dict) == [
            "layer4.0.bias1a: expected no such name, received shape [1]",
            "layer3.0.conv3.weight: expected no such name, "
            "received shape [256, 64, 1, 1]",
        ]

    def test_empty(self):
        assert len(problems({})) == 3 + 5

    def test_not_a_dict(self):
        with pytest.raises(TypeError, match="`state_dict` must be a dict.* list"):
            import_state_dict([1, 2])

    @pytest.mark.parametrize(
        "arguments",
        [
            {"scheme": "batch_norm"},
            {"shortcut": "B"},
            {"filters": (8, 32, 64)},
            {"kernel_size": 5},
        ],
        ids=lambda arguments: next(iter(arguments)),
    )
    def test_exporting_another_network(self, arguments):
        network = ResNet(**{"stages": (1, 1, 1), **arguments})
        with pytest.raises(ValueError, match="must be a Fixup network.*\n- "):
            export_state_dict(network)


def problems(state_dict):
    """The lines of the error that the state dict gets."""
    with pytest.raises(ValueError, match="`state_dict` is not one of") as error:
        import_state_dict(state_dict)
    first, *lines = str(error.value).split("\n- ")
    return lines


def assert_same_weights(model, other):
    for actual, expected in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(actual, expected)
