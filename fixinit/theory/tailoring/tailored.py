"""Activations made to measure for one network."""

from typing import Any

import numpy as np

from fixinit._checked import checked_but
from fixinit.layers import TailoredActivation
from fixinit.layers.tailored_activation import rectifier_slope
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.errors import NoRuleError
from fixinit.theory.gaussian import activations
from fixinit.theory.gaussian.functions import Function
from fixinit.theory.gaussian.slopes import has_variance, slope_jumps
from fixinit.theory.registry import Setting
from fixinit.theory.rules.activation_layers import activate
from fixinit.theory.tailoring.solving import solve_dks, solve_leaky_dks, solve_tat
from fixinit.theory.tailoring.subnetworks import maximum_of
from fixinit.theory.tailoring.targets import (
    METHODS,
    check_target,
    kind_of,
    local_target,
)

_HALVINGS = 6


@checked_but("method", "network", "target")
def tailored(
    activation: Any,
    method: str = "tat",
    network: Any = None,
    target: float | None = None,
) -> TailoredActivation:
    """An activation with constants that keep a network's inputs apart.

    With z and z' standard normal numbers of correlation c, an activation maps c to
    `C(c) = E[phi(z) phi(z')]`. A deep network iterates that, and its inputs become
    alike. The constants of

        v * (phi(s x + t) + u)

    are chosen for a network so that they do not, whatever the part of it:

    | `method` | `activation` | local conditions | over all subnetworks f |
    |---|---|---|---|
    | `"tat"` | ReLU, leaky ReLU | Q(1) = 1; s = 1, t = u = 0 | max C_f(0) = 0.9 |
    | `"tat"` | others | Q(1) = Q'(1) = C'(1) = 1 | max C''_f(1) = 0.3 |
    | `"dks"` | all | Q(1) = Q'(1) = 1, C(0) = 0 | max C'_f(1) = 1.5 |

    Q is the map of the variance, `Q(q) = E[phi(sqrt(q) z)^2]`. The network is to have
    normalized sums, zero biases, kernels of
    `fixinit.initializers.ScaledUniformOrthogonal` and inputs of mean square 1 at every
    position: see `fixinit.schemes.Tailored`.

    Example:

    >>> x = inputs = keras.Input((64,))
    >>> for _ in range(50):
    ...     x = keras.layers.Dense(64, "relu")(x)
    >>> model = keras.Model(inputs, keras.layers.Dense(10)(x))
    >>> leaky = fixinit.theory.tailored("leaky_relu", "tat", model)
    >>> round(leaky.negative_slope, 4), round(leaky.output_scale, 4)
    (0.4305, 1.2989)

    or, with what the model computes written out,

    >>> def network(x, local_map):
    ...     for _ in range(50):
    ...         x = local_map(x)
    ...     return x
    >>> tanh = fixinit.theory.tailored("tanh", "dks", network)
    >>> round(tanh.input_scale, 4), round(tanh.output_scale, 4)
    (0.1284, 10.6044)

    Args:
        activation: Name of a function of `keras.activations`, such a function, or the
            layer of an activation, that acts on every element by itself.
        method: `"tat"` (default) or `"dks"`.
        network: Functional or Sequential `keras.Model`, whatever activations it has, or
            a callable `(x, local_map)` that returns the largest value over all
            subnetworks when each activation applies `local_map`. What is read off a
            model: see `fixinit.theory.tailoring.SubnetworkMaximum`.
        target: float, the largest value over subnetworks; by default as above.

    Returns:
        `fixinit.layers.TailoredActivation`, to be used anywhere in the network. Its
        attributes are `negative_slope` (for ReLU and leaky ReLU, otherwise `None`),
        `input_scale`, `input_shift`, `output_shift` and `output_scale`.

    Raises:
        ValueError: If an argument is outside its range, if the activation has no finite
            variance, or, under `"tat"`, no finite curvature, and if a target is not
            reachable: which one is said.
        NoRuleError: If the activation is not known, or an operation of the model has no
            C map.

    References:

    - [Zhang et al., 2022](https://arxiv.org/abs/2203.08120) (TAT)
    - [Martens et al., 2021](https://arxiv.org/abs/2110.01765) (DKS)
    """
    kind = kind_of(method, is_rectifier(activation))
    target = check_target(kind, target)
    if kind != "leaky":
        check_smooth(activation, method)
    local = local_target(kind, maximum_of(network), target)
    return shaped(activation, method, local)


