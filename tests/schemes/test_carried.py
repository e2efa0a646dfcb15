"""A declared start that no answer carries is refused, in models and in conversion."""

import dataclasses

import keras
import pytest

import fixinit
from fixinit import layers, models, schemes
from fixinit.schemes import Start


@dataclasses.dataclass(frozen=True)
class Shut(schemes.Scheme):
    """A multiplier of 0, and a `branch_end` that forgets it."""

    name = "shut"

    def start(self, site):
        return Start(0, by="multiplier")

    def branch_end(self, site):
        return [layers.ScalarBias()]


class AlsoShut(Shut):
    """The same, which remembers it."""

    def branch_end(self, site):
        return [layers.ScalarBias(), *schemes.Scheme.branch_end(self, site)]


class Drawn(Shut):
    def start(self, site):
        return Start(0, by="kernel")

    def kernel_initializer(self, site):
        return keras.initializers.HeNormal()


class Sum(Shut):
    def start(self, site):
        return Start(0.5)

    def merge(self, site):
        return keras.layers.Add()


class Weighted(AlsoShut):
    """As in normalizer-free networks: a multiplier of 0 in front of a constant."""

    def merge(self, site):
        return layers.ScaledAdd(1.0, 0.2)


class ByLayers(Shut):
    def start(self, site):
        return Start(0, by="layers")


@pytest.mark.parametrize(
    ("scheme", "says"),
    [
        (Shut(), r"branch_end\(\) = \['ScalarBias'\].* super\(\).branch_end\(site\)"),
        (Drawn(), r"kernel_initializer\(\) = HeNormal.* Override draw\(site\)"),
        (Sum(), r"factors \(1.0, 1.0\).* must be \(1.0, 0.5\)"),
    ],
    ids=["branch_end", "kernel_initializer", "merge"],
)
def test_a_start_that_nothing_carries_is_refused(scheme, says):
    model = models.ResidualMLP(2, units=8, scheme="unnormalized", input_shape=(4,))
    with pytest.raises(ValueError, match=says):
        fixinit.convert(model, scheme)
    with pytest.raises(ValueError, match=says):
        models.ResidualMLP(2, units=8, scheme=scheme, input_shape=(4,))


@pytest.mark.parametrize(
    "scheme", [AlsoShut(), Weighted(), ByLayers()], ids=["super", "merge", "layers"]
)
def test_a_start_that_a_layer_may_carry_is_taken(scheme):
    models.ResidualMLP(2, units=8, scheme=scheme, input_shape=(4,))
