"""A differentiable loop over the first axis of tensors.

`keras.ops.scan` fails under XLA on TensorFlow, and on PyTorch its gradient is quadratic
in the number of steps.
"""

from collections.abc import Callable
from typing import Any

import keras

from fixinit.backend.compilation import unknown

# XLA computes these again in the backward loop, fused with what reads them, in less
# time than it takes to write them to memory and to read them back.
_CHEAP = frozenset(
    "add broadcast_in_dim convert_element_type copy div eq expand_dims ge gt le lt max "
    "min mul ne neg reshape select_n square squeeze stop_gradient sub".split()
)


def scan(
    step: Callable[..., Any],
    carry: Any,
    xs: Any,
    y_like: Any = (),
    checkpoint_every: int | None = None,
    keep: bool = True,
) -> tuple[Any, Any]:
    """Runs `step` over the first axis of `xs`: one traced step, whatever the length.

    Differentiable through the carry, in time and memory linear in the length. Static
    shapes make it compile under XLA.

    Args:
        step: Callable `(carry, x) -> (carry, y)` without side effects. `carry`, `x`
            and `y` are lists of tensors; those of `carry` are floating-point and keep
            shape and dtype. No gradient flows through `y` and through other tensors
            that the step refers to.
        carry: List of tensors.
        xs: List of tensors whose first axes agree: at least one.
        y_like: List of tensors, or `keras.KerasTensor`s, with the static shapes and
            dtypes of one step's `y`.
        checkpoint_every: int or `None`. Keeps the carry of every so many steps for
            the gradient and computes the others again. `None` keeps everything.
        keep: bool. `False` if no gradient is expected: nothing is kept for it, and
            should it be asked for, TensorFlow runs the loop a second time.

    Returns:
        `(carry, ys)`: the last carry, and the list of every step's `y`, stacked.
    """
    backend = keras.backend.backend()
    scans = {"tensorflow": _tensorflow_scan, "jax": _jax_scan, "torch": _torch_scan}
    if backend not in scans:
        raise unknown(backend)
    run = scans[backend]
    if checkpoint_every:
        return _checkpointed(run, step, carry, xs, y_like, checkpoint_every, keep)
    return run(step, carry, xs, y_like, keep)


def _checkpointed(run, step, carry, xs, y_like, every, keep):
    """A scan over chunks of steps, each computed again for the gradient."""
    length = int(xs[0].shape[0])
    chunks, rest = divmod(length, every)

    @_rematerialized
    def chunk(carry, xs, keep=True):
        return run(step, carry, xs, y_like, keep)

    chunk_like = [keras.KerasTensor((every, *y.shape), y.dtype) for y in y_like]
    ys = []
    if chunks:
        split = [
            keras.ops.reshape(x[: chunks * every], (chunks, every, *x.shape[1:]))
            for x in xs
        ]
        carry, stacked = run(chunk, carry, split, chunk_like, keep, chunks=True)
        ys.append(
            [keras.ops.reshape(y, (chunks * every, *y.shape[2:])) for y in stacked]
        )
    if rest:
        carry, last = chunk(carry, [x[chunks * every :] for x in xs])
        ys.append(last)
    return carry, [
        keras.ops.concatenate(y) if len(y) > 1 else y[0] for y in zip(*ys, strict=True)
    ]


def _rematerialized(function):
    """`function(carry, x)`, computed again when its gradient is needed."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        from fixinit.backend import tensorflow_scan

        return tensorflow_scan.rematerialized(function)
    if backend == "jax":
        import jax

        # Loops are a barrier already to the elimination of what is computed twice.
        return jax.checkpoint(function, prevent_cse=False)
    import torch.utils.checkpoint

    def recomputed(*args):
        return torch.utils.checkpoint.checkpoint(function, *args, use_reentrant=False)

    return recomputed


def _tensorflow_scan(step, carry, xs, y_like, keep, chunks=False):
    from fixinit.backend import tensorflow_scan

    return tensorflow_scan.scan(step, carry, xs, y_like, keep)


def _jax_scan(step, carry, xs, y_like, keep, chunks=False):
    import jax

    # A chunk says itself what is kept of it.
    if not chunks:
        step = jax.checkpoint(
            step,
            prevent_cse=False,
            policy=lambda op, *_, **params: not _is_cheap(op, params),
        )
    return jax.lax.scan(step, carry, xs)


def _is_cheap(op, params):
    """Whether an operation, or all that a function such as ReLU consists of, is."""
    inner = {"custom_jvp_call": "call_jaxpr", "jit": "jaxpr"}.get(op.name)
    if inner is None:
        return op.name in _CHEAP
    return all(_is_cheap(e.primitive, e.params) for e in params[inner].jaxpr.eqns)


def _torch_scan(step, carry, xs, y_like, keep, chunks=False):
    import torch

    ys = []
    # The gradient of `unbind` is one `stack`; indexing would add up whole stacks.
    for x in zip(*(x.unbind() for x in xs), strict=True):
        carry, y = step(carry, list(x))
        ys.append(y)
    return carry, [torch.stack(y) for y in zip(*ys, strict=True)]
