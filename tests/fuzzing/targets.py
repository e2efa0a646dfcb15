"""The public API: every name that `__all__` of the packages lists, and its methods."""

import dataclasses
import inspect
import types
import typing

import keras
import numpy as np

import fixinit
from fixinit import diagnostics, graph, layers, optimizers, schemes, theory
from tests.fuzzing import values

# They change what others see, and are tested by themselves.
LEFT_OUT = {"schemes.register", "schemes.unregister", "theory.register"}
LEFT_OUT |= {"layers.register_facts"}
# A base that classes of Keras are mixed with, no layer by itself.
LEFT_OUT |= {"layers.StandardizedKernel"}


@dataclasses.dataclass(frozen=True)
class Target:
    """One callable of the public API.

    Attributes:
        name: Such as `"layers.Stack"` or `"theory.MeanField.drift"`.
        function: The callable, a constructor for classes.
        make: Callable from a generator to the instance, for methods; or `None`.
        valid: Dict from arguments to lists of valid values or callables that make one.
    """

    name: str
    function: typing.Any
    make: typing.Any = None
    valid: dict = dataclasses.field(default_factory=dict)

    @property
    def parameters(self):
        """The named parameters, without `self`."""
        signature = inspect.signature(self.function)
        kinds = (
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            inspect.Parameter.KEYWORD_ONLY,
        )
        found = [p for p in signature.parameters.values() if p.kind in kinds]
        return found[1:] if self.make is not None else found

    @property
    def aliases(self):
        """Other names of arguments in errors: those under which others pass them on."""
        return ["scheme", "class_name"] if self.name == "schemes.get" else []

    @property
    def hints(self):
        owner = self.function
        if inspect.isclass(owner):
            # The fields of a dataclass have the hints of its constructor.
            own = (
                typing.get_type_hints(owner) if dataclasses.is_dataclass(owner) else {}
            )
            return {**own, **typing.get_type_hints(owner.__init__)}
        return typing.get_type_hints(owner)


