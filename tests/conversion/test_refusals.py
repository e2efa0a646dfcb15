import random

import keras
import pytest
from keras import layers, ops

import fixinit
from fixinit.conversion import explain
from tests.marks import on_torch


def model_of(*parts, shape=(8,)):
    x = inputs = keras.Input(shape)
    for part in parts:
        x = part(x)
    y = layers.Dense(8)(layers.ReLU()(layers.Dense(8)(x)))
    return keras.Model(inputs, layers.add([x, y]), name="net")


class Hiding(layers.Layer):
    """A layer that normalizes inside."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = layers.BatchNormalization(name="inside")

    def call(self, x):
        return self.norm(x)


class Hidden(Hiding):
    """A layer that computes with the numbers themselves."""

    def call(self, x):
        return self.norm(x) * float(ops.convert_to_numpy(ops.max(x)) > -1e9)

    def compute_output_shape(self, shape):
        return shape


class Conditioned(layers.LayerNormalization):
    """A normalization that does more than that."""

    def call(self, x):
        return 1 + super().call(x)


class Subclassed(keras.Model):
    def call(self, x):
        return x


class Mixing(layers.Layer):
    """A layer with a kernel that the converter knows nothing of."""

    def build(self, shape):
        self.matrix = self.add_weight(name="matrix", shape=(shape[-1], shape[-1]))

    def call(self, x):
        return x @ self.matrix


def test_models_without_a_graph():
    with pytest.raises(ValueError, match="`own` of class Subclassed is not built"):
        fixinit.convert(Subclassed(name="own"))
    with pytest.raises(ValueError, match="not built"):
        fixinit.convert(keras.Sequential([layers.Dense(2)]))


@on_torch
def test_kernels_of_several_parts_and_of_integers():
    dense = layers.Dense(8, name="lora", lora_rank=2)
    model = model_of(dense)
    with pytest.raises(ValueError, match="`lora` has LoRA"):
        fixinit.convert(model)
    quantized = layers.Dense(8, name="small")
    model = model_of(quantized)
    quantized.quantize("int8")
    with pytest.raises(ValueError, match="`small` is quantized"):
        fixinit.convert(model)


def test_normalization_out_of_reach():
    model = model_of(Hidden(name="block"))
    with pytest.raises(ValueError, match="`block`.*'inside'.*keep"):
        fixinit.convert(model)
    kept = fixinit.convert(model, keep=("block",))
    assert isinstance(kept.get_layer("block"), Hidden)


def test_normalization_inside_of_a_layer_of_ones_own():
    model = model_of(Hiding(name="block"))
    free = fixinit.convert(model)
    assert free.conversion["removed"] == {"BatchNormalization": ["block_inside"]}
    kept = fixinit.convert(model, keep=("block",))
    assert isinstance(kept.get_layer("block"), Hiding)


def test_normalization_by_operations():
    model = model_of(lambda x: x / ops.sqrt(ops.moments(x, axes=[0])[1] + 1))
    with pytest.raises(ValueError, match="keras.ops"):
        fixinit.convert(model)


@pytest.mark.parametrize(
    "keep", [("LayerNormalization",), "norm", layers.LayerNormalization]
)
def test_keeps_what_it_is_told_to(keep):
    norm = layers.LayerNormalization(name="norm")
    model = model_of(layers.Dense(8), norm, layers.BatchNormalization())
    free = fixinit.convert(model, keep=keep)
    assert "norm" in [layer.name for layer in free.layers]
    assert not [x for x in free.layers if isinstance(x, layers.BatchNormalization)]


def test_unknown_names_and_choices():
    model = model_of(layers.Dense(8, name="dense_a"))
    with pytest.raises(ValueError, match="keep.*'dense_a'"):
        fixinit.convert(model, keep=("dense_aa",))
    with pytest.raises(ValueError, match="weights.*'fold'"):
        fixinit.convert(model, weights="folded")
    with pytest.raises(ValueError, match="fixup"):
        fixinit.convert(model, "fixupp")


def test_layers_of_unknown_kind_are_named():
    with pytest.warns(UserWarning, match="kind.*mixing"):
        free = fixinit.convert(model_of(Mixing(name="mixing")))
    assert isinstance(free.get_layer("mixing"), Mixing)


def test_additions_without_a_shortcut_are_named():
    def join(x):
        return layers.Add(name="join")([layers.Dense(8)(x), layers.Dense(8)(x)])

    with pytest.warns(UserWarning, match="Additions.*join"):
        fixinit.convert(model_of(join))


def test_models_without_residual_branches_are_named():
    inputs = keras.Input((8,))
    model = keras.Model(inputs, layers.Dense(2)(layers.Dense(8, "relu")(inputs)))
    with pytest.warns(UserWarning, match="no residual"):
        fixinit.convert(model)


def test_normalized_outputs_are_named():
    model = keras.Sequential(
        [model_of(layers.Dense(8)), layers.UnitNormalization(name="unit")]
    )
    model.build((None, 8))
    with pytest.warns(UserWarning, match="outputs.*unit"):
        fixinit.convert(model)


def test_explains_before_anything_is_done(capsys):
    model = model_of(layers.Dense(8, name="stem"), layers.BatchNormalization(name="bn"))
    record = explain(model, "fixup")
    text = capsys.readouterr().out
    assert text.strip() == str(record).strip()
    for part in ("net: 1 residual blocks", "bn", "stem", "kernel", "Fixup"):
        assert part in text
    assert record.to_dict() == fixinit.convert(model, "fixup").conversion


def test_explains_what_cannot_be_predicted():
    inputs = keras.Input((None, 8))
    x = layers.add([inputs, layers.Dense(8)(layers.ReLU()(layers.Dense(8)(inputs)))])
    model = keras.Model(inputs, layers.Dense(2)(layers.Reshape((2, 12))(x)))
    record = explain(model, "rezero")
    assert any("cannot be predicted" in text for text in record.assumptions)
    done = fixinit.convert(model, "rezero").conversion
    # Nor is there a pass through a model whose sizes do not fit.
    *foreseen, compared = done["assumptions"]
    assert "could not be compared" in compared
    assert record.to_dict() == {**done, "assumptions": foreseen}


def test_explaining_builds_and_changes_nothing(monkeypatch):
    model = model_of(layers.BatchNormalization(), layers.Dropout(0.1))

    def refuse(*args, **kwargs):
        raise AssertionError("A layer was built.")

    state = random.getstate()
    following = [layers.ReLU().name for _ in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr(keras.layers.Layer, "add_weight", refuse)
        explain(model, "fixup")
    assert random.getstate() == state
    number = int(following[-1].rpartition("_")[2])
    assert layers.ReLU().name == f"re_lu_{number + 1}"


def test_explanations_fit_a_terminal():
    x = inputs = keras.Input((8,))
    names = [f"a_long_name_of_a_weight_layer_{i}" for i in range(6)]
    for name in names:
        x = layers.Dense(8, name=name)(layers.BatchNormalization()(x))
    model = keras.Model(inputs, layers.add([inputs, x]))
    text = str(explain(model, "rezero"))
    assert max(map(len, text.splitlines())) <= 80
    for name in names[:4]:
        assert name in text


@pytest.mark.parametrize(
    ("part", "name"),
    [
        (lambda: Conditioned(name="own"), "own"),
        (
            lambda: layers.TimeDistributed(
                layers.SpectralNormalization(layers.Dense(8), name="spectral"),
                name="wrapper",
            ),
            "spectral",
        ),
    ],
)
@pytest.mark.parametrize("weights", ["initialize", "fold"])
def test_normalization_in_a_way_of_its_own(part, name, weights):
    model = model_of(part(), shape=(3, 8))
    with pytest.raises(ValueError, match=rf"normalizes in a way of its own.*{name}"):
        fixinit.convert(model, weights=weights)
    kept = fixinit.convert(model, keep=[model.layers[1].name])
    assert type(kept.layers[1]) is type(model.layers[1])


def test_a_layer_is_no_model():
    with pytest.raises(TypeError, match="Make a model of the layer: `inputs"):
        fixinit.convert(Hiding(name="block"))


def test_what_is_kept_is_a_tuple():
    with pytest.raises(TypeError, match=r"keep=\(\)"):
        fixinit.convert(model_of(), keep=None)


def test_variables_of_no_layer():
    """The converted model would share them with the one that it was made of."""
    table = keras.Variable(ops.ones((8, 8)), name="table")
    inputs = keras.Input((8,))
    x = ops.matmul(inputs, table)
    model = keras.Model(inputs, x + layers.Dense(8)(layers.ReLU()(x)))
    with pytest.raises(ValueError, match=r"reads the variable `table`"):
        fixinit.convert(model)