def shaped(activation: Any, method: str, local: float) -> TailoredActivation:
    """An activation with the constants that give it a local condition.

    Example:

    >>> layer = fixinit.theory.tailoring.shaped("relu", "tat", 0.5)
    >>> layer.negative_slope, round(layer.output_scale, 4)
    (0.5, 1.2649)

    Args:
        activation, method: As in `tailored`.
        local: float, that of `fixinit.theory.tailoring.local_target`.

    Returns:
        `fixinit.layers.TailoredActivation`.
    """
    kind = kind_of(method, is_rectifier(activation))
    if kind == "leaky":
        scale = float(np.sqrt(2 / (1 + local**2)))
        return TailoredActivation("leaky_relu", local, output_scale=scale)
    if is_rectifier(activation):
        found = solve_leaky_dks(local)
        activation = "leaky_relu"
    else:
        function, name = check_smooth(activation, method), _named(activation)
        solve = solve_tat if kind == "tat" else solve_dks
        found = solve(function, name, local)
    return TailoredActivation(
        activation,
        found.negative_slope,
        found.input_scale,
        found.input_shift,
        found.output_shift,
        found.output_scale,
    )


def shaped_at_most(activation: Any, method: str, local: float) -> TailoredActivation:
    """As `shaped`, or with the nearest local condition that the activation can meet.

    It is looked for between `local` and that of a linear function, which it never
    exceeds.
    """
    least = 1.0 if method == "dks" else 0.0
    for step in range(_HALVINGS):
        try:
            return shaped(activation, method, least + (local - least) / 2**step)
        except ValueError as error:
            refusal = error
            check_smooth(activation, method)
    raise refusal


def is_rectifier(activation: Any) -> bool:
    """Whether an activation is a ReLU or a leaky ReLU, whatever its slope."""
    if isinstance(activation, str):
        return activation in ("relu", "leaky_relu")
    return rectifier_slope(activation) is not None


def check_smooth(activation: Any, method: str) -> Function:
    """The function of an activation, refused where a method cannot shape it."""
    function, name = function_of(activation), _named(activation)
    if not has_variance(function):
        raise ValueError(
            "Argument `activation` must have a finite variance under a Gaussian. "
            f"Received: activation={name}, for which E[phi(z)^2] diverges."
        )
    if method == METHODS[0] and slope_jumps(function):
        raise ValueError(
            "TAT needs a finite C''(1) = E[phi''(z)^2], which activations with kinks "
            f"do not have. Received: activation={name}, whose slope jumps. Use "
            "method='dks', 'leaky_relu' or a smooth activation."
        )
    return function


def function_of(activation: Any) -> Function:
    """The `fixinit.theory.Function` of a name, a function or a layer."""
    if isinstance(activation, Function):
        raise TypeError(
            "Argument `activation` must be callable on tensors. Received a "
            "fixinit.theory.Function: pass a function of keras.ops, and register this "
            "one for it with fixinit.theory.register."
        )
    if isinstance(activation, str):
        return activations.check_function(activation)
    if not callable(activation):
        raise TypeError(
            "Argument `activation` must be the name of an activation, a function or a "
            f"layer. Received: activation={activation!r} of {type(activation)}"
        )
    x = Moments.inputs((1,))
    y = activate(x, activation, Setting("activation", False, None, (1,)))
    if y is x or y.latent is None or y.latent[0] is not x:
        raise NoRuleError(
            "Argument `activation` must act on every element by itself, and not be "
            f"linear. Received: activation={activation!r}"
        )
    return y.latent[1]


def _named(activation: Any) -> str:
    if isinstance(activation, str):
        return repr(activation)
    return getattr(activation, "__name__", None) or repr(activation)
