"""The class of converted models: they know what was done to them."""

import contextlib
import sys

import keras


@keras.saving.register_keras_serializable("fixinit")
class ConvertedModel(keras.Model):
    """A functional model that `fixinit.convert` has made.

    Like any functional model, and with the record of its conversion, which is saved
    with it. It may be deeper than Keras allows: Keras follows the graph of a model
    by recursion, which ends near 1,000 calls in a row.

    Example:

    >>> inputs = keras.Input((8,))
    >>> x = keras.layers.Dense(8, "relu")(inputs)
    >>> x = keras.layers.add([inputs, keras.layers.Dense(8)(x)])
    >>> free = fixinit.convert(keras.Model(inputs, x), "fixup")
    >>> free.conversion["scheme"]["class_name"], free.conversion["num_branches"]
    ('Fixup', 1)

    Attributes:
        conversion: Dict, the record: see `fixinit.conversion.explain`.
    """

    conversion = None

    @classmethod
    def make(cls, inputs, outputs, name, record):
        """The model between some tensors."""
        with deep_graphs():
            model = cls(inputs, outputs, name=name)
        model.conversion = record
        return model

    def get_config(self):
        return {**super().get_config(), "conversion": self.conversion}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        record = config.pop("conversion", None)
        with deep_graphs():
            model = super().from_config(config, custom_objects)
        model.conversion = record
        return model


@contextlib.contextmanager
def deep_graphs(limit=100_000):
    """Lets Keras follow graphs of any depth."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, limit))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
