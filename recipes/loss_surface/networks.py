"""The four kinds of networks, and their training."""

import keras
from keras import ops

from fixinit import optimizers
from recipes.common.plotting.variants import variant
from recipes.common.training import families

# Plain networks have no shortcuts.
KINDS = {
    "plain": variant("Plain", "#1a1a1a", scheme="unnormalized", plain=True),
    "plain_batch_norm": variant(
        "Plain + BatchNorm", "#00877a", scheme="batch_norm", plain=True
    ),
    "residual_batch_norm": variant(
        "Residual + BatchNorm", "#3b2f9b", scheme="batch_norm"
    ),
    "fixup": variant("Fixup", "#c0242e", scheme="fixup"),
}
WITHOUT_SHORTCUTS = ("plain", "plain_batch_norm")
WITH_SHORTCUTS = ("residual_batch_norm", "fixup")


def train(settings, kind, depth, data):
    """A trained network; the weights that it started from are `model.start`."""
    options = {"seed": settings.seed, "stacked": True, **KINDS[kind].options}
    model = families.residual_mlp(data, depth, settings.units, **options)
    model.start = [ops.convert_to_numpy(v.value) for v in model.trainable_variables]
    sgd = keras.optimizers.SGD(settings.learning_rate, momentum=0.9)
    optimizer = optimizers.with_scalar_learning_rate(sgd)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, jit_compile=False)
    model.fit(
        data.x_train, data.y_train, batch_size=100, epochs=settings.epochs, verbose=0
    )
    return model
