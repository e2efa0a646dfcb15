"""Weights of DeepMind's normalizer-free networks, from Haiku."""

import os
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from fixinit import models, schemes
from third_party.nfnets_haiku.files import read_file
from third_party.nfnets_haiku.names import FAMILIES, Network, named, network_of
from third_party.shapes import mismatches


def import_parameters(
    parameters: Mapping[str, Any] | str | os.PathLike,
    activation: Any = None,
    name: str | None = None,
) -> keras.Model:
    """Builds the model of the parameters of one of the authors' networks.

    Reads `NF_ResNet` and `NFNet` of google-deepmind/deepmind-research at any depth,
    width, number of classes and of input channels, which names and shapes tell. The
    model returned computes the same function on channels-last images of any size.

    Example:

    ```python
    model = import_parameters("F0_haiku.npz")
    logits = model.predict(images)
    ```

    Args:
        parameters: Dict from Haiku's names to arrays, nested by modules or flat
            (`"NFNet/~/stem_conv0/w"`), or the path of a file of one: `.npz`, or the
            authors' pickle, which is read without running anything that is in it.
        activation: Keras activation. Names and shapes do not tell it: by default the
            authors' of the family, ReLU for NF-ResNets, GELU in its tanh form for
            NFNets.
        name: Name of the model.

    Returns:
        A `keras.Model`, the `fixinit.models.NFResNet` or `NFNet` with these weights.
        Its activations have the authors' constants.

    Raises:
        TypeError: If `parameters` is no dict and no path.
        ValueError: If names are missing or unknown, or values have other shapes or
            types: one error that lists them all.
        OSError: If a file cannot be read.
    """
    if isinstance(parameters, (str, os.PathLike)):
        parameters = read_file(parameters)
    arrays, problems = _arrays(parameters)
    network = network_of(arrays)
    if network is None:
        problems.append(
            f"no module is named {' or '.join(FAMILIES)}, received {sorted(arrays)[:3]}"
        )
    else:
        problems += network.problems
    expected = named(network) if network is not None and not problems else {}
    if expected:
        shapes = {theirs: shape for theirs, (_, shape) in expected.items()}
        problems += mismatches(arrays, shapes)
    if problems or network is None:
        raise ValueError(
            "Argument `parameters` is not one of the authors' networks (NF_ResNet in "
            "nfnets/nf_resnet.py or NFNet in nfnets/nfnet.py). Problems:\n- "
            + "\n- ".join(problems)
        )
    model = _built(network, activation, name)
    variables = {v.path: v for v in model.weights}
    for theirs, (ours, _) in expected.items():
        variables[ours].assign(arrays[theirs])
    return model


def _built(network: Network, activation: Any, name: str | None) -> keras.Model:
    """The model of the same shape."""
    options: dict[str, Any] = {
        "scheme": schemes.NormalizerFree(activation_gains="published"),
        "stages": network.stages,
        "filters": network.filters,
        "input_shape": (None, None, network.channels),
        "classes": network.classes,
        "stacked": False,
        "name": name,
    }
    if activation is not None:
        options["activation"] = activation
    if network.family == "NF_ResNet":
        return models.NFResNet(**options)
    options |= {"group_size": network.group_size, "gate_ratio": network.gate_ratio}
    if network.variant is not None:
        return models.NFNet(network.variant, **options)
    return models.NFNet(drop_rate=0.0, **options)


def _arrays(parameters: Any) -> tuple[dict[str, np.ndarray], list[str]]:
    """The values by flat names, and the errors in their types."""
    if not isinstance(parameters, Mapping):
        raise TypeError(
            "Argument `parameters` must be a dict from Haiku's names to arrays, or the "
            f"path of a file of one. Received: {type(parameters).__name__}"
        )
    arrays: dict[str, np.ndarray] = {}
    problems: list[str] = []
    for name, value in parameters.items():
        entries = value if isinstance(value, Mapping) else {"": value}
        for key, entry in entries.items():
            array = np.asarray(entry)
            flat = f"{name}/{key}" if key else str(name)
            arrays[flat] = array
            if array.dtype.kind != "f":
                wanted = "float16, float32 or float64"
                problems.append(f"{flat}: expected {wanted}, received {array.dtype}")
    return arrays, problems
