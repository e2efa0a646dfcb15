"""Which findings name which fault.

A fault has a label, as the benchmarks of faulty programs give it; a finding has a kind.
A finding names a fault if a reader who follows it looks at the right place.
"""

from collections.abc import Iterable

# Faults without kinds are no matter of one batch.
KINDS: dict[str, frozenset[str]] = {
    label: frozenset(kinds.split())
    for label, kinds in {
        # Of losses, outputs and labels. A loss and the activation in front of it are
        # one pair: where they do not fit, either may be called wrong.
        "loss": "loss_mismatch last_activation logits_mismatch target_range",
        "last_activation": "last_activation loss_mismatch logits_mismatch target_range",
        "from_logits": "logits_mismatch last_activation loss_mismatch",
        "units": "label_range last_activation target_range",
        "labels": "label_range target_range loss_mismatch",
        # Of data.
        "input_scale": "input_scale",
        "target_scale": "target_scale target_range",
        "not_finite": "not_finite",
        # Of initialization and activations.
        "init": "initialization vanishing exploding",
        "embedding": "embedding_scale initialization",
        "hidden_activation": "hidden_activation saturated dead_units vanishing",
        "no_nonlinearity": "no_nonlinearity",
        "dead_units": "dead_units initialization",
        "vanishing": "vanishing hidden_activation initialization saturated",
        "exploding": "exploding initialization branch_dominates",
        # Of residual networks.
        "zeros": "never_opens no_gradient initialization",
        "branch": "branch_dominates exploding never_opens",
        "normalization": "normalization_batch",
        # Of training.
        "lr_high": "learning_rate_high",
        "lr_low": "learning_rate_low",
        "optimizer": "learning_rate_high learning_rate_low",
        "batch_size": "normalization_batch",
        "layers": "",
        "epochs": "",
        "regularization": "regularization",
    }.items()
}


def kinds_of(label: str) -> frozenset[str]:
    """The kinds of findings that name a fault.

    A label that the table does not hold is named by the finding of that kind.
    """
    return KINDS.get(label, frozenset({label}))


def named(faults: Iterable[str], kinds: Iterable[str]) -> list[str]:
    """The faults of a case that findings of these kinds name, in the case's order."""
    found = set(kinds)
    return [fault for fault in faults if kinds_of(fault) & found]
