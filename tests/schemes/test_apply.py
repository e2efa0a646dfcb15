"""What the applicator makes of the answers of schemes that nobody knows."""

import dataclasses
import random
import re
import warnings

import keras
import numpy as np
import pytest

import fixinit
from fixinit import layers, schemes
from fixinit.schemes._registry import is_own
from fixinit.schemes.apply import Applicator
from fixinit.schemes.independence import compare, compared
from tests.marks import mostly_slow


@dataclasses.dataclass(frozen=True)
class Twice(schemes.Scheme):
    """Layers of one kind at one place, and a name of the author's."""

    name = "twice"

    def before_weight(self, site):
        return [layers.ScalarBias(), layers.ScalarMultiplier(), layers.ScalarBias()]

    def branch_start(self, site):
        return [layers.ScalarBias()]

    def branch_end(self, site):
        return [layers.ScalarBias()]

    def weight_layer(self, site, layer):
        if not isinstance(layer, keras.layers.Dense):
            return layer
        start = layer.kernel_initializer
        return keras.layers.Dense(layer.units, kernel_initializer=start, name="mydense")


@dataclasses.dataclass(frozen=True)
class Drawn(schemes.Scheme):
    """Layers that draw, at a place and in the place of others."""

    end: object
    name = "drawn"

    def branch_end(self, site):
        return self.end()

    def activation(self, site, layer):
        return keras.layers.PReLU(keras.initializers.RandomUniform(0, 1))

    def draw(self, site):
        orthogonal = keras.initializers.Orthogonal()
        return fixinit.initializers.Rescaled(orthogonal, 2.0)


def dense():
    return [
        keras.layers.Dense(8),
        keras.layers.Dropout(0.5),
        keras.Sequential([keras.layers.Dense(8), keras.layers.Dense(8)]),
    ]


def seeded_on_purpose():
    return [keras.layers.Dense(8, kernel_initializer=keras.initializers.HeNormal(7))]


def with_draws_of_their_own():
    def weight(units):
        return keras.layers.SpectralNormalization(keras.layers.Dense(units))

    forward = keras.layers.SimpleRNN(4, return_sequences=True)
    return [
        weight(8),
        keras.layers.Reshape((1, 8)),
        keras.layers.Bidirectional(forward),
        keras.layers.Reshape((8,)),
        layers.Stack(keras.layers.Dense(8), 2),
    ]


def plain():
    x = inputs = keras.Input((8,))
    for _ in range(2):
        branch = keras.layers.Dense(8)(keras.layers.ReLU()(keras.layers.Dense(8)(x)))
        x = keras.layers.Add()([x, branch])
    return keras.Model(inputs, keras.layers.Dense(3)(x))


def stacked(scheme):
    """A converted model with a stack."""
    model = fixinit.models.ResidualMLP(3, 8, input_shape=(8,), stacked=True, seed=1)
    return convert(model, scheme)


def convert(model, scheme):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return fixinit.convert(model, scheme, seed=0)


def mlp(scheme, **options):
    return fixinit.models.ResidualMLP(
        **{"num_blocks": 3, "units": 8, "input_shape": (8,), "seed": 0, **options},
        scheme=scheme,
    )


SLOW = pytest.mark.slow
MAKERS = {
    "mlp": mlp,
    "mlp_of_a_stack": lambda scheme: mlp(scheme, stacked=True),
    "converted": lambda scheme: convert(plain(), scheme),
    "converted_stack": stacked,
}


def values(model):
    """The values of all weights, those of stacked blocks one by one."""
    parts = []
    for layer in model.layers:
        is_stack = isinstance(layer, layers.Stack)
        parts += layer.unstack() if is_stack else [layer]
    return [keras.ops.convert_to_numpy(w) for part in parts for w in part.weights]


def assert_no_draw_is_shared(weights):
    drawn = [w for w in weights if w.size > 8 and len(np.unique(w)) > 1]
    assert len({w.tobytes() for w in drawn}) == len(drawn)


@mostly_slow("make", [*MAKERS.values()], quick=2, ids=[*MAKERS])
def test_layers_of_one_kind_have_names_of_their_own(make):
    names = [layer.name for layer in make(Twice()).layers]
    assert len(names) == len(set(names))
    assert "mydense" not in names


