"""The class of the models: a functional model that checks inputs."""

import keras

from fixinit._functional import DeepModel
from fixinit._typing import Tensor
from fixinit.layers.scalars import check_float


@keras.saving.register_keras_serializable("fixinit")
class ResidualNetwork(DeepModel):
    """A functional `keras.Model` that refuses integer inputs.

    Keras would cast integer images to float without scaling them, and a network
    without normalization does not forgive inputs of size 255.
    """

    def call(
        self, inputs: Tensor, training: bool | None = None, mask: Tensor | None = None
    ) -> Tensor:
        check_float(self.name, inputs)
        return super().call(inputs, training=training, mask=mask)
