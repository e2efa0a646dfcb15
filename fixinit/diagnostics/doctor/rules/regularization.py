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


def regularization(evidence: Evidence) -> Iterator[Finding]:
    """Penalties that outweigh the loss, and dropout that keeps next to nothing."""
    yield from _penalty(evidence)
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
    terms = {
        variable.path: float(
            np.sum(ops.convert_to_numpy(variable.regularizer(variable.value)))
        )
        for variable in evidence.model.trainable_variables
        if variable.regularizer is not None
    }
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
    )


RULES = (regularization,)
