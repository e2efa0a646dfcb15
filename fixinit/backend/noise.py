"""Random states that backends keep outside of Keras."""

import contextlib
from typing import Any

import keras


def kept_random_state() -> contextlib.AbstractContextManager[Any]:
    """A context that leaves the backend's own random state as it was.

    On PyTorch, dropout without a seed draws from the global generator, which no scope
    of Keras holds back. What is drawn in two such contexts, one after the other, is
    the same.
    """
    if keras.backend.backend() != "torch":
        return contextlib.nullcontext()
    import torch

    return torch.random.fork_rng()
