"""What is measured: a model, its calls, and the graph of what it computes."""

import functools
import warnings
from collections.abc import Sequence
from typing import Any

import keras
from keras import tree

from fixinit import _keras, graph
from fixinit._typing import Tensor
from fixinit.graph.functional import functional_of, is_subclassed, no_graph
from fixinit.graph.subclassed import Signature, signature_of


class Subject:
    """A model that is measured, functional or with a `call` of its own.

    Variables, calls and losses are the model's own. Of a model with a `call` of its own
    inputs, outputs and graph are those of what it opens to: see `fixinit.graph.opened`.

    Args:
        model: `keras.Model`.
        data: A batch of its inputs, on which it is opened; see `fixinit.graph.opened`.

    Attributes:
        model: `keras.Model`.
        functional: Functional `keras.Model`: the model itself or what it opens to.
        output_names: List of strings, by which losses and targets are told apart: the
            keys of outputs in a dict, and otherwise the names of the output layers.

    Raises:
        TypeError: If the model has no graph.
        ValueError: If it is not built. One with a `call` of its own is built on `data`.
    """

    def __init__(self, model: keras.Model, data: Any = None) -> None:
        self.model, self._data = model, data
        self._signature: Signature | None = None
        self._opened: tuple[graph.Opened, graph.Graph] | None = None
        self.functional: Any = functional_of(model)
        if self.functional is None:
            if not is_subclassed(model):
                raise no_graph(model)
            self._signature = signature_of(model, data)
            self._opened = self._open()
            self.functional = self._opened[0].model
        self.output_names = self._names()

    def _names(self) -> list[str]:
        """The names that `compile` and `fit` know the outputs by, in flat order."""
        structure = _keras.output_structure(self.functional)
        if isinstance(structure, dict) and len(structure) == len(self.outputs):
            keys = tree.pack_sequence_as(structure, range(len(structure)))
            return sorted(keys, key=keys.__getitem__)
        return self.functional.output_names

    def _open(self) -> tuple[graph.Opened, graph.Graph]:
        with graph.opened(self.model, data=self._data) as found:
            return found, graph.trace(found.model)

    @functools.cached_property
    def closed_graph(self) -> graph.Graph:
        """The graph of `functional`, in which no layer is opened."""
        return graph.trace(self.functional)

    @functools.cached_property
    def graph(self) -> graph.Graph:
        """The `fixinit.graph.Graph`, with layers of classes of one's own opened."""
        found, traced = self._opened or self._open()
        if found.lost:
            warnings.warn(
                f"Model `{self.model.name}` is measured by its graph. "
                f"{' '.join(found.lost)}",
                stacklevel=2,
            )
        self._opened = found, traced
        return traced

    @property
    def shut(self) -> dict[str, str]:
        """Dict from the names of layers that did not open to the reasons."""
        return {} if self._opened is None else self._opened[0].shut

    @property
    def lost(self) -> list[str]:
        """What the graph has not of the model, in sentences."""
        return [] if self._opened is None else self._opened[0].lost

    @property
    def hides_losses(self) -> bool:
        """Whether layers add losses in calls that are not in the graph."""
        return self._opened is not None and self._opened[0].hides_losses

    @property
    def inputs(self) -> list[keras.KerasTensor]:
        """One symbolic tensor for each input, with the sizes that the graph is of."""
        if self._opened is not None and self._opened[0].shapes is not None:
            return self._opened[0].model.inputs
        return self.functional.inputs

    @property
    def outputs(self) -> list[keras.KerasTensor]:
        """One symbolic tensor for each output."""
        return self.functional.outputs

    def __call__(self, x: Sequence[Tensor], training: bool) -> list[Tensor]:
        """Calls the model on a flat list of inputs; its outputs as a flat list."""
        args, kwargs = self.arguments(x)
        return tree.flatten(self.model(*args, **kwargs, training=training))

    def packed(self, x: Sequence[Tensor]) -> Any:
        """Packs a flat list of inputs into the structure that `fit` takes them in."""
        return tree.pack_sequence_as(_keras.input_structure(self.functional), x)

    def arguments(self, x: Sequence[Tensor]) -> tuple[Sequence[Any], dict[str, Any]]:
        """`(args, kwargs)` of a call of the model, of a flat list of inputs."""
        packed = self.packed(x)
        if self._signature is None:
            return (packed,), {}
        return (), self._signature.arguments(packed)

    def structured(self, outputs: Sequence[Any]) -> Any:
        """Packs a flat list of outputs into the structure that the model gives."""
        return tree.pack_sequence_as(_keras.output_structure(self.functional), outputs)
