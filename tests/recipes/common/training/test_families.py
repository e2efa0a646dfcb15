import numpy as np
import pytest

from recipes.common.data.datasets import Dataset
from recipes.common.training import families


def _dataset(shape, name="some"):
    x, y = np.zeros((6, *shape), "float32"), np.zeros(6, "int32")
    return Dataset(name, x, y, x[:2], y[:2], num_classes=3)


SHAPES = {
    "residual_mlp": (7,),
    "resnet1d": (16, 1),
    "cifar_resnet": (8, 8, 3),
    "wide_resnet": (8, 8, 3),
}


@pytest.mark.parametrize("name", families.FAMILIES)
def test_blocks_of_the_built_network_are_those_counted(name):
    family = families.get(name)
    depth = family.step + family.offset
    data = family.adapt(_dataset(SHAPES[name]))
    model = family.build(depth, family.units, data, "fixup", seed=0)
    blocks = [x for x in model.layers if type(x).__name__ == "ResidualBlock"]
    assert len(blocks) == family.num_blocks(depth)
    assert model.output_shape == (None, 3)


@pytest.mark.parametrize("name", families.FAMILIES)
def test_default_depths_exist(name):
    family = families.get(name)
    for depth in family.depths + family.quick_depths:
        assert family.num_blocks(depth) >= 1


@pytest.mark.parametrize(
    "name, depth, nearest",
    [
        ("residual_mlp", 11, "10 and 12"),
        ("residual_mlp", -3, "4 and 6"),
        ("cifar_resnet", 21, "20 and 26"),
        ("wide_resnet", 29, "28 and 34"),
    ],
)
def test_missing_depth_names_the_two_nearest(name, depth, nearest):
    with pytest.raises(ValueError, match=nearest):
        families.get(name).num_blocks(depth)


def test_unknown_family_lists_the_names_and_suggests_one():
    with pytest.raises(ValueError, match="wide_resnet.*Did you mean 'residual_mlp'"):
        families.get("residual_mpl")


def test_mlp_takes_flattened_images():
    data = families.get("residual_mlp").adapt(_dataset((8, 8, 3)))
    assert data.x_train.shape == (6, 192)
    assert data.x_test.shape == (2, 192)


def test_signals_become_sequences_of_one_channel():
    data = families.get("resnet1d").adapt(_dataset((40,)))
    assert data.input_shape == (40, 1)


@pytest.mark.parametrize(
    "name, shape, advice",
    [
        ("resnet1d", (8, 8, 3), "residual_mlp.*cifar_resnet"),
        ("cifar_resnet", (40,), "residual_mlp.*resnet1d"),
    ],
)
def test_data_that_does_not_fit_is_an_error_with_advice(name, shape, advice):
    with pytest.raises(ValueError, match=advice):
        families.get(name).adapt(_dataset(shape))


@pytest.mark.parametrize("name", ["cifar_resnet", "wide_resnet"])
def test_width_that_the_family_lacks_is_an_error(name):
    family = families.get(name)
    data = _dataset(SHAPES[name])
    with pytest.raises(ValueError, match="--units=20"):
        family.build(10 if name == "wide_resnet" else 8, 20, data, "fixup", seed=0)
