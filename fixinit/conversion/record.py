"""What a conversion has found, assumed and done: for people, and to be saved."""

import dataclasses
import textwrap
from collections.abc import Iterator
from typing import Any

import keras

from fixinit import schemes
from fixinit.conversion import kinds
from fixinit.conversion.assumptions import assumptions, some
from fixinit.graph import Opened
from fixinit.graph.functional import is_own, is_subclassed

# In characters: a terminal, and what the last column of a table gets at least.
_WIDTH, _LEAST_WIDTH = 80, 20
# Methods of a model that say how it is trained and evaluated.
_STEPS = ("train_step", "test_step", "predict_step", "compute_loss", "compute_metrics")
_WRAP: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}


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
        others: List of dicts for weight layers outside of branches: `name`, `role` (one
            of `fixinit.schemes.Site`, `"gate"` or, for a last layer that normalization
            follows, `"features"`) and `zero`, whether it starts at 0.
        assumptions: List of strings.
    """

    model: str
    scheme: dict[str, Any]
    weights: str
    num_branches: int
    blocks: list[dict[str, Any]]
    removed: dict[str, list[str]]
    others: list[dict[str, Any]]
    assumptions: list[str]

    def to_dict(self) -> dict[str, Any]:
        """The record as what JSON can hold."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        lines = [self._title(), ""]
        if self.blocks:
            lines += _table(
                ("block", "shortcut", "m", "starts at 0 by", "weight layers"),
                [row for block in self.blocks for row in _rows(block)],
            )
        lines.append("")
        texts = [
            f"taken out: {len(names)} {kind} ({some(names)})"
            for kind, names in self.removed.items()
        ]
        roles: dict[str, list[str]] = {}
        for other in self.others:
            zero = ", starts at 0" if other["zero"] else ""
            roles.setdefault(other["role"] + zero, []).append(other["name"])
        texts += [f"{role}: {some(names)}" for role, names in roles.items()]
        texts += [f"assumed: {text}" for text in self.assumptions]
        lines += [part for text in texts for part in _wrapped(text)]
        return "\n".join(lines)

    def _title(self) -> str:
        count = f"{len(self.blocks)} residual blocks, {self.num_branches} branches (L)"
        if not self.blocks:
            count = "no residual blocks"
        doing = f"scheme {self.scheme['class_name']}"
        if self.weights == "fold":
            doing = "statistics folded into the weights"
        return f"{self.model}: {count}; {doing}"


def record(plan: Any, model: keras.Model, weights: str, inside: Opened) -> Record:
    """The `Record` of a plan for the opened model `inside`."""
    folds = weights == "fold"
    removed: dict[str, list[str]] = {}
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
            _other(plan, weight, folds)
            for weight in plan.survey.weights
            if weight.role != "branch"
            and weight.call.body is None
            # Those in branches that hold others are among the layers of these.
            and not (weight.role == "trunk" and weight.branch is not None)
        ],
        assumptions=[
            *_own_class(model),
            *inside.lost,
            *_sizes(model, inside),
            *([] if folds else assumptions(plan)),
        ],
    )


def _is_removed(plan: Any, operation: Any, folds: bool) -> bool:
    wrapper = isinstance(operation, keras.layers.SpectralNormalization)
    normalizes = wrapper or kinds.is_normalization(operation)
    if normalizes and not plan.keep(operation):
        return True
    return not folds and plan.removed(operation)


def _sizes(model: keras.Model, inside: Opened) -> Iterator[str]:
    """The sizes of inputs that the converted model has, and the model had not."""
    if inside.shapes is not None and is_subclassed(model):
        yield (
            f"The converted model has inputs of the shapes {inside.shapes}, those that "
            "the model was built with or of data=..., and no others."
        )
    elif inside.shapes is not None:
        yield (
            "Layers of the model's own compute with sizes that it leaves open. The "
            f"converted model has inputs of the shapes {inside.shapes}, and no others. "
            "Pass data=..., a batch of the sizes that it is for."
        )


def _own_class(model: keras.Model) -> Iterator[str]:
    """What a functional model of the user's own class loses."""
    kind = type(model)
    if is_own(kind):
        own = [name for name in _STEPS if _is_overridden(kind, name)]
        lost = ", ".join(f"`{name}`" for name in own)
        yield (
            f"The model is a {kind.__name__}, the converted one a functional "
            "keras.Model: methods of that class, such as "
            f"{lost or '`train_step`'}, are not in it."
        )


def _is_overridden(kind: type, name: str) -> bool:
    return is_own(next(cls for cls in kind.__mro__ if name in vars(cls)))


def _other(plan: Any, weight: Any, folds: bool) -> dict[str, Any]:
    role = weight.role
    if weight.is_output and role != "head":
        role = "features"
    drawn = weight.call.operation.trainable and not folds
    is_zero = plan.zeroes_heads or weight.call in plan.kept_zeros
    is_zero = is_zero and weight.call not in plan.drawn_heads
    zero = role == "head" and drawn and is_zero
    return {"name": weight.call.name, "role": role, "zero": zero}


def _block(plan: Any, survey: Any, block: Any, folds: bool) -> dict[str, Any]:
    return {
        "name": block.name,
        "shortcut": "changes shape" if block.changes_shape else "identity",
        "branches": [
            _branch(plan, survey.branch_of(block, position), folds)
            for position in block.branches
        ],
    }


def _branch(plan: Any, branch: Any, folds: bool) -> dict[str, Any]:
    zero = None
    holds = branch.holds_branches or branch.is_shut
    if plan.start(branch).is_zero and not (folds or holds):
        by_kernel = plan.zeroes(branch) and plan.closed[branch]
        zero = "kernel" if by_kernel else "multiplier"
    return {
        "weights": [call.name for call in branch.weights],
        "depth": branch.depth,
        "preactivation": branch.preactivation,
        "zero": zero,
    }


def _rows(block: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for index, branch in enumerate(block["branches"]):
        yield (
            "" if index else block["name"],
            "" if index else block["shortcut"],
            str(branch["depth"]),
            branch["zero"] or "",
            some(branch["weights"]),
        )


def _table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
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


def _wrapped(line: str) -> list[str]:
    """A line that fits a terminal; names are not broken."""
    if len(line) <= _WIDTH:
        return [line]
    return textwrap.wrap(line, _WIDTH, subsequent_indent="    ", **_WRAP)
