"""The class of models of tokens."""

import keras

from fixinit._functional import DeepModel


@keras.saving.register_keras_serializable("fixinit")
class TokenNetwork(DeepModel):
    """A functional `keras.Model` that reads integers, tokens of a vocabulary."""
