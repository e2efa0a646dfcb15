"""Which findings name which fault."""

from benchmarks.doctor import labels
from benchmarks.doctor.cases import CASES
from fixinit.diagnostics import finding_kinds

KINDS = set(finding_kinds())


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


def test_every_kind_is_a_label_for_itself():
    assert [kind for kind in KINDS if labels.named([kind], [kind]) != [kind]] == []


def test_words_of_other_tables_are_labels():
    words = "labels data frozen clipping dropout masking normalization".split()
    kinds = [
        "label_range",
        "input_scale",
        "no_gradient",
        "learning_rate_low",
        "regularization",
        "not_finite",
        "normalization_batch",
    ]
    pairs = zip(words, kinds, strict=True)
    assert [labels.named([word], [kind]) for word, kind in pairs] == [
        [word] for word in words
    ]


def test_an_unknown_label_is_named_by_the_kind_of_its_name():
    assert labels.named(["of_tomorrow"], ["of_tomorrow"]) == ["of_tomorrow"]
