"""Random residual networks, built by hypothesis."""

import dataclasses

import keras
from hypothesis import strategies as st
from keras import layers

NORMS = {
    "batch": layers.BatchNormalization,
    "layer": layers.LayerNormalization,
    "rms": layers.RMSNormalization,
    "group": lambda: layers.GroupNormalization(groups=4),
}


@dataclasses.dataclass(frozen=True)
class Unit:
    """What one block is like; a network repeats a few of them."""

    depth: int
    norm: str
    activation: str
    preactivation: bool
    branches: int
    shares: bool
    gate: bool
    fused: bool
    nested: bool
    widen: int
    join: str


units = st.builds(
    Unit,
    depth=st.integers(1, 3),
    norm=st.sampled_from(sorted(NORMS)),
    activation=st.sampled_from(["relu", "gelu", "silu", "leaky_relu", "tanh"]),
    preactivation=st.booleans(),
    branches=st.sampled_from([1, 1, 1, 2]),
    shares=st.booleans(),
    gate=st.sampled_from([False, False, True]),
    fused=st.sampled_from([False, False, True]),
    nested=st.sampled_from([False, False, False, True]),
    widen=st.sampled_from([1, 1, 2]),
    join=st.sampled_from(["layer", "operator", "operation"]),
)
plans = st.lists(units, min_size=1, max_size=3)


def network(plan, blocks, width=32, rank=0, size=8):
    """A functional model of `blocks` blocks, of the units in turn."""
    x = inputs = keras.Input((*(size,) * rank, width))
    for index in range(blocks):
        x = block(plan[index % len(plan)], x, width, rank)
    return keras.Model(inputs, x)


def weight(width, rank, activation=None):
    """A weight layer for inputs of some spatial axes."""
    if rank == 0:
        return layers.Dense(width, activation)
    kind = {1: layers.Conv1D, 2: layers.Conv2D}[rank]
    return kind(width, 3, padding="same", activation=activation)


def block(unit, x, width, rank):
    start = in_front(unit, x) if unit.shares else x
    parts = [branch(unit, start, width, rank) for _ in range(unit.branches)]
    if unit.join == "layer":
        return layers.add([*parts, x])
    for part in parts:
        x = x + part if unit.join == "operator" else keras.ops.add(part, x)
    return x


def in_front(unit, x):
    """What the branches of a block may share: normalization, and its activation."""
    x = NORMS[unit.norm]()(x)
    return layers.Activation(unit.activation)(x) if unit.preactivation else x


def branch(unit, x, width, rank):
    y = x
    for index in range(unit.depth):
        last = index == unit.depth - 1
        inner = width if last else unit.widen * width
        if unit.preactivation:
            if index or not unit.shares:
                y = in_front(unit, y)
            y = weight(inner, rank)(y)
            continue
        if last:
            y = NORMS[unit.norm]()(weight(inner, rank)(y))
        elif unit.fused:
            y = NORMS[unit.norm]()(weight(inner, rank, unit.activation)(y))
        else:
            y = NORMS[unit.norm]()(weight(inner, rank)(y))
            y = layers.Activation(unit.activation)(y)
    if unit.nested:
        y = layers.add([y, weight(width, rank)(layers.Activation(unit.activation)(y))])
    if unit.gate:
        y = layers.multiply([y, layers.Dense(width, "sigmoid")(y)])
    return y
