"""The class of models of tokens."""

from typing import Any

import keras
from keras import ops

from fixinit import backend
from fixinit._functional import DeepModel
from fixinit._typing import Tensor
from fixinit.layers import TokenEmbedding


@keras.saving.register_keras_serializable("fixinit")
class TokenNetwork(DeepModel):
    """A functional `keras.Model` that reads integers, tokens of a vocabulary.

    Called eagerly, it refuses tokens outside of it. Compiled functions cannot: there
    the backend decides.
    """

    def call(
        self, inputs: Tensor, training: bool | None = None, mask: Any = None
    ) -> Tensor:
        is_symbolic = isinstance(inputs, keras.KerasTensor)
        if not is_symbolic and backend.is_eager(inputs) and 0 not in inputs.shape:
            count = self.embedding.input_dim
            least, largest = (int(f(inputs)) for f in (ops.min, ops.max))
            if least < 0 or largest >= count:
                raise ValueError(
                    f"`{self.name}` reads tokens from 0 to {count - 1}. Received: "
                    f"tokens from {least} to {largest}"
                )
        return super().call(inputs, training=training, mask=mask)

    @property
    def embedding(self) -> TokenEmbedding:
        """The layer that embeds tokens."""
        return next(x for x in self.layers if isinstance(x, TokenEmbedding))
