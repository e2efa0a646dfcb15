"""Remedies that are applied as they are printed."""

import numpy as np

from benchmarks.doctor import asking, loading, mending, parts


def advice(*remedies):
    """A doctor who gives these one after the other, and then claims nothing."""
    left = [
        [claim(f"kind{i}", text)] if text is not None else []
        for i, text in enumerate(remedies)
    ]
    return lambda model, x, y: left.pop(0) if left else []


def claim(kind, remedy, severity="error"):
    values = {"kind": kind, "severity": severity, "remedy": remedy}
    values |= {"where": "", "value": 0.0, "cause": ""}
    return type("Finding", (), values)


def test_a_remedy_sees_the_names_and_rebinds_them(faulty, doctor):
    mended = mending.mend(doctor, *faulty())
    assert mended.claimed == ["last_activation"]
    assert len(mended.applied) == 1
    assert (mended.left, mended.error) == ([[]], None)
    assert mended.model.layers[-1].activation.__name__ == "sigmoid"


def test_remedies_of_data_go_to_the_next_diagnosis(faulty):
    seen = []
    ask = advice("x, y = 2 * x, keras.ops.ones_like(y)", "x = np.abs(x)")

    def doctor(model, x, y):
        seen.append((x, y))
        return ask(model, x, y)

    model, x, y = faulty()
    mended = mending.mend(doctor, model, x, y)
    np.testing.assert_array_equal(mended.x, abs(2 * x))
    assert type(mended.y) is np.ndarray
    np.testing.assert_array_equal(seen[1][1], np.ones_like(y))
    assert mended.left == [["kind1"], []]


def test_advice_without_end_is_followed_four_times(faulty):
    mended = mending.mend(lambda *_: [claim("again", "x = x + 1")], *faulty())
    assert len(mended.applied) == mending.ROUNDS == 4
    assert mended.left[-1] == ["again"]


def test_more_faults_take_more_remedies(faulty):
    case = loading.Faulty("many", tuple("abcdef"), faulty, faulty)
    record = parts.remedies(case, 0, lambda *_: [claim("again", "x = x + 1")])
    assert len(record["applied"]) == 6


def test_the_first_remedy_that_there_is_counts_and_notes_have_none(faulty):
    found = [
        claim("note", "x = None", "note"),
        claim("none", ""),
        claim("first", "x = 3 * x", "warning"),
        claim("second", "x = None"),
    ]
    model, x, y = faulty()
    doctor = lambda model, now, y: found if now.sum() == x.sum() else []  # noqa: E731
    mended = mending.mend(doctor, model, x, y)
    assert mended.claimed == ["none", "first", "second"]
    assert (mended.applied, mended.against) == (["x = 3 * x"], ["first"])


def test_what_a_remedy_raises_is_its_result(faulty):
    mended = mending.mend(advice("x = unknown"), *faulty())
    assert mended.error == "NameError: name 'unknown' is not defined"
    assert mended.left == []


def test_a_model_must_be_left_compiled(faulty):
    remedy = "model = keras.Sequential(model.layers)"
    mended = mending.mend(advice(remedy), *faulty())
    assert "without being compiled" in mended.error


def test_the_doctor_sees_the_first_samples(faulty):
    model, x, y = faulty()
    long = np.concatenate([x] * 20)
    sizes = []
    asking.ask(lambda m, x, y: sizes.append((len(x), len(y))) or [], model, long, long)
    assert sizes == [(512, 512)]