def public_names(module=fixinit, prefix=""):
    """Yields `(name, object)` for all that `__all__` leads to, modules left out."""
    for name in module.__all__:
        found = getattr(module, name)
        if isinstance(found, types.ModuleType):
            yield from public_names(found, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", found


def targets():
    """The list of `Target`s, each name once."""
    found = []
    for name, owner in public_names():
        if name in LEFT_OUT or (
            inspect.isclass(owner) and issubclass(owner, Exception)
        ):
            continue
        found.append(Target(name, owner, valid=VALID.get(name, {})))
        for method in METHODS.get(name, ()):
            full = f"{name}.{method}"
            function = getattr(owner, method)
            bound = inspect.ismethod(function)
            make = None if bound else (lambda rng, name=name: INSTANCES[name](rng))
            found.append(Target(full, function, make, VALID.get(full, {})))
    return found


def _layers(count):
    return lambda rng: [values.layer(rng) for _ in range(count)]


_MODEL = {"depth": [8], "shortcut": ["A", "B", "C"], "name": [None], "classes": [3]}
_IMAGES = {
    **_MODEL,
    "input_shape": [(8, 8, 2)],
    "stacked": ["auto"],
    "filters": [(2, 4)],
}
_TENSORS = {"loss": [None, "sparse_categorical_crossentropy"]}
VALID = {
    "layers.ResidualBlock": {
        "branch": [_layers(2)],
        "shortcut": [()],
        "merge": [None],
        "after_merge": [()],
        "shared_layers": [0, 1],
        "context_layer": [0],
    },
    "layers.Stack": {"block": [values.layer], "depth": [2, 5], "constants": [None]},
    "layers.Stack.from_blocks": {"blocks": [_layers(1)]},
    "layers.Parameter": {"shape": [(1, 3)]},
    "layers.BroadcastBatch": {"shape": [(3,)]},
    "layers.ShakeShake": {"forward_mode": ["even"], "backward_mode": ["keep"]},
    "layers.StochasticDepth": {"scaling": ["test", "inverted"]},
    "layers.facts_of": {"operation": [values.layer]},
    "initializers.residual_scale": {"branch": [0]},
    "initializers.ScaledResidual": {"branch": [0]},
    "optimizers.AdaptiveClipping": {
        "inner_optimizer": [values.optimizer],
        "units": [{"dense/kernel": [1], "dense/bias": []}],
        "name": [None],
    },
    "optimizers.adaptive_clipping": {
        "factor": [0.01, 0.16],
        "epsilon": [1e-3],
        "head": [None],
    },
    "optimizers.GroupedOptimizer": {"loss_scale_factor": [None], "name": [None]},
    "optimizers.Rule": {"role": ["bias", "kernel"], "pattern": [None]},
    "optimizers.Rule.matches": {"variable": [lambda rng: values.model().weights[0]]},
    "optimizers.ScaledSchedule": {
        "schedule": [keras.optimizers.schedules.CosineDecay(0.1, 10)]
    },
    "schemes.ScaledResidual": {"mode": ["fixed", "trainable"]},
    "schemes.Site": {"branch": [0, 3], "layer": [0, 1], "num_blocks": [None, 4]},
    "schemes.get": {"identifier": ["fixup", schemes.ReZero()]},
    "schemes.serialize": {"scheme": [schemes.ReZero()]},
    "models.ResNet": {
        **_IMAGES,
        "stages": [(1, 1)],
        "stem": ["cifar"],
        "block": ["basic"],
    },
    "models.ResNet1D": {**_IMAGES, "stages": [(1, 1)], "input_shape": [(8, 2)]},
    "models.CifarResNet": {**_IMAGES, "block": ["basic"]},
    "models.ImageNetResNet": {**_IMAGES, "depth": [18], "input_shape": [(32, 32, 1)]},
    "models.WideResNet": {**_IMAGES, "depth": [10], "widen_factor": [1]},
    "models.ResidualMLP": {
        **_MODEL,
        "num_blocks": [2],
        "units": [4],
        "input_shape": [(5,)],
        "stacked": ["auto", True, False],
    },
    "theory.Function": {
        "value": [np.square],
        "derivative": [lambda rng: lambda x: 2 * x],
    },
    "theory.PiecewiseLinear": {"intercepts": [None]},
    "theory.Moments": {
        "shape": [(4,)],
        "channels": [(3,)],
        "mean": [np.zeros((1, 4))],
        "same": [np.ones((1, 16))],
        "cross": [np.zeros((1, 16))],
        "sources": [frozenset()],
    },
    "theory.Setting": {"output_shape": [(4,)], "batch_size": [None, 8]},
    "theory.activation_gain": {"operation": [keras.layers.ReLU(), keras.layers.ELU()]},
    "theory.activation_square": {"operation": [keras.layers.Activation("tanh")]},
    "theory.critical_factor": {"keep": ["gradient"], "first": [None], "last": [None]},
    "theory.critical_scale": {"keep": ["gradient", "variance"]},
    "theory.propagate": {"hook": [lambda rng: graph.Hook()], "assume": [None]},
    "theory.Prediction": {"layers": [[]]},
    "theory.calculus.permute": {"order": [(0,)]},
    "theory.calculus.Window": {"taps": [np.array([[0, 1], [1, 2]])], "sizes": [None]},
    "theory.calculus.maximum": {"sign": [1.0, -1.0]},
    "theory.calculus.average": {"axes": [(0,)]},
    "theory.calculus.total": {"axes": [(0,)]},
    "theory.calculus.largest": {"axes": [(0,)]},
    "theory.calculus.spread": {"axes": [(0,)]},
    "theory.calculus.constant": {"values": [np.ones((2, 3))]},
    "theory.calculus.concatenate_space": {"axis": [0]},
    "theory.calculus.rearrange": {"shape": [(3, 2), (2, 2, 3)]},
    "theory.calculus.regroup": {"shape": [(4,), (2, 2)]},
    "theory.calculus.select": {"axis": [0], "indices": [(0, 1)]},
    "theory.calculus.select_channels": {"indices": [(0, 1)]},
    "theory.calculus.transpose": {"order": [(1, 0), (0,)]},
    "theory.calculus.zero_pad": {"sides": [{0: (1, 1)}]},
    "theory.predict": {"input_shape": [None, (5,)], "unknown": ["refuse", "measure"]},
    "theory.calculus.reshape": {"shape": [(4,)]},
    "graph.opened": {"stays": [lambda rng: lambda layer: False], "data": [None]},
    "graph.run": {"inputs": [[np.ones((2, 5), "float32")]], "controls": [None]},
    "graph.find_gates": {"blocks": [None]},
    "graph.with_sizes": {"shape": [(None, None, 3)]},
    "initialize_from_data": {"method": ["lsuv"], "y": [None], "optimizer": [None]},
    "starts.initialize_from_data": {
        "method": ["lsuv"],
        "y": [None],
        "optimizer": [None],
    },
    "starts.DataStart": {"method": ["lsuv"], "factors": [{}], "kept": [()]},
    "convert": {"data": [None], "model": [lambda rng: values.model("normalized")]},
    "conversion.convert": {"data": [None], "model": [lambda rng: values.model("own")]},
    "diagnostics.BlockStatistics": {"data": [None]},
    "diagnostics.EffectiveDepth": {"data": [None]},
    "diagnostics.GradientNorms": {"data": [None]},
    "diagnostics.Lesion": {"data": [None]},
    "diagnostics.PathGradients": {"data": [None]},
    "diagnostics.PathTotals": {"data": [None]},
    "diagnostics.fit_growth": {"segments": [None], "peak_ratio": [2.0]},
    "diagnostics.path_gradients": {"lengths": [None], "num_samples": [3], **_TENSORS},
    "diagnostics.PathGradients.__call__": {"lengths": [None], "num_samples": [3]},
    "diagnostics.gradient_correlation": {"direction": [None]},
    "diagnostics.jacobian_spectrum": {"complete_up_to": [64], "max_iterations": [3]},
    "diagnostics.loss_surface": {"directions": [None], "extent": [0.5]},
    "diagnostics.lesion": {"drop": [1], "swap": [0], "num_samples": [2]},
    "diagnostics.Lesion.__call__": {"drop": [(0,)], "order": [None]},
    "diagnostics.function_update": {"num_steps": [1]},
    "diagnostics.function_update_by_depth": {
        "build": [lambda rng: lambda depth: values.model()]
    },
    "diagnostics.Monitor": {"csv_path": [None], "log_dir": [None], "action": ["warn"]},
    "diagnostics.Diagnosis.curve": {"measure": ["mean_square"]},
}
for _name in ("Monitor",):
    VALID[f"diagnostics.{_name}"] |= {
        "measures": [("mean_square",)],
        "explosion": [1e3],
    }


def _diagnosis(rng):
    x = rng.normal(size=(4, 5)).astype("float32")
    return diagnostics.diagnose(values.model(), x)


# Of classes whose methods users call, an instance to call them on.
INSTANCES = {
    "theory.MeanField": lambda rng: theory.MeanField(
        ["tanh", "relu"][rng.integers(2)], [1.5, 2.0][rng.integers(2)], 0.1
    ),
    "theory.Moments": values.moments,
    "theory.PiecewiseLinear": lambda rng: theory.activation("relu"),
    "theory.calculus.Window": values.window,
    "schemes.Start": lambda rng: schemes.Start(0.5),
    "optimizers.Rule": lambda rng: optimizers.Rule("bias"),
    "diagnostics.PathGradients": lambda rng: diagnostics.PathGradients(values.model()),
    "diagnostics.Lesion": lambda rng: diagnostics.Lesion(values.model()),
    "diagnostics.BlockStatistics": lambda rng: diagnostics.BlockStatistics(
        values.model()
    ),
    "diagnostics.GradientCorrelation": lambda rng: diagnostics.GradientCorrelation(
        rng.normal(size=(5, 3))
    ),
    "diagnostics.Diagnosis": _diagnosis,
    **{
        f"schemes.{kind.__name__}": (lambda rng, kind=kind: kind())
        for kind in map(type, map(schemes.get, schemes.names()))
    },
}
METHODS = {
    "layers.Stack": ["from_blocks"],
    "layers.Parameter": ["of"],
    "theory.Moments": ["inputs", "batch_variance"],
    "theory.calculus.Window": ["convolution", "transposed", "gather", "everything"],
    "theory.MeanField": [
        "variance_map",
        "correlation_map",
        "gradient_factor",
        "fixed_point",
        "drift",
        "correlation_fixed_point",
        "depth_scales",
    ],
    "schemes.Start": ["raised", "scaled"],
    "optimizers.Rule": ["matches"],
    "diagnostics.PathGradients": ["__call__"],
    "diagnostics.Lesion": ["__call__"],
    "diagnostics.BlockStatistics": ["__call__"],
    "diagnostics.GradientCorrelation": ["autocorrelation"],
    "diagnostics.Diagnosis": ["curve"],
    **{
        f"schemes.{type(schemes.get(name)).__name__}": [
            "predicted_variance",
            "optimizer",
        ]
        for name in schemes.names()
    },
}
_ = layers


def weights(found):
    """How often each target is called: those that build or run models, less."""
    heavy = ("models.", "diagnostics.", "conver", "graph.opened", "theory.pre")
    heavy += ("theory.critical_factor", "theory.propagate")
    given = [
        0.1 if target.name.startswith(heavy) and not is_cheap(target) else 1.0
        for target in found
    ]
    return np.array(given) / sum(given)


def is_cheap(target):
    return dataclasses.is_dataclass(target.function)
