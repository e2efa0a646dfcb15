"""Stacks of blocks that run as one loop."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from fixinit import _keras, initializers
from fixinit._typing import Shape, Tensor
from fixinit._validation import (
    LARGEST_SEED,
    MOST_BRANCHES,
    check_positive_int,
    check_sequence,
)
from fixinit.layers import block_configs, stack_arguments, stack_template
from fixinit.layers.block_loop import BlockLoop
from fixinit.layers.scalars import check_float
from fixinit.layers.stacked_variables import (
    StackedSeedGenerator,
    given,
    stacked_weight,
)


@keras.saving.register_keras_serializable("fixinit")
class Stack(keras.layers.Layer):
    """`depth` copies of one block, one behind the other, as one layer.

        outputs = block_depth(... block_2(block_1(inputs)))

    Every weight of the block becomes one variable with a new first axis of length
    `depth`, and one loop runs over it. So building, tracing and compiling a model
    cost the same for ten blocks and for ten thousand.

    Block i is the block whose configuration is that of `block`, except that every
    seed is `seed + i * seed_step` and that `constants` hold for it: its weights and
    its noise are those of a layer made from that configuration.

    Example:

    >>> block = fixinit.layers.ResidualBlock(
    ...     branch=[
    ...         keras.layers.Dense(8, activation="relu"),
    ...         keras.layers.Dense(4, kernel_initializer="zeros"),
    ...     ]
    ... )
    >>> stack = fixinit.layers.Stack(block, depth=1000)
    >>> x = keras.ops.ones((2, 4))
    >>> bool(keras.ops.all(stack(x) == x))
    True
    >>> tuple(stack.weights[0].shape)
    (1000, 4, 8)

    Args:
        block: Keras layer or functional model with one input and one output of the
            same shape and dtype. The stack makes a copy of its configuration, and does
            not use weights that it has already. It may not be part of anything else,
            which is checked as far as Keras records it. Weights whose initializers are
            functions are drawn by blocks that are built for it, one by one.
            What is frozen in it when the stack is built is frozen in every block.
        depth: int, at least 1. Number of blocks.
        remat: Which activations are kept for the gradient. `None` (default) keeps
            all of them. An integer k keeps the input of every k-th block and
            computes the others again, which takes a third more time and memory for
            `depth / k` inputs and the activations of k blocks. `"block"` stands for
            1, `"sqrt"` for a k near the square root of `depth`, which takes the
            least memory.
        seed_step: int. Distance between the seeds of consecutive blocks. By default
            the smallest that lets no two blocks share an integer seed.
        constants: Dict of numbers that differ from block to block: from the path of
            an attribute of the block, such as `"merge.branch_scale"` or
            `"branch.2.alpha"`, to a list of `depth` floats. The attribute is a
            scalar tensor when the block is called, which layers that compare it with
            a number, such as `Dropout`, do not take. What a layer has derived from
            it when it was made stays as it is.
        **kwargs: The arguments of `keras.layers.Layer`. `dtype` is the block's by
            default.

    Input shape:
        The input shape of the block.

    Output shape:
        Same as the input shape.

    Every block gets the mask that the stack is called with, which is also the mask of
    the outputs. If a block drops its mask, as layers without support for masking do,
    the stack warns and runs without one.

    Optimizers that treat a variable as a whole, such as LAMB or `clipnorm`, treat all
    blocks as one; those that work by element, such as SGD and Adam, train a stack
    like separate blocks.

    Raises:
        ValueError: If an argument is outside its range, if a seed of the last block
            would not fit into 32 bits, if the block is in use elsewhere, and, when
            the stack is built, if the block was built on another shape or puts out
            another shape or dtype than it takes.

    Reference:

    - [Chen et al., 2016](https://arxiv.org/abs/1604.06174), section 4.2 (`"sqrt"`)
    """

    def __init__(
        self,
        block: keras.layers.Layer,
        depth: int,
        remat: int | str | None = None,
        seed_step: int | None = None,
        constants: dict[str, Sequence[float]] | None = None,
        **kwargs: Any,
    ) -> None:
        stack_arguments.check_block(block)
        dtype = keras.dtype_policies.get(
            kwargs.pop("dtype", None) or block.dtype_policy
        )
        if dtype != block.dtype_policy:
            raise ValueError(
                "Argument `dtype` of a stack is its block's. Received: "
                f"dtype={dtype.name!r} for a block of {block.dtype_policy.name!r}. "
                "Give the block that dtype."
            )
        super().__init__(dtype=dtype, **kwargs)
        self.depth = check_positive_int("depth", depth, maximum=MOST_BRANCHES)
        self.remat = stack_arguments.check_remat(remat)
        config = keras.saving.serialize_keras_object(block)
        if seed_step is None:
            seed_step = block_configs.seed_span(config)
        self.seed_step = check_positive_int(
            "seed_step", seed_step, maximum=LARGEST_SEED
        )
        stack_arguments.check_seeds(config, self.depth, self.seed_step)
        self.constants = stack_arguments.check_constants(
            {} if constants is None else constants, block, self.depth
        )
        self.supports_masking = True
        self.supports_jit = all(x.supports_jit for x in _keras.flatten_layers(block))
        self._template = _Untracked(block)
        self._sources = _Untracked(None)
        self._loops = _Untracked({})
        if not self.trainable:
            block.trainable = False
        stack_arguments.claim(block)

    @classmethod
    def from_blocks(
        cls, blocks: Sequence[keras.layers.Layer], **kwargs: Any
    ) -> "Stack":
        """The stack of given blocks, with their weights.

        Args:
            blocks: List of layers that differ at most in their names, seeds,
                initializers, weights and in floating-point numbers, which become
                `constants`. Either all of them are built or none. Of blocks that are
                not, copies are used.
            **kwargs: `remat`, `seed_step` and the arguments of
                `keras.layers.Layer`.

        Returns:
            A `Stack`, built if the blocks are. The blocks stay as they are. A copy
            that is made from the stack's configuration, as `keras.models.clone_model`
            does, draws weights with the first block's initializers.

        Raises:
            ValueError: If the blocks differ in anything else.
        """
        blocks = list(check_sequence("blocks", blocks, "a list of layers"))
        if not blocks or not all(isinstance(b, keras.layers.Layer) for b in blocks):
            raise ValueError(
                "Argument `blocks` must be a list of one or more Keras layers. "
                f"Received: blocks={blocks}"
            )
        configs = [keras.saving.serialize_keras_object(block) for block in blocks]
        constants = block_configs.differences(configs)
        template = block_configs.copied(blocks[0], configs[0])
        stack_arguments.check_differences(blocks, template, constants)
        shapes = [stack_template.built_shape(block) for block in blocks]
        shape = shapes[0]
        if not all(
            s == shape or (s and shape and stack_template.agree(s, shape))
            for s in shapes
        ):
            raise ValueError(
                "The blocks of a stack must be built on one shape, or none of them. "
                f"Received blocks built on: {set(shapes)}"
            )
        stack = cls(template, len(blocks), constants=constants, **kwargs)
        if shape is None:
            made = zip(blocks, configs, strict=True)
            blocks = [block_configs.copied(block, config) for block, config in made]
        stack._sources.value = blocks
        if shape is not None:
            stack.build(shape)
        return stack

    @property
    def block(self) -> keras.layers.Layer:
        """The template of the blocks. The weights in it are not in use."""
        return self._template.value

    @property
    def trainable(self) -> bool:
        return super().trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        keras.layers.Layer.trainable.fset(self, value)
        # Layers such as BatchNormalization behave differently when frozen.
        self.block.trainable = value

    def build(self, input_shape: Shape) -> None:
        self._template.value, starts = stack_template.build_template(
            self, tuple(input_shape)
        )
        sources = self._sources.value or []
        for source in sources:
            stack_template.build_block(self, source, input_shape)
        states = stack_template.state_ids(self.block)
        self._is_state = [id(v) in states for v in self.block.variables]
        stacked = []
        for index, variable in enumerate(self.block.variables):
            values = None
            if sources:
                values = ops.stack([s.variables[index].value for s in sources])
            if id(variable) in starts:
                made = stacked_weight(
                    variable,
                    self._initializer(
                        starts[id(variable)], values, index, tuple(input_shape)
                    ),
                    self.depth,
                    # Whether it is frozen may change, which list it is in may not:
                    # Keras saves one after the other.
                    id(variable) not in states,
                    stack_template.inner_scopes(variable, self.block),
                )
            else:
                made = StackedSeedGenerator(
                    variable, self.depth, self.seed_step, values
                )
            stacked.append(made)
        # A list of variables and seed generators, for Keras to find.
        self.stacked = stacked
        for variable, template in zip(
            self.stacked_variables, self.block.variables, strict=True
        ):
            variable.trainable = variable.trainable and template.trainable
        self._sources.value = None

    def _initializer(self, initializer, values, index, input_shape):
        """The initializer of the stacked weight `index`."""
        if values is not None:
            return given(values)
        if isinstance(initializer, keras.initializers.Initializer):
            return initializers.Stacked(initializer, self.seed_step)
        return functools.partial(
            stack_template.drawn_by_blocks, self, index, input_shape
        )

    def call(
        self, inputs: Tensor, training: bool | None = None, mask: Tensor | None = None
    ) -> Tensor:
        check_float(self.name, inputs)
        loop = self._loop(training)
        outputs, loss, states, _ = loop(
            inputs, mask, self._values(), self._constant_tensors()
        )
        loop.assign_states(self.stacked_variables, states)
        if loop.adds_losses:
            self.add_loss(loss)
        if mask is not None and not loop.drops_mask:
            _keras.set_mask(outputs, mask)
        return outputs

    def compute_mask(self, inputs: Tensor, previous_mask: Any = None) -> Any:
        """The given mask, or `None` where a block drops it."""
        if previous_mask is None or not self.block.supports_masking:
            return None
        kept = self.block.compute_mask(inputs, previous_mask) is not None
        return previous_mask if kept else None

    def scan_blocks(
        self,
        inputs: Tensor,
        body: Callable[[Tensor, list[Tensor]], tuple[Tensor, list[Tensor]]],
        rows: Sequence[Tensor] = (),
        like: Sequence[Any] = (),
        keep: bool = True,
    ) -> tuple[Tensor, list[Tensor]]:
        """Runs `body` for every block, one after the other, in one loop.

        While it runs, the variables of `block` hold the values of the block whose
        turn it is: `body(x, [])`, which returns `(block(x), [])`, is what a call of
        the stack does. The stack's state stays as it is: losses that blocks add are in
        its `losses` only inside of a `keras.StatelessScope` that collects them.
        Differentiable with respect to `inputs`, the stack's variables and `rows`, not
        through what is observed.

        Example:

        >>> stack = fixinit.layers.Stack(keras.layers.Dense(4), depth=3)
        >>> x = keras.ops.ones((2, 4))
        >>> def body(x, rows):
        ...     return stack.block(x), [keras.ops.mean(x**2)]
        >>> stack.build(x.shape)
        >>> _, (values,) = stack.scan_blocks(x, body, like=[keras.KerasTensor(())])
        >>> len(values), float(values[0])
        (3, 1.0)

        Args:
            inputs: Tensor, the first block's input.
            body: Callable `(x, rows) -> (x, observed)` without side effects, where
                `rows` and `observed` are lists of tensors.
            rows: List of tensors with a first axis of length `depth`, of which every
                block gets its own.
            like: List of tensors or `keras.KerasTensor`s with the static shapes and
                dtypes of what is observed.
            keep: bool. `False` if no gradient is expected.

        Returns:
            `(outputs, observed)`: the last block's output, and what was observed, with
            a first axis of length `depth`.
        """
        check_float(self.name, inputs)
        loop = self._make_loop(None, keep, body, like)
        mask = _keras.get_mask(inputs)
        outputs, loss, _, observed = loop(
            inputs, mask, self._values(), self._constant_tensors(), rows
        )
        if loop.adds_losses and _keras.in_measurement():
            self.add_loss(loss)
        if mask is not None and not loop.drops_mask:
            _keras.set_mask(outputs, mask)
        return outputs, observed

    def _loop(self, training):
        """The loop over the blocks, made once for each way to run them."""
        layers = _keras.flatten_layers(self.block)
        key = (training, self.remat, *(x.trainable for x in layers))
        loops = self._loops.value
        if key not in loops:
            loops[key] = self._make_loop(training, keep=bool(training))
        return loops[key]

    def _make_loop(self, training, keep, body=None, like=()):
        every = _checkpoint_every(self.remat, self.depth)
        return BlockLoop(
            self.block, self.depth, self._is_state, every, training, body, like, keep
        )

    @property
    def stacked_variables(self) -> list[keras.Variable]:
        """The variables that hold those of all blocks, in the order of the block's."""
        return [getattr(stacked, "state", stacked) for stacked in self.stacked]

    def _values(self):
        return [variable.value for variable in self.stacked_variables]

    def _constant_tensors(self):
        return {
            path: ops.convert_to_tensor(values, self.variable_dtype)
            for path, values in self.constants.items()
        }

    def unstack(self) -> list[keras.layers.Layer]:
        """The blocks one by one, as layers with the weights of this moment.

        Returns:
            List of `depth` built layers of the block's class, named like the block
            with their index behind it. They do not share the stack's variables.

        Raises:
            ValueError: If the stack is not built.
        """
        if not self.built:
            raise ValueError(
                f"Layer `{self.name}` has no weights yet. Call it on data, or build "
                "it, before you unstack it."
            )
        values = [ops.convert_to_numpy(v) for v in self.stacked_variables]
        shape = self.get_build_config()["input_shape"]
        blocks = list(stack_template.made_blocks(self))
        for index, block in enumerate(blocks):
            stack_template.build_block(self, block, shape)
            for variable, value in zip(block.variables, values, strict=True):
                variable.assign(value[index])
        return blocks

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "block": keras.saving.serialize_keras_object(self.block),
            "depth": self.depth,
            "remat": self.remat,
            "seed_step": self.seed_step,
            "constants": {path: list(v) for path, v in self.constants.items()},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Stack":
        block = block_configs.without_build(config["block"])
        block = keras.saving.deserialize_keras_object(block)
        return cls(**{**config, "block": block})


class _Untracked:
    """Holds what Keras would otherwise count among a layer's parts."""

    def __init__(self, value):
        self.value = value


def _checkpoint_every(remat, depth):
    """How many blocks lie between two inputs that are kept."""
    if remat == "block":
        return 1
    if remat != "sqrt":
        return remat
    root = math.isqrt(depth)
    # A divisor, where one is near, saves a copy of the weights. A smaller one rather
    # than a larger: a block keeps more than its input.
    divisors = [k for k in range(root // 2 + 1, root + 1) if depth % k == 0]
    return max(divisors, default=root)
