"""Arguments of public functions: valid ones by type hint and name, and hostile ones."""

import functools
import math
from fractions import Fraction

import keras
import numpy as np
from keras import ops

import fixinit
from fixinit import graph, layers, optimizers, schemes, theory

NAN, INF = math.nan, math.inf
# What no number may be: not finite, or not a number at all.
BAD_NUMBERS = [
    NAN,
    INF,
    -INF,
    np.float32("nan"),
    np.float64("inf"),
    True,
    False,
    np.bool_(True),
    "nan",
    "0.5",
    1j,
    10**400,
]
# Integers beyond every bound.
HUGE = [2**63, -(2**63), 10**400, np.uint64(2**63)]
# What may or may not fit, by what is asked.
EDGES = [-1, 0, 1, 2, 1.5, -0.5, 1e308, -1e308, 1e-308, 5e-324]
EDGES += [np.int64(2), np.int32(-1), np.float32(0.5), Fraction(1, 3)]


class Stranger:
    """An object of a class that nobody knows."""


OBJECTS = [
    None,
    "",
    "x",
    b"x",
    [],
    (),
    {},
    set(),
    ["x"],
    [None],
    [1.5],
    [NAN],
    [-1],
    [True],
    (3, -1),
    (2**63, 2),
    (10**400,),
    {"x": 1},
    {"class_name": 3},
    {"class_name": "Zeros", "config": 3},
    {"class_name": "x", "config": {}},
    np.array(1.0),
    np.array([]),
    np.array([1.0, NAN]),
    np.array([[1, 2], [3, 4]]),
    np.array(["x"]),
    int,
    Stranger,
    len,
    range(3),
    Ellipsis,
]


def hostile(rng):
    """A value that most arguments must refuse."""
    kinds = [BAD_NUMBERS, HUGE, EDGES, OBJECTS, [Stranger(), lambda: None, _tensor()]]
    weights = [0.35, 0.1, 0.2, 0.3, 0.05]
    pool = kinds[rng.choice(len(kinds), p=weights)]
    return pool[rng.integers(len(pool))]


def _tensor():
    return ops.ones((2, 3))


@functools.cache
def model(kind="blocks"):
    """A model that calls only look at."""
    if kind == "blocks":
        return fixinit.models.ResidualMLP(
            3, 4, scheme="scaled_residual", input_shape=(5,), classes=3, seed=0
        )
    inputs = keras.Input((8,), name="x")
    branch = keras.layers.LayerNormalization(name="norm")(inputs)
    branch = keras.layers.Dense(8, "relu", name="first")(branch)
    branch = keras.layers.Dense(8, name="second")(branch)
    outputs = keras.layers.Add(name="sum")([inputs, branch])
    return keras.Model(inputs, keras.layers.Dense(3, name="head")(outputs), name="net")


@functools.cache
def traced():
    return graph.trace(model())


def moments(rng):
    shape = [(6,), (4, 3), (4, 4, 2)][rng.integers(3)]
    return theory.Moments.inputs(shape, variance=2.0)


def window(rng):
    return theory.calculus.Window.convolution(4, kernel=int(rng.integers(1, 4)))


def layer(rng):
    made = [
        lambda: keras.layers.Dense(4),
        lambda: keras.layers.Activation("tanh"),
        lambda: layers.ScalarBias(),
        lambda: layers.StochasticDepth(0.8, seed=1),
    ]
    return made[rng.integers(len(made))]()


def optimizer(rng):
    return ["sgd", keras.optimizers.Adam(1e-3)][rng.integers(2)]


def smooth():
    return theory.Function(lambda x: x**2, lambda x: 2 * x)


def site(rng):
    role = ["branch", "stem", "head", "projection"][rng.integers(4)]
    return schemes.Site(1, 4, layer=int(rng.integers(2)), role=role)


# By name: what hints do not say.
BY_NAME = {
    "activation": ["relu", "tanh"],
    "alpha": [(-1.0, 1.0)],
    "axis": [-1, 1],
    "beta": [(0.0, 1.0)],
    "bias_variance": [0.25, 0.0],
    "branch_depth": [2, 3],
    "by": ["merge", "multiplier", "kernel"],
    "classifier_activation": [None, "softmax"],
    "constraint": [None, "non_neg"],
    "correlation": [0.5, np.array([0.0, 1.0])],
    "depths": [(1, 2)],
    "distribution": ["uniform", "truncated_normal"],
    "dropout_rate": [0.25],
    "dtype": ["float32"],
    "epsilon": [1e-3],
    "finding": ["exploding"],
    "initializer": ["he_normal", "ones"],
    "input_shape": [(2, 3)],
    "keep": [()],
    "kernel_size": [3],
    "kinks": [(0.0,)],
    "level": ["batch", "sample"],
    "loss": ["sparse_categorical_crossentropy"],
    "measures": [{"loss": "sparse_categorical_crossentropy"}],
    "mode": ["fan_in", "fan_out"],
    "name": ["relu", "tanh"],
    "num_branches": [4, 100],
    "num_lags": [2],
    "num_points": [3],
    "padding": ["valid", "same"],
    "read": [[(5,)]],
    "regularizer": [None, "l2"],
    "remat": [None, "block", 1],
    "role": ["branch", "stem", "head"],
    "rules": [[optimizers.Rule("bias", weight_decay=0.0)]],
    "scale": ["inverse_sqrt", 0.5],
    "scheme": ["fixup", "rezero", "batch_norm", schemes.SkipInit(0.1)],
    "seed": [0, 7, None],
    "shape": [(4, 6), (3, 3, 4, 6)],
    "shortcut": ["A", "B"],
    "slopes": [(0.0, 1.0)],
    "step": [1],
    "training": [False],
    "values": [2.0 ** np.arange(6)],
    "weight": [(0.0, 0.5)],
    "weights": ["initialize", "fold"],
    "windows": [()],
}
