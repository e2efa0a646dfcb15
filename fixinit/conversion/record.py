"""What a conversion has found, assumed and done: for people, and to be saved."""

import dataclasses
import textwrap

import keras

from fixinit import schemes
from fixinit.conversion import kinds

# In characters: a terminal, and what the last column of a table gets at least.
_WIDTH, _LEAST_WIDTH = 80, 20
_WRAP = {"break_long_words": False, "break_on_hyphens": False}


@dataclasses.dataclass(frozen=True)
class Record:
    """What a conversion finds in a model, and what it does.

    Printed, it is a text.

    Example:

    >>> x = inputs = keras.Input((8,))
    >>> x = keras.layers.add([x, keras.layers.Dense(8)(keras.layers.Dense(8)(x))])
    >>> free = fixinit.convert(keras.Model(inputs, x))
    >>> record = fixinit.conversion.Record(**free.conversion)
    >>> record.num_branches, record.blocks[0]["branches"][0]["zero"]
    (1, 'kernel')

    Attributes:
        model: String, the model's name.
        scheme: The config of the scheme.
        weights: `"initialize"` or `"fold"`.
        num_branches: int, residual branches of the network (L), at least 1.
        blocks: List of dicts, one for each residual block: `name`, `shortcut`
            (`"identity"` or `"changes shape"`) and `branches`, a list of dicts with
            `weights` (names of weight layers), `depth` (m), `preactivation` and `zero`
            (`"kernel"` or `"multiplier"` where it starts at 0, otherwise `None`).
        removed: Dict from classes to the names of layers that are taken out.
        others: List of dicts: `name` and `role` of weight layers outside of branches.
        assumptions: List of strings.
    """

    model: str
    scheme: dict
    weights: str
    num_branches: int
    blocks: list
    removed: dict
    others: list
    assumptions: list

    def to_dict(self):
        """The record as what JSON can hold."""
        return dataclasses.asdict(self)

    def __str__(self):
        lines = [self._title(), ""]
        if self.blocks:
            lines += _table(
                ("block", "shortcut", "m", "starts at 0 by", "weight layers"),
                [row for block in self.blocks for row in _rows(block)],
            )
        lines.append("")
        texts = [
            f"taken out: {len(names)} {kind} ({_some(names)})"
            for kind, names in self.removed.items()
        ]
        roles = {}
        for other in self.others:
            roles.setdefault(other["role"], []).append(other["name"])
        texts += [f"{role}: {_some(names)}" for role, names in roles.items()]
        texts += [f"assumed: {text}" for text in self.assumptions]
        lines += [part for text in texts for part in _wrapped(text)]
        return "\n".join(lines)

    def _title(self):
        count = f"{len(self.blocks)} residual blocks, {self.num_branches} branches (L)"
        if not self.blocks:
            count = "no residual blocks"
        doing = f"scheme {self.scheme['class_name']}"
        if self.weights == "fold":
            doing = "statistics folded into the weights"
        return f"{self.model}: {count}; {doing}"


def record(plan, model, weights):
    """The `Record` of a plan."""
    folds, removed = weights == "fold", {}
    for call, _ in plan.graph.walk():
        if _is_removed(plan, call.operation, folds):
            names = removed.setdefault(type(call.operation).__name__, [])
            if call.name not in names:
                names.append(call.name)
    return Record(
        model=model.name,
        scheme=schemes.serialize(plan.scheme),
        weights=weights,
        num_branches=plan.num_branches,
        blocks=[
            _block(plan, survey, block, folds)
            for survey in plan.surveys
            for block in survey.blocks
        ],
        removed=removed,
        others=[
            {"name": weight.call.name, "role": weight.role}
            for weight in plan.survey.weights
            if weight.role != "branch" and weight.call.body is None
        ],
        assumptions=[] if folds else list(_assumptions(plan, plan.survey)),
    )


def _is_removed(plan, operation, folds):
    wrapper = isinstance(operation, keras.layers.SpectralNormalization)
    if folds:
        return kinds.is_normalization(operation) and not plan.keep(operation)
    return plan.removed(operation) or (wrapper and not plan.keep(operation))


def _block(plan, survey, block, folds):
    return {
        "name": block.name,
        "shortcut": "changes shape" if block.changes_shape else "identity",
        "branches": [
            _branch(plan, survey.branch_of(block, position), folds)
            for position in block.branches
        ],
    }


def _branch(plan, branch, folds):
    zero = None
    if plan.scheme.starts_at_identity and not folds:
        by_kernel = plan.zeroes(branch) and plan.closed[branch]
        zero = "kernel" if by_kernel else "multiplier"
    return {
        "weights": [call.name for call in branch.weights],
        "depth": branch.depth,
        "preactivation": branch.preactivation,
        "zero": zero,
    }


