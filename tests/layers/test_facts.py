import functools

import keras
import numpy as np
import pytest
from keras import layers, ops

import fixinit
from fixinit.layers import Facts, ScaledAdd, facts_of, register_facts
from tests.conversion.helpers import FOR_BATCH_NORM, convert, normal, zeros
from tests.marks import slow_on_tensorflow


class OwnSum(layers.Layer):
    """Adds what it is called on."""

    fixinit_facts = Facts(adds=True, linear=True)

    def call(self, inputs):
        return functools.reduce(ops.add, inputs)


class HalvedSum(layers.Layer):
    """Adds a branch times a number of its own."""

    def __init__(self, factor=0.5, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def fixinit_facts(self):
        return Facts(adds=True, linear=True, factors=(1.0, self.factor))

    def call(self, x, h):
        return x + self.factor * h

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


class Gain(layers.Layer):
    """A factor of the branch for each channel, in the shape of a sample."""

    fixinit_facts = Facts(scales_branch=True, linear=True, start="gain_initializer")

    def __init__(self, gain_initializer="zeros", **kwargs):
        super().__init__(**kwargs)
        self.gain_initializer = keras.initializers.get(gain_initializer)

    def build(self, shape):
        self.gain = self.add_weight(
            name="gain", shape=(1, shape[-1]), initializer=self.gain_initializer
        )

    def call(self, x):
        return x * self.gain

    def get_config(self):
        gain = keras.initializers.serialize(self.gain_initializer)
        return {**super().get_config(), "gain_initializer": gain}


class OwnNormalization(layers.Layer):
    """Divides by the root of the mean square."""

    fixinit_facts = Facts(normalizes=True)

    def compute_output_shape(self, input_shape):
        return input_shape

    def call(self, x):
        return x * ops.rsqrt(ops.mean(x**2, -1, keepdims=True) + 1e-6)


class Standardized(layers.Dense):
    """A dense layer that standardizes its kernel."""

    fixinit_facts = Facts(kernels=("kernel_initializer",))

    def call(self, x):
        y = ops.matmul(x, self.kernel - ops.mean(self.kernel, 0, keepdims=True))
        return y if self.bias is None else y + self.bias


class OwnActivation(layers.Layer):
    fixinit_facts = Facts(activates=True)

    def call(self, x):
        return ops.relu(x) ** 1.5


def branch(x, weight=layers.Dense, activation=layers.ReLU):
    return weight(8)(activation()(weight(8)(x)))


def kinds(model):
    return [type(layer) for layer in model.layers]


@slow_on_tensorflow
@pytest.mark.parametrize("scheme", FOR_BATCH_NORM)
def test_additions_of_ones_own_end_blocks(scheme):
    x = inputs = keras.Input((8,))
    for _ in range(2):
        x = OwnSum()([x, layers.BatchNormalization()(branch(x))])
    model = keras.Model(inputs, x)
    free = convert(model, scheme)
    blocks = free.conversion["blocks"]
    assert [block["branches"][0]["depth"] for block in blocks] == [2, 2]
    # The layer stays where the scheme adds without factors.
    merge = fixinit.schemes.get(scheme).merge(fixinit.schemes.Site(0, 2))
    has_factors = facts_of(merge).factors != (1.0, 1.0)
    assert (OwnSum in kinds(free)) != has_factors
    if blocks[0]["branches"][0]["zero"]:
        np.testing.assert_allclose(free.predict(normal(4, 8)), normal(4, 8), rtol=1e-6)


def test_factors_of_ones_own_are_measured_and_taken_over():
    inputs = keras.Input((8,))
    outputs = HalvedSum(0.25, name="sum")(inputs, branch(inputs))
    model = keras.Model(inputs, outputs)
    (block,) = fixinit.graph.find_blocks(fixinit.graph.trace(model))
    assert block.addends([2.0, 100.0]) == (2.0, 25.0)
    free = convert(model, "scaled_residual")
    merge = free.get_layer("sum")
    assert isinstance(merge, ScaledAdd) and merge.branch_scale == 1.0


def test_scales_of_ones_own_are_taken_over():
    inputs = keras.Input((8,))
    model = keras.Model(inputs, inputs + Gain(name="gain")(branch(inputs)))
    with pytest.warns(UserWarning, match="Scales of branches.*gain"):
        free = fixinit.convert(model, "fixup", seed=0)
    assert Gain not in kinds(free) and zeros(free) == ["kernel"]
    # It is no weight layer, though its weights have two axes.
    assert free.conversion["blocks"][0]["branches"][0]["depth"] == 2
    assert Gain in kinds(convert(model, "fixup", keep=("gain",)))


def test_normalization_of_ones_own_is_taken_out():
    inputs = keras.Input((8,))
    model = keras.Model(inputs, inputs + OwnNormalization(name="own")(branch(inputs)))
    free = convert(model, "skip_init")
    assert OwnNormalization not in kinds(free)
    assert free.conversion["removed"] == {"OwnNormalization": ["own"]}
    with pytest.raises(ValueError, match=r"own \(OwnNormalization\)"):
        convert(model, weights="fold")
    wrapped = layers.TimeDistributed(OwnNormalization(name="inside"), name="outside")
    x = keras.Input((3, 8))
    free = convert(keras.Model(x, x + wrapped(branch(x))))
    assert "outside" not in [layer.name for layer in free.layers]


def test_weight_layers_and_activations_of_ones_own():
    inputs = keras.Input((8,))
    model = keras.Model(inputs, inputs + branch(inputs, Standardized, OwnActivation))
    free = convert(model, "fixup")
    assert zeros(free) == ["kernel"]
    first, last = (x for x in free.layers if isinstance(x, Standardized))
    assert np.any(first.get_weights()[0]) and not np.any(last.get_weights()[0])
    # Fixup's biases: in front of two weight layers and an activation, and at the end.
    assert kinds(free).count(fixinit.layers.ScalarBias) == 4


def test_facts_of_objects_come_before_those_of_classes():
    merge = layers.Concatenate()
    assert not facts_of(merge).adds
    merge.fixinit_facts = Facts(adds=True)
    assert facts_of(merge).adds and not facts_of(layers.Concatenate()).adds


def test_what_overrides_call_declares_facts_of_its_own():
    class Louder(layers.BatchNormalization):
        def call(self, x):
            return 2 * super().call(x)

    class LouderGain(Gain):
        def call(self, x):
            return 2 * super().call(x)

    class Renamed(Gain):
        pass

    class Declared(LouderGain):
        fixinit_facts = Facts(scales_branch=True)

    assert facts_of(Louder()) == Facts() == facts_of(LouderGain())
    assert facts_of(Renamed()).start == "gain_initializer"
    assert facts_of(Declared()).scales_branch


def test_kernels_that_are_made_otherwise_are_not_known():
    class Symmetric(layers.Dense):
        @property
        def kernel(self):
            return super().kernel + ops.transpose(super().kernel)

    class Documented(layers.Dense):
        """The same under another name."""

    assert facts_of(Symmetric(8)).kernels == ()
    assert facts_of(Documented(8)).kernels == ("kernel_initializer",)


def test_facts_of_a_mixin():
    class Adds:
        fixinit_facts = Facts(adds=True)

    class Own(Adds, layers.Layer):
        def call(self, inputs):
            return inputs[0] + inputs[1]

    assert facts_of(Own()).adds


def test_activations_know_their_function():
    assert facts_of(layers.Activation("sigmoid")).bounded
    assert facts_of(keras.ops.sigmoid).bounded
    assert facts_of(layers.Activation("softmax")).compares_channels

    def squashed(x):
        return x / (1 + ops.abs(x))

    assert facts_of(layers.Activation(squashed)) == Facts(activates=True)
    register_facts(squashed, Facts(bounded=True))
    assert facts_of(layers.Activation(squashed)).bounded


@pytest.mark.parametrize("target, facts", [("Dense", Facts()), (layers.Dense, "adds")])
def test_refuses_what_can_have_no_facts(target, facts):
    with pytest.raises(TypeError, match="Received: (target|facts)="):
        register_facts(target, facts)


def test_refuses_what_are_no_facts():
    layer = layers.Dense(8)
    layer.fixinit_facts = "adds"
    with pytest.raises(TypeError, match="`fixinit_facts` must be.*Received: 'adds'"):
        facts_of(layer)


def test_nothing_is_declared_about_a_tensor():
    assert facts_of(keras.ops.ones((2, 3))) == Facts()
