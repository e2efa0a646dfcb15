"""The weights that Fixup networks start with, against the paper's three rules."""

import dataclasses
import math
import pathlib
import re

import keras
import numpy as np
import pytest
from scipy import stats

from fixinit.models import CifarResNet, ResidualMLP
from tests.marks import slow_on_tensorflow
from third_party import fixup_pytorch

# The chance that a correct initializer fails one of the statistical tests.
SIGNIFICANCE = 1e-6


@dataclasses.dataclass(frozen=True)
class Case:
    build: callable
    num_branches: int
    branch_depth: int


CASES = {
    "depth_56": Case(lambda seed: CifarResNet(56, seed=seed), 27, 2),
    "depth_110": Case(lambda seed: CifarResNet(110, seed=seed, stacked=False), 54, 2),
    "bottleneck_29": Case(
        lambda seed: CifarResNet(29, block="bottleneck", shortcut="B", seed=seed), 9, 3
    ),
    "mlp_of_3_layers": Case(
        lambda seed: ResidualMLP(6, units=48, branch_depth=3, seed=seed), 6, 3
    ),
}


def cases():
    """All but the deepest, which only `.ci/run` builds on TensorFlow."""
    for name in CASES:
        slow = name == "depth_110" and keras.backend.backend() == "tensorflow"
        yield pytest.param(name, marks=[pytest.mark.slow] * slow)


@pytest.fixture(scope="module", params=cases())
def case(request):
    return CASES[request.param]


@pytest.fixture(scope="module")
def model(case):
    return case.build(seed=0)


@pytest.fixture(scope="module")
def weights(model):
    return {v.path: keras.ops.convert_to_numpy(v) for v in model.weights}


@pytest.fixture(scope="module")
def drawn(case, weights):
    """The kernels that rule 1 leaves to rule 2."""
    return {
        path: value
        for path, value in weights.items()
        if path.endswith("/kernel") and not starts_at_zero(path, case.branch_depth)
    }


def starts_at_zero(path, branch_depth):
    last = rf".*block\d+/weight{branch_depth}/kernel"
    return path.startswith("head/") or bool(re.fullmatch(last, path))


def expected_stddev(path, shape, case):
    """He's in fan-out mode, and inside branches rule 2's factor."""
    stddev = math.sqrt(2 * shape[-2] / math.prod(shape))
    if "/weight" in path:
        stddev *= case.num_branches ** (-1 / (2 * case.branch_depth - 2))
    return stddev


def two_sided(distribution, value):
    """The probability of a value as far out as this one."""
    return 2 * min(distribution.cdf(value), distribution.sf(value))


@slow_on_tensorflow
def test_kernels_follow_the_formula(case, drawn):
    level = SIGNIFICANCE / (2 * len(drawn))
    for path, kernel in drawn.items():
        z = kernel.astype("float64") / expected_stddev(path, kernel.shape, case)
        # A sum of n squared standard normals, and a mean of n of them.
        assert two_sided(stats.chi2(z.size), np.sum(z**2)) > level, path
        assert two_sided(stats.norm(0, z.size**-0.5), np.mean(z)) > level, path


def test_all_kernels_together_follow_the_formula(case, drawn):
    # Many small deviations of one sign would pass kernel by kernel.
    z = np.concatenate(
        [
            (
                kernel.astype("float64") / expected_stddev(path, kernel.shape, case)
            ).ravel()
            for path, kernel in drawn.items()
        ]
    )
    assert two_sided(stats.chi2(z.size), np.sum(z**2)) > SIGNIFICANCE


def test_last_layer_of_every_branch_and_head_are_zero(case, weights):
    zeros = [path for path in weights if starts_at_zero(path, case.branch_depth)]
    assert len(zeros) == case.num_branches + 2  # the head's kernel and bias
    for path in zeros:
        assert not weights[path].any(), path


def test_scalar_biases_are_zero_and_multipliers_one(case, weights):
    multipliers = [w for path, w in weights.items() if path.endswith("multiplier")]
    biases = [w for path, w in weights.items() if path.endswith("scalar_bias")]
    assert len(multipliers) == case.num_branches
    assert all(multiplier == 1 for multiplier in multipliers)
    assert all(bias == 0 for bias in biases)


def test_no_two_kernels_share_a_seed(model, drawn):
    seeds = list(initializer_seeds(model.get_config()))
    assert len(seeds) >= len(drawn)
    assert len(set(seeds)) == len(seeds)


def initializer_seeds(config):
    """All seeds in a nested config."""
    if isinstance(config, dict):
        if isinstance(config.get("seed"), int):
            yield config["seed"]
        for value in config.values():
            yield from initializer_seeds(value)
    elif isinstance(config, (list, tuple)):
        for value in config:
            yield from initializer_seeds(value)


def test_no_two_kernels_share_a_draw(drawn):
    # One seed gives kernels of other shapes the same first numbers, rescaled,
    # whichever axis runs first.
    length = min(kernel.size for kernel in drawn.values())
    for order in "CF":
        prefixes = [kernel.ravel(order)[:length] for kernel in drawn.values()]
        correlation = np.corrcoef(prefixes)[np.triu_indices(len(prefixes), k=1)]
        # Independent normals: r * sqrt((n - 2) / (1 - r^2)) has a t distribution.
        t = stats.t(length - 2).isf(SIGNIFICANCE / (4 * len(correlation)))
        bound = t / math.sqrt(length - 2 + t**2)
        assert np.max(np.abs(correlation)) < bound


@slow_on_tensorflow
def test_same_seed_same_bits(case, weights):
    again = case.build(seed=0).get_weights()
    for (path, first), second in zip(weights.items(), again, strict=True):
        assert first.tobytes() == second.tobytes(), path


@slow_on_tensorflow
def test_another_seed_changes_every_drawn_kernel(case, drawn):
    other = {v.path: keras.ops.convert_to_numpy(v) for v in case.build(seed=1).weights}
    for path, kernel in drawn.items():
        correlation = np.corrcoef(kernel.ravel(), other[path].ravel())[0, 1]
        # Eight standard deviations for the smallest kernel, of 256 numbers.
        assert abs(correlation) < 0.5, path


def test_the_authors_own_initialization_follows_the_formula():
    case = Case(build=None, num_branches=5, branch_depth=2)
    folder = pathlib.Path(fixup_pytorch.__file__).parent
    with np.load(folder / "fixup_cifar_stages_2_2_1.npz") as recorded:
        shapes = {
            name: recorded[f"param/{name}"].shape
            for name in (key.partition("/")[2] for key in recorded)
            if name.endswith(".conv1.weight")
        }
        assert len(shapes) == case.num_branches
        for name, (*outputs_inputs, height, width) in shapes.items():
            shape = (height, width, *reversed(outputs_inputs))
            stddev = expected_stddev(f"/weight in {name}", shape, case)
            n = math.prod(shape)
            # n - 1: they recorded deviations from the mean.
            ratio = n * (recorded[f"init_std/{name}"] / stddev) ** 2
            level = SIGNIFICANCE / len(shapes)
            assert two_sided(stats.chi2(n - 1), ratio) > level, name
        for name in shapes:
            last = name.replace("conv1", "conv2")
            assert recorded[f"init_std/{last}"] == 0
