"""The networks are the authors' own: compared with values recorded from them."""

import os
import pathlib
import pickle

import keras
import numpy as np
import pytest

from fixinit.diagnostics.report import loss_and_gradients
from fixinit.layers import ScalarMultiplier
from tests.marks import slow_on_tensorflow
from third_party import nfnets_haiku
from third_party.nfnets_haiku import import_parameters
from third_party.nfnets_haiku.names import named, network_of

FOLDER = pathlib.Path(nfnets_haiku.__file__).parent
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
BLOCKS = {"nf_resnet_tiny": 5, "nfnet_tiny": 6}


@pytest.fixture(scope="module", params=BLOCKS)
def recorded(request):
    with np.load(FOLDER / f"{request.param}.npz") as file:
        return {"name": request.param, **file}


@pytest.fixture(scope="module")
def model(recorded):
    return import_parameters(with_prefix(recorded, "param/"))


def with_prefix(recorded, prefix):
    return {
        name.removeprefix(prefix): value
        for name, value in recorded.items()
        if name.startswith(prefix)
    }


@pytest.mark.every_backend
class TestAgainstRecordedValues:
    @slow_on_tensorflow
    def test_logits(self, model, recorded):
        logits = model.predict_on_batch(recorded["x"])
        assert np.max(np.abs(logits - recorded["logits"])) <= 1e-5

    @slow_on_tensorflow
    def test_loss_and_gradients(self, model, recorded):
        loss, gradients = loss_and_gradients(model, LOSS)(recorded["x"], recorded["y"])
        assert abs(float(loss) - recorded["loss"]) <= 1e-5
        paths = [variable.path for variable in model.trainable_variables]
        arrays = map(keras.ops.convert_to_numpy, gradients)
        found = dict(zip(paths, arrays, strict=True))
        ours = named(network_of(with_prefix(recorded, "param/")))
        expected = with_prefix(recorded, "grad/")
        errors = {
            name: np.max(np.abs(found[ours[name][0]] - value)) / np.max(np.abs(value))
            for name, value in expected.items()
        }
        assert len(errors) > 40
        assert {name: e for name, e in errors.items() if not e <= 1e-4} == {}

    def test_signals_after_every_block(self, model, recorded):
        blocks = [layer for layer in model.layers if "_block" in layer.name]
        assert len(blocks) == BLOCKS[recorded["name"]]
        values = keras.Model(
            model.inputs, [blocks[0].input, *(block.output for block in blocks)]
        )(recorded["x"])
        for index, value in enumerate(map(keras.ops.convert_to_numpy, values)):
            square = np.mean(np.mean(value, (0, 1, 2)) ** 2)
            variance = np.mean(np.var(value, (0, 1, 2)))
            for name, found in (("avg_sq_mean", square), ("avg_var", variance)):
                assert found == pytest.approx(
                    float(recorded[f"metric/{name}_{index}"]), rel=1e-4
                )

    @slow_on_tensorflow
    def test_variance_of_every_branch(self, model, recorded):
        blocks = [layer for layer in model.layers if "_block" in layer.name]
        for index, block in enumerate(blocks):
            x = keras.Model(model.inputs, block.input)(recorded["x"])
            for layer in block.branch:
                if isinstance(layer, ScalarMultiplier):
                    break
                x = layer(x)
            variance = np.mean(np.var(keras.ops.convert_to_numpy(x), (0, 1, 2)))
            expected = float(recorded[f"metric/res_avg_var_{index}"])
            assert variance == pytest.approx(expected, rel=1e-4)


@slow_on_tensorflow
def test_start_has_the_authors_deviations():
    """Of the kernels that they draw; with n entries, by 1 / sqrt(2 n)."""
    with np.load(FOLDER / "nfnet_tiny.npz") as file:
        recorded = dict(file)
    network = network_of(with_prefix(recorded, "param/"))
    from third_party.nfnets_haiku.importer import _built

    keras.utils.set_random_seed(0)
    variables = {v.path: v for v in _built(network, None, None).weights}
    ours, deviations = named(network), with_prefix(recorded, "init_std/")
    assert len(deviations) > 20
    for name, deviation in deviations.items():
        value = keras.ops.convert_to_numpy(variables[ours[name][0]])
        error = 6 * float(deviation) * (2 / value.size) ** 0.5
        assert abs(np.std(value) - deviation) <= error, name


class TestFiles:
    @slow_on_tensorflow
    def test_npz_nested_and_pickled(self, recorded, model, tmp_path):
        flat = with_prefix(recorded, "param/")
        np.savez(tmp_path / "flat.npz", **flat)
        nested: dict = {}
        for name, value in flat.items():
            module, _, key = name.rpartition("/")
            nested.setdefault(module, {})[key] = value
        with open(tmp_path / "pickled.npz", "wb") as file:
            pickle.dump(nested, file)
        for parameters in (
            tmp_path / "flat.npz",
            str(tmp_path / "pickled.npz"),
            nested,
        ):
            found = import_parameters(parameters)
            for ours, theirs in zip(found.weights, model.weights, strict=True):
                np.testing.assert_array_equal(
                    keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs)
                )

    def test_pickle_of_haikus_own_dict(self, tmp_path):
        # The opcodes of `haiku._src.data_structures.FlatMapping({"a": 1})`.
        opcodes = b"chaiku._src.data_structures\nFlatMapping\n(}S'a'\nI1\nstR."
        path = tmp_path / "flat_mapping.npz"
        path.write_bytes(opcodes)
        from third_party.nfnets_haiku.files import read_file

        assert read_file(path) == {"a": 1}

    def test_nothing_of_a_pickle_is_run(self, tmp_path):
        class Evil:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "made"),)

        path = tmp_path / "evil.npz"
        path.write_bytes(pickle.dumps({"NFNet/~/linear": Evil()}))
        with pytest.raises(ValueError, match="Nothing of it was run"):
            import_parameters(path)
        assert not (tmp_path / "made").exists()

    def test_other_files(self, tmp_path):
        path = tmp_path / "text.npz"
        path.write_text("no parameters")
        with pytest.raises(ValueError, match="no .npz and no pickled dict"):
            import_parameters(path)
        with pytest.raises(OSError):
            import_parameters(tmp_path / "missing.npz")


class TestErrors:
    def test_lists_every_problem_at_once(self, recorded):
        parameters = with_prefix(recorded, "param/")
        family = next(iter(parameters)).partition("/")[0]
        del parameters[f"{family}/~/linear/b"]
        parameters["other/w"] = np.ones((2, 3), "float32")
        classes = parameters[f"{family}/~/linear/w"].shape[1]
        with pytest.raises(ValueError) as error:
            import_parameters(parameters)
        message = str(error.value)
        assert f"linear/b: expected shape [{classes}], received nothing" in message
        assert "other/w: expected no such name, received shape [2, 3]" in message

    def test_another_family(self):
        with pytest.raises(ValueError, match="no module is named NF_ResNet or NFNet"):
            import_parameters({"NF_RegNet/~/conv": {"w": np.ones(1, "float32")}})

    def test_gaps_and_stages(self, recorded):
        parameters = with_prefix(recorded, "param/")
        gap = {k: v for k, v in parameters.items() if "block_1/" not in k}
        with pytest.raises(ValueError, match="expected blocks numbered"):
            import_parameters(gap)
        joined = {k: v for k, v in parameters.items() if "_3/~/conv_shortcut" not in k}
        with pytest.raises(ValueError, match="expected four stages"):
            import_parameters(joined)

    def test_no_dict(self):
        with pytest.raises(TypeError, match="`parameters` must be a dict"):
            import_parameters(3)
