"""The residual block, which composes layers and adds nothing of its own."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import keras

from fixinit import _keras
from fixinit._checked import checked
from fixinit._typing import Identifier, Shape, Tensor
from fixinit._validation import check_activation, check_positive_int
from fixinit.layers.block_configs import without_build
from fixinit.layers.scaled_add import ScaledAdd


@keras.saving.register_keras_serializable("fixinit")
class ResidualBlock(keras.layers.Layer):
    """Residual block: shortcut, branch, merge, and an activation after the merge.

        outputs = activation(after_merge(merge([shortcut(inputs), branch(inputs)])))

    The block composes layers as `keras.Sequential` does: masks pass through branch,
    shortcut and merge, and every layer whose `call` takes `training` or another
    argument of the block's call gets it.

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

    Cross-attention, whose second layer reads a context as well:

    >>> block = fixinit.layers.ResidualBlock(
    ...     branch=[
    ...         keras.layers.LayerNormalization(),
    ...         keras.layers.MultiHeadAttention(num_heads=2, key_dim=4),
    ...     ],
    ...     context_layer=1,
    ... )
    >>> x, context = keras.ops.ones((1, 3, 8)), keras.ops.ones((1, 5, 8))
    >>> tuple(block(x, context).shape)
    (1, 3, 8)

    Args:
        branch: List of Keras layers, called one after the other: the residual
            function F.
        shortcut: List of Keras layers, called one after the other. Empty by
            default, which is the identity.
        merge: Keras layer that takes `[shortcut, branch]`. By default
            `fixinit.layers.ScaledAdd()`, their sum.
        activation: Activation after the merge (post-activation order), none by
            default.
        after_merge: List of Keras layers between merge and activation, such as the
            normalization of a post-norm block. Empty by default.
        shared_layers: int. How many of the branch's first layers the shortcut
            reads its input through, 0 by default. Pre-activation networks
            project the activated input, Fixup the input plus its first bias.
        plain: bool. `True` leaves shortcut and merge out, for comparison with
            networks that are not residual.
        context_layer: int. Index of the branch's layer that further inputs go to, 0
            by default. `block(x, *context)` calls it as `layer(x, *context)`, and as
            `layer([x, *context])` if it is a functional model of several inputs.
        **kwargs: The arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor.
        *context: Tensors, the further inputs of one layer of the branch.
        training: bool. Passed to every layer that takes it.
        mask: Boolean tensor, the mask of `inputs`. By default the one that Keras has
            attached to `inputs`, as an `Embedding` with `mask_zero=True` does. Masks
            of `context` are those attached to it.
        **kwargs: Any other arguments, such as `use_causal_mask`, passed to every layer
            of branch and shortcut whose `call` takes them. Keras takes either tensors
            or other values here, not both in one call.

    Input shape:
        Any that the branch takes.

    Output shape:
        The output shape of the branch.

    Raises:
        ValueError: If the branch is empty, if `shared_layers` or `context_layer` is
            outside of the branch, if a layer has two places, or, when the block is
            built, if branch and shortcut end in different shapes.
        TypeError: When called, if no layer takes a call argument.

    References:

    - [He et al., 2016](https://arxiv.org/abs/1512.03385)
    - [He et al., 2016](https://arxiv.org/abs/1603.05027) (pre-activation)
    """

    @checked
    def __init__(
        self,
        branch: Sequence[keras.layers.Layer],
        shortcut: Sequence[keras.layers.Layer] = (),
        merge: keras.layers.Layer | None = None,
        activation: Identifier = None,
        shared_layers: int = 0,
        plain: bool = False,
        context_layer: int = 0,
        after_merge: Sequence[keras.layers.Layer] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.branch = list(branch)
        self.after_merge = list(after_merge)
        self.shortcut = list(shortcut)
        if merge is None:
            merge = ScaledAdd(name="merge", dtype=self.dtype_policy)
        self.merge = merge
        self.activation = check_activation("activation", activation)
        self.shared_layers = check_positive_int(
            "shared_layers", shared_layers, minimum=0
        )
        self.plain = plain
        self.context_layer = check_positive_int(
            "context_layer", context_layer, minimum=0
        )
        # What the layers make of a mask is theirs to say.
        self.supports_masking = True
        self._check_places()

    def _check_places(self) -> None:
        if not self.branch or self.shared_layers >= len(self.branch):
            raise ValueError(
                "Argument `branch` must be a list of Keras layers, more of them "
                "than the shortcut shares. Received: "
                f"branch={self.branch}, shared_layers={self.shared_layers}"
            )
        if self.context_layer >= len(self.branch):
            raise ValueError(
                "Argument `context_layer` must be the index of one of the "
                f"{len(self.branch)} layers of the branch, counted from 0. Received: "
                f"context_layer={self.context_layer}"
            )
        parts = self.branch + self.shortcut + self.after_merge
        if len({id(layer) for layer in parts}) < len(parts):
            raise ValueError(
                "A residual block holds every layer once. Received one more often: "
                f"branch={self.branch}, shortcut={self.shortcut}, "
                f"after_merge={self.after_merge}. Make a layer for every place."
            )

    def build(self, inputs_shape: Shape, context_shape: Any = ()) -> None:
        """Builds branch, shortcut and merge.

        Args:
            inputs_shape: Tuple, the shape of the inputs.
            context_shape: Tuple of the shapes of the further inputs.
        """
        self._context_shape = tuple(map(tuple, context_shape))
        shapes = [tuple(inputs_shape)]
        for index, layer in enumerate(self.branch):
            context = self._context_of(index, self._context_shape)
            _build(layer, shapes[-1], context)
            shapes.append(output_shape(layer, shapes[-1], context))
        if not self.plain:
            shortcut = shapes[self.shared_layers]
            for layer in self.shortcut:
                _build(layer, shortcut)
                shortcut = output_shape(layer, shortcut)
            if shortcut != shapes[-1]:
                raise ValueError(
                    f"Branch and shortcut of `{self.name}` end in different "
                    f"shapes: {shapes[-1]} and {shortcut}. Give the shortcut a "
                    "ZeroPaddingShortcut or a ProjectionShortcut."
                )
            self.merge.build([shortcut, shapes[-1]])
        for layer in self.after_merge:
            _build(layer, shapes[-1])
        self.built = True

    def call(
        self,
        inputs: Tensor,
        *context: Tensor,
        training: bool | None = None,
        mask: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        self._check_call_arguments(kwargs)
        if training is not None:
            kwargs["training"] = training
        with _keras.kept_masks(inputs):
            if mask is not None:
                _keras.set_mask(inputs, mask)
            x = shared = inputs
            for index, layer in enumerate(self.branch):
                if index == self.shared_layers:
                    shared = x
                x = _call(layer, x, self._context_of(index, context), kwargs)
            if not self.plain:
                for layer in self.shortcut:
                    shared = _call(layer, shared, (), kwargs)
                x = self.merge([shared, x])
            for layer in self.after_merge:
                x = _call(layer, x, (), kwargs)
            outputs = self.activation(x)
            if outputs is not x:
                _keras.set_mask(outputs, _keras.get_mask(x))
        return outputs

    def _context_of(self, index: int, context: Sequence[Any]) -> Sequence[Any]:
        """The further inputs, or their shapes, of a layer of the branch."""
        return context if index == self.context_layer else ()

    def _check_call_arguments(self, names: Any) -> None:
        for name in names:
            if not takes(self, name):
                raise TypeError(
                    f"Argument `{name}` of a call of `{self.name}` is one that no "
                    "layer of its branch and shortcut takes. The layers are: "
                    f"{[layer.name for layer in self.branch + self.shortcut]}"
                )

    def compute_output_shape(
        self, inputs_shape: Shape, context_shape: Any = ()
    ) -> tuple[int | None, ...]:
        shape = tuple(inputs_shape)
        for index, layer in enumerate(self.branch):
            context = self._context_of(index, context_shape)
            shape = output_shape(layer, shape, context)
        return shape

    def compute_mask(self, inputs: Tensor, previous_mask: Any = None) -> Any:
        """The mask that branch, shortcut and merge make of a mask of the inputs."""
        if previous_mask is None:
            return None
        x = shared = keras.KerasTensor(inputs.shape, self.compute_dtype)
        mask = shared_mask = previous_mask
        for index, layer in enumerate(self.branch):
            if index == self.shared_layers:
                shared, shared_mask = x, mask
            context = self._context_of(index, self._context_shape)
            x, mask = _with_mask(layer, x, mask, context)
        if not self.plain:
            for layer in self.shortcut:
                shared, shared_mask = _with_mask(layer, shared, shared_mask)
            masks = [shared_mask, mask]
            merges = self.merge.supports_masking
            mask = self.merge.compute_mask([shared, x], masks) if merges else None
        for layer in self.after_merge:
            x, mask = _with_mask(layer, x, mask)
        return mask

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "branch": [_serialize(layer) for layer in self.branch],
            "shortcut": [_serialize(layer) for layer in self.shortcut],
            "merge": _serialize(self.merge),
            "activation": keras.activations.serialize(self.activation),
            "shared_layers": self.shared_layers,
            "plain": self.plain,
            "context_layer": self.context_layer,
            "after_merge": [_serialize(layer) for layer in self.after_merge],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ResidualBlock":
        deserialize = keras.saving.deserialize_keras_object
        config = dict(config)
        for key in ("branch", "shortcut", "after_merge"):
            config[key] = [deserialize(layer) for layer in config.get(key, ())]
        config["merge"] = deserialize(config["merge"])
        return cls(**config)


def takes(layer: keras.layers.Layer, argument: str) -> bool:
    """Whether a call of `layer` takes an argument, and does something with it."""
    if isinstance(layer, ResidualBlock) and argument not in ("training", "mask"):
        parts = layer.branch + layer.shortcut + layer.after_merge
        return any(takes(part, argument) for part in parts)
    return argument in layer.call_signature_parameters


def _takes_list(layer: keras.layers.Layer) -> bool:
    """Whether a layer takes several inputs as one list: a functional model."""
    return isinstance(layer, keras.Model) and len(layer.inputs or []) > 1


def _call(
    layer: keras.layers.Layer, x: Tensor, context: Sequence[Tensor], arguments: Any
) -> Tensor:
    taken = {name: v for name, v in arguments.items() if takes(layer, name)}
    # Shortcuts and other blocks read them, too.
    with _keras.kept_masks(x, *context):
        if context and _takes_list(layer):
            return layer([x, *context], **taken)
        return layer(x, *context, **taken)


def _build(layer: keras.layers.Layer, shape: Shape, context: Sequence = ()) -> None:
    if not layer.built:
        layer.build(*_shapes(layer, layer.build, shape, context))


def output_shape(
    layer: keras.layers.Layer, shape: Shape, context: Sequence = ()
) -> tuple[int | None, ...]:
    """The shape of what a layer gives for an input and further ones of some shapes."""
    compute = layer.compute_output_shape
    try:
        return tuple(compute(*_shapes(layer, compute, shape, context)))
    except NotImplementedError:
        # Layers of one's own often leave it to Keras to find the shape.
        read = [keras.KerasTensor(s, layer.compute_dtype) for s in (shape, *context)]
        return tuple(layer.compute_output_spec(*read).shape)


def _shapes(
    layer: keras.layers.Layer, method: Callable, shape: Shape, context: Sequence
) -> list:
    """The shapes of the inputs as a method of a layer takes them."""
    if not context:
        return [tuple(shape)]
    if isinstance(layer, ResidualBlock):
        return [tuple(shape), context]
    shapes = [tuple(shape), *map(tuple, context)]
    if _takes_list(layer):
        return [shapes]
    # As Keras does: the first ones, if a method does not ask for all.
    return shapes[: len(inspect.signature(method).parameters)]


def _with_mask(
    layer: keras.layers.Layer, x: Any, mask: Any, context: Sequence = ()
) -> tuple[Any, Any]:
    """The symbolic output of a layer, and what the layer makes of the mask of `x`."""
    mask = layer.compute_mask(x, mask) if layer.supports_masking else None
    shape = output_shape(layer, x.shape, context)
    return keras.KerasTensor(shape, layer.compute_dtype), mask


def _serialize(layer: keras.layers.Layer) -> dict[str, Any]:
    return without_build(keras.saving.serialize_keras_object(layer))
