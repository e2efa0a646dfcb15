"""The scheme whose activations are made for the network that asks."""

import keras
import numpy as np
import pytest

import fixinit
from fixinit import schemes, theory
from fixinit.layers import PerLocationNormalization, TailoredActivation
from fixinit.models._plan import BlockPlan
from fixinit.models._subnetworks import Subnetworks
from fixinit.schemes import Site, Tailored
from fixinit.theory.tailoring.subnetworks import maximum_of
from tests.conversion.helpers import convert
from tests.marks import slow_on_tensorflow, slow_where_compiled

layers = keras.layers


def chain(length):
    def network(x, local_map):
        for _ in range(length):
            x = local_map(x)
        return x

    return network


def activations(model):
    return [x for x in model.layers if isinstance(x, TailoredActivation)]


def cosines(outputs):
    y = keras.ops.convert_to_numpy(outputs).astype("float64")
    y = y.reshape(len(y), -1)
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    return (y @ y.T)[~np.eye(len(y), dtype=bool)]


def plain(depth, width=96, activation="relu"):
    x = inputs = keras.Input((48,))
    for _ in range(depth):
        x = layers.Dense(width, activation)(x)
    return keras.Model(inputs, layers.Dense(10, name="head")(x))


def before_head(model):
    names = [layer.name for layer in model.layers]
    last = model.get_layer(names[names.index("head") - 1])
    return keras.Model(model.inputs, last.output)


@slow_on_tensorflow
@pytest.mark.parametrize("preactivation", [True, False])
@pytest.mark.parametrize("shortcut", ["A", "B", "C"])
@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_plans_say_what_is_read_off_the_model(preactivation, shortcut, plain, block):
    options = {"preactivation": preactivation, "shortcut": shortcut, "plain": plain}
    seen = []

    class Spy(Tailored):
        def prepared(self, network):
            seen.append(network)
            return super().prepared(network)

    model = fixinit.models.ResNet(
        (2, 1, 2), (4, 8, 8), block, Spy(), stacked=False, **options
    )
    found = maximum_of(model)
    for x, local_map in ((1.0, lambda c: 2 * c), (0.0, lambda c: c + 1)):
        assert seen[0](x, local_map) == pytest.approx(found(x, local_map), rel=1e-12)


@pytest.mark.parametrize("family", ["NFResNet", "NFNet"])
def test_plans_of_other_families_do_too(family):
    options = {} if family == "NFResNet" else {"group_size": 8}
    seen = []

    class Spy(Tailored):
        def prepared(self, network):
            seen.append(network)
            return super().prepared(network)

    model = getattr(fixinit.models, family)(
        scheme=Spy(),
        stages=(1, 2, 1, 1),
        filters=(16, 32, 32, 32),
        input_shape=(32, 32, 3),
        **options,
    )
    expected = maximum_of(model)(0.0, lambda c: c + 1)
    assert seen[0](0.0, lambda c: c + 1) == pytest.approx(expected)


def test_networks_prepare_a_scheme_once():
    plan = BlockPlan("block", (8, 8), (1, 1), (1, 1))
    network = Subnetworks(Tailored(), [plan] * 50, 8, True, "B", True)
    prepared = Tailored().prepared(network)
    expected = theory.tailored("relu", "tat", chain(101)).negative_slope
    assert prepared.negative_slope == pytest.approx(expected, rel=1e-9)
    # What is given stays.
    given = Tailored(negative_slope=0.25).prepared(network)
    assert given.negative_slope == 0.25
    assert schemes.get(schemes.serialize(prepared)) == prepared


def test_refuses_to_make_activations_for_no_network():
    with pytest.raises(ValueError, match=r"Call `prepared\(network\)` first"):
        Tailored().activation(Site(0, 1), layers.ReLU())


