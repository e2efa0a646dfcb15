"""The classes of the models: functional models that check inputs."""

from typing import Any

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


@keras.saving.register_keras_serializable("fixinit")
class SequenceNetwork(ResidualNetwork):
    """A `ResidualNetwork` of sequences, through which masks pass."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.supports_masking = True
