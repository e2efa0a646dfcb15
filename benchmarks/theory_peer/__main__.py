"""Compares `fixinit.theory.predict` with AutoInit on models of keras.applications.

    python -m benchmarks.theory_peer --autoinit=CHECKOUT --python=VENV/bin/python

AutoInit (github cognizant-ai-labs/autoinit) runs in an environment of its own, with
Python 3.11, tensorflow-cpu 2.12.1, tensorflow-addons 0.20.0, numpy < 1.24 and
matplotlib < 3.8. It initializes a model and estimates mean and variance behind every
layer. This module draws the same model with the initializers that AutoInit chose,
measures it on standard normal inputs in training mode, and predicts it. Both
predictions are compared with the same measurement: the variance over all elements of a
layer's output, averaged over draws of weights and inputs, which is what AutoInit
estimates.
"""

import json
import os
import pathlib
import subprocess
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import numpy as np  # noqa: E402
from absl import app, flags  # noqa: E402
from keras import ops  # noqa: E402

from fixinit import theory  # noqa: E402
from fixinit._typing import Tensor  # noqa: E402

MODELS = [
    "ResNet50V2",
    "DenseNet121",
    "MobileNetV2",
    "EfficientNetB0",
    "VGG16",
    "InceptionV3",
]

FLAGS = flags.FLAGS
flags.DEFINE_string("autoinit", None, "Checkout of AutoInit.")
flags.DEFINE_string("python", None, "Python of the environment that AutoInit runs in.")
flags.DEFINE_list("models", MODELS, "Names in keras.applications.")
flags.DEFINE_integer("draws", 32, "Draws of weights and inputs.", lower_bound=1)
flags.DEFINE_integer("batch_size", 4, "Inputs per draw.", lower_bound=1)
flags.DEFINE_string("output", "results/theory_peer", "Where results are written.")


def autoinit_estimates(name: str, folder: pathlib.Path) -> dict:
    """AutoInit's estimates for a model, from their file where that exists."""
    path = folder / f"autoinit_{name}.json"
    if not path.exists():
        script = pathlib.Path(__file__).with_name("autoinit_side.py")
        command = [FLAGS.python, str(script), FLAGS.autoinit, name, str(path)]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": ""})
    return json.loads(path.read_text())


def with_initializers(name: str, initializers: dict) -> keras.Model:
    """The Keras 3 model with AutoInit's initializers."""

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        for attribute, arguments in initializers.get(layer.name, {}).items():
            if attribute not in config:
                continue
            initializer = keras.initializers.VarianceScaling(**arguments)
            config[attribute] = keras.initializers.serialize(initializer)
        return type(layer).from_config(config)

    model = getattr(keras.applications, name)(weights=None)
    return keras.models.clone_model(model, clone_function=clone)


def measured_variances(
    model: keras.Model, folder: pathlib.Path
) -> tuple[list[str], np.ndarray]:
    """The result of `measure`, from its file where that exists."""
    path = folder / f"measured_{model.name}_{FLAGS.draws}x{FLAGS.batch_size}.npz"
    if not path.exists():
        names, variances = measure(model, FLAGS.draws, FLAGS.batch_size)
        np.savez(path, names=names, variances=variances)
    with np.load(path) as found:
        return found["names"].tolist(), found["variances"]


def measure(
    model: keras.Model, draws: int, batch_size: int
) -> tuple[list[str], np.ndarray]:
    """Variances of the outputs of all layers, over draws of weights and inputs.

    Returns:
        The names of the layers, and an array `(draws, layers, 2)`: the variance of all
        elements, and the variance by channel, averaged over channels.
    """
    layers = [x for x in model.layers if not isinstance(x, keras.layers.InputLayer)]
    tap = keras.Model(model.inputs, [x.output for x in layers])
    rng, found = np.random.default_rng(0), []
    for _ in range(draws):
        for layer in layers:
            _redraw(layer, rng)
        x = rng.standard_normal((batch_size, *model.input_shape[1:]), dtype="float32")
        # The moving statistics are left as they are.
        outputs, _ = tap.stateless_call(
            [v.value for v in tap.trainable_variables],
            [v.value for v in tap.non_trainable_variables],
            x,
            training=True,
        )
        found.append([_variances(y) for y in outputs])
    return [x.name for x in layers], np.array(found)