def test_layers_of_one_kind_are_numbered():
    names = [layer.name for layer in mlp(Twice()).layers]
    assert names[1:5] == [
        "stem_weight_scalar_bias",
        "stem_weight_scalar_multiplier",
        "stem_weight_scalar_bias_2",
        "stem",
    ]


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(make, id=name, marks=SLOW if name == "converted_stack" else ())
        for name, make in MAKERS.items()
    ],
)
@mostly_slow("end", [dense, with_draws_of_their_own], quick=1)
def test_the_same_seed_draws_the_same_in_all_layers(make, end):
    first, second = (values(make(Drawn(end))) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert_no_draw_is_shared(first)


@pytest.mark.parametrize("end", [dense, seeded_on_purpose])
def test_a_stack_draws_what_its_blocks_draw(end):
    pairs = (values(mlp(Drawn(end), stacked=stacked)) for stacked in (True, False))
    for a, b in zip(*pairs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("make", [MAKERS["mlp"], MAKERS["converted"]])
def test_seeds_of_an_author_stay(make):
    model = make(Drawn(seeded_on_purpose))
    expected = keras.initializers.HeNormal(7)((8, 8))
    found = [w for w in model.weights if "branch_dense/kernel" in w.path]
    assert len(found) >= 2
    for weight in found:
        np.testing.assert_array_equal(
            *(keras.ops.convert_to_numpy(x) for x in (weight, expected))
        )


def test_networks_without_a_seed_share_no_draw_and_hold_none():
    model = mlp(Drawn(dense), seed=None)
    assert_no_draw_is_shared(values(model))
    end = model.get_layer("block1").branch[-3]
    assert end.kernel_initializer.get_config()["seed"] is None


def test_building_leaves_pythons_generator_as_it_is():
    applicator = Applicator(schemes.Unnormalized(), seed=0)
    state = random.getstate()
    with applicator.building():
        random.random()
    assert random.getstate() == state


@dataclasses.dataclass(frozen=True)
class Undeclared(schemes.Scheme):
    """Answers differ at one branch alone."""

    at: int
    name = "undeclared"

    def start(self, site):
        return schemes.Start(0.5 if site.branch == self.at else 1.0)


@pytest.mark.parametrize("at", [1, 14, 39])
def test_an_undeclared_dependence_on_the_branch_is_refused(at):
    with pytest.raises(ValueError, match="depends_on_branch = True"):
        mlp(Undeclared(at), num_blocks=40, stacked=True)
    model = mlp("unnormalized", num_blocks=40, stacked=True)
    with pytest.raises(ValueError, match="depends_on_branch = True"):
        fixinit.convert(model, Undeclared(at))


def test_the_number_of_compared_blocks_is_bounded():
    assert compared(1) == []
    assert compared(2) == [1]
    assert compared(16) == [*range(1, 16)]
    assert compared(17) == [*range(1, 17)]
    many = compared(10_000)
    assert many[:15] == [*range(1, 16)]
    assert many[-1] == 9_999
    assert len(many) == 15 + 8


@mostly_slow("name", schemes.names(), quick=2)
def test_own_schemes_depend_on_the_branch_only_where_they_say_so(name):
    """Stacks of the library's own schemes do not compare blocks."""
    scheme = schemes.get(name)
    assert is_own(scheme)
    if scheme.depends_on_branch:
        with pytest.raises(ValueError, match="depends_on_branch = True"):
            compare_networks(scheme)
        return
    compare_networks(scheme)


def compare_networks(scheme):
    deep = mlp(scheme, num_blocks=24, stacked=False)
    blocks = [layer for layer in deep.layers if re.fullmatch(r"block\d+", layer.name)]
    assert len(blocks) == 24
    compare(scheme, blocks[0], blocks[1:])

    images = fixinit.models.CifarResNet(
        32, scheme=scheme, input_shape=(8, 8, 3), stacked=False
    )
    for stage in (1, 2, 3):
        pattern = rf"stage{stage}_block\d+"
        equal = [x for x in images.layers if re.fullmatch(pattern, x.name)][1:]
        assert len(equal) == 4
        compare(scheme, equal[0], equal[1:])


def test_a_scheme_made_from_an_own_one_is_compared():
    class Made(schemes.Fixup):
        def start(self, site):
            return schemes.Start(0.5 if site.branch == 2 else 1.0)

    assert not is_own(Made())
    with pytest.raises(ValueError, match="depends_on_branch = True"):
        mlp(Made(), num_blocks=8, stacked=True)
