"""The loop that a stack runs over its blocks."""

import contextlib
import warnings

import keras
from keras import ops

from fixinit import _keras, backend
from fixinit.layers import block_configs


class BlockLoop:
    """One pass through all blocks: a loop that calls the template at every turn.

    Args:
        block: The template, a built Keras layer.
        depth: int. Number of blocks.
        is_state: List of bools, one per variable of the block: whether calls may
            change it.
        checkpoint_every: int or `None`, as `backend.scan` takes it.
        training: bool or `None`, as the block's `call` takes it.
        body: Callable `(x, rows) -> (x, observed)` that runs instead of the block,
            with a block's values in the template: what is observed, a list of
            tensors, is collected over the blocks. Optional.
        like: List of tensors or `keras.KerasTensor`s with the shapes and dtypes of
            what `body` observes.
        keep: bool. `False` if no gradient is expected.

    Attributes:
        adds_losses: bool. Whether the block called `add_loss`. Known once the loop
            was traced.
        changed: Set of the indices of the variables that the block has changed.
            Known once the loop was traced.
        drops_mask: bool. Whether the block's output has no mask where its input has
            one. Known once the loop was traced with a mask.
    """

    def __init__(
        self,
        block,
        depth,
        is_state,
        checkpoint_every,
        training,
        body=None,
        like=(),
        keep=False,
    ):
        self.block = block
        self.depth = depth
        self.is_state = is_state
        self.checkpoint_every = checkpoint_every
        self.training = training
        self.body = body
        self.like = list(like)
        self.keep = keep
        self.adds_losses = False
        self.changed = set()
        # Layers that compute from their weights alone do it once for all blocks.
        self.preparing = [
            layer
            for layer in _keras.flatten_layers(block)
            if hasattr(layer, "prepared")
        ]
        self.drops_mask = False
        self._compiled = backend.compiled(self._loop)

    def __call__(self, inputs, mask, values, constants, rows=()):
        """Runs the loop, compiled unless that is what the caller does already.

        Args:
            inputs: Tensor, the first block's input.
            mask: Its mask, or `None`.
            values: List of tensors: the block's variables, stacked.
            constants: Dict from the paths of attributes to their stacked values.
            rows: List of stacked tensors, of which `body` gets a block's.

        Returns:
            `(outputs, loss, states, observed)`: the last block's output, the sum of
            the losses that blocks have added, the variables that are states, and
            what was observed; both stacked.
        """
        run = self._compiled if backend.is_eager(inputs) else self._loop
        return run(inputs, mask, values, constants, list(rows))

    def assign_states(self, variables, states):
        """Assigns the states that the blocks have changed.

        Args:
            variables: List of stacked `keras.Variable`s, one per variable of the
                block.
            states: What the loop has returned for those that are states.
        """
        states = iter(states)
        for index, variable in enumerate(variables):
            if self.is_state[index]:
                state = next(states)
                if index in self.changed:
                    variable.assign(state)

    def _loop(self, inputs, mask, values, constants, rows):
        if mask is None or self.drops_mask:
            return self._scan(inputs, None, values, constants, rows)
        results = self._scan(inputs, mask, values, constants, rows)
        if not self.drops_mask:
            return results
        # Only the first block would see the mask, and a loop runs all alike.
        warnings.warn(
            f"Block `{self.block.name}` of a stack drops the mask of its input, as one "
            "of its layers does not support masking. The stack runs without a mask.",
            stacklevel=2,
        )
        return self._scan(inputs, None, values, constants, rows)

    def _scan(self, inputs, mask, values, constants, rows):
        inputs = ops.cast(inputs, self.block.compute_dtype)
        values = [
            # A copy: PyTorch changes variables in place.
            ops.copy(ops.stop_gradient(value)) if is_state else value
            for value, is_state in zip(values, self.is_state, strict=True)
        ]
        values = self._prepared(values)
        num_values = len(values)
        num_fixed = num_values + len(constants)
        xs = [*values, *constants.values(), *rows]

        def step(carry, xs):
            x, loss = carry
            x, added, states, observed = self._call_block(
                x,
                mask,
                xs[:num_values],
                # Numbers, of which TensorFlow would otherwise sum a gradient.
                dict(
                    zip(
                        constants,
                        map(ops.stop_gradient, xs[num_values:num_fixed]),
                        strict=True,
                    )
                ),
                # Without any x, the loop has an index as its only one.
                xs[num_fixed : num_fixed + len(rows)],
            )
            return [x, loss + added], states + observed

        slots = [
            keras.KerasTensor(v.shape[1:], keras.backend.standardize_dtype(v.dtype))
            for v, is_state in zip(values, self.is_state, strict=True)
            if is_state
        ]
        num_states = len(slots)
        (outputs, loss), ys = backend.scan(
            step,
            [inputs, ops.zeros((), "float32")],
            # A block may have nothing that differs, but the loop has a length.
            xs or [ops.arange(self.depth)],
            y_like=slots + self.like,
            checkpoint_every=self.checkpoint_every,
            keep=self.keep,
        )
        return outputs, loss, ys[:num_states], ys[num_states:]

    def _prepared(self, values):
        """Stacked values, with what layers compute from them in their place."""
        if not self.preparing:
            return values
        indices = {id(v): i for i, v in enumerate(self.block.variables)}
        for layer in self.preparing:
            found = layer.prepared(lambda variable: values[indices[id(variable)]])
            for variable, value in found.items():
                values[indices[variable]] = value
        return values

    @contextlib.contextmanager
    def _preparing(self):
        """A context in which layers take their weights as they were prepared."""
        for layer in self.preparing:
            layer.is_prepared = True
        try:
            yield
        finally:
            for layer in self.preparing:
                layer.is_prepared = False

    def _call(self, x, constants, rows):
        try:
            if self.body is not None:
                return self.body(x, rows)
            return self.block(x, training=self.training), []
        except Exception as error:
            if not constants:
                raise
            raise ValueError(
                f"A block of the stack failed, perhaps because {list(constants)} are "
                "tensors in it, where a layer needs numbers. Leave layers out of "
                f"`constants` that do. The error was: {error}"
            ) from error

    def _call_block(self, x, mask, values, constants, rows):
        """One block, with these values in the place of the template's."""
        variables = self.block.variables
        with (
            _keras.kept_masks(x),
            keras.StatelessScope(
                state_mapping=zip(variables, values, strict=True), collect_losses=True
            ) as scope,
            block_configs.with_constants(self.block, constants),
            self._preparing(),
        ):
            state_slots = [
                (index, variable)
                for index, variable in enumerate(variables)
                if self.is_state[index]
            ]
            before = [scope.get_current_value(v) for _, v in state_slots]
            if mask is not None:
                _keras.set_mask(x, mask)
            outputs, observed = self._call(x, constants, rows)
            if mask is not None:
                self.drops_mask |= _keras.get_mask(outputs) is None
            states = [scope.get_current_value(v) for _, v in state_slots]
            losses = [ops.cast(ops.sum(loss), "float32") for loss in scope.losses]
        self.adds_losses |= bool(losses)
        for (index, _), old, new in zip(state_slots, before, states, strict=True):
            if new is not old:
                self.changed.add(index)
        return outputs, sum(losses, ops.zeros((), "float32")), states, observed
