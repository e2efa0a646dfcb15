import keras
from keras import ops


@keras.saving.register_keras_serializable("fixinit")
class ChannelAffine(keras.layers.Layer):
    """Multiplies every channel by a trainable number and adds another.

    `outputs = scale * inputs + shift`, both of shape `(channels,)`: what is left of
    batch normalization when its statistics are constants.

    Example:

    >>> layer = fixinit.layers.ChannelAffine()
    >>> x = keras.ops.ones((2, 3))
    >>> bool(keras.ops.all(layer(x) == x))
    True

    Args:
        axis: int. The axis of the channels, the last one by default.
        **kwargs: The arguments of `keras.layers.Layer`.

    Input and output shape: any, and the same.

    Reference:

    - [Touvron et al., 2021](https://arxiv.org/abs/2105.03404), section 2
    """

    def __init__(self, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.axis = axis
        self.supports_masking = True

    def build(self, input_shape):
        shape = (input_shape[self.axis],)
        self.scale = self.add_weight(name="scale", shape=shape, initializer="ones")
        self.shift = self.add_weight(name="shift", shape=shape, initializer="zeros")
        self.built = True

    def call(self, inputs):
        shape = [1] * len(inputs.shape)
        shape[self.axis] = inputs.shape[self.axis]
        scale, shift = (
            ops.cast(ops.reshape(v, shape), inputs.dtype)
            for v in (self.scale, self.shift)
        )
        return inputs * scale + shift

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "axis": self.axis}
