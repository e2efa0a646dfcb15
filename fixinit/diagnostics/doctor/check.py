"""Check of a training program, in front of `fit`."""

from typing import Any

import keras

from fixinit._checked import checked
from fixinit._typing import Identifier
from fixinit.diagnostics.doctor.diagnose import examined
from fixinit.diagnostics.doctor.program import program_of
from fixinit.diagnostics.report.finding import Finding
from fixinit.diagnostics.report.table import findings_text

# Samples that are measured; data are looked at whole.
_BATCH = 32


@checked
def check(
    model: keras.Model,
    x: Any,
    y: Any = None,
    loss: Identifier | None = None,
    optimizer: Identifier | None = None,
) -> list[Finding]:
    """Checks a training program before it runs, and prints what it finds.

    `diagnose` on the first 32 samples, or as many as a stateful model is made for,
    without its tables: one forward and one backward pass, and a few steps of the
    optimizer on copies of the weights. All of `x` and `y` are looked at for their scale
    and for labels. Nothing about the model changes.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, "softmax")])
    >>> model.compile("sgd", "binary_crossentropy")
    >>> x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
    >>> findings = fixinit.diagnostics.check(model, x, (x[:, :1] > 0).astype("float32"))
    ... # doctest: +ELLIPSIS
    error last_activation: ...
    >>> findings[0].kind
    'last_activation'

    Args:
        model: As `diagnose` takes it.
        x: Array of inputs, or a list or dict of them: a batch, or all of the data.
        y: Targets, in the structure of the outputs.
        loss: By default the one that the model is compiled with.
        optimizer: Likewise.

    Returns:
        List of `Finding`, empty if nothing was found.

    Raises:
        TypeError, ValueError: As `diagnose`.
    """
    program = program_of(model, x, y, loss, count=_BATCH)
    size = program.batch_size or _BATCH
    found = examined(program, optimizer, min(size, len(program))).findings
    if found:
        print(findings_text(found))
    return found
