"""Ways to take a batch apart, and where the weights go."""

import keras
import numpy as np

import fixinit
from fixinit.diagnostics.report import loss_and_gradients
from recipes.common.plotting.variants import variant
from recipes.common.training.fit import LOSS
from recipes.common.training.runs import sgd

# How a batch reaches the optimizer, beside whole.
SPLITS = {
    "reordered": variant("another order", "#bbbbbb"),
    "accumulated": variant("parts, accumulated", "#3b2f9b"),
    "one_by_one": variant("single samples, accumulated", "#c0242e", "--"),
    "data_parallel": variant("parts, averaged over replicas", "#f0a030", ":"),
}


def trajectory(settings, data, build, split):
    """All weights in a row, before the first step and after every step."""
    model = build(settings.seed)
    parts = settings.batch_size if split == "one_by_one" else settings.parts
    accumulates = split in ("accumulated", "one_by_one")
    optimizer = sgd()
    optimizer.learning_rate = settings.learning_rate
    optimizer.gradient_accumulation_steps = parts if accumulates else None
    model.compile(fixinit.optimizers.with_scalar_learning_rate(optimizer), LOSS)
    model.optimizer.build(model.trainable_variables)
    gradients = loss_and_gradients(model, LOSS)
    rng = np.random.default_rng(settings.seed)
    weights = [flat(model)]
    for _ in range(settings.steps):
        rows = rng.choice(len(data.x_train), settings.batch_size, replace=False)
        rows = rows[::-1] if split == "reordered" else rows
        x, y = data.x_train[rows], data.y_train[rows]
        pieces = list(zip(np.split(x, parts), np.split(y, parts), strict=True))
        if split == "data_parallel":
            # Replicas start equal and make equal steps: one stands for them all.
            found = [gradients(*piece, training=True)[1] for piece in pieces]
            mean = [sum(replicas) / parts for replicas in zip(*found, strict=True)]
            model.optimizer.apply(mean, model.trainable_variables)
        else:
            for piece in pieces if accumulates else [(x, y)]:
                model.train_on_batch(*piece)
        weights.append(flat(model))
    return np.array(weights)


def flat(model):
    values = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    return np.concatenate([value.ravel() for value in values])
