"""Outputs in training mode, where a sample may depend on those beside it."""

import keras
import numpy as np


class InTrainingMode(keras.Model):
    """A model whose `predict` runs it in training mode."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def call(self, inputs):
        return self.model(inputs, training=True)


def modes(settings, data, model):
    """How far outputs in training mode differ from test mode, and with company."""
    tested = model.predict(data.x_test, verbose=0)
    scale = np.sqrt(np.mean(tested**2))
    in_training_mode = InTrainingMode(model)
    rng = np.random.default_rng(settings.seed)

    def outputs(size):
        # As many as fill the last batch come twice.
        count = len(tested)
        order = np.resize(rng.permutation(count), -(-count // size) * size)
        found = in_training_mode.predict(data.x_test[order], size, verbose=0)
        return found[np.argsort(order[:count])]

    changed, company = [], []
    for size in settings.company_sizes:
        first, second = outputs(size), outputs(size)
        changed.append(np.mean(first.argmax(axis=1) != tested.argmax(axis=1)))
        company.append(np.sqrt(np.mean((first - second) ** 2)) / scale)
    return {"changed": changed, "company": company}
