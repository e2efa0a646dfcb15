"""Verdict on a network: the most urgent problem, the number, and the remedy."""

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from fixinit import schemes
from fixinit.diagnostics.report.growth import Growth

if TYPE_CHECKING:
    from fixinit.diagnostics.report.diagnosis import Diagnosis

# Inputs whose representations agree to this cosine can hardly be told apart.
COLLAPSED = 0.99
# Share of channels that no sample of the batch activates.
DEAD = 0.5

_HE_EVERYWHERE = (
    'keras.layers.Dense(units, kernel_initializer="he_normal")  '
    '# for relu; "lecun_normal" for tanh'
)
_HE_IN_BRANCHES = 'kernel_initializer="he_normal" in the weight layers of the branches'


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Verdict on a network: the most urgent problem.

    Example:

    >>> model = fixinit.models.ResidualMLP(6, 16, scheme="unnormalized", seed=0)
    >>> x = np.random.default_rng(0).normal(size=(8, 40)).astype("float32")
    >>> verdict = fixinit.diagnostics.diagnose(model, x).verdict
    >>> verdict.kind, verdict.remedy
    ('exploding', 'fixinit.convert(model, "fixup")')

    Attributes:
        kind: `"not_finite"`, `"constant"` (BatchNormalization of one sample),
            `"exploding"`, `"vanishing"`, `"exploding_gradients"`,
            `"vanishing_gradients"`, `"dead"`, `"closed"` (branches start at zero, and
            no gradient opens them), `"collapsed"`, `"equal_draws"` (layers hold the
            same kernel, drawn by equal initializers), `"growing"` (linearly, as with
            BatchNorm, or like a power), `"shrinking"` (like a power), `"undecided"`
            (nothing is wrong, but it is unknown how the network grows),
            `"healthy"`. Growth is that from block to block; in a network without
            residual blocks, from weight layer to weight layer.
        text: String. One to three sentences with the numbers.
        remedy: String. A line of code, or empty.
        where: String. The name of the layer or block where it begins, or empty.
        schemes: Tuple of strings: the registered schemes that are published to
            repair it, the first of which `remedy` names. See
            `fixinit.schemes.remedies`.
    """

    kind: str
    text: str
    remedy: str = ""
    where: str = ""
    schemes: tuple[str, ...] = ()

    def __str__(self) -> str:
        remedy = f" Try: {self.remedy}" if self.remedy else ""
        return f"{self.text}{remedy}"


def judge(diagnosis: "Diagnosis") -> Verdict:
    """Judges a `Diagnosis`: the first check that finds a problem decides."""
    checks = (_not_finite, _constant, _forward, _backward, _dead, _closed, _collapsed)
    for check in (*checks, _equal_draws, _polynomial, _undecided):
        verdict = check(diagnosis)
        if verdict is not None:
            return verdict
    return Verdict("healthy", _healthy(diagnosis))


def _not_finite(diagnosis: "Diagnosis") -> Verdict | None:
    if diagnosis.bad_weights:
        names = ", ".join(diagnosis.bad_weights[:3])
        return Verdict(
            "not_finite",
            f"{len(diagnosis.bad_weights)} weights hold NaN or infinity, first "
            f"{names}: the training has diverged before this.",
            "model.load_weights(...)  # from before, with a lower learning rate",
            diagnosis.bad_weights[0],
        )
    for row in diagnosis.layers:
        if not math.isfinite(row.mean_square):
            return Verdict(
                "not_finite",
                f"Activations are not finite from layer {row.name} on.",
                where=row.name,
                **_repair(diagnosis, "exploding"),
            )
    for row in reversed(diagnosis.layers):
        if not math.isfinite(row.gradient_mean_square):
            return Verdict(
                "not_finite",
                f"Activations are finite, gradients are not, from layer {row.name} "
                "back to the input.",
                where=row.name,
                **_repair(diagnosis, "exploding_gradients"),
            )
    return None


def _constant(diagnosis: "Diagnosis") -> Verdict | None:
    rows = (r for r in diagnosis.layers if r.kind == "BatchNormalization")
    row = next((row for row in rows if row.variance == 0), None)
    if row is None or diagnosis.batch_size > 1 or not diagnosis.training:
        return None
    return Verdict(
        "constant",
        f"{row.name} normalizes one sample with its own statistics: what it puts "
        "out is the same for every input.",
        "fixinit.diagnostics.diagnose(model, x, training=False)  # or a larger batch",
        row.name,
    )


def _forward(diagnosis: "Diagnosis") -> Verdict | None:
    growth = diagnosis.growth
    if growth.kind != "exponential":
        return None
    explodes = growth.rate > 1
    verb = "grows" if explodes else "shrinks"
    finding = "exploding" if explodes else "vanishing"
    return Verdict(
        finding,
        f"The mean square {verb} exponentially, {_factor(growth)} per "
        f"{_step(diagnosis)}: {_leaves(growth, explodes, _step(diagnosis))}.",
        where=(diagnosis.blocks or diagnosis.weight_path)[0].name,
        **_repair(diagnosis, finding),
    )


def _backward(diagnosis: "Diagnosis") -> Verdict | None:
    growth = diagnosis.gradient_growth
    if growth.kind != "exponential":
        return None
    explodes = growth.rate > 1
    verb = "grow" if explodes else "shrink"
    finding = f"{'exploding' if explodes else 'vanishing'}_gradients"
    return Verdict(
        finding,
        f"Gradients {verb} exponentially on the way back, {_factor(growth)} per "
        f"{_step(diagnosis)} in the mean square: {_total(diagnosis, growth)}.",
        where=(diagnosis.blocks or diagnosis.weight_path)[-1].name,
        **_repair(diagnosis, finding),
    )


def _dead(diagnosis: "Diagnosis") -> Verdict | None:
    dead = [row for row in diagnosis.layers if row.dead > DEAD]
    if not dead:
        return None
    worst = max(dead, key=lambda row: row.dead)
    return Verdict(
        "dead",
        f"{100 * worst.dead:.0f} % of the channels of {worst.name} are active for none "
        f"of {diagnosis.batch_size} samples, and get no gradient; {len(dead)} layers "
        f"have more than {100 * DEAD:.0f} %.",
        "keras.layers.LeakyReLU() in the place of the activation, or a lower learning "
        "rate",
        dead[0].name,
    )


def _closed(diagnosis: "Diagnosis") -> Verdict | None:
    closed = diagnosis.closed
    if not closed:
        return None
    return Verdict(
        "closed",
        f"The branches of {len(closed)} of {len(diagnosis.blocks)} blocks never open, "
        f"first {closed[0]}: they give zero, and no gradient reaches the weights in "
        "them, though one reaches the block. Two zeros, or a zero and a factor near "
        "zero, stand one behind the other.",
        "one zero for each branch: other initializers for all of its layers but the "
        "one that starts it at zero",
        closed[0],
    )


def _collapsed(diagnosis: "Diagnosis") -> Verdict | None:
    # What a path goes around may be alike for all inputs, as a gate is.
    carry = [row for row in diagnosis.layers[:-1] if row.is_cut]
    collapsed = [row for row in carry if row.correlation > COLLAPSED]
    first = diagnosis.layers[0].correlation
    if not collapsed or first > COLLAPSED:
        return None
    return Verdict(
        "collapsed",
        f"Different inputs look alike from layer {collapsed[0].name} on: the mean "
        f"cosine between them is {collapsed[0].correlation:.3f}, and {first:.2f} at "
        "the input.",
        where=collapsed[0].name,
        **_repair(diagnosis, "collapsed"),
    )


def also(diagnosis: "Diagnosis") -> Verdict | None:
    """What is worth saying beside a more urgent verdict, `None` if there is nothing."""
    other = _equal_draws(diagnosis)
    return None if other is None or other == diagnosis.verdict else other


def _equal_draws(diagnosis: "Diagnosis") -> Verdict | None:
    groups = diagnosis.equal_draws
    if not groups:
        return None
    shown, others = groups[0][:3], max(0, len(groups[0]) - 3)
    more = f" and {others} more" if others else ""
    return Verdict(
        "equal_draws",
        f"{sum(map(len, groups))} layers hold the kernel of another one, number by "
        f"number: {', '.join(shown)}{more}. One initializer instance, or one integer "
        "seed, draws the same for all that it is given to, and they start as one.",
        'kernel_initializer="he_normal" in each, or an instance for each  # or a '
        "keras.random.SeedGenerator as its seed",
        groups[0][0],
    )


def _polynomial(diagnosis: "Diagnosis") -> Verdict | None:
    growth, step = diagnosis.growth, _step(diagnosis)
    if growth.kind not in ("linear", "polynomial"):
        return None
    power = f"like the power {growth.slope:.2f} of the {step}'s index"
    if growth.slope < 0:
        text = f"The mean square falls {power}: {_total(diagnosis, growth)}."
        return Verdict("shrinking", text)
    how = f"linearly, by {growth.slope:.2f} of the first value per {step}"
    if growth.kind == "polynomial":
        how = power
    return Verdict(
        "growing",
        f"The mean square grows {how}, as behind normalized branches: "
        f"{_total(diagnosis, growth)}. No number format overflows at any depth that "
        "can be trained.",
    )


def _undecided(diagnosis: "Diagnosis") -> Verdict | None:
    grown = [("mean square", diagnosis.growth)]
    if diagnosis.curve("gradient_mean_square").any():
        grown.append(("gradient's mean square", diagnosis.gradient_growth))
    for what, growth in grown:
        if growth.kind == "unknown":
            return Verdict("undecided", _unknown(diagnosis, what, growth))
    return None


def _unknown(diagnosis: "Diagnosis", what: str, growth: Growth) -> str:
    step = _step(diagnosis)
    if math.isnan(growth.rate):
        return (
            f"Activations and gradients of all {len(diagnosis.layers)} layers are "
            f"finite. How the {what} grows is unknown: there are too few {step}s, or "
            "it is zero behind one of them."
        )
    return (
        f"How the {what} grows cannot be told from its noise: {_factor(growth)} per "
        f"{step}, {_total(diagnosis, growth)}. Narrow networks differ from draw to "
        "draw: look at several, or at wider ones."
    )


def _healthy(diagnosis: "Diagnosis") -> str:
    growth = diagnosis.growth
    text = (
        f"The mean square is bounded: {_total(diagnosis, growth)}, {_factor(growth)} "
        f"per {_step(diagnosis)}."
    )
    if not diagnosis.curve("gradient_mean_square").any():
        text += (
            f" The gradient is zero in all {_step(diagnosis)}s, as the layers behind "
            "them start at zero: it comes with the second step."
        )
    return text


def _factor(growth: Growth) -> str:
    low, high = growth.interval
    return f"x{growth.rate:.3g} +- {(high - low) / 2:.2g}"


def _step(diagnosis: "Diagnosis") -> str:
    return "block" if diagnosis.blocks else "layer"


def _total(diagnosis: "Diagnosis", growth: Growth) -> str:
    count = len(diagnosis.curve("mean_square")) - 1
    return f"{growth.total:.3g} times over {count} {_step(diagnosis)}s"


def _leaves(growth: Growth, explodes: bool, step: str) -> str:
    # Squares are not computed by the network itself, but by what normalizes it.
    verb = "overflows" if explodes else "vanishes"
    parts = [
        f"{name} {verb} at {step} {steps['activation']} (squares: "
        f"{steps['mean_square']})"
        for name, steps in growth.leaves.items()
        if name != "bfloat16"  # Which has the range of float32.
    ]
    return ", ".join(reversed(parts))


def _repair(diagnosis: "Diagnosis", finding: str) -> dict[str, Any]:
    """The fields of a `Verdict` that say how a finding is repaired."""
    if not diagnosis.blocks:
        return {"remedy": _HE_EVERYWHERE}
    published = schemes.remedies(finding)
    if not published:
        return {"remedy": _HE_IN_BRANCHES}
    remedy = f'fixinit.convert(model, "{published[0]}")'
    return {"remedy": remedy, "schemes": tuple(published)}