def test_shallow_networks_keep_their_relus():
    scheme = Tailored().prepared(chain(3))
    layer = scheme.activation(Site(0, 1), layers.ReLU())
    assert layer.negative_slope == 0.0
    # softplus cannot have C'(1) = 1.5 at one activation: as much as it can.
    scheme = Tailored("dks").prepared(chain(1))
    layer = scheme.activation(Site(0, 1), layers.Activation("softplus"))
    expected = theory.tailored("softplus", "dks", chain(1), target=1.25)
    assert layer.output_scale == pytest.approx(expected.output_scale)


@pytest.mark.parametrize(
    ("layer", "stays"),
    [
        (layers.Activation("linear"), True),
        (layers.Activation("softmax"), True),
        (layers.Activation("relu6"), False),
        (layers.ReLU(6.0), False),
        (layers.LeakyReLU(0.3), False),
    ],
)
def test_what_an_activation_becomes(layer, stays):
    scheme = Tailored().prepared(chain(50))
    new = scheme.activation(Site(0, 1), layer)
    if stays:
        assert new is layer
    else:
        assert new.negative_slope == scheme.negative_slope


@slow_on_tensorflow
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh", "relu6"])
@pytest.mark.parametrize("other", ["fixup", "normalizer_free", "tailored"])
def test_converted_to_another_scheme_it_has_plain_activations(activation, other):
    first = convert(plain(4, 16, activation), "tailored")
    assert len(activations(first)) == 4
    again = convert(first, other)
    kinds = {
        "fixup": layers.Activation,
        "normalizer_free": fixinit.layers.ScaledActivation,
        "tailored": TailoredActivation,
    }
    found = [x for x in again.layers if type(x) is kinds[other]]
    assert len(found) == 4
    expected = "relu" if activation == "relu6" else activation
    assert {x.activation.__name__ for x in found} == {expected}


def test_activations_with_kinks_are_refused_under_tat():
    scheme = Tailored().prepared(chain(50))
    with pytest.raises(ValueError, match="name=elu.*whose slope jumps"):
        scheme.activation(Site(0, 1), layers.ELU(0.5))


@pytest.mark.parametrize("method", ["tat", "dks"])
@pytest.mark.parametrize("name", ["silu", "sigmoid", "tanh"])
def test_piecewise_linear_approximations_become_what_they_stand_for(name, method):
    scheme = Tailored(method).prepared(chain(50))
    new = scheme.activation(Site(0, 1), layers.Activation(f"hard_{name}"))
    assert new.activation is getattr(keras.activations, name)


@slow_where_compiled
@pytest.mark.every_backend
@pytest.mark.parametrize(
    ("method", "most"), [("tat", 0.93), ("dks", 0.2)], ids=["tat", "dks"]
)
def test_forty_plain_layers_keep_inputs_apart(method, most):
    keras.utils.set_random_seed(0)
    model = plain(40)
    x = np.random.default_rng(0).standard_normal((16, 48)).astype("float32")
    # In the limit of wide layers 0.98; draws of 96 units differ.
    assert cosines(before_head(model)(x)).mean() > 0.95
    free = convert(model, Tailored(method))
    found = cosines(before_head(free)(x)).mean()
    # The promise is 0.9 for cosines of 0; the width of 96 adds the rest.
    assert found < most
    assert len(activations(free)) == 40


@slow_on_tensorflow
def test_converted_network_is_known_by_its_record(tmp_path):
    free = convert(plain(12, activation="tanh"), "tailored")
    config = free.conversion["scheme"]["config"]
    expected = theory.tailored("tanh", "tat", chain(12))
    assert config["local"] == pytest.approx(0.3 / 12)
    found = activations(free)[3]
    assert found.output_scale == pytest.approx(expected.output_scale)
    free.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    x = np.random.default_rng(0).standard_normal((4, 48)).astype("float32")
    np.testing.assert_array_equal(loaded.predict(x), free.predict(x))


@slow_on_tensorflow
def test_a_converted_network_is_made_again_for_itself():
    once = convert(plain(30), "tailored")
    twice = convert(once, "tailored")
    slopes = [
        {layer.negative_slope for layer in activations(model)}
        for model in (once, twice)
    ]
    assert slopes[0] == slopes[1] and len(slopes[0]) == 1


