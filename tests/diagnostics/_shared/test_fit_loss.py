"""What is measured is what `fit` minimizes: its loss, and the gradients of it.

One step of SGD with a rate of 1 gives the gradients of `fit`, the loss that it logs for
one batch the loss.
"""

import functools
import itertools
import warnings

import keras
import numpy as np
import pytest
from keras import layers, losses, ops

import fixinit
from fixinit.diagnostics import diagnose
from fixinit.diagnostics._shared.sample_weights import sample_weights
from fixinit.diagnostics._shared.subject import Subject
from fixinit.diagnostics._shared.targets import check_batch
from fixinit.diagnostics.geometry.weight_function import WeightFunction
from fixinit.diagnostics.report.measure import Measure
from tests.marks import slow_on_tensorflow

pytestmark = pytest.mark.every_backend

RNG = np.random.default_rng(0)
NUM, CLASSES = 6, 4
EVIDENCE = pytest.mark.evidence
# Logits that Keras remembers on TensorFlow.
REMEMBERED = [(end, 100.0) for end in ("softmax", "sigmoid", "sigmoid layer")]
X = RNG.normal(size=(NUM, 5)).astype("float32")
LABELS = RNG.integers(CLASSES, size=NUM)
ONE_HOT = np.eye(CLASSES, dtype="float32")[LABELS]
SIGNS = 2 * ONE_HOT - 1
NUMBERS = RNG.uniform(0.1, 0.9, size=(NUM, CLASSES)).astype("float32")

# Every loss of Keras, with targets that it takes. CTC has a test of its own.
LOSSES = {
    "BinaryCrossentropy": ONE_HOT,
    "BinaryFocalCrossentropy": ONE_HOT,
    "CategoricalCrossentropy": ONE_HOT,
    "CategoricalFocalCrossentropy": ONE_HOT,
    "CategoricalGeneralizedCrossEntropy": LABELS,
    "CategoricalHinge": ONE_HOT,
    "Circle": LABELS,
    "CosineSimilarity": NUMBERS,
    "Dice": ONE_HOT,
    "Hinge": SIGNS,
    "Huber": NUMBERS,
    "KLDivergence": NUMBERS,
    "LogCosh": NUMBERS,
    "MeanAbsoluteError": NUMBERS,
    "MeanAbsolutePercentageError": NUMBERS,
    "MeanSquaredError": NUMBERS,
    "MeanSquaredLogarithmicError": NUMBERS,
    "Poisson": NUMBERS,
    "SparseCategoricalCrossentropy": LABELS,
    "SquaredHinge": SIGNS,
    "Tversky": ONE_HOT,
}
ENTROPIES = [
    (f"{kind}Crossentropy", {"from_logits": logits})
    for kind in ("Binary", "BinaryFocal", "Categorical", "CategoricalFocal")
    + ("SparseCategorical",)
    for logits in (False, True)
]
ALL = ENTROPIES + [(n, {}) for n in LOSSES if not n.endswith("Crossentropy")]


def raw(name):
    """An activation of TensorFlow's own, and Keras's on other backends."""
    if keras.backend.backend() != "tensorflow":
        return getattr(keras.activations, name)
    import tensorflow as tf

    return getattr(tf.nn, name)


# Functions from the name of an output to the layers at the end of a model.
def dense(activation):
    return lambda name: [layers.Dense(CLASSES, activation, name=name)]


def separate(layer):
    return lambda name: [layers.Dense(CLASSES), layer(name=name)]


ENDS = {
    "softmax": dense("softmax"),
    "sigmoid": dense("sigmoid"),
    "linear": dense(None),
    "raw softmax": dense(raw("softmax")),
    "raw sigmoid": dense(raw("sigmoid")),
    "softmax layer": separate(layers.Softmax),
    "sigmoid layer": separate(functools.partial(layers.Activation, "sigmoid")),
    "log_softmax": dense("log_softmax"),
    "tanh": dense("tanh"),
    "relu": dense("relu"),
    "softplus": dense("softplus"),
    "hard_sigmoid": dense("hard_sigmoid"),
}


def sgd():
    return keras.optimizers.SGD(1.0)


