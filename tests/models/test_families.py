"""Shapes, sizes and refusals of the families."""

import dataclasses
import itertools

import keras
import numpy as np
import pytest

from fixinit import layers, models, schemes
from tests.marks import mostly_on_torch, mostly_slow, slow_on_tensorflow


def blocks(model):
    return [x for x in model.layers if isinstance(x, layers.ResidualBlock)]


def weight_layers(model):
    """Kernels on the longest path: projections run beside it."""
    return sum(
        v.name == "kernel" and "/shortcut/" not in v.path
        for v in model.trainable_variables
    )


@pytest.mark.parametrize("depth", [20, 32])
def test_cifar_depth_counts_the_weight_layers(depth):
    model = models.CifarResNet(depth, scheme="skip_init")
    assert weight_layers(model) == depth
    assert len(blocks(model)) == (depth - 2) // 2
    assert model.input_shape == (None, 32, 32, 3)


def test_cifar_bottleneck_depth():
    model = models.CifarResNet(29, block="bottleneck")
    assert weight_layers(model) == 29
    assert model.get_layer("stage3_block3").output.shape == (None, 8, 8, 256)


# Counted by hand for batch_norm, option A: stem 3*3*3*16, stages of 2n
# convolutions, 2 * channels for every normalization's scale and shift, head.
def test_cifar_parameters_are_those_of_he_et_al():
    model = models.CifarResNet(20, scheme="batch_norm")
    convolutions = 9 * (3 * 16 + 6 * 16**2 + 16 * 32 + 5 * 32**2 + 32 * 64 + 5 * 64**2)
    normalizations = 2 * (16 + 6 * 16 + 6 * 32 + 6 * 64)
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert trainable == convolutions + normalizations + 64 * 10 + 10


@mostly_slow(("depth", "parameters"), [(18, 11_689_512), (50, 25_557_032)], quick=1)
def test_imagenet_parameters_are_torchvisions(depth, parameters):
    model = models.ImageNetResNet(depth, scheme="batch_norm")
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert trainable == parameters
    assert model.output_shape == (None, 1000)


def test_wide_resnet_parameters_are_the_papers():
    model = models.WideResNet(16, 4, scheme="batch_norm")
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    # Table 4 of the paper states 2.7M for WRN-16-4 (here without its bias terms).
    assert trainable == pytest.approx(2.75e6, rel=0.01)


def test_resnet1d_and_mlp():
    sequence = models.ResNet1D((1, 1), (8, 16), input_shape=(None, 3), classes=4)
    assert sequence.output_shape == (None, 4)
    mlp = models.ResidualMLP(3, 8, branch_depth=4, scheme="rezero")
    assert weight_layers(mlp) == 3 * 4 + 2


def test_volumes():
    model = models.ResNet((1, 1), (4, 8), input_shape=(6, 6, 6, 1), seed=0)
    assert model(np.zeros((1, 6, 6, 6, 1), "float32")).shape == (1, 10)


def orders():
    """Every scheme in one order with one shortcut; then in all others."""
    every = list(itertools.product("ABC", [False, True]))
    for start in range(len(every)):
        for index, scheme in enumerate(schemes.names()):
            yield scheme, *every[(start + index) % len(every)]


@mostly_on_torch("scheme, shortcut, preactivation", orders(), slow=len(schemes.names()))
def test_every_scheme_in_both_orders_with_every_shortcut(
    scheme, shortcut, preactivation
):
    model = models.ResNet(
        (1, 1),
        (4, 8),
        scheme=scheme,
        shortcut=shortcut,
        preactivation=preactivation,
        input_shape=(8, 8, 1),
        seed=0,
    )
    outputs = keras.ops.convert_to_numpy(model(np.ones((1, 8, 8, 1), "float32")))
    assert outputs.shape == (1, 10) and np.isfinite(outputs).all()
    parts = [v.path for v in model.trainable_variables if "/shortcut/" in v.path]
    projections = {"A": 0, "B": 1, "C": 2}[shortcut]
    assert sum(path.endswith("/kernel") for path in parts) == projections
    # The networks' own layers have biases.
    biases = 0 if schemes.get(scheme).use_bias is False else projections
    assert sum(path.endswith("/bias") for path in parts) == biases


