"""The class of converted models, which keep the record of their conversion."""

from typing import Any

import keras

from fixinit._functional import DeepModel


@keras.saving.register_keras_serializable("fixinit")
class ConvertedModel(DeepModel):
    """A functional model that `fixinit.convert` has made.

    It is like any functional model and keeps the record of its conversion, which is
    saved with it. It may be deeper than Keras allows, which ends near 1,000 calls in a
    row.

    Example:

    >>> inputs = keras.Input((8,))
    >>> x = keras.layers.Dense(8, "relu")(inputs)
    >>> x = keras.layers.add([inputs, keras.layers.Dense(8)(x)])
    >>> free = fixinit.convert(keras.Model(inputs, x), "fixup")
    >>> free.conversion["scheme"]["class_name"], free.conversion["num_branches"]
    ('Fixup', 1)

    `keras.models.clone_model` makes a model from the layers alone, without the record.
    The config keeps it:

    >>> again = type(free).from_config(free.get_config())
    >>> again.conversion == free.conversion
    True

    Attributes:
        conversion: Dict, the record: see `fixinit.conversion.explain`. `None` in a
            model that was cloned.
    """

    conversion: dict[str, Any] | None = None

    @classmethod
    def make(
        cls, inputs: Any, outputs: Any, name: str, record: dict[str, Any]
    ) -> "ConvertedModel":
        """The model from symbolic inputs to outputs, in any structure."""
        model = cls(inputs, outputs, name=name)
        model.conversion = record
        return model

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "conversion": self.conversion}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> "ConvertedModel":
        config = dict(config)
        record = config.pop("conversion", None)
        model = super().from_config(config, custom_objects)
        model.conversion = record
        return model
