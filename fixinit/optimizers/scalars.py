import keras

from fixinit._validation import check_number

# `ScalarBias` and `ScalarMultiplier` name their variables so, wherever they are.
SCALARS = r"(.*/)?scalar_(bias|multiplier)"
# Vectors that are added or that rescale a normalized channel.
BIASES = r"(.*/)?(bias|beta|gamma)"


@keras.saving.register_keras_serializable("fixinit")
class ScaledSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate schedule times a constant.

    Example:

    >>> cosine = keras.optimizers.schedules.CosineDecay(0.1, decay_steps=100)
    >>> schedule = fixinit.optimizers.ScaledSchedule(cosine, 0.1)
    >>> round(float(schedule(0)), 6)
    0.01

    Args:
        schedule: A `keras.optimizers.schedules.LearningRateSchedule`.
        multiplier: float.
    """

    def __init__(self, schedule, multiplier):
        super().__init__()
        self.schedule = schedule
        self.multiplier = multiplier

    def __call__(self, step):
        return self.schedule(step) * self.multiplier

    def get_config(self):
        schedule = keras.optimizers.schedules.serialize(self.schedule)
        return {"schedule": schedule, "multiplier": self.multiplier}

    @classmethod
    def from_config(cls, config):
        schedule = keras.optimizers.schedules.deserialize(config["schedule"])
        return cls(schedule, config["multiplier"])


def with_scalar_learning_rate(
    optimizer, multiplier=0.1, decay_scalars=True, decay_biases=True
):
    """Trains the scalars of a network with a learning rate of their own.

    Fixup's scalar biases and multipliers act on every activation at once, so
    that they train at a tenth of the learning rate. The returned optimizer finds
    them in any model, by the names that `fixinit.layers.ScalarBias` and
    `ScalarMultiplier` give their variables.

    Example:

    >>> sgd = keras.optimizers.SGD(0.1, momentum=0.9)
    >>> optimizer = fixinit.optimizers.with_scalar_learning_rate(sgd)
    >>> model = fixinit.models.ResidualMLP(num_blocks=2, units=8)
    >>> model.compile(optimizer, "mse")

    Args:
        optimizer: A Keras optimizer, not yet built. It trains the other
            variables. Its learning rate may be a schedule.
        multiplier: float, positive. Factor of the scalars' learning rate.
        decay_scalars: bool. `False` leaves the scalars out of weight decay. Mind
            that Keras's `weight_decay` is decoupled from the momentum: with momentum
            0.9 it decays ten times less than the same number in PyTorch's SGD.
        decay_biases: bool. `False` leaves out bias vectors and the scales and
            shifts of normalization layers.

    Returns:
        A `keras.optimizers.MultiOptimizer`. It has no `learning_rate` of its own:
        change rates with schedules rather than callbacks. A `global_clipnorm`
        applies to each group of variables by itself.

    Raises:
        ValueError: If `multiplier` or the learning rate is not positive and
            finite, or `optimizer` is built.
        TypeError: If `optimizer` is not a plain Keras optimizer.

    Reference:

    - [Zhang, Dauphin and Ma, 2019](https://arxiv.org/abs/1901.09321), section 4.
    """
    wrappers = (
        keras.optimizers.MultiOptimizer,
        keras.optimizers.LossScaleOptimizer,
    )
    if not isinstance(optimizer, keras.optimizers.Optimizer) or isinstance(
        optimizer, wrappers
    ):
        raise TypeError(
            "Argument `optimizer` must be a Keras optimizer that wraps no other. "
            f"Received: {optimizer!r}. Wrap the result of this function instead."
        )
    check_number("multiplier", multiplier, "a positive number", lambda x: x > 0)
    if optimizer.built:
        raise ValueError(
            "Argument `optimizer` is built already, so its state belongs to "
            "another model. Pass a new optimizer."
        )
    rate = optimizer.get_config()["learning_rate"]
    if not isinstance(rate, dict):
        check_number(
            "optimizer.learning_rate", rate, "positive and finite", lambda x: x > 0
        )
    groups = {SCALARS: _copy(optimizer, "scalars", multiplier, decay_scalars)}
    if not decay_biases:
        groups[BIASES] = _copy(optimizer, "biases", 1.0, decay=False)
    return keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(optimizer, groups)
    )


def _copy(optimizer, group, multiplier, decay):
    """The same optimizer with another name, learning rate and weight decay."""
    config = optimizer.get_config()
    config["name"] = f"{config['name']}_{group}"
    rate = config["learning_rate"]
    if isinstance(rate, dict):
        schedule = keras.optimizers.schedules.deserialize(rate)
        config["learning_rate"] = ScaledSchedule(schedule, multiplier)
    else:
        config["learning_rate"] = rate * multiplier
    if not decay:
        # AdamW cannot do without a number.
        config["weight_decay"] = 0.0 if config["weight_decay"] is not None else None
    return type(optimizer).from_config(config)
