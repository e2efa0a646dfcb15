"""Chain of residual blocks: the blocks of a model, one behind the other."""

from typing import Any, Self

import numpy as np

from fixinit import graph
from fixinit._typing import ArrayLike
from fixinit.diagnostics._shared.subject import Subject


class Chain:
    """Chain of the residual blocks of a graph.

    Every block passes a signal through its branch or through its shortcut, so that n
    blocks make 2^n paths. Blocks inside of another block's branch are part of it.

    Args:
        model_graph: `fixinit.graph.Graph`.

    Attributes:
        names: List of strings, one per block. Those of a stack are named by its name
            and their index.
        merges: Dict from the name of the call that merges to `(block, indices)`: the
            `fixinit.graph.Block`, and the blocks of the chain that it stands for, an
            integer array with one axis for each stack around it.
        start: The value in which the first block begins.

    Raises:
        ValueError: If blocks stand side by side.
    """

    def __init__(self, model_graph: graph.Graph) -> None:
        self.names: list[str] = []
        self.merges: dict[str, tuple[graph.Block, np.ndarray]] = {}
        links = _links(model_graph)
        # `None` in a graph without blocks, which `model_chain` refuses.
        self.start: Any = links[0].start if links else None
        for link in links:
            offset = len(self.names)
            self.names += link.names
            for name, (block, indices) in link.merges.items():
                self.merges[name] = (block, indices + offset)

    def __len__(self) -> int:
        return len(self.names)

    def controls(self, values: ArrayLike) -> dict[str, np.ndarray]:
        """Returns the controls that `fixinit.graph.run` passes to the merges.

        Args:
            values: Array whose first axis is that of the blocks.
        """
        values = np.asarray(values, "float32")
        return {name: values[indices] for name, (_, indices) in self.merges.items()}


def model_chain(subject: Subject) -> Chain:
    """The chain of the residual blocks of a model.

    Raises:
        ValueError: If it has no residual block, or if blocks stand side by side.
    """
    chain = Chain(subject.graph)
    if not chain:
        raise ValueError(
            f"Model `{subject.model.name}` holds no residual block: no addition of a "
            "branch and its shortcut, outside of stacks or in one. Build it with "
            "shortcuts, such as fixinit.layers.ResidualBlock; models of "
            "fixinit.models need plain=False."
        )
    return chain


class _Link:
    """One block of a graph, or all blocks of a stack."""

    def __init__(
        self, start: int, end: int, names: list[str], merges: dict[str, Any]
    ) -> None:
        self.start, self.end, self.names, self.merges = start, end, names, merges

    @classmethod
    def of_block(cls, block: graph.Block) -> Self:
        merge: Any = block.merge
        merges = {merge.name: (block, np.array(0))}
        return cls(block.input, merge.outputs[0], [block.name], merges)

    @classmethod
    def of_stack(cls, call: graph.Call) -> Self:
        assert call.body is not None
        stack: Any = call.operation
        body, depth = Chain(call.body), stack.depth
        rows = len(body) * np.arange(depth)
        merges = {
            name: (block, np.add.outer(rows, indices))
            for name, (block, indices) in body.merges.items()
        }
        inner = [""] if len(body) == 1 else [f"/{name}" for name in body.names]
        inner = [name.replace(f"/{call.name}", "", 1) for name in inner]
        names = [f"{call.name}[{i}]{name}" for i in range(depth) for name in inner]
        return cls(call.inputs[0], call.outputs[0], names, merges)


def _links(model_graph: graph.Graph) -> list[_Link]:
    """Lists the outermost blocks and stacks in order; refuses those side by side."""
    links = [_Link.of_block(block) for block in graph.find_blocks(model_graph)]
    stacks = [call for call in model_graph.calls if call.body is not None]
    links += [link for link in map(_Link.of_stack, stacks) if link.names]
    links.sort(key=lambda link: link.end)
    ancestors = model_graph.ancestors()
    links = [
        link
        for link in links
        if not any(_is_inside(link, other, ancestors) for other in links)
    ]
    for before, after in zip(links, links[1:], strict=False):
        if not ancestors[after.start] >> before.end & 1:
            raise ValueError(
                f"Blocks `{before.names[-1]}` and `{after.names[0]}` stand side by "
                "side: no path leads through both. Measure the parts of the model "
                "one by one, as models of their own."
            )
    return links


def _is_inside(link: _Link, other: _Link, ancestors: Any) -> bool:
    """Whether `link` lies between the start and the end of another."""
    return (
        link is not other
        and ancestors[link.start] >> other.start & 1
        and ancestors[other.end] >> link.end & 1
    )
