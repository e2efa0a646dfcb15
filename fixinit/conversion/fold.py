"""Folds statistics of normalization, and standardizations, into weights."""

import keras
import numpy as np
from keras import tree

from fixinit.conversion import kinds, statistics
from fixinit.conversion.edits import Edits
from fixinit.conversion.kernels import TRANSPOSED
from fixinit.conversion.rewrite import Rewriter, cloned_stack
from fixinit.conversion.state import copy_state
from fixinit.graph import trace
from fixinit.layers import ChannelAffine, StandardizedKernel, plain_layer
from fixinit.layers.configs import config_of


def fold(model, keep, record=None, constants=None, inputs=None):
    """A model that computes what the given one does in test mode.

    A BatchNormalization in test mode multiplies every channel by
    `gamma / sqrt(variance + epsilon)` and adds a number. Behind a weight layer that
    nothing else reads, that layer can do it; elsewhere, such as behind an addition, it
    becomes a `fixinit.layers.ChannelAffine`. Layers that are called several times fold
    where the two are called together every time. A layer that standardizes its kernel
    becomes the plain layer with the kernel that it multiplies by.

    Other normalization gets constants, which are folded into dense layers behind, where
    these alone read it.

    Args:
        model: `keras.Model` that has passed `check_foldable`.
        keep: Callable from a layer to whether it stays.
        record: Dict, the record of the conversion.
        constants: Dict from names of calls to the constants of their normalization.
        inputs: List of arrays, a batch that these are measured on in the place of that;
            `None` without such normalization.

    Returns:
        `keras.Model`.
    """
    graph = trace(model)
    if inputs is not None:
        constants = statistics.measure(graph, inputs, statistics.measured_unless(keep))
    folding = _Folding(graph, keep, constants or {})
    rewriter = Rewriter(folding.edits)
    new = rewriter.model(model, record)
    for old in folding.layers():
        made = rewriter.made.get(id(old))
        if made is not None:
            made.set_weights(folding.values.get(id(old), old.get_weights()))
    copy_state(rewriter, folding.graph)
    for old, values in folding.affine:
        rewriter.made[id(old)].set_weights(values)
    return new