@pytest.mark.parametrize("weights", [0.3, 0.9])
def test_sums_of_the_converted_network_count(weights):
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(16, 3, padding="same")(x)
    for _ in range(6):
        y = layers.ReLU()(layers.BatchNormalization()(x))
        y = layers.Conv2D(16, 3, padding="same")(y)
        x = layers.add([x, layers.Conv2D(16, 3, padding="same")(layers.ReLU()(y))])
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(layers.ReLU()(x)))
    scheme = Tailored(shortcut_weight=weights)
    free = convert(model, scheme)

    def network(x, local_map):
        c = x
        for _ in range(6):
            branch = local_map(local_map(c))
            c = weights**2 * c + (1 - weights**2) * branch
        return max(local_map(c), local_map(local_map(x)))

    expected = scheme.prepared(network)
    assert free.conversion["scheme"]["config"]["negative_slope"] == pytest.approx(
        expected.negative_slope, abs=1e-9
    )
    merges = [x for x in free.layers if isinstance(x, fixinit.layers.ScaledAdd)]
    assert [merge.shortcut_scale for merge in merges] == [weights] * 6


@slow_on_tensorflow
def test_mean_squares_stay_where_branches_are_tailored():
    model = fixinit.models.ResidualMLP(
        30, 32, scheme="batch_norm", activation="tanh", stacked=False
    )
    free = convert(model, "tailored")
    predicted = theory.predict(free)
    found = [x.mean_square for x in predicted if x.name.endswith("/merge")]
    np.testing.assert_allclose(found, 1, rtol=0.02)


def test_data_is_normalized_behind_the_input():
    x = inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same")(layers.ZeroPadding2D(1)(x))
    model = keras.Model(inputs, layers.Conv2D(8, 3)(layers.ReLU()(x)))
    free = convert(model, "tailored")
    assert isinstance(free.layers[1], PerLocationNormalization)
    free = convert(model, Tailored(normalize_data=False))
    assert not any(isinstance(x, PerLocationNormalization) for x in free.layers)


@pytest.mark.parametrize(
    "stem",
    [
        lambda: layers.DepthwiseConv2D(3),
        lambda: layers.Conv2D(8, 3, groups=4),
        lambda: layers.Conv2DTranspose(8, 3),
        lambda: layers.SeparableConv2D(8, 3),
    ],
    ids=["depthwise", "grouped", "transposed", "separable"],
)
def test_kernels_that_are_no_matrix(stem):
    x = inputs = keras.Input((8, 8, 8))
    x = layers.ReLU()(stem()(x))
    free = convert(keras.Model(inputs, layers.Conv2D(8, 1)(x)), "tailored")
    appended = isinstance(free.layers[1], PerLocationNormalization)
    keeps_channels = isinstance(free.layers[1 + appended], layers.DepthwiseConv2D)
    grouped = getattr(free.layers[1 + appended], "groups", 1) > 1
    assert appended != (keeps_channels or grouped)
    predicted = theory.predict(free)
    (row,) = [x for x in predicted if "re_lu" in x.name]
    assert row.mean_square == pytest.approx(1, rel=0.05)


def test_attention_is_drawn_by_its_own_fans():
    inputs = keras.Input((6, 16))
    y = layers.LayerNormalization()(inputs)
    x = layers.add([inputs, layers.MultiHeadAttention(2, 8)(y, y)])
    x = layers.add([x, layers.EinsumDense("abc,cde->abde", (6, 4, 4))(x)[:, :, 0, :1]])
    convert(keras.Model(inputs, x), "tailored")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"method": "relu"}, "`method` must be one of"),
        ({"shortcut_weight": 1.0}, "`shortcut_weight` must be a number between"),
        ({"max_correlation": 0.0}, "`max_correlation` must be a number between"),
        ({"max_curvature": 0.0}, "`max_curvature` must be a positive number"),
        ({"max_slope": 1.0}, "`max_slope` must be a number above 1"),
    ],
)
def test_refuses_arguments_out_of_range(arguments, says):
    with pytest.raises(ValueError, match=says):
        Tailored(**arguments)
