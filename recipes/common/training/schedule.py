"""The learning rate schedule of published recipes."""

import keras


def warmup_and_cosine(settings, steps_per_epoch):
    """Linear warmup, then a cosine to zero.

    It counts batches: with gradient accumulation a Keras optimizer asks its schedule
    at every batch, not at every update.
    """
    warmup_steps = settings.warmup_epochs * steps_per_epoch
    decay_steps = settings.epochs * steps_per_epoch - warmup_steps
    if not warmup_steps:
        return keras.optimizers.schedules.CosineDecay(
            settings.learning_rate, decay_steps
        )
    return keras.optimizers.schedules.CosineDecay(
        0.0,
        decay_steps,
        warmup_target=settings.learning_rate,
        warmup_steps=warmup_steps,
    )
