import math

import keras
import numpy as np
import pytest

from recipes.common.training.divergence import Divergence, divergence


def _measure(metric, *losses):
    for loss in losses:
        # Two classes whose cross-entropy is about `loss`, for loss >> 1.
        metric.update_state(np.array([0]), np.array([[0.0, loss]], "float32"))
    return {k: float(keras.ops.convert_to_numpy(v)) for k, v in metric.result().items()}


def test_no_divergence_below_the_bound():
    assert _measure(Divergence(100), 50, 99)["diverged_step"] == 0


def test_first_step_above_the_bound_counts_from_one():
    logs = _measure(Divergence(100), 50, 200, 50, 300)
    assert logs["diverged_step"] == 2
    assert logs["diverged_loss"] == pytest.approx(200)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
@pytest.mark.parametrize("bound", [100, math.inf])
def test_loss_that_is_not_finite_diverges_whatever_the_bound(loss, bound):
    logs = _measure(Divergence(bound), 50, loss)
    assert logs["diverged_step"] == 2
    assert divergence(logs, bound, 1, 0)["reason"] == "loss is not finite"


def test_an_infinite_bound_lets_any_finite_loss_pass():
    assert _measure(Divergence(math.inf), 1e30)["diverged_step"] == 0


def test_reset_starts_a_new_epoch():
    metric = Divergence(100)
    _measure(metric, 200)
    metric.reset_state()
    assert _measure(metric, 50)["diverged_step"] == 0


def test_record_counts_steps_over_epochs():
    logs = {"diverged_step": 3.0, "diverged_loss": 123.44}
    assert divergence(logs, 100, epoch=2, steps_before=32) == {
        "step": 35,
        "epoch": 2,
        "reason": "loss 123.4 exceeds 100",
    }
    assert divergence({"diverged_step": 0.0}, 100, epoch=1, steps_before=0) is None


@pytest.mark.every_backend
@pytest.mark.parametrize("steps_per_execution", [1, 4])
def test_fit_sees_every_step_of_an_execution(steps_per_execution):
    if steps_per_execution > 1 and keras.backend.backend() == "torch":
        pytest.skip("one step at a time on PyTorch")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Activation("linear")])
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[Divergence(100)],
        steps_per_execution=steps_per_execution,
    )
    x = np.zeros((8, 2), "float32")
    x[5] = 0, 500
    logs = model.evaluate(
        x, np.zeros(8, "int32"), batch_size=1, return_dict=True, verbose=0
    )
    assert logs["diverged_step"] == 6