class _Folding:
    """What becomes of every layer of a graph."""

    def __init__(self, graph, keep, constants):
        self.graph, self.keep, self.constants = graph, keep, constants
        self.edits, self.values, self.affine = Edits(), {}, []
        self._producers, self._consumers = graph.producers(), graph.consumers()
        self._calls, self._read = {}, set()  # ids of variables that operations read
        for call in graph.calls:
            if call.node is not None:
                read = tree.flatten(
                    [call.node.arguments.args, call.node.arguments.kwargs]
                )
                self._read |= {id(x) for x in read if isinstance(x, keras.Variable)}
            self._calls.setdefault(id(call.operation), []).append(call)
        for call in graph.calls:
            self._add(call)

    def layers(self):
        """The layers whose weights are to be copied."""
        skipped = {id(layer) for layer, _ in self.affine}
        for call in self.graph.calls:
            layer = call.operation
            is_layer = isinstance(layer, keras.layers.Layer)
            if is_layer and layer.weights and not hasattr(layer, "adapt"):
                if call.body is None and id(layer) not in skipped:
                    yield layer

    def _add(self, call):
        layer = call.operation
        if call.body is not None:
            self.edits.layers[id(layer)] = self._stack(call)
        elif isinstance(layer, keras.layers.SpectralNormalization):
            if not self.keep(layer) and id(layer) not in self.edits.layers:
                config = {**config_of(layer.layer), "name": layer.name}
                inner = type(layer.layer).from_config(config)
                self.edits.layers[id(layer)] = inner
                self.values[id(layer)] = layer.layer.get_weights()
        elif isinstance(layer, StandardizedKernel) and not self.keep(layer):
            if id(layer) not in self.edits.layers:
                self._standardized(layer)
        elif kinds.has_statistics(layer) and not self.keep(layer):
            if id(layer) in self.edits.layers:
                return
            if statistics.is_measurable(layer):
                self._constant(call)
            else:
                self._normalization(call)

    def _standardized(self, layer):
        """Makes a plain layer of one that standardizes its kernel."""
        self.edits.layers[id(layer)] = plain_layer(layer)
        values = [keras.ops.convert_to_numpy(layer.kernel)]
        bias = getattr(layer, "bias", None)
        if bias is not None:
            values.append(keras.ops.convert_to_numpy(bias))
        self.values[id(layer)] = values

    def _normalization(self, call):
        layer = getattr(call.operation, "layer", call.operation)
        scale, shift = _affine(layer)
        weight = self._foldable(call.operation, layer)
        if weight is None:
            made = ChannelAffine(
                _axis(call.operation, layer),
                name=call.operation.name,
                dtype=layer.dtype_policy,
            )
            made.trainable = layer.trainable
            self.edits.layers[id(call.operation)] = made
            self.affine.append((call.operation, [scale, shift]))
            return
        self.edits.layers[id(call.operation)] = None
        inner = kinds.unwrapped(weight)
        made = self.edits.layers.get(id(weight))
        if made is None or not made.use_bias:
            plain = inner if made is None else made
            config = {**config_of(plain), "use_bias": True, "name": weight.name}
            self.edits.layers[id(weight)] = type(plain).from_config(config)
            values = self.values.setdefault(id(weight), inner.get_weights())
            if not inner.use_bias:
                values.append(np.zeros_like(shift))
        *others, kernel, bias = self.values[id(weight)]
        kernel = kernel * _spread(scale, inner, kernel.shape)
        self.values[id(weight)] = [*others, kernel, bias * scale + shift]

    def _constant(self, call):
        """Scales and shifts in the place of what a normalization measures."""
        layer = call.operation
        # A layer that is called several times has the same constants every time.
        found = [self.constants[c.name] for c in self._calls[id(layer)]]
        scale, shift = (
            keras.ops.convert_to_numpy(x).astype("float64")
            for x in statistics.affine(layer, np.mean(found, axis=0))
        )
        centered = statistics.is_centered(layer)
        behind = self._dense_behind(call)
        if not behind:
            made = ChannelAffine(
                statistics.axis_of(layer),
                centered=centered,
                name=layer.name,
                dtype=layer.dtype_policy,
            )
            made.trainable = layer.trainable
            self.edits.layers[id(layer)] = made
            self.affine.append((layer, [scale, shift]))
            return
        self.edits.layers[id(layer)] = None
        for dense in behind:
            config = {**config_of(dense), "use_bias": True}
            self.edits.layers[id(dense)] = type(dense).from_config(config)
            kernel, *bias = (np.asarray(w, "float64") for w in dense.get_weights())
            bias = (bias[0] if bias else 0.0) + shift @ kernel
            kernel = scale[:, None] * kernel
            if centered:
                kernel = kernel - kernel.mean(axis=0)
            self.values[id(dense)] = [kernel, bias]

    def _dense_behind(self, call):
        """The dense layers that alone read a normalization; none if others do."""
        layer, value = call.operation, call.outputs[0]
        rank = len(self.graph.specs[value].shape)
        is_last = statistics.axis_of(layer) % rank == rank - 1
        is_output = value in self.graph.outputs
        if is_output or not is_last or len(self._calls[id(layer)]) > 1:
            return []
        calls = self._consumers[value]
        takes = all(self._is_free_dense(c, layer.trainable) for c in calls)
        return [c.operation for c in calls] if takes else []

    def _is_free_dense(self, call, trains):
        """Whether a call is the only one of a dense layer that takes constants."""
        dense = call.operation
        return (
            type(dense) is keras.layers.Dense
            and self._takes(dense)
            and (dense.trainable or not trains)
            and len(self._calls[id(dense)]) == 1
            and len(call.inputs) == 1
            and id(dense) not in self.edits.layers
        )

    def _foldable(self, norm, layer):
        """The weight layer in front of a normalization, if that alone reads it.

        Both may be called several times, as in towers: then the one must stand in front
        of the other every time.

        Args:
            norm: The layer that is called.
            layer: The BatchNormalization that it is or, as `TimeDistributed`, holds.
        """
        if norm is not layer:
            return None  # one of its own for every step of time
        calls = self._calls[id(norm)]
        before = [self._only_producer(call.inputs[0]) for call in calls]
        weight = None if before[0] is None else before[0].operation
        if set(before) != set(self._calls.get(id(weight), [])):
            return None  # something else stands in front somewhere, or reads it
        if any(kinds.is_fused(call) for call in before) or not self._takes(weight):
            return None
        if layer.trainable and not weight.trainable:
            return None  # it would be frozen
        shapes = [self.graph.specs[call.inputs[0]].shape for call in calls]
        inner = kinds.unwrapped(weight)
        return weight if all(_is_channels(layer, inner, x) for x in shapes) else None

    def _only_producer(self, value):
        """The call that gives a value that is read once, layers taken out aside."""
        while True:
            call = self._producers[value]
            if len(self._consumers[value]) > 1 or value in self.graph.outputs:
                return None
            if self.edits.layers.get(id(call.operation), call) is not None:
                return call
            value = call.inputs[0]

    def _takes(self, weight):
        """Whether a layer has a kernel and a bias that statistics can go into."""
        inner = kinds.unwrapped(weight)
        if not kinds.kernel_arguments(inner) or not hasattr(inner, "use_bias"):
            return False
        if self.keep(weight):
            return False
        if any(id(variable) in self._read for variable in weight.weights):
            return False  # tied: something else would change too
        # Training would undo it, or sees something else.
        return not kinds.constraints(inner) and inner.activity_regularizer is None

    def _stack(self, call):
        """The stack of the folded blocks."""
        stack, folds = call.operation, statistics.measured_unless(self.keep)
        shape = stack.get_build_config()["input_shape"]
        names = [c.name for c in call.body.calls if folds(c.operation)]
        blocks = []
        for index, block in enumerate(stack.unstack()):
            inputs = keras.Input(shape[1:], dtype=block.compute_dtype)
            model = keras.Model(inputs, block(inputs))
            inner = [c.name for c in trace(model).calls if folds(c.operation)]
            constants = {
                own: self.constants[name][index]
                for own, name in zip(inner, names, strict=True)
            }
            folded = fold(model, self.keep, constants=constants)
            blocks.append(_only_layer(folded))
        return cloned_stack(stack, blocks, stack.depth, stack.seed_step)