def measured(model, x, y, loss=None, **weights):
    subject = Subject(model, x)
    x, y = check_batch(subject, x, y, loss)
    found = Measure(subject, loss)(x, y, sample_weights(subject, x, y, **weights))
    return found.loss, [ops.convert_to_numpy(g) for g in found.gradients]


def fitted(model, x, y, **weights):
    """`(loss, gradients, logs)` of `fit`; the model has made a step then."""
    before = [ops.convert_to_numpy(v) for v in model.trainable_variables]
    with warnings.catch_warnings():
        # Of logits that are none, as Keras finds.
        warnings.simplefilter("ignore")
        history = model.fit(
            x, y, batch_size=len(x), shuffle=False, verbose=0, **weights
        ).history
    after = [ops.convert_to_numpy(v) for v in model.trainable_variables]
    logs = {name: values[0] for name, values in history.items()}
    return logs["loss"], [a - b for a, b in zip(before, after, strict=True)], logs


def check(model, x, y, loss=None, recompile=None, **weights):
    """Holds what is measured against `fit`."""
    held = [np.array(v) for v in model.get_weights()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, gradients = measured(model, x, y, loss, **weights)
    for before, after in zip(held, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    if recompile is not None:
        model.compile(sgd(), recompile)
    expected, of_fit, _ = fitted(model, x, y, **weights)
    assert np.isfinite(expected)
    assert found == pytest.approx(expected, rel=1e-5)
    assert_gradients(model, gradients, of_fit)
    return found


def assert_gradients(model, found, expected):
    rows = zip(model.trainable_variables, found, expected, strict=True)
    for variable, g, of_fit in rows:
        if np.isfinite(of_fit).all():
            # `of_fit` is a difference of weights.
            size = max(
                np.abs(of_fit).max(), np.abs(ops.convert_to_numpy(variable)).max()
            )
            np.testing.assert_allclose(
                g, of_fit, 1e-4, 1e-6 * size, err_msg=variable.path
            )


def heads(names, scale):
    """A model with an output for every loss, each with a Dense layer of its own.

    Args:
        names: List of `(one of ENDS, name of a loss, its arguments)`.
        scale: float, the standard deviation of the weights.
    """
    inputs = keras.Input((5,))
    outputs, given, targets = {}, {}, {}
    for index, (end, name, options) in enumerate(names):
        key = f"{name}{index}"
        h, made = inputs, ENDS[end](key)
        made[0].kernel_initializer = keras.initializers.RandomNormal(0, scale, index)
        for layer in made:
            h = layer(h)
        outputs[key], targets[key] = h, LOSSES[name]
        given[key] = getattr(losses, name)(**options)
    model = keras.Model(inputs, outputs)
    model.compile(sgd(), given)
    return model, targets


def test_the_table_has_every_loss_of_keras():
    classes = {
        name
        for name, value in vars(losses).items()
        if isinstance(value, type) and issubclass(value, losses.Loss)
    }
    assert classes - {"Loss", "CTC"} == set(LOSSES)


@slow_on_tensorflow
def test_cross_entropies_of_large_logits():
    model, y = heads(
        [
            ("softmax", "SparseCategoricalCrossentropy", {}),
            ("sigmoid", "BinaryCrossentropy", {}),
            ("sigmoid layer", "CategoricalCrossentropy", {}),
            ("raw softmax", "CategoricalCrossentropy", {}),
        ],
        scale=100.0,
    )
    check(model, X, y)


@pytest.mark.parametrize(
    "end, scale",
    [
        pytest.param(*pair, marks=pytest.mark.slow if pair in REMEMBERED else EVIDENCE)
        for pair in itertools.product(ENDS, (1.0, 100.0))
    ],
)
def test_all_losses_and_activations(end, scale):
    """Wherever Keras computes a finite loss, with a finite gradient."""
    names = [(end, name, options) for name, options in ALL]
    model, y = heads(names, scale)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, gradients = measured(model, X, y)
    expected, of_fit, logs = fitted(model, X, y)
    assert_gradients(model, gradients, of_fit)
    if np.isfinite(expected):
        assert found == pytest.approx(expected, rel=1e-5)
        return
    fine = [
        n for n, key in zip(names, y, strict=True) if np.isfinite(logs[f"{key}_loss"])
    ]
    assert len(fine) >= len(names) - 4
    model, y = heads(fine, scale)
    check(model, X, y)


@slow_on_tensorflow
def test_outputs_with_weights_and_names():
    inputs = keras.Input((5,))
    a = layers.Dense(CLASSES, "softmax", name="a")(30 * inputs)
    b = layers.Dense(CLASSES, name="b")(inputs)
    model = keras.Model(inputs, [a, b])
    given = {"a": "categorical_crossentropy", "b": absolute}
    model.compile(sgd(), given, loss_weights={"a": 3.0, "b": 0.5})
    check(model, X, {"a": ONE_HOT, "b": NUMBERS})
    weights = {"a": np.arange(NUM), "b": np.ones(NUM)}
    of_fit = [weights["a"], weights["b"]]
    (found, _), (of_one, _) = (
        measured(model, X, [ONE_HOT, NUMBERS], sample_weight=w)
        for w in (weights, np.arange(NUM))
    )
    assert found != of_one
    check(model, X, [ONE_HOT, NUMBERS], sample_weight=of_fit)
    check(model, X, [ONE_HOT, NUMBERS], sample_weight=np.arange(NUM))


class Adding(layers.Layer):
    """A layer that is opened, whose `call` adds a loss, and its output another."""

    def __init__(self, **kwargs):
        super().__init__(activity_regularizer="l1", **kwargs)
        self.norm = layers.LayerNormalization()
        self.dense = layers.Dense(5, kernel_initializer="ones", name="inner")

    def call(self, x):
        h = self.dense(self.norm(x))
        self.add_loss(0.3 * ops.mean(ops.square(h)))
        return x + h


def absolute(y, h):
    return ops.mean(ops.abs(y - h), axis=-1)


def regularized(*parts):
    inputs = h = keras.Input((5,))
    for part in parts:
        h = part(h)
    outputs = layers.Dense(CLASSES, "softmax", kernel_regularizer="l2")(h)
    model = keras.Model(inputs, outputs)
    model.compile(sgd(), "categorical_crossentropy")
    return model


@slow_on_tensorflow
def test_losses_that_layers_add():
    twice = layers.Dense(5, activity_regularizer="l2")
    check(regularized(twice, twice), X, ONE_HOT)
    model = regularized(Adding(), layers.Dense(5, activity_regularizer="l2"))
    check(model, X, ONE_HOT)


@slow_on_tensorflow
def test_losses_inside_of_a_stack():
    block = keras.Sequential(
        [keras.Input((5,)), layers.Dense(5, "tanh", activity_regularizer="l2")]
    )
    stack = fixinit.layers.Stack(block, depth=3)
    check(regularized(stack), X, ONE_HOT)


@slow_on_tensorflow
def test_weights_of_samples_and_classes():
    check(regularized(), X, ONE_HOT, sample_weight=np.arange(NUM))
    check(regularized(), X, ONE_HOT, class_weight={0: 2.0, 1: 0.5, 3: 7.0})
    model = keras.Sequential([keras.Input((5,)), layers.Dense(1, "sigmoid")])
    model.compile(sgd(), "binary_crossentropy")
    y = np.arange(NUM)[:, None] % 2
    weights = {0: 0.25, 1: 4.0}
    found = diagnose(model, X, y, class_weight=weights).loss
    assert found == check(model, X, y, class_weight=weights)


@slow_on_tensorflow
def test_masks():
    tokens = np.array([[3, 1, 2, 0, 0], [5, 0, 0, 0, 0], [1, 2, 3, 4, 5]])
    y = RNG.integers(CLASSES, size=tokens.shape)
    inputs = keras.Input((5,), dtype="int32")
    h = layers.Embedding(7, 6, mask_zero=True)(inputs)
    h = layers.LSTM(4, return_sequences=True)(h)
    model = keras.Model(inputs, layers.Dense(CLASSES, "softmax")(h))
    model.compile(sgd(), "sparse_categorical_crossentropy")
    check(model, tokens, y)
    check(model, tokens, y, sample_weight=RNG.uniform(size=tokens.shape))


@slow_on_tensorflow
def test_mixed_precision():
    layer = layers.Dense(8, "tanh", dtype="mixed_float16")
    head = layers.Dense(CLASSES, "softmax", dtype="mixed_float16")
    model = keras.Sequential([keras.Input((5,)), layer, head])
    model.compile(
        keras.optimizers.LossScaleOptimizer(sgd(), 2.0**10), "categorical_crossentropy"
    )
    # A mean that is so small that its gradients are 0 in float16 without a scale.
    weights = np.full(NUM, 1e-6)
    found, gradients = measured(model, X, ONE_HOT, sample_weight=weights)
    expected, of_fit, _ = fitted(model, X, ONE_HOT, sample_weight=1e6 * weights)
    assert found == pytest.approx(1e-6 * expected, rel=1e-3)
    for g, reference in zip(gradients, of_fit, strict=True):
        assert np.abs(reference).max() > 1e-3
        np.testing.assert_allclose(
            1e6 * g, reference, atol=1e-2 * np.abs(g).max() * 1e6
        )


class Reconstruction(keras.Model):
    """A `compute_loss` of one's own, that reads the inputs and knows no `training`."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        return ops.mean(ops.abs(x[..., :CLASSES] - y_pred)) + ops.mean(y * y_pred)


def test_a_compute_loss_of_ones_own():
    inputs = keras.Input((5,))
    model = Reconstruction(inputs, layers.Dense(CLASSES, "sigmoid")(inputs))
    model.compile(sgd())
    check(model, X, ONE_HOT)


@slow_on_tensorflow
def test_a_model_whose_layers_make_its_loss():
    model = regularized(layers.Dense(5, activity_regularizer="l2"))
    model.compile(sgd())
    check(model, X, ONE_HOT)


@slow_on_tensorflow
def test_another_loss_is_taken_as_if_it_had_been_compiled():
    for loss in ("binary_crossentropy", losses.Dice(), absolute):
        check(regularized(), X, ONE_HOT, loss, loss, sample_weight=np.arange(NUM))


@slow_on_tensorflow
def test_ctc():
    model = keras.Sequential([keras.Input((7, 3)), layers.Dense(CLASSES)])
    model.compile(sgd(), losses.CTC())
    x = RNG.normal(size=(2, 7, 3)).astype("float32")
    check(model, x, np.array([[1, 2, 3], [2, 1, 1]]))


@slow_on_tensorflow
def test_other_measurements_take_the_same_loss():
    model = keras.Sequential([keras.Input((5,)), layers.Dense(CLASSES, "softmax")])
    model.set_weights([50 * np.eye(5, CLASSES), np.zeros(CLASSES)])
    model.compile(sgd(), "categorical_crossentropy")
    function = WeightFunction(model, X, ONE_HOT)
    loss, gradients = function.loss_and_gradients(
        [v.value for v in model.trainable_variables]
    )
    gradients = [ops.convert_to_numpy(g) for g in gradients]
    monitor = fixinit.diagnostics.Monitor(X, ONE_HOT, action="none")
    history = model.fit(
        X, ONE_HOT, batch_size=NUM, verbose=0, callbacks=[monitor]
    ).history
    assert monitor.history[0][1].loss == pytest.approx(history["loss"][0], rel=1e-5)
    assert loss == pytest.approx(history["loss"][0], rel=1e-5)
    kernel = 50 * np.eye(5, CLASSES) - ops.convert_to_numpy(model.weights[0])
    np.testing.assert_allclose(gradients[0], kernel, 1e-4, 1e-4)


@pytest.mark.parametrize(
    "y, weights, message",
    [
        (ONE_HOT, {"sample_weight": np.ones(3)}, "each of 6 samples.*\\(3,\\)"),
        (ONE_HOT, {"sample_weight": [np.nan] * NUM}, "must be finite.*sample 0"),
        (None, {"class_weight": {}}, "`class_weight` weights a loss.*Give `y`"),
        (
            ONE_HOT,
            {"class_weight": {}, "sample_weight": np.ones(NUM)},
            "exclude each other.*Multiply",
        ),
    ],
)
def test_weights_that_do_not_fit(y, weights, message):
    with pytest.raises(ValueError, match=message):
        diagnose(regularized(), X, y, **weights)
