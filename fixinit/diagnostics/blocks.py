"""How large the activations are after every residual block."""

import keras
import numpy as np
from keras import ops

from fixinit.layers import ResidualBlock, Stack


class BlockStatistics:
    """Measures variance and mean square after every residual block of a model.

    Made once per model, it can be called again and again as weights change.

    Example:

    >>> model = fixinit.models.ResidualMLP(num_blocks=3, units=16, seed=0)
    >>> measure = fixinit.diagnostics.BlockStatistics(model)
    >>> measure(np.ones((8, 40), "float32"))["mean_square"].shape
    (4,)

    Args:
        model: Functional `keras.Model` with `fixinit.layers.ResidualBlock`
            layers or `fixinit.layers.Stack`s, such as those of `fixinit.models`.
            The blocks of a stack are named by its name and their index.

    Raises:
        ValueError: If the model holds no residual block.
    """

    def __init__(self, model):
        self.layers = [
            layer for layer in model.layers if isinstance(layer, (ResidualBlock, Stack))
        ]
        if not self.layers:
            raise ValueError(
                f"Model `{model.name}` holds no fixinit.layers.ResidualBlock or Stack "
                "at its top level, so there is nothing to measure."
            )
        self.names = ["input"]
        tensors = [self.layers[0].input]
        for layer in self.layers:
            if isinstance(layer, Stack):
                self.names += [f"{layer.name}[{i}]" for i in range(layer.depth)]
                tensors.append(layer.input)
            else:
                self.names.append(layer.name)
                tensors.append(layer.output)
        self._taps = keras.Model(model.inputs, tensors)

    def __call__(self, x, training=False):
        """Measures on one batch.

        Args:
            x: Array, a batch of inputs.
            training: bool. `True` normalizes with the batch's own statistics
                where there are BatchNormalization layers. The model's running
                averages stay as they are.

        Returns:
            Dict of arrays of shape `(num_blocks + 1,)`, for the first block's
            input and every block's output: `"variance"`, over batch and space,
            averaged over channels, and `"mean_square"`, over all elements.
        """
        x = check_inputs(x)
        outputs, _ = self._taps.stateless_call(
            [v.value for v in self._taps.trainable_variables],
            [v.value for v in self._taps.non_trainable_variables],
            ops.convert_to_tensor(x),
            training=training,
        )
        measured = [_statistics(outputs[0])]
        for layer, h in zip(self.layers, outputs[1:], strict=True):
            if isinstance(layer, Stack):
                stacked = layer.observe(h, _statistics, training)
                values = [ops.convert_to_numpy(s)[1:] for s in stacked]
                measured += list(zip(*values, strict=True))
            else:
                measured.append(_statistics(h))
        variance, mean_square = (
            np.array([ops.convert_to_numpy(value) for value in values])
            for values in zip(*measured, strict=True)
        )
        return {"variance": variance, "mean_square": mean_square}


def block_statistics(model, x, training=False):
    """`BlockStatistics(model)(x, training)`, for a single measurement."""
    return BlockStatistics(model)(x, training)


def check_inputs(x):
    """The batch as floating-point NumPy array; refuses integers."""
    x = np.asarray(x)
    if not np.issubdtype(x.dtype, np.floating):
        raise ValueError(
            "Inputs must be floating-point, as the model was trained on or is "
            f"meant for. Received: dtype {x.dtype}. Convert and scale them first, "
            "for images `x = x.astype('float32') / 255`."
        )
    return x


def _statistics(h):
    h = ops.cast(h, "float32")
    axes = tuple(range(len(h.shape) - 1))
    return [ops.mean(ops.var(h, axis=axes)), ops.mean(ops.square(h))]
