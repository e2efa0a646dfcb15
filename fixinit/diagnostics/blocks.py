"""How large the activations are after every residual block."""

import keras
import numpy as np
from keras import ops

from fixinit.layers import ResidualBlock


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
            layers, such as those of `fixinit.models`.

    Raises:
        ValueError: If the model holds no residual block.
    """

    def __init__(self, model):
        blocks = [layer for layer in model.layers if isinstance(layer, ResidualBlock)]
        if not blocks:
            raise ValueError(
                f"Model `{model.name}` holds no fixinit.layers.ResidualBlock at its "
                "top level, so there is nothing to measure."
            )
        self.names = ["input", *(block.name for block in blocks)]
        tensors = [blocks[0].input, *(block.output for block in blocks)]
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
        return {
            "variance": np.array([_variance(h) for h in outputs]),
            "mean_square": np.array([_mean_square(h) for h in outputs]),
        }


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


def _variance(h):
    h = ops.cast(h, "float32")
    axes = tuple(range(len(h.shape) - 1))
    return ops.convert_to_numpy(ops.mean(ops.var(h, axis=axes)))


def _mean_square(h):
    return ops.convert_to_numpy(ops.mean(ops.square(ops.cast(h, "float32"))))
