"""The loop that a stack runs over its blocks."""

import keras
from keras import ops

from fixinit import backend
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
        observe: Callable from a block's output to a list of tensors, which are
            collected over the blocks. Optional.

    Attributes:
        adds_losses: bool. Whether the block called `add_loss`. Known once the loop
            was traced.
        changed: Set of the indices of the variables that the block has changed.
            Known once the loop was traced.
    """

    def __init__(
        self, block, depth, is_state, checkpoint_every, training, observe=None
    ):
        self.block = block
        self.depth = depth
        self.is_state = is_state
        self.checkpoint_every = checkpoint_every
        self.training = training
        self.observe = observe
        self.adds_losses = False
        self.changed = set()
        self._compiled = backend.compiled(self._loop)

    def __call__(self, inputs, mask, values, constants):
        """Runs the loop, compiled unless that is what the caller does already.

        Args:
            inputs: Tensor, the first block's input.
            mask: Its mask, or `None`.
            values: List of tensors: the block's variables, stacked.
            constants: Dict from the paths of attributes to their stacked values.

        Returns:
            `(outputs, loss, states, observed)`: the last block's output, the sum of
            the losses that blocks have added, the variables that are states, and
            what was observed; both stacked.
        """
        run = self._compiled if backend.is_eager(inputs) else self._loop
        return run(inputs, mask, values, constants)

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

    def _loop(self, inputs, mask, values, constants):
        inputs = ops.cast(inputs, self.block.compute_dtype)
        values = [
            # A copy: PyTorch changes variables in place.
            ops.copy(ops.stop_gradient(value)) if is_state else value
            for value, is_state in zip(values, self.is_state, strict=True)
        ]
        num_values = len(values)
        xs = [*values, *constants.values()]

        def step(carry, xs):
            x, loss = carry
            x, added, states = self._call_block(
                x,
                mask,
                xs[:num_values],
                # Without either, the loop has an index as its only x.
                dict(zip(constants, xs[num_values:], strict=False)),
            )
            observed = self.observe(x) if self.observe else []
            return [x, loss + added], states + observed

        slots = [
            keras.KerasTensor(v.shape[1:], keras.backend.standardize_dtype(v.dtype))
            for v, is_state in zip(values, self.is_state, strict=True)
            if is_state
        ]
        num_states = len(slots)
        if self.observe:
            slots += self.observe(inputs)
        (outputs, loss), ys = backend.scan(
            step,
            [inputs, ops.zeros((), "float32")],
            # A block may have nothing that differs, but the loop has a length.
            xs or [ops.arange(self.depth)],
            y_like=slots,
            checkpoint_every=self.checkpoint_every,
            keep=bool(self.training) and not self.observe,
        )
        return outputs, loss, ys[:num_states], ys[num_states:]

    def _call(self, x, constants, **kwargs):
        try:
            return self.block(x, training=self.training, **kwargs)
        except Exception as error:
            if not constants:
                raise
            raise ValueError(
                f"A block of the stack failed, perhaps because {list(constants)} are "
                "tensors in it, where a layer needs numbers. Leave layers out of "
                f"`constants` that do. The error was: {error}"
            ) from error

    def _call_block(self, x, mask, values, constants):
        """One block, with these values in the place of the template's."""
        variables = self.block.variables
        kwargs = {}
        if mask is not None and "mask" in self.block.call_signature_parameters:
            kwargs["mask"] = mask
        with (
            keras.StatelessScope(
                state_mapping=zip(variables, values, strict=True), collect_losses=True
            ) as scope,
            block_configs.with_constants(self.block, constants),
        ):
            state_slots = [
                (index, variable)
                for index, variable in enumerate(variables)
                if self.is_state[index]
            ]
            before = [scope.get_current_value(v) for _, v in state_slots]
            x = self._call(x, constants, **kwargs)
            states = [scope.get_current_value(v) for _, v in state_slots]
            losses = [ops.cast(ops.sum(loss), "float32") for loss in scope.losses]
        self.adds_losses |= bool(losses)
        for (index, _), old, new in zip(state_slots, before, states, strict=True):
            if new is not old:
                self.changed.add(index)
        return x, sum(losses, ops.zeros((), "float32")), states
