"""AutoInit's half of the comparison, run by the Python of its own environment.

    python autoinit_side.py CHECKOUT MODEL OUTPUT.json

writes AutoInit's estimates of mean and variance behind every layer, the initializers
that it chose, and the CPU seconds that it took.
"""

import json
import sys
import time


def main(checkout: str, name: str, output: str) -> None:
    sys.path.insert(0, checkout)
    import tensorflow as tf
    from autoinit import AutoInit

    model = getattr(tf.keras.applications, name)(weights=None)
    start, wall = time.process_time(), time.perf_counter()
    model, estimates = AutoInit().initialize_model(model, return_estimates=True)
    seconds = time.process_time() - start
    wall = time.perf_counter() - wall
    # The model is made anew at the end, which is not part of the estimation.
    start = time.process_time()
    model.__class__.from_config(model.get_config())
    rebuilding = time.process_time() - start
    with open(output, "w") as file:
        json.dump(
            {
                "model": name,
                "cpu_seconds": seconds,
                "wall_seconds": wall,
                "rebuilding_cpu_seconds": rebuilding,
                "estimates": {k: [float(x) for x in v] for k, v in estimates.items()},
                "initializers": {x.name: _initializers(x) for x in model.layers},
            },
            file,
            indent=1,
        )


def _initializers(layer) -> dict:
    """The attributes of a layer that hold a scaling initializer, and its arguments."""
    found = {}
    for attribute in ("kernel_initializer", "depthwise_initializer"):
        initializer = getattr(layer, attribute, None)
        if hasattr(initializer, "scale"):
            found[attribute] = {
                "scale": float(initializer.scale),
                "mode": initializer.mode,
                "distribution": initializer.distribution,
            }
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
