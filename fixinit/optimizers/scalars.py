"""The learning rate of Fixup's scalars."""

from fixinit._checked import checked
from fixinit._typing import Identifier
from fixinit._validation import check_number
from fixinit.optimizers.grouped import GroupedOptimizer, by_role
from fixinit.optimizers.rules import Rule


@checked
def with_scalar_learning_rate(
    optimizer: Identifier,
    multiplier: float = 0.1,
    decay_scalars: bool = True,
    decay_biases: bool = True,
) -> GroupedOptimizer:
    """Trains the scalars of a network at a multiple of the learning rate.

    Fixup's scalar biases and multipliers act on every activation at once, so they
    train at a tenth of the learning rate. The optimizer finds them in any model, by
    the names that `fixinit.layers.ScalarBias` and `ScalarMultiplier` give their
    variables.

    Example:

    >>> sgd = keras.optimizers.SGD(0.1, momentum=0.9)
    >>> optimizer = fixinit.optimizers.with_scalar_learning_rate(sgd)
    >>> model = fixinit.models.ResidualMLP(num_blocks=2, units=8)
    >>> model.compile(optimizer, "mse")

    Args:
        optimizer: Keras optimizer that is not built, its name or its config. It trains
            the other variables. Its learning rate may be a schedule.
        multiplier: float, positive. Factor of the scalars' learning rate.
        decay_scalars: bool. `False` leaves the scalars out of weight decay. Keras's
            `weight_decay` is decoupled from the momentum: with momentum 0.9 it decays
            ten times less than the same number in PyTorch's SGD.
        decay_biases: bool. `False` leaves out bias vectors, and the scales and shifts
            of normalization layers and of `fixinit.layers.ChannelAffine`.

    Returns:
        `fixinit.optimizers.GroupedOptimizer`. Its `learning_rate` is that of the other
        variables. Where a callback sets it, scalars keep their multiple. A
        `global_clipnorm` applies to each group of variables by itself.

    Raises:
        ValueError: If `multiplier` or the learning rate is not positive and
            finite, or if `optimizer` is built or unknown.
        TypeError: If `optimizer` is no plain Keras optimizer.

    Reference:

    - [Zhang, Dauphin and Ma, 2019](https://arxiv.org/abs/1901.09321), section 4.
    """
    check_number("multiplier", multiplier, "a positive number", lambda x: x > 0)
    rules = [Rule("scalar", multiplier, 1.0 if decay_scalars else 0.0)]
    if not decay_biases:
        rules += [Rule(role, weight_decay=0.0) for role in ("bias", "normalization")]
    return by_role(optimizer, rules)