def _redraw(layer: keras.layers.Layer, rng: np.random.Generator) -> None:
    """Draws the kernel of a layer anew."""
    for attribute in ("kernel_initializer", "depthwise_initializer"):
        initializer = getattr(layer, attribute, None)
        kernel = getattr(layer, "kernel", None)
        if initializer is not None and kernel is not None:
            config = {**initializer.get_config(), "seed": int(rng.integers(1 << 30))}
            kernel.assign(type(initializer).from_config(config)(kernel.shape))
            return


def _variances(y: Tensor) -> tuple[float, float]:
    y = ops.cast(y, "float32")
    axes = tuple(range(len(y.shape) - 1))
    return float(ops.var(y)), float(ops.mean(ops.var(y, axis=axes)))


def compare(name: str, folder: pathlib.Path) -> dict:
    """Compares both predictions with the measurement; returns a row of the table."""
    peer = autoinit_estimates(name, folder)
    model = with_initializers(name, peer["initializers"])
    seconds = []
    for _ in range(3):
        start = time.process_time()
        prediction = theory.predict(model, training=True, batch_size=FLAGS.batch_size)
        seconds.append(time.process_time() - start)
    names, measured = measured_variances(model, folder)
    mean = measured.mean(axis=0)
    noise = measured.std(axis=0, ddof=1) / np.sqrt(len(measured)) / mean
    errors = {"ours": [], "autoinit": [], "ours_per_channel": [], "noise": []}
    layers = []
    for index, layer in enumerate(names):
        if layer not in peer["estimates"] or not mean[index].all():
            continue
        row, (_, variance) = prediction[layer], peer["estimates"][layer]
        total = row.mean_square - row.mean**2
        errors["ours"].append(abs(total / mean[index, 0] - 1))
        errors["autoinit"].append(abs(variance / mean[index, 0] - 1))
        errors["ours_per_channel"].append(abs(row.variance / mean[index, 1] - 1))
        errors["noise"].append(noise[index, 0])
        layers.append([layer, mean[index, 0], total, variance, noise[index, 0]])
    result = {
        "model": name,
        "layers": len(layers),
        **{f"median_error_{k}": float(np.median(v)) for k, v in errors.items()},
        **{f"mean_error_{k}": float(np.mean(v)) for k, v in errors.items()},
        "cpu_seconds_first": seconds[0],
        "cpu_seconds": float(np.median(seconds)),
        "cpu_seconds_autoinit": peer["cpu_seconds"] - peer["rebuilding_cpu_seconds"],
        "rows": layers,
    }
    (folder / f"{name}.json").write_text(json.dumps(result, indent=1))
    return result


def main(_: list[str]) -> None:
    folder = pathlib.Path(FLAGS.output)
    folder.mkdir(parents=True, exist_ok=True)
    columns = (
        ("layers", "d"),
        ("median_error_ours", ".4f"),
        ("median_error_autoinit", ".4f"),
        ("mean_error_ours", ".4f"),
        ("mean_error_autoinit", ".4f"),
        ("median_error_noise", ".4f"),
        ("median_error_ours_per_channel", ".4f"),
        ("cpu_seconds_first", ".2f"),
        ("cpu_seconds_autoinit", ".1f"),
    )
    print("model", *(name for name, _ in columns), sep=" | ", flush=True)
    for name in FLAGS.models:
        result = compare(name, folder)
        cells = (format(result[key], kind) for key, kind in columns)
        print(name, *cells, sep=" | ", flush=True)


if __name__ == "__main__":
    app.run(main)
