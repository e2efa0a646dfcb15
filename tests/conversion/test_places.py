"""Converted networks have a scheme's layers where those of `models` have them."""

import dataclasses
import functools

import keras
import pytest

import fixinit
from fixinit import models, schemes
from tests.marks import on_torch, rest_on_torch

NAMES = {"Conv2D": "conv", "Activation": "relu", "Dense": "dense"}


class Tag(keras.layers.Layer):
    """Passes on what it reads, and says at which place it stands."""

    fixinit_facts = fixinit.layers.Facts(elementwise=True)

    def __init__(self, tag, **kwargs):
        super().__init__(**kwargs)
        self.tag = tag

    def call(self, inputs):
        return inputs


@dataclasses.dataclass(frozen=True)
class Tagged(schemes.Scheme):
    """A layer at every place."""

    shifts: bool = False
    name = "tagged"

    @property
    def shifts_projection(self):
        return self.shifts

    def branch_start(self, site):
        return [Tag("start")]

    def before_activation(self, site):
        return [Tag("activate")]

    def before_weight(self, site):
        return [Tag("weight")]

    def branch_end(self, site):
        return [Tag("end")]

    def after_merge(self, site):
        return [Tag("merged")]

    def after_projection(self, site):
        return [Tag("projected")]

    def network_end(self, site):
        return [Tag("network")]


def formula(model):
    """What a model computes, as nested calls."""
    graph = fixinit.graph.trace(model)
    producers = {value: call for call in graph.calls for value in call.outputs}

    @functools.cache
    def written(value):
        call = producers[value]
        operation = call.operation
        kind = type(operation).__name__
        name = "add" if fixinit.layers.facts_of(operation).adds else kind
        name = getattr(operation, "tag", NAMES.get(name, name))
        return f"{name}({', '.join(map(written, call.inputs))})"

    return written(graph.outputs[0])


@pytest.mark.parametrize("shifts", [False, True])
@pytest.mark.parametrize("preactivation", [False, True])
@on_torch
@pytest.mark.parametrize("shortcut", "CBA")
def test_scheme_stands_where_it_stands_in_models(shortcut, preactivation, shifts):
    options = {"preactivation": preactivation, "shortcut": shortcut}
    options["input_shape"] = (8, 8, 3)
    model = models.CifarResNet(8, scheme="batch_norm", **options)
    expected = models.CifarResNet(8, scheme=Tagged(shifts), **options)
    assert formula(fixinit.convert(model, Tagged(shifts))) == formula(expected)


@rest_on_torch("shortcut", "CBA", quick=1)
def test_batch_norm_in_pre_activation_order_is_what_it_was(shortcut):
    options = {"preactivation": True, "shortcut": shortcut, "input_shape": (8, 8, 3)}
    model = models.CifarResNet(8, scheme="batch_norm", **options)
    assert formula(fixinit.convert(model, "batch_norm")) == formula(model)


def test_blocks_behind_activated_transitions_are_post_activation():
    """As in ResNet-9: every block reads an activation, and shortcuts are identities."""
    x = inputs = keras.Input((8, 8, 3))
    for _ in range(2):
        x = keras.layers.Conv2D(4, 3, 2, padding="same", activation="relu")(x)
        y = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(x)
        y = keras.layers.Conv2D(4, 3, padding="same")(y)
        x = keras.layers.add([x, y])
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    # It refuses pre-activation order.
    fixinit.convert(model, schemes.BatchNorm(zero_gamma=True))