def _assumptions(plan, survey):
    if not plan.closed:
        yield (
            "The model has no residual branches. The scheme says how layers outside of "
            "branches start, and nothing keeps signals through depth but that."
        )
    if survey.unclear:
        yield (
            "Additions of which no input is the shortcut, for all have as many weight "
            f"layers behind them: {_some(survey.unclear)}. They stay, and their inputs "
            "count as layers outside of branches."
        )
    if plan.left:
        names = _some([call.name for call in plan.left])
        yield (
            "Layers with weights of a kind that the converter does not know stay as "
            f"they are, with their own initializers: {names}."
        )
    unknown = [
        call.name
        for call, _ in plan.graph.walk()
        if kinds.is_unknown(call.operation)
        and not call.has_weights
        and not plan.keep(call.operation)
        and not plan.removed(call.operation)
    ]
    if unknown:
        yield (
            "Layers that the converter does not know stay as they are, also if they "
            f"normalize: {_some(unknown)}."
        )
    stuck = [b for b in plan.closed if plan.zeroes(b) and not plan.closed[b]]
    if stuck:
        yield (
            "Branches that zeros in their last weight layer would not close, or not "
            "open again, start at zero by a multiplier: "
            f"{_some([b.block.name for b in stuck])}."
        )
    scales = [c.name for c, _ in plan.graph.walk() if _is_scale(plan, c.operation)]
    if scales:
        yield f"Scales of branches, which the scheme takes over: {_some(scales)}."
    frozen = [k.layer.name for k in plan.kernels if not k.layer.trainable]
    if frozen:
        yield f"Frozen layers are drawn anew, and stay frozen: {_some(frozen)}."
    factors = [call.name for call in _factors(plan.graph, survey)]
    if factors:
        yield (
            "Factors in front of additions or behind them are part of the network and "
            f"stay: {_some(factors)}. They scale what the scheme adds up."
        )
    starts = [
        call.name
        for call in plan.graph.calls
        if plan.removed(call.operation)
        and kinds.is_normalization(call.operation)
        and survey.producers[call.inputs[0]].is_input
        and len(survey.consumers[call.inputs[0]]) == 1
    ]
    if starts:
        yield (
            "Normalization of the model's inputs is taken out, and the network starts "
            f"for standardized data: {_some(starts)}. Standardize the data, or pass "
            f"keep={starts}."
        )
    ends = [
        call.name
        for call in plan.graph.calls
        if plan.removed(call.operation)
        and kinds.is_normalization(call.operation)
        and set(call.outputs) & set(plan.graph.outputs)
    ]
    if ends:
        yield (
            "Normalization of the model's outputs is taken out like any other: "
            f"{_some(ends)}. Pass keep={ends} if it is meant."
        )


def _factors(graph, survey):
    """The calls beside residual additions that multiply by a constant."""
    merges = {block.merge for block in survey.blocks}
    for call in graph.calls:
        if kinds.is_factor(call):
            readers = survey.consumers.get(call.outputs[0], [])
            if {survey.producers[call.inputs[0]], *readers} & merges:
                yield call


def _is_scale(plan, operation):
    merges = type(operation).__name__ == "CustomScaleLayer"
    is_scale = merges or kinds.is_branch_scale(operation)
    return is_scale and not plan.keep(operation)


def _rows(block):
    for index, branch in enumerate(block["branches"]):
        yield (
            "" if index else block["name"],
            "" if index else block["shortcut"],
            str(branch["depth"]),
            branch["zero"] or "",
            _some(branch["weights"]),
        )


def _table(titles, rows):
    """Lines of a table that fits a terminal: the last column is wrapped."""
    rows = [titles, *rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(titles) - 1)]
    indent = " " * sum(width + 2 for width in widths)
    rest = max(_WIDTH - len(indent), _LEAST_WIDTH)
    lines = []
    for *cells, last in rows:
        start = "".join(
            f"{cell:{width}}  " for cell, width in zip(cells, widths, strict=True)
        )
        first, *others = textwrap.wrap(last, rest, **_WRAP) or [""]
        lines += [(start + first).rstrip(), *(indent + other for other in others)]
    return lines


def _wrapped(line):
    """A line that fits a terminal; names are not broken."""
    if len(line) <= _WIDTH:
        return [line]
    return textwrap.wrap(line, _WIDTH, subsequent_indent="    ", **_WRAP)


def _some(names, most=4):
    """A few of some names, and how many more there are."""
    names = list(names)
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
