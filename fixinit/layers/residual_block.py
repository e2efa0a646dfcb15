import keras

from fixinit._validation import check_positive_int
from fixinit.layers.block_configs import without_build
from fixinit.layers.scaled_add import ScaledAdd


@keras.saving.register_keras_serializable("fixinit")
class ResidualBlock(keras.layers.Layer):
    """A residual block: shortcut, branch, merge, and an activation after it.

        outputs = activation(merge([shortcut(inputs), branch(inputs)]))

    The block only composes: what the layers do is up to those who choose them.

    Example:

    >>> block = fixinit.layers.ResidualBlock(
    ...     branch=[
    ...         keras.layers.Dense(8, activation="relu"),
    ...         keras.layers.Dense(4, kernel_initializer="zeros"),
    ...     ]
    ... )
    >>> x = keras.ops.ones((2, 4))
    >>> bool(keras.ops.all(block(x) == x))
    True

    Args:
        branch: List of Keras layers, called one after the other: the residual
            function F.
        shortcut: List of Keras layers, called one after the other. Empty by
            default, which is the identity.
        merge: Keras layer that takes `[shortcut, branch]`. By default
            `fixinit.layers.ScaledAdd()`, their sum.
        activation: Activation after the merge (post-activation order), none by
            default.
        shared_layers: int. How many of the branch's first layers the shortcut
            reads its input through, 0 by default. Pre-activation networks
            project the activated input, Fixup the input plus its first bias.
        plain: bool. `True` leaves shortcut and merge out, for comparison with
            networks that are not residual.
        **kwargs: The arguments of `keras.layers.Layer`.

    Input shape: any that the branch takes.
    Output shape: the branch's.

    Raises:
        ValueError: If the branch is empty, if a layer has two places, or, when the
            block is built, if branch and shortcut end in different shapes.

    References:

    - [He et al., 2016](https://arxiv.org/abs/1512.03385)
    - [He et al., 2016](https://arxiv.org/abs/1603.05027) (pre-activation)
    """

    def __init__(
        self,
        branch,
        shortcut=(),
        merge=None,
        activation=None,
        shared_layers=0,
        plain=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.branch = list(branch)
        self.shortcut = list(shortcut)
        self.merge = ScaledAdd(name="merge") if merge is None else merge
        self.activation = keras.activations.get(activation)
        self.shared_layers = check_positive_int(
            "shared_layers", shared_layers, minimum=0
        )
        self.plain = plain
        if not self.branch or self.shared_layers >= len(self.branch):
            raise ValueError(
                "Argument `branch` must be a list of Keras layers, more of them "
                "than the shortcut shares. Received: "
                f"branch={self.branch}, shared_layers={self.shared_layers}"
            )
        parts = self.branch + self.shortcut
        if len({id(layer) for layer in parts}) < len(parts):
            raise ValueError(
                "A residual block holds every layer once. Received one more often: "
                f"branch={self.branch}, shortcut={self.shortcut}. Make a layer for "
                "every place."
            )

    def build(self, input_shape):
        shapes = [tuple(input_shape)]
        for layer in self.branch:
            shapes.append(_build(layer, shapes[-1]))
        if not self.plain:
            shortcut = shapes[self.shared_layers]
            for layer in self.shortcut:
                shortcut = _build(layer, shortcut)
            if shortcut != shapes[-1]:
                raise ValueError(
                    f"Branch and shortcut of `{self.name}` end in different "
                    f"shapes: {shapes[-1]} and {shortcut}. Give the shortcut a "
                    "ZeroPaddingShortcut or a ProjectionShortcut."
                )
            self.merge.build([shortcut, shapes[-1]])
        self.built = True

    def call(self, inputs):
        x = shared = inputs
        for index, layer in enumerate(self.branch):
            if index == self.shared_layers:
                shared = x
            x = layer(x)
        if not self.plain:
            for layer in self.shortcut:
                shared = layer(shared)
            x = self.merge([shared, x])
        return self.activation(x)

    def compute_output_shape(self, input_shape):
        shape = tuple(input_shape)
        for layer in self.branch:
            shape = tuple(layer.compute_output_shape(shape))
        return shape

    def get_config(self):
        return {
            **super().get_config(),
            "branch": [_serialize(layer) for layer in self.branch],
            "shortcut": [_serialize(layer) for layer in self.shortcut],
            "merge": _serialize(self.merge),
            "activation": keras.activations.serialize(self.activation),
            "shared_layers": self.shared_layers,
            "plain": self.plain,
        }

    @classmethod
    def from_config(cls, config):
        deserialize = keras.saving.deserialize_keras_object
        config = dict(config)
        for key in ("branch", "shortcut"):
            config[key] = [deserialize(layer) for layer in config[key]]
        config["merge"] = deserialize(config["merge"])
        return cls(**config)


def _build(layer, input_shape):
    if not layer.built:
        layer.build(input_shape)
    return tuple(layer.compute_output_shape(input_shape))


def _serialize(layer):
    return without_build(keras.saving.serialize_keras_object(layer))