def test_fixup_projects_the_shifted_input():
    model = models.ResNet((1, 1), (4, 8), shortcut="B", input_shape=(8, 8, 1), seed=0)
    block = blocks(model)[1]
    bias = block.branch[0]
    x = np.random.default_rng(0).uniform(size=(1, 8, 8, 4)).astype("float32")
    before = keras.ops.convert_to_numpy(block(x))
    bias.scalar.assign(1.0)
    shifted = keras.ops.convert_to_numpy(block(x))
    bias.scalar.assign(0.0)
    np.testing.assert_allclose(
        shifted, keras.ops.convert_to_numpy(block(x + 1)), atol=1e-5
    )
    assert np.abs(shifted - before).max() > 0.1


def test_plain_networks_have_no_shortcut():
    model = models.CifarResNet(20, scheme="batch_norm", plain=True)
    assert all(block.plain for block in blocks(model))
    assert weight_layers(model) == 20


@pytest.mark.parametrize("scheme", ["fixup", "skip_init", "rezero"])
def test_plain_refuses_branches_that_start_at_zero(scheme):
    with pytest.raises(ValueError, match="plain.*never train.*unnormalized"):
        models.CifarResNet(20, scheme=scheme, plain=True)


@dataclasses.dataclass(frozen=True)
class LastShut(schemes.Scheme):
    """The last branch alone starts at zero."""

    name = "last_shut"
    depends_on_branch = True

    def start(self, site):
        scale = float(site.branch < site.num_branches - 1)
        return schemes.Start(scale, by="multiplier")


def test_plain_networks_need_every_layer():
    with pytest.raises(ValueError, match="plain=True"):
        models.CifarResNet(20, scheme=LastShut(), plain=True)


def test_dropout_stands_between_the_weight_layers():
    model = models.WideResNet(10, 1, dropout_rate=0.3, scheme="batch_norm")
    for block in blocks(model):
        kinds = [type(layer).__name__ for layer in block.branch]
        assert kinds.count("Dropout") == 1
        assert kinds.index("Dropout") > kinds.index("Conv2D")


def test_classifier_activation():
    model = models.ResidualMLP(1, 8, scheme="rezero", classifier_activation="softmax")
    outputs = keras.ops.convert_to_numpy(model(np.ones((3, 40), "float32")))
    np.testing.assert_allclose(outputs.sum(axis=-1), 1, rtol=1e-5)


