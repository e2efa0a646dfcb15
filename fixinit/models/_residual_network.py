"""The class of the models: a functional model that starts fast and checks inputs."""

from typing import Any

import keras

from fixinit._functional import DeepModel
from fixinit._typing import Tensor
from fixinit.layers.scalars import check_float


@keras.saving.register_keras_serializable("fixinit")
class ResidualNetwork(DeepModel):
    """A functional `keras.Model` that refuses integer inputs and starts fast.

    Keras would cast integer images to float without scaling them, and a network
    without normalization does not forgive inputs of size 255.
    """

    def call(
        self, inputs: Tensor, training: bool | None = None, mask: Tensor | None = None
    ) -> Tensor:
        check_float(self.name, inputs)
        return super().call(inputs, training=training, mask=mask)

    def make_train_function(self, force: bool = False) -> Any:
        # Keras would build the optimizer while TensorFlow traces the training step,
        # which is then traced a second time.
        if self.optimizer is not None and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        return super().make_train_function(force)
