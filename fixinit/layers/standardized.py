"""Scaled weight standardization, a property that any weight layer can be given."""

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from fixinit._typing import Identifier, Shape, Tensor
from fixinit._validation import check_initializer, check_number
from fixinit.layers.configs import config_of
from fixinit.layers.facts import Facts, facts_by

EPSILON = 1e-4
# The layers of Keras with one kernel that makes all outputs.
LAYERS = (
    keras.layers.Dense,
    keras.layers.EinsumDense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)


class StandardizedKernel:
    """Kernel with zero mean and variance `1 / fan_in` over the inputs of every unit.

        kernel = gain * (W - mean(W)) / sqrt(max(fan_in * variance(W), epsilon))

    Mean and variance are those of all weights of one output unit, of which there are
    fan_in. W and the gain, one number for each unit, are trained. So a unit sums its
    inputs with weights that add up to zero: what all inputs have in common, as behind a
    ReLU, goes no further. The scale of W does not matter, and its gradient is
    orthogonal to it.

    Mixin in front of a layer of Keras: `fixinit.layers.standardized` gives it to a
    layer, `StandardizedDense`, `StandardizedConv2D` and the like are classes with it.
    The variable W is `raw_kernel`, `kernel` what the layer multiplies by, computed in
    float32 under mixed precision.

    Example:

    >>> layer = fixinit.layers.standardized(keras.layers.Conv2D(4, 3))
    >>> isinstance(layer, fixinit.layers.StandardizedKernel), type(layer).__name__
    (True, 'StandardizedConv2D')

    Args:
        gain_initializer: Initializer of the gain, `"ones"` by default.
        epsilon: float, at least 0. Smallest `fan_in * variance(W)` that is divided by;
            1e-4 by default, the authors'.

    References:

    - [Brock et al., 2021a](https://arxiv.org/abs/2101.08692), section 4.2.
    - [Brock et al., 2021b](https://arxiv.org/abs/2102.06171)
    - [Qiao et al., 2019](https://arxiv.org/abs/1903.10520) (weight standardization)
    """

    # The class of Keras behind it.
    plain: type
    fan_axes: tuple[int, ...]
    # Whether the weights are standardized already, as in the blocks of a `Stack`.
    is_prepared = False

    def __init__(
        self,
        *args: Any,
        gain_initializer: Identifier = "ones",
        epsilon: float = EPSILON,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.gain_initializer = check_initializer("gain_initializer", gain_initializer)
        self.epsilon = check_number(
            "epsilon", epsilon, "a number of at least 0", lambda x: x >= 0
        )

    def build(self: Any, input_shape: Shape) -> None:
        super().build(input_shape)  # type: ignore[misc]
        rank = len(self.raw_kernel.shape)
        units = {axis % rank for axis in facts_by(self.plain, self).units["kernel"]}
        self.fan_axes = tuple(axis for axis in range(rank) if axis not in units)
        sizes = enumerate(self.raw_kernel.shape)
        self.gain = self.add_weight(
            name="gain",
            shape=tuple(size for axis, size in sizes if axis not in self.fan_axes),
            initializer=self.gain_initializer,
            # Cast to half precision, its gradient would be, too.
            autocast=False,
        )

    @property
    def kernel(self: Any) -> Tensor:
        """The standardized kernel, of the dtype that the layer computes in."""
        kernel = ops.convert_to_tensor(self.raw_kernel)
        if self.is_prepared:
            return ops.cast(kernel, self.compute_dtype)
        dtype = keras.backend.standardize_dtype(kernel.dtype)
        if dtype in ("float16", "bfloat16"):
            kernel = ops.cast(kernel, "float32")
        kernel = _standardized(kernel, self.gain, self.fan_axes, self.epsilon)
        return ops.cast(kernel, self.compute_dtype)

    def prepared(self: Any, stacked: Callable[[Any], Tensor]) -> dict[int, Tensor]:
        """The kernels of all blocks of a `Stack`, standardized at once.

        Args:
            stacked: Function from a variable of this layer to that of all blocks, along
                a first axis.

        Returns:
            Dict from the id of a variable to what the blocks have for it while
            `is_prepared`.
        """
        axes = tuple(axis + 1 for axis in self.fan_axes)
        values = stacked(self.raw_kernel), stacked(self.gain)
        return {id(self.raw_kernel): _standardized(*values, axes, self.epsilon)}

    @property
    def fixinit_facts(self: Any) -> Facts:
        facts = facts_by(self.plain, self)
        units = {"raw_kernel": facts.units["kernel"], "gain": ()}
        return dataclasses.replace(
            facts, kernels_scale="gain_initializer", units=facts.units | units
        )

    def quantize(self: Any, *args: Any, **kwargs: Any) -> None:
        """Refused: folding first makes a layer of Keras of it."""
        raise ValueError(
            f"Layer `{self.name}` computes its kernel from its weights, which cannot "
            "be quantized. Quantize `fixinit.convert(model, weights='fold')`, whose "
            "kernels are plain."
        )

    def fixinit_plain(self: Any) -> keras.layers.Layer:
        """A layer of Keras, not built, of the same configuration otherwise."""
        config = config_of(self)
        for name in ("gain_initializer", "epsilon"):
            del config[name]
        return self.plain.from_config(config)

    # Layers of Keras save what they call their kernel.
    def save_own_variables(self: Any, store: Any) -> None:
        keras.layers.Layer.save_own_variables(self, store)

    def load_own_variables(self: Any, store: Any) -> None:
        keras.layers.Layer.load_own_variables(self, store)

    def get_config(self: Any) -> dict[str, Any]:
        return {
            **super().get_config(),  # type: ignore[misc]
            "gain_initializer": keras.initializers.serialize(self.gain_initializer),
            "epsilon": self.epsilon,
        }


class _Computed(StandardizedKernel):
    """For classes of Keras that have `kernel` as a property."""

    @property
    def raw_kernel(self) -> Tensor:
        """The kernel before standardization, as the weights have it."""
        return super(StandardizedKernel, self).kernel  # type: ignore[misc]


class _Assigned(StandardizedKernel):
    """For classes of Keras that assign the variable to the attribute `kernel`."""

    raw_kernel: Any

    @property
    def kernel(self) -> Tensor:
        """The standardized kernel, of the dtype that the layer computes in."""
        return StandardizedKernel.kernel.fget(self)  # type: ignore[attr-defined]

    @kernel.setter
    def kernel(self, variable: keras.Variable) -> None:
        self.raw_kernel = variable


def _standardized(
    kernel: Tensor, gain: Tensor, axes: tuple[int, ...], epsilon: float
) -> Tensor:
    fan_in = math.prod(kernel.shape[axis] for axis in axes)
    mean, variance = ops.moments(kernel, axes, keepdims=True)
    gain = ops.cast(ops.expand_dims(gain, axes), kernel.dtype)
    scale = ops.rsqrt(ops.maximum(fan_in * variance, epsilon)) * gain
    return kernel * scale - mean * scale


# Keras makes layers of a file from the classes that are registered.
@functools.cache
def standardized_class(plain: Any) -> type:
    """The class of layers like `plain` with standardized kernels.

    Args:
        plain: Class of layers with a kernel, `keras.layers.Dense`, `EinsumDense`, a
            convolution, a depthwise or a transposed one, or a subclass of one of these.

    Raises:
        TypeError: If it is none of these.
    """
    if not (isinstance(plain, type) and issubclass(plain, LAYERS)):
        known = ", ".join(kind.__name__ for kind in LAYERS)
        raise TypeError(
            "Argument `layer` must be one whose kernel has one unit for each output: "
            f"{known}, or a subclass. Received: {plain!r}"
        )
    is_property = isinstance(inspect.getattr_static(plain, "kernel", None), property)
    mixin = _Computed if is_property else _Assigned
    name = f"Standardized{plain.__name__}"
    made = type(
        name,
        (mixin, plain),
        {
            "plain": plain,
            "__doc__": f"`{plain.__name__}` with scaled weight standardization.\n\n"
            f"Takes the arguments of `{plain.__name__}` and those of "
            "`fixinit.layers.StandardizedKernel`.",
            "__module__": __name__,
        },
    )
    package = "fixinit" if plain in LAYERS else f"{plain.__module__}>standardized"
    return keras.saving.register_keras_serializable(package)(made)


def can_be_standardized(layer: keras.layers.Layer) -> bool:
    """Whether `standardized` takes a layer: whether it has one kernel with units.

    Example:

    >>> fixinit.layers.can_be_standardized(keras.layers.Embedding(8, 2))
    False
    """
    return isinstance(layer, LAYERS)


def standardized(
    layer: keras.layers.Layer, gain_initializer: Identifier = "ones"
) -> keras.layers.Layer:
    """A layer like the given one, with scaled weight standardization.

    Example:

    >>> dense = fixinit.layers.standardized(keras.layers.Dense(2))
    >>> dense.build((None, 3))
    >>> bool(abs(keras.ops.sum(dense.kernel)) < 1e-6)
    True

    Args:
        layer: Keras layer with a kernel, not built: `Dense`, `EinsumDense`, a
            convolution, a depthwise or a transposed one, or one of a subclass.
        gain_initializer: See `fixinit.layers.StandardizedKernel`.

    Returns:
        A layer of the same class and configuration that is a
        `fixinit.layers.StandardizedKernel`, too. `layer` itself if it is one already.

    Raises:
        TypeError: If the layer is of another kind.
    """
    if isinstance(layer, StandardizedKernel):
        return layer
    plain: Any = type(layer)
    kind: Any = standardized_class(plain)
    return kind.from_config({**config_of(layer), "gain_initializer": gain_initializer})


for _kind in LAYERS:
    globals()[f"Standardized{_kind.__name__}"] = standardized_class(_kind)