@slow_on_tensorflow
@pytest.mark.parametrize(
    ("policy", "seen"),
    [
        ("mixed_float16", "float16"),
        ("mixed_bfloat16", "bfloat16"),
        ("float16", "float16"),
        ("bfloat16", "bfloat16"),
    ],
)
@pytest.mark.parametrize("scheme", schemes.names())
def test_half_precision_gives_logits_in_float32(scheme, policy, seen):
    keras.config.set_dtype_policy(policy)
    model = models.ResNet((1, 1), (4, 8), scheme=scheme, input_shape=(8, 8, 1), seed=0)
    assert blocks(model)[-1].compute_dtype == seen
    outputs = model(np.ones((2, 8, 8, 1), "float32"))
    assert keras.backend.standardize_dtype(outputs.dtype) == "float32"
    assert np.isfinite(keras.ops.convert_to_numpy(outputs)).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: models.CifarResNet(21), "6n \\+ 2.*nearest are 20 and 26"),
        (lambda: models.CifarResNet(1), "nearest are 8 and 14"),
        (lambda: models.CifarResNet(50, "bottleneck"), "9n.*nearest are 47 and 56"),
        (lambda: models.ImageNetResNet(56), "nearest are 34 and 50"),
        (lambda: models.WideResNet(20), "6n \\+ 4.*nearest are 16 and 22"),
        (lambda: models.CifarResNet(20.5), "depth.*integer"),
        (lambda: models.CifarResNet(20, scheme="fixpu"), "Did you mean 'fixup'"),
        (lambda: models.CifarResNet(20, shortcut="D"), "shortcut"),
        (lambda: models.CifarResNet(20, block="botleneck"), "'bottleneck'"),
        (lambda: models.CifarResNet(20, input_shape=(2, 2, 3)), "total stride"),
        (lambda: models.ImageNetResNet(18, input_shape=(16, 16, 3)), "at least 32"),
        (lambda: models.CifarResNet(20, input_shape=(32,)), "input_shape"),
        (lambda: models.CifarResNet(20, input_shape=(8, 8, None)), "channels"),
        (lambda: models.ResNet1D(input_shape=(8, 8, 1)), "length, channels"),
        (lambda: models.ResidualMLP(input_shape=(8, 8, 1)), "features"),
        (lambda: models.ResidualMLP(0), "num_blocks"),
        (lambda: models.ResidualMLP(2, branch_depth=0), "branch_depth"),
        (lambda: models.ResNet((), ()), "at least one stage"),
        (lambda: models.ResNet((1, 1), (8,)), "one entry per stage"),
        (lambda: models.ResNet((1, 0, 1)), "stages"),
        (lambda: models.ResNet(classes=0), "classes"),
        (lambda: models.ResNet(kernel_size=2), "odd"),
        (lambda: models.ResNet(dropout_rate=1), "dropout_rate"),
        (lambda: models.WideResNet(10, 0), "widen_factor"),
        (lambda: models.ResNet(stem_filters=0), "stem_filters"),
        (lambda: models.ResNet(stages=3), "stages.*tuple"),
        (lambda: models.ResNet(input_shape=32), "input_shape.*tuple"),
        (lambda: models.ResNet(input_shape=(32, 32, 0)), "channels"),
        (lambda: models.ResNet(seed=-1), "seed"),
        (lambda: models.ResNet(seed=1.5), "seed"),
        (lambda: models.ResidualMLP(dropout_rate=1), "dropout_rate"),
        (lambda: models.ResidualMLP(input_shape=(0,)), "features"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_wrong_number_of_channels_is_refused():
    model = models.CifarResNet(8, seed=0)
    with pytest.raises(ValueError, match="shape"):
        model(np.zeros((1, 32, 32, 1), "float32"))


@pytest.mark.parametrize("scheme", ["fixup", "batch_norm"])
def test_integer_images_are_refused(scheme):
    model = models.ResNet((1, 1), (4, 8), scheme=scheme, input_shape=(8, 8, 3))
    images = np.zeros((2, 8, 8, 3), "uint8")
    with pytest.raises(ValueError, match="floating-point.*uint8.*scale"):
        model(images)
    with pytest.raises(ValueError, match="floating-point.*uint8"):
        model.predict(images, verbose=0)


def test_fixup_projects_what_the_first_weight_layer_reads_in_pre_activation():
    model = models.ResNet(
        (1, 1), (4, 8), shortcut="B", preactivation=True, input_shape=(8, 8, 1)
    )
    block = blocks(model)[1]
    kinds = [type(layer).__name__ for layer in block.branch]
    assert kinds[: block.shared_layers] == ["ScalarBias", "Activation", "ScalarBias"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"plain": 1}, "`plain` must be True or False"),
        ({"plain": "no"}, "`plain` must be True or False"),
        ({"classes": True}, "`classes` must be an integer"),
        ({"classes": 10**400}, "`classes` must be an integer"),
        ({"num_blocks": 2**63}, "`num_blocks` must be an integer"),
        ({"units": 1.5}, "`units` must be an integer"),
        ({"dropout_rate": float("nan")}, "`dropout_rate` must be"),
        ({"input_shape": (-5,)}, "`input_shape` must be a tuple of sizes"),
        ({"seed": -1}, "`seed` must be an integer"),
        ({"activation": 3}, "`activation` must be an activation"),
        ({"stacked": 1}, "`stacked` must be"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        models.ResidualMLP(**{"num_blocks": 1, "units": 4, **arguments})


def test_takes_integers_of_numpy():
    model = models.ResidualMLP(
        np.int64(2), np.int32(4), classes=np.int64(3), seed=np.uint8(1), plain=np.False_
    )
    assert model.output_shape == (None, 3)
    assert keras.models.model_from_json(model.to_json()).output_shape == (None, 3)
