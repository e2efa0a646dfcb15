"""Activations and gradients of a network at initialization, block by block."""

import keras
import numpy as np

from fixinit import diagnostics, layers
from fixinit.diagnostics.report import global_norm, loss_and_gradients

_PROBE_SIZE = 250


def probe(data, size=_PROBE_SIZE):
    """The training samples on which networks are measured: `(x, y)`.

    The same ones for every network, and not the first ones: files may be sorted.
    """
    size = min(size, len(data.x_train))
    rows = np.random.default_rng(0).choice(len(data.x_train), size, replace=False)
    return data.x_train[rows], data.y_train[rows]


class BlockMeasurements:
    """Measures activations and gradients of a network, block by block.

    Batch statistics where there are BatchNormalization layers: that is the network
    that is about to be trained.

    Args:
        model: Network of `fixinit.models`.
        loss: Keras loss of `(y_true, y_pred)`.
    """

    def __init__(self, model, loss):
        self.model = model
        self._statistics = diagnostics.BlockStatistics(model)
        self._gradients = loss_and_gradients(model, loss)

    def initial(self, x, y, scheme=None):
        """Activations and gradients on one batch, as results.json holds them.

        Args:
            x: Array of samples.
            y: Array of their targets.
            scheme: The `fixinit.schemes.Scheme` whose prediction is recorded, or
                `None` where there is none.
        """
        statistics = self._statistics(x, training=True)
        names = self._statistics.names
        predicted = None
        if scheme is not None:
            predicted = scheme.predicted_variance(
                len(names) - 1, input_variance=float(statistics.mean_square[0])
            ).tolist()
        loss, gradients = self._gradients(x, y, training=True)
        norms = [_norms(gradient, num_axes=0) for gradient in gradients]
        return {
            "blocks": names,
            "variance": statistics.variance.tolist(),
            "mean_square": statistics.mean_square.tolist(),
            "predicted": predicted,
            "loss": float(loss),
            "gradient_norm": global_norm(norms),
            "branch_gradient_norms": self._by_block(gradients),
        }

    def gradient_norm(self, x, y):
        """The norm of the whole gradient on one batch."""
        _, gradients = self._gradients(x, y, training=True)
        return global_norm(_norms(gradient, num_axes=0) for gradient in gradients)

    def _by_block(self, gradients):
        """The gradient norm of every block's weights."""
        variables = self.model.trainable_variables
        by_id = {id(v): g for v, g in zip(variables, gradients, strict=True)}
        norms = []
        for layer in self.model.layers:
            if not isinstance(layer, (layers.ResidualBlock, layers.Stack)):
                continue
            found = [by_id[id(v)] for v in layer.trainable_variables]
            # A stack's variables hold those of all its blocks along the first axis.
            stacked = hasattr(layer, "depth")
            of_layer = [_norms(g, num_axes=int(stacked)) for g in found]
            if stacked:
                norms += [global_norm(block) for block in zip(*of_layer, strict=True)]
            else:
                norms.append(global_norm(of_layer))
        return norms


def _norms(gradient, num_axes):
    """Euclidean norms over all but the first axes; not in single precision."""
    values = keras.ops.convert_to_numpy(gradient)
    with np.errstate(over="ignore", invalid="ignore"):
        flat = values.reshape(*values.shape[:num_axes], -1)
        return np.sqrt(np.einsum("...i,...i", flat, flat, dtype="float64"))
