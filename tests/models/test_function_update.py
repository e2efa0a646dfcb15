"""Fixup's promise: a step changes the function alike at every depth.

At initialization the head is zero, so the first step moves the head alone, and the
blocks, which are identities, do not show. The third step moves every variable, and
so does the first one from a head that is drawn at random.
"""

import keras
import numpy as np
import pytest

from fixinit.diagnostics.report import loss_and_gradients
from fixinit.models import CifarResNet
from fixinit.optimizers import with_scalar_learning_rate
from tests.marks import slow_where_compiled

LEARNING_RATE = 0.1
ALLOWED_FACTOR = 1.5


class Stepper:
    """Takes steps of SGD on one batch and measures how the logits change."""

    def __init__(self, scheme, depth):
        # Small images: the promise is about depth, and PyTorch runs eagerly.
        shape = (16, 16, 3)
        self.model = CifarResNet(depth, scheme=scheme, input_shape=shape, seed=0)
        self.initial = self.model.get_weights()
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.loss_and_gradients = loss_and_gradients(self.model, loss)
        rng = np.random.default_rng(0)
        self.x = rng.standard_normal((8, *shape)).astype("float32")
        self.y = rng.integers(0, 10, size=8)

    def draw_head(self):
        """Starts again, from a head that lets gradients through."""
        self.model.set_weights(self.initial)
        kernel = self.model.get_layer("head").kernel
        kernel.assign(keras.initializers.LecunNormal(seed=0)(kernel.shape))

    def updates(self, num_steps, learning_rate=LEARNING_RATE):
        """The root mean square change of the logits in each step."""
        sgd = with_scalar_learning_rate(keras.optimizers.SGD(learning_rate))
        logits = [self.logits()]
        for _ in range(num_steps):
            _, gradients = self.loss_and_gradients(self.x, self.y)
            sgd.apply(gradients, self.model.trainable_variables)
            logits.append(self.logits())
        return np.sqrt(np.mean(np.square(np.diff(logits, axis=0)), axis=(1, 2)))

    def logits(self):
        # Eager: JAX would take longer to compile it than to run it a few times.
        logits = self.model(self.x, training=False)
        return keras.ops.convert_to_numpy(logits).astype("float64")


def spread(updates):
    """The factor between the largest and the smallest, infinite for NaNs."""
    updates = np.array(list(updates))
    return np.max(updates) / np.min(updates) if np.isfinite(updates).all() else np.inf


@pytest.fixture(scope="module")
def fixup_updates():
    """By depth: the first three updates, and the first from a drawn head."""
    updates = {}
    for depth in (20, 56, 110):
        stepper = Stepper("fixup", depth)
        first, _, third = stepper.updates(num_steps=3)
        stepper.draw_head()
        (drawn_head,) = stepper.updates(num_steps=1)
        updates[depth] = {"first": first, "third": third, "drawn_head": drawn_head}
    return updates


@pytest.mark.slow
@pytest.mark.parametrize("step", ["first", "third", "drawn_head"])
def test_fixup_changes_the_logits_alike_at_every_depth(fixup_updates, step):
    updates = {depth: steps[step] for depth, steps in fixup_updates.items()}
    assert min(updates.values()) > 0.01 * LEARNING_RATE, updates
    assert spread(updates.values()) < ALLOWED_FACTOR, updates


@slow_where_compiled
def test_first_step_from_a_zero_head_does_not_see_the_depth(fixup_updates):
    first = [steps["first"] for steps in fixup_updates.values()]
    # Equal but for the order in which a deeper graph is summed.
    np.testing.assert_allclose(first, first[0], rtol=1e-4)


@slow_where_compiled
def test_unnormalized_fails_by_orders_of_magnitude():
    updates = [*Stepper("unnormalized", 20).updates(num_steps=1)]
    # Finite, but already far from any useful change.
    assert updates[0] > 100
    updates += [*Stepper("unnormalized", 56).updates(num_steps=1)]
    assert spread(updates) > 100 * ALLOWED_FACTOR


@pytest.mark.slow
@pytest.mark.parametrize(
    "depths, learning_rate", [((20, 56), 1e-8), ((56, 110), 1e-12)]
)
def test_unnormalized_fails_at_rates_that_keep_it_finite(depths, learning_rate):
    updates = [
        Stepper("unnormalized", depth).updates(1, learning_rate)[0] for depth in depths
    ]
    assert np.isfinite(updates).all()
    assert spread(updates) > 1e4
