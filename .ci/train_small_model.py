"""Trains a small model with nothing but the installed wheel."""

import keras
import numpy as np

import fixinit

rng = np.random.default_rng(0)
x = rng.normal(size=(512, 40)).astype("float32")
y = (x @ rng.normal(size=(40, 4))).argmax(axis=-1)

model = fixinit.models.ResidualMLP(
    num_blocks=10, units=32, scheme="fixup", classes=4, seed=0
)
sgd = keras.optimizers.SGD(0.1, momentum=0.9)
model.compile(
    fixinit.optimizers.with_scalar_learning_rate(sgd),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
history = model.fit(x, y, batch_size=64, epochs=10, verbose=0).history
print(f"accuracy {history['accuracy'][0]:.3f} -> {history['accuracy'][-1]:.3f}")
assert history["accuracy"][-1] > 0.8, history["accuracy"]
