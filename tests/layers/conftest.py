"""What the tests of several layers share."""

import pytest
from keras import ops

from fixinit import backend


@pytest.fixture
def forward_and_gradients():
    """A layer's outputs in training mode, and the gradients of their sum.

    Both see the same draws.
    """

    def measure(layer, *inputs):
        inputs = [ops.convert_to_tensor(x) for x in inputs]
        layer(inputs if len(inputs) > 1 else inputs[0])
        state = [v.value for v in layer.non_trainable_variables]

        def forward(inputs):
            inputs = inputs if len(inputs) > 1 else inputs[0]
            return layer.stateless_call([], state, inputs, training=True)[0]

        run = backend.value_and_gradients(lambda inputs: ops.sum(forward(inputs)))
        gradients = [ops.convert_to_numpy(g) for g in run(inputs)[1]]
        return ops.convert_to_numpy(forward(inputs)), gradients

    return measure
