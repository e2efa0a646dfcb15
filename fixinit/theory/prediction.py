"""What `predict` returns: one row of numbers per layer."""

import dataclasses
import difflib


@dataclasses.dataclass(frozen=True)
class LayerPrediction:
    """What is predicted of the output of one layer, over weights and inputs.

    Example:

    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.ReLU(name="relu")])
    >>> row = fixinit.theory.predict(model)["relu"]
    >>> row.mean_square, round(row.variance, 6)
    (0.5, 0.340845)

    Attributes:
        name: String, the name of the call.
        kind: String, the class of the layer or operation.
        mean: float.
        mean_square: float. The uncentred second moment.
        variance: float. Over batch and space, per channel, averaged over channels.
        correlation: float. `E[h(x) h(x')] / E[h(x)^2]` for two inputs x and x'.
        gradient: float. Mean square of the gradient with respect to this output, for
            gradients of mean square 1 at the model's outputs.
    """

    name: str
    kind: str
    mean: float
    mean_square: float
    variance: float
    correlation: float
    gradient: float = float("nan")


class Prediction:
    """The predicted statistics of all layers of a model, in the order of its calls.

    `prediction["conv1"]` is the `LayerPrediction` of a call; printed, it is a table.

    Example:

    >>> model = fixinit.models.ResidualMLP(4, units=32, scheme="unnormalized", seed=0)
    >>> prediction = fixinit.theory.predict(model)
    >>> prediction["block1/merge"].mean_square
    4.0
    >>> prediction.layers[-1].name
    'predictions'
    """

    def __init__(self, layers):
        self.layers = layers
        self._by_name = {layer.name: layer for layer in layers}

    def __getitem__(self, name):
        if name not in self._by_name:
            nearest = difflib.get_close_matches(str(name), self._by_name, n=3)
            hint = f"Did you mean one of {nearest}?" if nearest else "See `.layers`."
            raise KeyError(f"No call of the model has the name {name!r}. {hint}")
        return self._by_name[name]

    def __contains__(self, name):
        return name in self._by_name

    def __len__(self):
        return len(self.layers)

    def __iter__(self):
        return iter(self.layers)

    def to_dict(self):
        """`{"layers": [{"name": ..., "variance": ..., ...}, ...]}`"""
        return {"layers": [dataclasses.asdict(layer) for layer in self.layers]}

    def __str__(self):
        width = max((len(layer.name) for layer in self.layers), default=5)
        columns = ("mean", "mean_square", "variance", "correlation", "gradient")
        lines = [" ".join([f"{'layer':{width}}", *(f"{c:>11}" for c in columns)])]
        for layer in self.layers:
            numbers = (f"{getattr(layer, c):11.4g}" for c in columns)
            lines.append(" ".join([f"{layer.name:{width}}", *numbers]))
        return "\n".join(lines)
