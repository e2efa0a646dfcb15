"""The mode in which the `call` of a layer is run for its graph."""

import inspect
from typing import Any

from keras import tree


class _Training(int):
    """An integer that tells the mode of the whole model from one that is fixed."""


class Mode:
    """What stands for the argument `training` while a `call` is run.

    It is true in training mode, so that `call` goes that way, and is taken out of what
    the layers inside are called with: a graph says its mode when it runs.

    Args:
        training: bool.
    """

    def __init__(self, training: bool) -> None:
        self.training = training
        self._token = _Training(training)

    def given(self, layer: Any, args: Any, kwargs: Any) -> Any:
        """The keyword arguments of a layer's `call` with the mode, if it takes one."""
        parameters = inspect.signature(layer.call).parameters
        if "training" not in parameters or kwargs.get("training") is not None:
            return kwargs
        if list(parameters).index("training") < len(args):
            return kwargs
        required = parameters["training"].default is inspect.Parameter.empty
        if not (self.training or required):
            return kwargs
        return {**kwargs, "training": self._token}

    def is_fixed(self, kwargs: Any) -> bool:
        """Whether a layer is called in test mode whatever the mode is."""
        return self.training and kwargs.get("training") is False

    def taken_out(self, args: Any, kwargs: Any) -> Any:
        """`(args, kwargs)` of a layer inside, without the mode."""
        return tree.map_structure(
            lambda x: None if x is self._token else x, (args, kwargs)
        )
