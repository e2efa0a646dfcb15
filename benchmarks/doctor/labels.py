"""Which findings name which fault.

A fault has a label, as the benchmarks of faulty programs give it; a finding has a kind.
A finding names a fault if a reader who follows it looks at the right place.
"""

from collections.abc import Iterable

from fixinit import diagnostics

# From labels that mean the same to kinds, besides the kind of the label's own name.
# Faults without kinds are no matter of one batch.
_NAMED_BY = {
    # Of losses, outputs and labels. A loss and the activation in front of it are one
    # pair: where they do not fit, either may be called wrong.
    "loss loss_mismatch": "loss_mismatch last_activation logits_mismatch target_range",
    "last_activation": "loss_mismatch logits_mismatch target_range",
    "from_logits logits_mismatch": "logits_mismatch last_activation loss_mismatch",
    "units": "label_range last_activation target_range",
    "labels label_range": "label_range target_range loss_mismatch",
    "target_range": "last_activation loss_mismatch",
    # Of data.
    "data": "input_scale target_scale label_range not_finite",
    "target_scale": "target_range",
    "masking": "not_finite constant_output",
    # Of initialization and activations.
    "init initialization": "initialization vanishing exploding",
    "embedding embedding_scale": "embedding_scale initialization",
    "hidden_activation": "saturated dead_units vanishing",
    "dead_units": "initialization",
    "saturated": "hidden_activation initialization",
    "vanishing": "hidden_activation initialization saturated",
    "exploding": "initialization branch_dominates",
    # Of residual networks.
    "zeros never_opens": "never_opens no_gradient initialization",
    "branch branch_dominates": "branch_dominates exploding never_opens",
    "normalization": "normalization_batch",
    # Of training.
    "lr_high": "learning_rate_high",
    "lr_low clipping": "learning_rate_low",
    "optimizer": "learning_rate_high learning_rate_low",
    "batch_size": "normalization_batch",
    "frozen": "no_gradient",
    "dropout": "regularization",
    "layers epochs": "",
}
KINDS: dict[str, frozenset[str]] = {
    kind: frozenset({kind}) for kind in diagnostics.finding_kinds()
}
for _labels, _kinds in _NAMED_BY.items():
    for _label in _labels.split():
        KINDS[_label] = KINDS.get(_label, frozenset()) | frozenset(_kinds.split())


def kinds_of(label: str) -> frozenset[str]:
    """The kinds of findings that name a fault.

    A label that the table does not hold is named by the finding of that kind.
    """
    return KINDS.get(label, frozenset({label}))


def named(faults: Iterable[str], kinds: Iterable[str]) -> list[str]:
    """The faults of a case that findings of these kinds name, in the case's order."""
    found = set(kinds)
    return [fault for fault in faults if kinds_of(fault) & found]