def _is_channels(norm, weight, shape):
    """Whether a normalization is along the channels of a weight layer's outputs."""
    rank = len(shape)
    first = getattr(weight, "data_format", None) == "channels_first"
    return norm.axis % rank == (1 if first else rank - 1)


def _axis(operation, layer):
    """The axis of the channels: a `TimeDistributed` puts one in front."""
    return layer.axis + 1 if operation is not layer and layer.axis > 0 else layer.axis


def _only_layer(model):
    layers = [x for x in model.layers if not isinstance(x, keras.layers.InputLayer)]
    (layer,) = layers
    return layer


def _affine(layer):
    """`(scale, shift)` of a BatchNormalization in test mode."""
    mean, variance = (
        keras.ops.convert_to_numpy(v).astype("float64")
        for v in (layer.moving_mean, layer.moving_variance)
    )
    scale = 1 / np.sqrt(variance + layer.epsilon)
    if layer.scale:
        scale = scale * keras.ops.convert_to_numpy(layer.gamma)
    shift = -mean * scale
    if layer.center:
        shift = shift + keras.ops.convert_to_numpy(layer.beta)
    return scale, shift


def _spread(scale, layer, shape):
    """The scales of the outputs, as they lie in a kernel."""
    arguments = kinds.kernel_arguments(layer)
    if arguments == ("depthwise_initializer",):
        return scale.reshape(shape[-2:])
    if isinstance(layer, TRANSPOSED):
        return scale[:, None]
    return scale
