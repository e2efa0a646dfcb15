"""Weights of timm's NFNets, from PyTorch."""

import re
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from third_party import nfnets_haiku
from third_party.tensors import arrays_of

# Added to the variances of kernels, where the authors have a maximum.
TIMM_EPSILON = 1e-5
# Their names within a block, and the authors' in Haiku.
PARTS = {
    "conv1": "conv0",
    "conv2": "conv1",
    "conv2b": "conv1b",
    "conv3": "conv2",
    "downsample.conv": "conv_shortcut",
    "attn_last.fc1": "squeeze_excite/~/linear",
    "attn_last.fc2": "squeeze_excite/~/linear_1",
}
KINDS = {"weight": "w", "bias": "bias", "gain": "gain"}


def import_state_dict(
    state_dict: Mapping[str, Any], activation: Any = "gelu", name: str | None = None
) -> keras.Model:
    """Builds the model of a PyTorch state dict of timm's `dm_nfnet` networks.

    Reads `dm_nfnet_f0` to `dm_nfnet_f6` of any number of classes and input channels.
    The model returned computes the same function on channels-last images of any size:
    timm adds 1e-5 to the variances of kernels, for which the gains make up.

    Example:

    ```python
    state_dict = safetensors.torch.load_file("dm_nfnet_f0.safetensors")
    model = import_state_dict(state_dict)
    logits = model.predict(images)
    ```

    Args:
        state_dict: Dict from PyTorch's parameter names to NumPy arrays or PyTorch
            tensors, in PyTorch's layouts.
        activation: Keras activation. timm's is the exact GELU (default), the authors'
            the tanh form: `fixinit.layers.gelu_tanh`.
        name: Name of the model.

    Returns:
        A `keras.Model`, the `fixinit.models.NFNet` with these weights.

    Raises:
        TypeError: If `state_dict` is no dict.
        ValueError: If names are missing or unknown, or values have other shapes or
            types: one error that lists them all.
    """
    arrays = arrays_of(state_dict)
    theirs = _haiku_names(arrays)
    unknown = [name for name in arrays if theirs[name] is None]
    if unknown:
        raise ValueError(
            "Argument `state_dict` is not one of timm's dm_nfnet networks. Unknown "
            f"names: {unknown[:10]}"
        )
    parameters = {
        haiku: _converted(haiku, arrays[name]) for name, haiku in theirs.items()
    }
    for haiku, kernel in parameters.items():
        gain = haiku.removesuffix("/w") + "/gain"
        if haiku.endswith("/w") and gain in parameters and kernel.ndim == 4:
            shrinkage = _shrinkage(kernel)
            if shrinkage.shape == parameters[gain].shape:
                parameters[gain] = parameters[gain] * shrinkage
    try:
        return nfnets_haiku.import_parameters(parameters, activation, name)
    except ValueError as error:
        message = str(error)
        for ours, haiku in theirs.items():
            message = message.replace(f"{haiku}:", f"{ours}:")
        raise ValueError(
            f"Argument `state_dict` is not one of timm's dm_nfnet networks. {message}"
        ) from error


def _haiku_names(names: Any) -> dict[str, Any]:
    """Dict from timm's names to the authors' in Haiku, `None` for unknown ones."""
    block = re.compile(r"stages\.(\d+)\.(\d+)\.(.+)")
    found = (block.fullmatch(name) for name in names)
    places = sorted({(int(m[1]), int(m[2])) for m in found if m})
    indices = {place: index for index, place in enumerate(places)}
    return {name: _haiku_name(name, indices) for name in names}


def _haiku_name(name: str, indices: Mapping[tuple[int, int], int]) -> str | None:
    module, _, kind = name.rpartition(".")
    if match := re.fullmatch(r"stem\.conv([1-4])", module):
        module = f"stem_conv{int(match[1]) - 1}"
    elif match := re.fullmatch(r"stages\.(\d+)\.(\d+)(?:\.(.+))?", module):
        index = indices[int(match[1]), int(match[2])]
        prefix = "nf_block" + (f"_{index}" if index else "")
        if match[3] is None:
            return f"NFNet/~/{prefix}/skip_gain" if kind == "skipinit_gain" else None
        if match[3] not in PARTS:
            return None
        module = f"{prefix}/~/{PARTS[match[3]]}"
    elif module == "head.fc":
        module = "linear"
    elif module != "final_conv":
        return None
    if kind not in KINDS:
        return None
    is_linear = "linear" in module
    ending = "b" if is_linear and kind == "bias" else KINDS[kind]
    return f"NFNet/~/{module}/{ending}"


def _converted(haiku: str, array: np.ndarray) -> np.ndarray:
    """An array in Haiku's layout."""
    if haiku.endswith("/gain"):
        return array.reshape(-1)
    if array.ndim == 4:
        array = array.transpose(2, 3, 1, 0)
        # Gates are pointwise convolutions in timm.
        return array[0, 0] if "linear" in haiku else array
    return array.T if array.ndim == 2 else array


def _shrinkage(kernel: np.ndarray) -> np.ndarray:
    """What timm's epsilon multiplies standardized kernels by, unit by unit."""
    variance = kernel.astype("float64").var((0, 1, 2))
    return np.sqrt(variance / (variance + TIMM_EPSILON)).astype("float32")
