"""Rules of regularization: penalties and dropout that leave little to learn from."""

from collections.abc import Iterator

import keras
import numpy as np
from keras import ops

from fixinit.diagnostics.doctor.compiling import compiled
from fixinit.diagnostics.doctor.evidence import Evidence
from fixinit.diagnostics.report.finding import Finding

# Penalty over the rest of the loss. Weight decay as published is below 10 of deep
# networks at initialization, and falls as kernels shrink.
_PENALTY = 100.0
# Share of units that dropout keeps: published networks drop half, rarely eight tenths.
_KEPT = 0.1
# What decay takes of a weight in each step. Published: 0.3 times a rate of 1e-3. At a
# hundredth, 70 steps halve what no gradient holds up.
_DECAY, _DECAY_ERROR = 1e-2, 1e-1
# Layers write what they are given into their configuration.
_SMALLER = """\
for layer in model.layers:
    if getattr(layer, "kernel_regularizer", None) is not None:
        layer.kernel_regularizer = keras.regularizers.L2(1e-4)
for variable in model.trainable_variables:
    if variable.regularizer is not None:
        variable.regularizer = keras.regularizers.L2(1e-4)"""


def regularization(evidence: Evidence) -> Iterator[Finding]:
    """Penalties that outweigh the loss, and dropout that keeps next to nothing."""
    yield from _penalty(evidence)
    yield from _activity(evidence)
    yield from _decay(evidence)
    for call in evidence.graph.calls:
        layer = call.operation
        rate = getattr(layer, "rate", 0.0)
        if not isinstance(layer, keras.layers.Dropout) or not rate > 1 - _KEPT:
            continue
        yield Finding(
            "regularization",
            "warning",
            call.name,
            float(rate),
            f"{call.name} drops {100 * rate:.3g} % of the units: what is left of a "
            "sample changes from step to step.",
            compiled(evidence, f'model.get_layer("{layer.name}").rate = 0.5')
            if evidence.is_layer(call)
            else "",
        )
        return


def _penalty(evidence: Evidence) -> Iterator[Finding]:
    terms = _terms(evidence)
    penalty, loss = sum(terms.values()), evidence.diagnosis.loss
    if loss is None or not penalty > _PENALTY * max(loss - penalty, 1e-12):
        return
    largest = max(terms, key=lambda path: terms[path])
    yield Finding(
        "regularization",
        "error",
        largest,
        penalty,
        f"Penalties of weights are {penalty:.3g} of a loss of {loss:.3g}: training "
        f"shrinks weights, and learns nothing else. Most comes from {largest}; "
        "published factors are 1e-5 to 1e-3.",
        compiled(evidence, _SMALLER),
    )


def _terms(evidence: Evidence) -> dict[str, float]:
    """Dict from the paths of variables to their penalties."""
    return {
        variable.path: float(
            np.sum(ops.convert_to_numpy(variable.regularizer(variable.value)))
        )
        for variable in evidence.model.trainable_variables
        if variable.regularizer is not None
    }


def _activity(evidence: Evidence) -> Iterator[Finding]:
    """Penalties of activations, told from the loss of the one head."""
    layers = [
        call
        for call in evidence.graph.calls
        if getattr(call.operation, "activity_regularizer", None) is not None
    ]
    loss = evidence.diagnosis.loss
    if not layers or loss is None:
        return
    of_data = _loss_of_data(evidence)
    if of_data is None:
        return
    weights = sum(_terms(evidence).values())
    penalty = loss - of_data - weights
    if not penalty > _PENALTY * max(of_data, 1e-12):
        return
    names = [call.operation.name for call in layers if evidence.is_layer(call)]
    code = "".join(
        f'model.get_layer("{name}").activity_regularizer = None\n' for name in names
    )
    yield Finding(
        "regularization",
        "error",
        layers[0].name,
        penalty,
        f"Penalties of activations are {penalty:.3g} of a loss of {loss:.3g}: training "
        "makes activations 0, and learns nothing else. They are sums over the units, "
        f"first that of {layers[0].name}.",
        compiled(evidence, code.strip()) if len(names) == len(layers) else "",
    )


def _loss_of_data(evidence: Evidence) -> float | None:
    """The loss of the one head without penalties, `None` if Keras's does not tell."""
    program = evidence.program
    if len(evidence.heads) != 1 or program.given is not None:
        return None
    config = evidence.model.get_compile_config() if evidence.model.compiled else None
    if config and config.get("loss_weights") is not None:
        return None
    (head,) = evidence.heads
    if not head.loss or head.target is None or head.prediction is None:
        return None
    loss = keras.losses.get(head.given)
    values = loss(head.target[: len(head.prediction)], head.prediction)
    return float(np.mean(ops.convert_to_numpy(values)))


def _decay(evidence: Evidence) -> Iterator[Finding]:
    """Decay of weights beside the gradient that takes much of them in each step."""
    optimizer = evidence.stepping
    decay = getattr(optimizer, "weight_decay", None)
    if optimizer is None or not decay:
        return
    share = float(decay) * float(ops.convert_to_numpy(optimizer.learning_rate))
    if not share > _DECAY:
        return
    yield Finding(
        "regularization",
        "error" if share > _DECAY_ERROR else "warning",
        "",
        share,
        f"Weight decay takes {100 * share:.3g} % of every weight in each step: "
        f"`weight_decay={float(decay):.3g}` times the learning rate. Published: 1e-5 "
        "to 3e-4.",
        compiled(evidence, changed={"weight_decay": 0.01}),
    )


RULES = (regularization,)
