"""How branches start that hold others: not at zero, or the inner ones never open."""

import keras

from fixinit import layers, theory

# The layers that may start a branch at zero, and their arguments that do.
_STARTS = (
    (layers.ScalarMultiplier, "initializer"),
    (keras.layers.BatchNormalization, "gamma_initializer"),
)


def start_of(branch, num_branches):
    """The factor at which a branch starts that holds other branches.

    Zeros in zeros multiply: where blocks are nested in branches, as in the decoders of
    LinkNet, the gradient of an inner branch is a product of zeros, which training may
    never leave. So such a branch starts small. `1 / sqrt(L)` is the largest constant
    that SkipInit allows ([De and Smith, 2020](https://arxiv.org/abs/2002.10444),
    section 4): L branches make the variance `(1 + 1 / L)^L < e` times as large. A
    branch without weights of its own gives what it has read, which adds up by
    amplitudes, so that it is `1 / L`.

    Args:
        branch: `fixinit.conversion.branch.Branch`.
        num_branches: int, L.
    """
    return num_branches**-0.5 if branch.weights else 1 / num_branches


def opened(answer, start):
    """The layers at the end of a branch, with `start` where they start at zero."""
    return [_opened(layer, start) for layer in answer]


def _opened(layer, start):
    for kind, argument in _STARTS:
        if isinstance(layer, kind):
            initializer = getattr(layer, argument)
            if theory.weight_moments(initializer, ()) == (0.0, 0.0):
                changed = {argument: keras.initializers.Constant(start)}
                return type(layer).from_config({**layer.get_config(), **changed})
    return layer
