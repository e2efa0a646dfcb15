"""Weights of timm's Vision Transformers, from PyTorch."""

import re
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from fixinit.models import VisionTransformer
from third_party.tensors import arrays_of, checked_shape
from third_party.transformers import SCALARS, assign, normalization, number_of_heads

# Of timm's layer normalization.
EPSILON = 1e-6
# Heads by width: tiny, small, base, large, huge, giant, gigantic.
HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16, 1408: 16, 1664: 16}


def import_state_dict(
    state_dict: Mapping[str, Any],
    num_heads: int | None = None,
    image_size: tuple[int, int] | None = None,
    name: str | None = None,
) -> keras.Model:
    """Builds the model of a PyTorch state dict of timm's `VisionTransformer`.

    Reads the published models of any width, depth, patch size and number of classes,
    with layer normalization, and with its authors' DyT or Derf in the place of it. The
    model returned computes the same function on channels-last images.

    Example:

    ```python
    state_dict = safetensors.torch.load_file("vit_small_patch16_224.safetensors")
    model = import_state_dict(state_dict)
    logits = model.predict(images)
    ```

    Args:
        state_dict: Dict from PyTorch's parameter names to NumPy arrays or PyTorch
            tensors, in PyTorch's layouts.
        num_heads: int. Not needed for the widths of the published models.
        image_size: Tuple `(height, width)`, by default that of a square.
        name: Name of the model.

    Returns:
        A `keras.Model`, the `fixinit.models.VisionTransformer` with these weights.

    Raises:
        TypeError: If `state_dict` is no dict.
        ValueError: If `num_heads` is needed; if names are missing or unknown, or
            values have other shapes: one error that lists them all.
    """
    arrays = arrays_of(state_dict)
    options = _options(arrays, num_heads, image_size)
    names = weight_names(options["num_blocks"], arrays)
    model = VisionTransformer(variant=None, **options, stacked=False, name=name)
    assign(model, arrays, names, converted, _shape, "timm's VisionTransformer")
    return model


def _options(
    arrays: Mapping[str, np.ndarray], num_heads: int | None, image_size: Any
) -> dict[str, Any]:
    """The arguments of the model, from names and shapes."""
    needed = ("patch_embed.proj.weight", "pos_embed", "blocks.0.mlp.fc1.weight")
    missing = [n for n in (*needed, "head.weight") if n not in arrays]
    if missing:
        raise ValueError(
            "Argument `state_dict` is not one of timm's VisionTransformer. Missing: "
            f"{missing}. Received: {sorted(arrays)[:10]}"
        )
    width, channels, patch, _ = checked_shape(arrays, "patch_embed.proj.weight", 4)
    blocks = {int(m[1]) for n in arrays if (m := re.match(r"blocks\.(\d+)\.", n))}
    has_token = "cls_token" in arrays
    count = checked_shape(arrays, "pos_embed", 3)[1] - has_token
    if image_size is None:
        side = round(count**0.5)
        image_size = (side * patch, side * patch)
    return {
        "num_blocks": len(blocks),
        "patch_size": patch,
        "width": width,
        "num_heads": number_of_heads(num_heads, width, HEADS),
        "mlp_width": checked_shape(arrays, "blocks.0.mlp.fc1.weight", 2)[0],
        "scheme": normalization(arrays, "blocks.0.norm1", EPSILON)[0],
        "pooling": "average" if "fc_norm.weight" in arrays else "token",
        "class_token": has_token,
        "input_shape": (*image_size, channels),
        "classes": arrays["head.weight"].shape[0],
    }


def weight_names(
    num_blocks: int, arrays: Mapping[str, np.ndarray]
) -> dict[str, list[str]]:
    """Dict from timm's names to the paths of our weights."""
    _, kind, parts = normalization(arrays, "blocks.0.norm1", EPSILON)
    both = {"weight": "kernel", "bias": "bias"}
    found: dict[str, list[str]] = {"pos_embed": ["positions/table"]}
    if "cls_token" in arrays:
        found["cls_token"] = ["class_token/token"]
    for theirs, ours in both.items():
        found[f"patch_embed.proj.{theirs}"] = [f"patches/{ours}"]
        found[f"head.{theirs}"] = [f"head/{ours}"]
        for index in range(num_blocks):
            block, mine = f"blocks.{index}", f"block{index + 1}"
            attention = f"{mine}_attention/attention"
            if theirs == "weight" or "blocks.0.attn.qkv.bias" in arrays:
                found[f"{block}.attn.qkv.{theirs}"] = [
                    f"{attention}/{part}/{ours}" for part in ("query", "key", "value")
                ]
            found[f"{block}.attn.proj.{theirs}"] = [f"{mine}_attention/output/{ours}"]
            found[f"{block}.mlp.fc1.{theirs}"] = [f"{mine}_mlp/expand/{ours}"]
            found[f"{block}.mlp.fc2.{theirs}"] = [f"{mine}_mlp/reduce/{ours}"]
    end = "fc_norm" if "fc_norm.weight" in arrays else "norm"
    for theirs, ours in parts.items():
        found[f"{end}.{theirs}"] = [f"network_end_{kind}/{ours}"]
        for index in range(num_blocks):
            for number, branch in ((1, "attention"), (2, "mlp")):
                found[f"blocks.{index}.norm{number}.{theirs}"] = [
                    f"block{index + 1}_{branch}/branch_{kind}/{ours}"
                ]
    return found


def converted(theirs: str, array: np.ndarray, parts: int = 1) -> list[np.ndarray]:
    """The arrays of our weights that one of timm's holds, in our layouts."""
    if theirs == "pos_embed":
        return [array[0]]
    if theirs.endswith(SCALARS):
        return [array.reshape(())]
    if array.ndim == 4:
        return [array.transpose(2, 3, 1, 0)]
    pieces = np.split(array, parts)
    return [piece.T if piece.ndim == 2 else piece for piece in pieces]


def _shape(theirs: str, shapes: list[Any]) -> tuple[int, ...]:
    """The shape of timm's array for weights of ours of these shapes."""
    shape = tuple(shapes[0])
    if theirs == "pos_embed":
        return (1, *shape)
    if len(shape) == 4:
        return (shape[3], shape[2], shape[0], shape[1])
    if len(shape) == 2:
        return (shape[1] * len(shapes), shape[0])
    return (shape[0] * len(shapes),) if len(shape) == 1 else shape
