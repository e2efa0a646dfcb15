"""The layers and operations of a model while a graph is made of them."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from fixinit import _keras


class Originals:
    """Changes the layers and operations of a given model until the end.

    Args:
        restore: `contextlib.ExitStack` that undoes the changes.
    """

    def __init__(self, restore: contextlib.ExitStack) -> None:
        self._restore = restore
        self._kept: set[int] = set()
        self._names: dict[int, str] = {}  # of the layers that are renamed
        self._renamed: list[Any] = []

    def keep(self, operation: Any) -> None:
        """Has Keras's records of calls taken off an operation again in the end."""
        if id(operation) in self._kept:
            return
        self._kept.add(id(operation))
        self._restore.callback(_keras.restored_calls(operation))

    def prefix(self, layer: Any, name: str) -> None:
        """Puts the name of what holds a layer in front of the layer's, once."""
        if id(layer) not in self._names:
            self._rename(layer, f"{name}_{layer.name}")

    def name_back(self, layer: Any) -> None:
        """Gives a layer its own name."""
        layer.name = self._names.get(id(layer), layer.name)

    @contextlib.contextmanager
    def own_names(self, layers: Iterable[Any] | None = None) -> Iterator[None]:
        """Gives layers, or all, their own names: a `call` may find parts by them."""
        chosen = list(self._renamed if layers is None else layers)
        names = [layer.name for layer in chosen]
        for layer in chosen:
            self.name_back(layer)
        try:
            yield
        finally:
            for layer, name in zip(chosen, names, strict=True):
                layer.name = name

    def make_unique(self, outputs: list[Any]) -> None:
        """Gives operations with the same name different ones."""
        taken: dict[str, int] = {}
        for operation in operations_before(outputs):
            name = operation.name
            count = taken[name] = taken.get(name, 0) + 1
            if count > 1:
                while f"{name}_{count}" in taken:
                    count += 1
                self._rename(operation, f"{name}_{count}")
                taken[operation.name] = 1

    def _rename(self, layer: Any, name: str) -> None:
        """Gives a layer another name until the end."""
        if id(layer) not in self._names:
            self._names[id(layer)] = layer.name
            self._renamed.append(layer)
        self._restore.callback(setattr, layer, "name", layer.name)
        layer.name = name


def operations_before(outputs: list[Any], inputs: Iterable[Any] = ()) -> list[Any]:
    """The operations in front of some symbolic tensors and behind others, each once."""
    found: dict[int, Any] = {}
    pending, seen = list(outputs), {id(tensor) for tensor in inputs}
    while pending:
        tensor = pending.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        operation, call, _ = _keras.origin(tensor)
        found.setdefault(id(operation), operation)
        pending += _keras.calls_of(operation)[call].input_tensors
    return list(found.values())[::-1]
