"""What is wrong with a network, in plain words: the number, and the remedy."""

import dataclasses
import math

# Inputs whose representations agree to this cosine can hardly be told apart.
COLLAPSED = 0.99
# Share of channels that no sample of the batch activates.
DEAD = 0.5


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What is wrong with a network: the most urgent thing.

    Example:

    >>> model = fixinit.models.ResidualMLP(6, 16, scheme="unnormalized", seed=0)
    >>> x = np.random.default_rng(0).normal(size=(8, 40)).astype("float32")
    >>> verdict = fixinit.diagnostics.diagnose(model, x).verdict
    >>> verdict.kind, verdict.remedy[:38]
    ('exploding', 'fixinit.layers.ScaledAdd(branch_scale=')

    Attributes:
        kind: `"not_finite"`, `"exploding"`, `"vanishing"`, `"exploding_gradients"`,
            `"vanishing_gradients"`, `"dead"`, `"collapsed"`, `"growing"` (linearly, as
            with BatchNorm), `"healthy"`.
        text: String. One to three sentences with the numbers.
        remedy: String. A line of code, or empty.
        where: String. The name of the layer or block where it begins, or empty.
    """

    kind: str
    text: str
    remedy: str = ""
    where: str = ""

    def __str__(self):
        remedy = f" Try: {self.remedy}" if self.remedy else ""
        return f"{self.text}{remedy}"


def judge(diagnosis):
    """The verdict on a `Diagnosis`."""
    for check in (_not_finite, _forward, _backward, _dead, _collapsed, _linear):
        verdict = check(diagnosis)
        if verdict is not None:
            return verdict
    return Verdict("healthy", _healthy(diagnosis))


def _not_finite(diagnosis):
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
        if not math.isfinite(row["mean_square"]):
            return Verdict(
                "not_finite",
                f"Activations are not finite from layer {row['name']} on.",
                _scaled(diagnosis),
                row["name"],
            )
    for row in reversed(diagnosis.layers):
        if not math.isfinite(row["gradient_mean_square"]):
            return Verdict(
                "not_finite",
                f"Activations are finite, gradients are not, from layer {row['name']} "
                "back to the input.",
                _scaled(diagnosis),
                row["name"],
            )
    return None


def _forward(diagnosis):
    growth = diagnosis.growth
    if growth.kind != "exponential":
        return None
    explodes = growth.rate > 1
    verb = "grows" if explodes else "shrinks"
    return Verdict(
        "exploding" if explodes else "vanishing",
        f"The mean square {verb} exponentially, {_factor(growth)} per block: "
        f"{_leaves(growth, explodes)}.",
        _scaled(diagnosis) if explodes else _he(),
        diagnosis.blocks[0]["name"],
    )


def _backward(diagnosis):
    growth = diagnosis.gradient_growth
    if growth.kind != "exponential":
        return None
    explodes = growth.rate > 1
    verb = "grow" if explodes else "shrink"
    return Verdict(
        f"{'exploding' if explodes else 'vanishing'}_gradients",
        f"Gradients {verb} exponentially on the way back, {_factor(growth)} per block "
        f"in the mean square: {growth.total:.3g} times over {len(diagnosis.blocks)} "
        "blocks.",
        _scaled(diagnosis) if explodes else _he(),
        diagnosis.blocks[-1]["name"],
    )


def _dead(diagnosis):
    dead = [row for row in diagnosis.layers if row["never_active"] > DEAD]
    if not dead:
        return None
    worst = max(dead, key=lambda row: row["never_active"])
    return Verdict(
        "dead",
        f"{100 * worst['never_active']:.0f} % of the channels of {worst['name']} are "
        f"active for none of {diagnosis.batch_size} samples; {len(dead)} layers have "
        f"more than {100 * DEAD:.0f} %.",
        'keras.layers.LeakyReLU() in the place of "relu", or a lower learning rate',
        dead[0]["name"],
    )


def _collapsed(diagnosis):
    collapsed = [r for r in diagnosis.layers[:-1] if r["correlation"] > COLLAPSED]
    first = diagnosis.layers[0]["correlation"]
    if not collapsed or first > COLLAPSED:
        return None
    return Verdict(
        "collapsed",
        f"Different inputs look alike from layer {collapsed[0]['name']} on: the mean "
        f"cosine between them is {collapsed[0]['correlation']:.3f}, and {first:.2f} at "
        "the input.",
        _scaled(diagnosis),
        collapsed[0]["name"],
    )


def _linear(diagnosis):
    growth = diagnosis.growth
    if growth.kind not in ("linear", "polynomial"):
        return None
    how = f"linearly, by {growth.slope:.2f} of the first block's input per block"
    if growth.kind == "polynomial":
        how = f"like the power {growth.slope:.2f} of the block's index"
    return Verdict(
        "growing",
        f"The mean square grows {how}, as behind normalized branches: "
        f"{growth.total:.3g} times over {len(diagnosis.blocks)} blocks. No number "
        "format overflows at any depth that can be trained.",
    )


def _healthy(diagnosis):
    if not diagnosis.blocks:
        return (
            "No residual blocks were found; activations and gradients of all "
            f"{len(diagnosis.layers)} layers are finite."
        )
    growth = diagnosis.growth
    if growth.kind == "unknown":
        return "Activations and gradients are finite; there are too few blocks to fit."
    text = (
        f"The mean square is bounded: {growth.total:.3g} times over "
        f"{len(diagnosis.blocks)} blocks, {_factor(growth)} per block."
    )
    if not diagnosis.curve("gradient_mean_square").any():
        text += (
            " The gradient is zero in all blocks, as the layers behind them start at "
            "zero: it comes with the second step."
        )
    return text


def _factor(growth):
    low, high = growth.interval
    return f"x{growth.rate:.3g} +- {(high - low) / 2:.2g}"


def _leaves(growth, explodes):
    verb = "overflows" if explodes else "vanishes"
    parts = [
        f"{name} {verb} at block {blocks['mean_square']} (activations: "
        f"{blocks['activation']})"
        for name, blocks in growth.leaves.items()
        if name != "bfloat16"  # Which has the range of float32.
    ]
    return ", ".join(reversed(parts))


def _scaled(diagnosis):
    count = len(diagnosis.blocks)
    if not count:
        return 'keras.layers.Dense(units, kernel_initializer="he_normal")'
    return (
        f"fixinit.layers.ScaledAdd(branch_scale={count**-0.5:.3g})  "
        f"# {count} ** -0.5, in the place of every addition"
    )


def _he():
    return 'kernel_initializer="he_normal" in the weight layers of the branches'
