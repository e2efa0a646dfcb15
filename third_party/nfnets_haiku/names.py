"""The names of the authors' parameters, and what they tell of a network."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from fixinit.models.nfnet import NFNET_STAGES, NFNET_VARIANTS

# From the name of a family to that of its blocks.
FAMILIES = {"NF_ResNet": "nf_res_block", "NFNet": "nf_block"}
# Their convolutions of a branch, in order.
BRANCHES = {
    "NF_ResNet": ("conv0", "conv1", "conv2"),
    "NFNet": ("conv0", "conv1", "conv1b", "conv2"),
}
Shape = tuple[int, ...]


@dataclasses.dataclass
class Network:
    """The shape of a network, read off the names and shapes of its parameters.

    Attributes:
        family: `"NF_ResNet"` or `"NFNet"`.
        stages: Tuple of ints, blocks of each stage.
        filters: Tuple of ints, channels that they put out.
        projects: List of bools, whether the shortcut of a block has weights.
        channels, classes: ints.
        group_size, gate_units: ints, of an NFNet.
        problems: List of strings, what is not as it has to be.
    """

    family: str
    stages: tuple[int, ...] = ()
    filters: tuple[int, ...] = ()
    projects: tuple[bool, ...] = ()
    channels: int = 0
    classes: int = 0
    group_size: int = 1
    gate_units: int = 0
    problems: list[str] = dataclasses.field(default_factory=list)

    @property
    def gate_ratio(self) -> float:
        """Hidden units of squeeze-and-excitation by the channels of the block."""
        return self.gate_units / self.filters[0]

    @property
    def variant(self) -> str | None:
        """The name of a published NFNet of these stages."""
        for times, variant in enumerate(NFNET_VARIANTS, start=1):
            if self.stages == tuple(times * blocks for blocks in NFNET_STAGES):
                return variant
        return None


def network_of(arrays: Mapping[str, np.ndarray]) -> Network | None:
    """The network of some parameters; `None` if no name is that of a family."""
    roots = {name.partition("/")[0] for name in arrays}
    family = next((family for family in FAMILIES if family in roots), None)
    if family is None:
        return None
    network = Network(family)
    block = re.compile(rf"{family}/(?:~/)?{FAMILIES[family]}(?:_([1-9]\d*))?/")
    found = (block.match(name) for name in arrays)
    indices = sorted({int(match[1] or 0) for match in found if match})
    if not indices or indices != list(range(len(indices))):
        network.problems.append(
            f"expected blocks numbered 0, 1, 2, ..., received {indices}"
        )
        return network
    network.projects = tuple(
        f"{_block(family, index)}/~/conv_shortcut/w" in arrays for index in indices
    )
    starts = [i for i in indices if i == 0 or network.projects[i]]
    if len(starts) != 4:
        network.problems.append(
            "expected four stages, each begun by a block with a conv_shortcut, "
            f"received such blocks: {starts}"
        )
        return network
    ends = [*starts[1:], len(indices)]
    network.stages = tuple(end - start for start, end in zip(starts, ends, strict=True))
    _read_sizes(network, arrays, starts)
    return network


def _read_sizes(
    network: Network, arrays: Mapping[str, np.ndarray], starts: list[int]
) -> None:
    """Reads widths, groups, gates, classes and channels off the shapes."""

    def size(name: str, axis: int, rank: int) -> int:
        array = arrays.get(name)
        if array is None or array.ndim != rank or not array.shape[axis]:
            received = "nothing" if array is None else f"shape {list(array.shape)}"
            network.problems.append(
                f"{name}: expected {rank} axes, received {received}"
            )
            return 1
        return int(array.shape[axis])

    family = network.family
    first = "initial_conv" if family == "NF_ResNet" else "stem_conv0"
    blocks = [_block(family, index) for index in starts]
    network.filters = tuple(size(f"{block}/~/conv2/w", -1, 4) for block in blocks)
    network.channels = size(f"{family}/~/{first}/w", -2, 4)
    network.classes = size(f"{family}/~/linear/w", -1, 2)
    if family == "NFNet":
        network.group_size = size(f"{blocks[0]}/~/conv1/w", -2, 4)
        linear = f"{blocks[0]}/~/squeeze_excite/~/linear/w"
        network.gate_units = size(linear, -1, 2)


def _block(family: str, index: int) -> str:
    return f"{family}/~/{FAMILIES[family]}" + (f"_{index}" if index else "")


def named(network: Network) -> dict[str, tuple[str, Shape]]:
    """Dict from their names to `(path of our variable, shape)`."""
    found: dict[str, tuple[str, Shape]] = {}

    def convolution(theirs: str, ours: str, shape: Shape) -> None:
        found[f"{theirs}/w"] = f"{ours}/kernel", shape
        found[f"{theirs}/bias"] = f"{ours}/bias", shape[-1:]
        found[f"{theirs}/gain"] = f"{ours}/gain", shape[-1:]

    def linear(theirs: str, ours: str, shape: Shape) -> None:
        found[f"{theirs}/w"] = f"{ours}/kernel", shape
        found[f"{theirs}/b"] = f"{ours}/bias", shape[-1:]

    family, last = network.family, network.filters[-1]
    channels = _name_stem(network, convolution)
    places = [(s, b) for s, n in enumerate(network.stages) for b in range(n)]
    for index, (stage, block) in enumerate(places):
        theirs = _block(family, index)
        ours = f"stage{stage + 1}_block{block + 1}"
        filters = network.filters[stage]
        if network.projects[index]:
            shape = (1, 1, channels, filters)
            convolution(f"{theirs}/~/conv_shortcut", f"{ours}/shortcut", shape)
        shapes = _branch_shapes(network, channels, filters)
        for place, (part, shape) in enumerate(
            zip(BRANCHES[family], shapes, strict=True), start=1
        ):
            convolution(f"{theirs}/~/{part}", f"{ours}/weight{place}", shape)
        if family == "NFNet":
            units = max(1, int(filters * network.gate_ratio))
            gates = f"{theirs}/~/squeeze_excite/~"
            linear(f"{gates}/linear", f"{ours}_squeeze", (filters, units))
            linear(f"{gates}/linear_1", f"{ours}_excite", (units, filters))
        gain = f"{ours}/branch_scalar_multiplier/scalar_multiplier"
        found[f"{theirs}/skip_gain"] = gain, ()
        channels = filters
    if family == "NFNet":
        convolution(f"{family}/~/final_conv", "final", (1, 1, last, 2 * last))
        last *= 2
    linear(f"{family}/~/linear", "head", (last, network.classes))
    return found


def _name_stem(network: Network, convolution: Any) -> int:
    """Names the stem; returns the channels that it puts out."""
    channels, family = network.channels, network.family
    if family == "NF_ResNet":
        filters = network.filters[0] // 4
        convolution(f"{family}/~/initial_conv", "stem", (7, 7, channels, filters))
        return filters
    for index, filters in enumerate((16, 32, 64, network.filters[0] // 2)):
        shape = (3, 3, channels, filters)
        convolution(f"{family}/~/stem_conv{index}", f"stem{index + 1}", shape)
        channels = filters
    return channels


def _branch_shapes(network: Network, channels: int, filters: int) -> list[Shape]:
    """The shapes of the kernels of a branch."""
    if network.family == "NF_ResNet":
        width = filters // 4
        return [(1, 1, channels, width), (3, 3, width, width), (1, 1, width, filters)]
    width = filters // 2
    grouped = (3, 3, network.group_size, width)
    return [(1, 1, channels, width), grouped, grouped, (1, 1, width, filters)]
