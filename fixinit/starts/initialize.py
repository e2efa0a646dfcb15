"""The way in: one function for every method."""

from typing import Any

import keras

from fixinit._checked import checked
from fixinit._typing import Identifier
from fixinit._validation import (
    check_choice,
    check_keras,
    check_number,
    check_positive_int,
    check_seed,
)
from fixinit.starts.first_step import gradinit
from fixinit.starts.gradient_quotient import metainit
from fixinit.starts.started import DataStart
from fixinit.starts.unit_variance import lsuv

METHODS = ("lsuv", "metainit", "gradinit")


@checked
def initialize_from_data(
    model: keras.Model,
    x: Any,
    y: Any = None,
    method: str = "lsuv",
    loss: Identifier | None = None,
    optimizer: Identifier | None = None,
    steps: int = 100,
    gradient_norm: float = 1.0,
    seed: int | None = None,
) -> DataStart:
    """Initializes a built model by a batch of data or by gradients.

    * `"lsuv"`: every kernel is drawn as an orthonormal matrix and divided by the
      standard deviation of what its layer gives in front of the activation, one layer
      after the other, until that is within 0.1 of 1; ten times at most.
    * `"metainit"`: changes the norms of kernels to lessen the gradient quotient

          mean |(g - H g) / (g + epsilon sign(g)) - 1|

      for the gradient g and the Hessian H of the loss, by steps of 0.1 of these norms
      along signs, with a momentum of 0.9. Epsilon is 1e-5.
    * `"gradinit"`: multiplies every weight by a factor, for the least loss behind one
      step of the optimizer: along the gradient for `SGD`, along its signs for all
      others. Where the norm of the gradient (of order 2, and of order 1 for signs) is
      above `gradient_norm`, the factors lessen that first. Adam finds them, at a rate
      of 0.01, none below 0.01.

    LSUV leaves attention and recurrent layers as they were drawn, with a warning.

    Each block of a `fixinit.layers.Stack` has kernels and factors of its own. Weights
    that are zero stay zero: they start a branch at the identity. Layers run in test
    mode. The last two methods take the whole batch at every step, and the best of their
    steps; the papers draw a batch for each, MetaInit's one of noise.

    The model changes at the end alone: an error leaves it as it was.

    Example:

    >>> model = fixinit.models.ResidualMLP(3, 8, scheme="unnormalized", seed=0)
    >>> x = np.random.default_rng(0).normal(size=(64, *model.input_shape[1:]))
    >>> start = fixinit.initialize_from_data(model, x, method="lsuv", seed=0)
    >>> start.after < 0.1
    True

    Args:
        model: `keras.Model`, built. Of one with a `call` of its own, the layers that
            its graph shows.
        x: Batch of inputs.
        y: Their targets. LSUV takes none.
        method: `"lsuv"` (default), `"metainit"` or `"gradinit"`.
        loss: As `fixinit.diagnostics.diagnose` takes it: by default the model's own, or
            what follows from the targets.
        optimizer: Keras optimizer that is to train the model, for GradInit; by default
            the one that it is compiled with.
        steps: int. Steps of MetaInit and GradInit, 100 by default.
        gradient_norm: float, positive. GradInit's bound, 1 by default.
        seed: int, of LSUV's draws.

    Returns:
        `fixinit.starts.DataStart`.

    Raises:
        ValueError: If an argument is outside its range; if samples are constant; if
            units are dead, so that a layer gives the same for all samples; or if
            something is not finite. The error names the layer.
        TypeError: If the model has no graph, or inputs of another kind than it takes.

    References:

    - [Mishkin and Matas, 2016](https://arxiv.org/abs/1511.06422), algorithm 1 (LSUV)
    - [Dauphin and Schoenholz, 2019](https://proceedings.neurips.cc/paper/2019/hash/876e8108f87eb61877c6263228b67256-Abstract.html)
      (MetaInit)
    - [Zhu et al., 2021](https://arxiv.org/abs/2102.08098), algorithm 1 (GradInit)
    """
    check_choice("method", method, METHODS)
    check_positive_int("steps", steps)
    check_number("gradient_norm", gradient_norm, "a positive number", lambda g: g > 0)
    seed = check_seed("seed", seed)
    if method == "lsuv":
        return lsuv(model, x, seed)
    if method == "metainit":
        return metainit(model, x, y, loss, steps)
    if optimizer is None:
        optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        raise ValueError(
            "Argument `optimizer` is needed by method='gradinit', which looks at its "
            f"first step: model `{model.name}` is not compiled. Pass the one that is "
            "to train it, such as keras.optimizers.SGD(0.1)."
        )
    made = check_keras("optimizer", optimizer, keras.optimizers.get, "an optimizer")
    return gradinit(model, x, y, loss, made, steps, gradient_norm)
