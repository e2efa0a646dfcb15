"""The networks are timm's: compared with values recorded from them."""

import pathlib

import keras
import numpy as np
import pytest

from fixinit.diagnostics.report import loss_and_gradients
from tests.marks import slow_on_tensorflow
from third_party import timm_nfnet
from third_party.nfnets_haiku.names import named, network_of
from third_party.timm_nfnet import import_state_dict
from third_party.timm_nfnet.importer import _converted, _haiku_names

FOLDER = pathlib.Path(timm_nfnet.__file__).parent
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.fixture(scope="module")
def recorded():
    with np.load(FOLDER / "dm_nfnet_tiny.npz") as file:
        return dict(file)


@pytest.fixture
def state_dict(recorded):
    return with_prefix(recorded, "param/")


@pytest.fixture(scope="module")
def model(recorded):
    return import_state_dict(with_prefix(recorded, "param/"))


def with_prefix(recorded, prefix):
    return {
        name.removeprefix(prefix): value
        for name, value in recorded.items()
        if name.startswith(prefix)
    }


@slow_on_tensorflow
@pytest.mark.every_backend
def test_logits_and_gradients(model, recorded):
    x = recorded["x"].astype("float32")
    logits = model.predict_on_batch(x)
    assert np.max(np.abs(logits - recorded["logits"])) <= 1e-5
    loss, gradients = loss_and_gradients(model, LOSS)(x, recorded["y"])
    assert abs(float(loss) - recorded["loss"]) <= 1e-5
    paths = [variable.path for variable in model.trainable_variables]
    found = dict(zip(paths, map(keras.ops.convert_to_numpy, gradients), strict=True))
    theirs = _haiku_names(with_prefix(recorded, "param/"))
    ours = named(
        network_of(
            {
                theirs[n]: _converted(theirs[n], v)
                for n, v in with_prefix(recorded, "param/").items()
            }
        )
    )
    compared = 0
    for name, value in with_prefix(recorded, "grad/").items():
        haiku = theirs[name]
        # Kernels and gains have other gradients where timm adds an epsilon.
        if haiku.endswith(("/bias", "/b", "skip_gain")):
            error = np.max(np.abs(found[ours[haiku][0]] - _converted(haiku, value)))
            assert error <= 1e-4 * np.max(np.abs(value)), name
            compared += 1
    assert compared > 30


@slow_on_tensorflow
def test_pytorch_tensors(recorded, state_dict, model):
    torch = pytest.importorskip("torch")
    tensors = {n: torch.nn.Parameter(torch.tensor(v)) for n, v in state_dict.items()}
    for ours, theirs in zip(
        import_state_dict(tensors).weights, model.weights, strict=True
    ):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs)
        )


class TestErrors:
    def test_other_networks(self, state_dict):
        state_dict["stages.0.0.attn.fc1.weight"] = np.ones((8, 8, 1, 1), "float32")
        with pytest.raises(ValueError, match=r"Unknown names: .*attn\.fc1"):
            import_state_dict(state_dict)

    def test_missing_names_and_shapes_in_timms_words(self, state_dict):
        del state_dict["head.fc.bias"]
        state_dict["stages.1.0.conv2.weight"] = np.ones((4, 4, 3, 3), "float32")
        with pytest.raises(ValueError) as error:
            import_state_dict(state_dict)
        assert "stages.1.0.conv2.weight: expected shape" in str(error.value)
        assert "linear/b: expected shape [10], received nothing" in str(error.value)

    def test_no_dict(self):
        with pytest.raises(TypeError, match="`state_dict` must be a dict"):
            import_state_dict([])
