"""Which findings name which fault."""

from benchmarks.doctor import labels
from benchmarks.doctor.cases import CASES

# Of `fixinit.diagnostics.Finding`.
KINDS = set(
    """
    input_scale target_scale target_range last_activation loss_mismatch logits_mismatch
    label_range no_nonlinearity hidden_activation initialization vanishing exploding
    dead_units saturated inputs_alike learning_rate_high learning_rate_low never_opens
    branch_dominates embedding_scale not_finite constant_output no_gradient
    normalization_batch cannot_look_inside
    """.split()
)


def test_the_table_names_kinds_that_there_are():
    assert frozenset().union(*labels.KINDS.values()) <= KINDS


def test_the_table_knows_every_label_of_the_cases():
    assert {fault for case in CASES for fault in case["faults"]} <= set(labels.KINDS)


def test_a_visible_case_has_a_main_fault_that_a_finding_can_name():
    for case in CASES:
        assert labels.kinds_of(case["faults"][0]) or not case["visible"], case["name"]


def test_names_are_those_of_the_faults_in_their_order():
    faults = ["input_scale", "loss", "lr_high", "epochs"]
    assert labels.named(faults, ["learning_rate_high", "input_scale"]) == [
        "input_scale",
        "lr_high",
    ]
    assert labels.named(faults, ["vanishing"]) == []


def test_an_unknown_label_is_named_by_the_kind_of_its_name():
    assert labels.named(["inputs_alike"], ["inputs_alike"]) == ["inputs_alike"]
