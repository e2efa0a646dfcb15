"""What takes the place of BatchNorm's noise: for both versions, to choose from."""

import dataclasses

import keras
from keras import ops

import fixinit
from recipes.common.training.fit import LOSS


@dataclasses.dataclass(frozen=True)
class Regularization:
    """One way to regularize a network.

    Attributes:
        stochastic_depth_rate: float. Probability with which a sample passes the last
            residual block without its branch, in proportion less for earlier ones.
        drop_rate: float. Dropout in front of the head.
        label_smoothing: float. Share of the targets that is spread over all classes.
        ema_momentum: float. What the moving average of the weights, which is tested,
            keeps of itself at every step; 0 for the last weights.
    """

    stochastic_depth_rate: float = 0.0
    drop_rate: float = 0.0
    label_smoothing: float = 0.0
    ema_momentum: float = 0.0

    @property
    def noise(self):
        """The arguments of the models that add noise."""
        rates = ("stochastic_depth_rate", "drop_rate")
        return {name: getattr(self, name) for name in rates}

    def loss(self, classes):
        """The cross-entropy of class indices, with smoothed labels."""
        if not self.label_smoothing:
            return LOSS

        def smoothed(labels, logits):
            return keras.losses.categorical_crossentropy(
                ops.one_hot(ops.reshape(labels, (-1,)), classes),
                logits,
                from_logits=True,
                label_smoothing=self.label_smoothing,
            )

        return smoothed


REGULARIZATIONS = {
    "none": Regularization(),
    "stochastic_depth": Regularization(stochastic_depth_rate=0.1),
    "dropout": Regularization(drop_rate=0.2),
    "label_smoothing": Regularization(label_smoothing=0.1),
    "averaging": Regularization(ema_momentum=0.98),
    "all": Regularization(0.1, 0.2, 0.1, 0.98),
}


def with_noise(network, stochastic_depth_rate, drop_rate):
    """A functional network with noise in it, and the same layers otherwise.

    Args:
        network: `keras.Model`.
        stochastic_depth_rate: float. See `Regularization`.
        drop_rate: float. See `Regularization`.
    """
    if not stochastic_depth_rate and not drop_rate:
        return network
    graph = fixinit.graph.trace(network)
    blocks = fixinit.graph.find_blocks(graph)
    ends = {block.merge: (index, block) for index, block in enumerate(blocks)}
    head = [call for call in graph.calls if call.has_weights][-1]
    values = dict(zip(graph.inputs, network.inputs, strict=True))
    for call in graph.calls:
        if call.is_input:
            continue
        read = [values[value] for value in call.inputs]
        if call in ends and stochastic_depth_rate:
            index, block = ends[call]
            dropped = _stochastic_depth(index, len(blocks), stochastic_depth_rate)
            for branch in block.branches:
                read[branch] = dropped(read[branch])
        if call is head and drop_rate:
            dropout = keras.layers.Dropout(drop_rate, seed=len(blocks))
            read = [dropout(x) for x in read]
        args, kwargs = call.fill(read)
        given = keras.tree.flatten(call.operation(*args, **kwargs))
        values.update(zip(call.outputs, given, strict=True))
    (output,) = graph.outputs
    return keras.Model(network.input, values[output], name=network.name)


def _stochastic_depth(index, num_blocks, rate):
    kept = fixinit.layers.survival_probability(index, num_blocks, 1 - rate)
    # With a seed, even if another one follows: without, PyTorch's own state counts.
    return fixinit.layers.StochasticDepth(
        kept, level="sample", scaling="inverted", seed=index
    )


class AveragesTested(keras.callbacks.SwapEMAWeights):
    """Tests averaged weights, and goes on with the others.

    Keras leaves the average in the model where `fit` ends, as if training did.
    """

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        convert = ops.convert_to_numpy
        self.last = [convert(v).copy() for v in self.model.trainable_variables]

    def on_train_end(self, logs=None):
        super().on_train_end(logs)
        for variable, value in zip(
            self.model.trainable_variables, self.last, strict=True
        ):
            variable.assign(value)
