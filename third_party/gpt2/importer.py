"""Weights of GPT-2, from Hugging Face's PyTorch."""

import re
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from fixinit.models import LanguageModel
from third_party.tensors import arrays_of, checked_shape
from third_party.transformers import SCALARS, assign, normalization, number_of_heads

PREFIX = "transformer."
# Of its layer normalization.
EPSILON = 1e-5
# Heads by width, of gpt2, gpt2-medium, gpt2-large and gpt2-xl.
HEADS = {768: 12, 1024: 16, 1280: 20, 1600: 25}
# Masks that older files hold beside the weights.
IGNORED = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)")


def import_state_dict(
    state_dict: Mapping[str, Any],
    num_heads: int | None = None,
    name: str | None = None,
) -> keras.Model:
    """Builds the model of a PyTorch state dict of GPT-2.

    Reads the published models of any size, with layer normalization, and with DyT or
    Derf in the place of it. The head is tied to the embeddings of the tokens.

    Example:

    ```python
    state_dict = safetensors.torch.load_file("gpt2/model.safetensors")
    model = import_state_dict(state_dict)
    logits = model.predict(token_ids)
    ```

    Args:
        state_dict: Dict from PyTorch's parameter names, with or without the prefix
            `transformer.`, to NumPy arrays or PyTorch tensors.
        num_heads: int. Not needed for the widths of the published models.
        name: Name of the model.

    Returns:
        A `keras.Model`, the `fixinit.models.LanguageModel` with these weights.

    Raises:
        TypeError: If `state_dict` is no dict.
        ValueError: If `num_heads` is needed; if names are missing or unknown, or
            values have other shapes: one error that lists them all; if the head is
            another than the embeddings.
    """
    arrays = {
        key.removeprefix(PREFIX): value for key, value in arrays_of(state_dict).items()
    }
    arrays = {k: v for k, v in arrays.items() if not IGNORED.fullmatch(k)}
    head = arrays.pop("lm_head.weight", None)
    options = _options(arrays, num_heads)
    if head is not None and not np.array_equal(head, arrays["wte.weight"]):
        raise ValueError(
            "Argument `state_dict` has a head, `lm_head.weight`, that is not the table "
            "`wte.weight`. That of GPT-2 is tied."
        )
    names = weight_names(options["num_blocks"], arrays)
    model = LanguageModel(**options, embedding_scale=None, stacked=False, name=name)
    assign(model, arrays, names, converted, _shape, "GPT-2")
    return model


def _options(arrays: Mapping[str, np.ndarray], num_heads: int | None) -> dict[str, Any]:
    """The arguments of the model, from names and shapes."""
    needed = ("wte.weight", "wpe.weight", "h.0.mlp.c_fc.weight")
    missing = [n for n in needed if n not in arrays]
    if missing:
        raise ValueError(
            f"Argument `state_dict` is not one of GPT-2. Missing: {missing}. Received: "
            f"{sorted(arrays)[:10]}"
        )
    vocabulary_size, width = checked_shape(arrays, "wte.weight", 2)
    blocks = {int(m[1]) for n in arrays if (m := re.match(r"h\.(\d+)\.", n))}
    return {
        "vocabulary_size": vocabulary_size,
        "max_length": checked_shape(arrays, "wpe.weight", 2)[0],
        "num_blocks": len(blocks),
        "width": width,
        "num_heads": number_of_heads(num_heads, width, HEADS),
        "mlp_width": checked_shape(arrays, "h.0.mlp.c_fc.weight", 2)[1],
        "scheme": normalization(arrays, "h.0.ln_1", EPSILON)[0],
    }


def weight_names(
    num_blocks: int, arrays: Mapping[str, np.ndarray]
) -> dict[str, list[str]]:
    """Dict from GPT-2's names to the paths of our weights."""
    _, kind, parts = normalization(arrays, "h.0.ln_1", EPSILON)
    found = {"wte.weight": ["tokens/embeddings"], "wpe.weight": ["positions/table"]}
    for index in range(num_blocks):
        block, mine = f"h.{index}", f"block{index + 1}"
        for theirs, ours in (("weight", "kernel"), ("bias", "bias")):
            found[f"{block}.attn.c_attn.{theirs}"] = [
                f"{mine}_attention/attention/{part}/{ours}"
                for part in ("query", "key", "value")
            ]
            found[f"{block}.attn.c_proj.{theirs}"] = [f"{mine}_attention/output/{ours}"]
            found[f"{block}.mlp.c_fc.{theirs}"] = [f"{mine}_mlp/expand/{ours}"]
            found[f"{block}.mlp.c_proj.{theirs}"] = [f"{mine}_mlp/reduce/{ours}"]
        for number, branch in ((1, "attention"), (2, "mlp")):
            for theirs, ours in parts.items():
                found[f"{block}.ln_{number}.{theirs}"] = [
                    f"{mine}_{branch}/branch_{kind}/{ours}"
                ]
    for theirs, ours in parts.items():
        found[f"ln_f.{theirs}"] = [f"network_end_{kind}/{ours}"]
    return found


def converted(theirs: str, array: np.ndarray, parts: int = 1) -> list[np.ndarray]:
    """The arrays of our weights that one of theirs holds. Kernels are [in, out]."""
    if theirs.endswith(SCALARS):
        return [array.reshape(())]
    return np.split(array, parts, axis=-1) if parts > 1 else [array]


def _shape(theirs: str, shapes: list[Any]) -> tuple[int, ...]:
    """The shape of their array for weights of ours of these shapes."""
    shape = tuple(shapes[0])
    return (*shape[:-1], shape[-1] * len(shapes))
