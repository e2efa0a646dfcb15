"""Finding of a diagnosis: what is wrong, where, how much, why, and the remedy."""

import dataclasses

# What each kind means, in the order in which findings of one severity are mended.
KINDS = {
    "not_finite": "activations, gradients, weights or the loss hold NaN or infinity",
    "input_scale": "inputs are large, tiny or all the same, and no layer rescales them",
    "target_scale": "regression targets are of another size than outputs start with",
    "label_range": "labels beyond the units, of one class, or units without a label",
    "target_range": "targets lie outside of what the last activation can give",
    "last_activation": "the last activation does not fit the loss or the targets",
    "loss_mismatch": "the loss does not fit the targets",
    "logits_mismatch": "the loss expects probabilities and gets logits, or the reverse",
    "cannot_look_inside": "a layer or model hides what it computes",
    "no_nonlinearity": "weight layers follow each other with nothing between them",
    "hidden_activation": "hidden activations that saturate or compare channels",
    "regularization": "penalties or dropout leave little of the loss to learn from",
    "initialization": "kernels of zeros, constants, equal draws, or of a wrong size",
    "embedding_scale": "embeddings are far larger or smaller than what follows needs",
    "normalization_batch": "batch statistics of few samples, or moving ones that lie",
    "exploding": "signals or gradients grow with depth",
    "vanishing": "signals or gradients vanish with depth",
    "never_opens": "branches start at zero, and no gradient opens them",
    "branch_dominates": "a residual branch is far larger than its shortcut",
    "dead_units": "rectifiers that are zero for all samples",
    "saturated": "bounded activations at their bounds",
    "inputs_alike": "representations of different inputs are nearly equal",
    "constant_output": "the output is the same for every input",
    "no_gradient": "variables that training does not reach",
    "learning_rate_high": "steps of the optimizer are too large",
    "learning_rate_low": "steps of the optimizer are too small",
}
SEVERITIES = ("error", "warning", "note")


def finding_kinds() -> dict[str, str]:
    """The kinds of findings, in the order in which those of one severity are mended.

    Example:

    >>> list(fixinit.diagnostics.finding_kinds())[:2]
    ['not_finite', 'input_scale']

    Returns:
        Dict from kinds to what they mean.
    """
    return dict(KINDS)


@dataclasses.dataclass(frozen=True)
class Finding:
    """Finding of `diagnose`: one thing that is wrong with a training program.

    Example:

    >>> model = fixinit.models.ResidualMLP(18, 32, scheme="unnormalized", seed=0)
    >>> x = np.random.default_rng(0).normal(size=(8, 40)).astype("float32")
    >>> finding = fixinit.diagnostics.diagnose(model, x).findings[0]
    >>> finding.kind, finding.severity
    ('exploding', 'error')
    >>> finding.remedy
    'model = fixinit.convert(model, "fixup")'

    Attributes:
        kind: One of `fixinit.diagnostics.finding_kinds()`; `"healthy"` is that of
            `Diagnosis.verdict` where nothing was found.
        severity: `"error"` (training fails), `"warning"` (training suffers) or
            `"note"` (worth knowing).
        where: String. Name of the layer, weight, input or output, or empty.
        value: float. The number that decided.
        cause: String. One to three sentences with the numbers.
        remedy: String. Python statements that run where `model`, `x`, `y`, `keras`,
            `np` and `fixinit` are defined, or empty.
        schemes: Tuple of strings: the registered schemes that are published to repair
            it. See `fixinit.schemes.remedies`.
    """

    kind: str
    severity: str
    where: str
    value: float
    cause: str
    remedy: str = ""
    schemes: tuple[str, ...] = ()

    def __str__(self) -> str:
        remedy = f" Try: {self.remedy}" if self.remedy else ""
        return f"{self.cause}{remedy}"


def in_order(findings: list[Finding]) -> list[Finding]:
    """Findings in the order in which they should be mended."""
    kinds = list(KINDS)
    return sorted(
        findings,
        key=lambda f: (SEVERITIES.index(f.severity), kinds.index(f.kind)),
    )
