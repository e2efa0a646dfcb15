"""Weights of the Fixup authors' CIFAR models, from PyTorch and back."""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from fixinit import models
from third_party.shapes import mismatches

FILTERS = (16, 32, 64)
# Their names within a block, and ours.
BLOCK_SCALARS = {
    "bias1a": "weight1_scalar_bias/scalar_bias",
    "bias1b": "activation1_scalar_bias/scalar_bias",
    "bias2a": "weight2_scalar_bias/scalar_bias",
    "scale": "branch_scalar_multiplier/scalar_multiplier",
    "bias2b": "branch_scalar_bias/scalar_bias",
}
# By rank: OIHW to HWIO, [out, in] to [in, out], and back.
TO_KERAS = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
TO_PYTORCH = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,), 0: ()}


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One parameter of the network under both names.

    Attributes:
        name: String, PyTorch's name.
        path: String, the path of the Keras variable.
        shape: Tuple, PyTorch's shape, with `None` for any length.
    """

    name: str
    path: str
    shape: tuple[int | None, ...]


def import_state_dict(
    state_dict: Mapping[str, Any],
    image_size: tuple[int | None, int | None] = (32, 32),
    name: str | None = None,
) -> keras.Model:
    """Builds the model of a PyTorch state dict of the Fixup authors.

    Reads the CIFAR models of github.com/hongyi-zhang/Fixup at any number of
    blocks in their three stages, of classes and of input channels. The model
    returned computes the same function on channels-last images.

    Example:

    ```python
    state_dict = torch.load("fixup_resnet110.pt", map_location="cpu")
    model = import_state_dict(state_dict)
    logits = model.predict(images)
    ```

    Args:
        state_dict: Dict from PyTorch's parameter names to NumPy arrays or
            PyTorch tensors, in PyTorch's layouts. All names may carry the
            prefix `module.` of `DataParallel`.
        image_size: Tuple `(height, width)` of the images, or of `None` for any.
        name: Name of the model.

    Returns:
        A `keras.Model`, the `fixinit.models.ResNet` with these weights.

    Raises:
        TypeError: If `state_dict` is not a dict.
        ValueError: If names are missing or unknown, blocks are not numbered from
            0 without gaps, or values have other shapes or types: one error that
            lists them all.
    """
    arrays, problems = _arrays(state_dict)
    blocks, misnumbered = _blocks(arrays)
    parameters = _parameters(
        blocks,
        channels=_length(arrays, "conv1.weight", axis=1, rank=4),
        classes=_length(arrays, "fc.weight", axis=0, rank=2),
    )
    problems += misnumbered + mismatches(arrays, _shapes(parameters))
    if problems:
        raise ValueError(
            "Argument `state_dict` is not one of the Fixup authors' CIFAR models "
            "(cifar/models/fixup_resnet_cifar.py; those for ImageNet are not "
            "supported). Problems:\n- " + "\n- ".join(problems)
        )
    model = models.ResNet(
        stages=[len(indices) for indices in blocks],
        filters=FILTERS,
        scheme="fixup",
        shortcut="A",
        input_shape=(*image_size, arrays["conv1.weight"].shape[1]),
        classes=arrays["fc.weight"].shape[0],
        stacked=False,
        name=name,
    )
    variables = {v.path: v for v in model.weights}
    for parameter in parameters:
        variable, array = variables[parameter.path], arrays[parameter.name]
        array = array.transpose(TO_KERAS[array.ndim])
        # Scalars are vectors of length 1 in PyTorch.
        variable.assign(array.reshape(variable.shape))
    return model


def export_state_dict(model: keras.Model) -> dict[str, np.ndarray]:
    """Returns the weights of a model under PyTorch's names, in PyTorch's layouts.

    Inverts `import_state_dict` for the models that it returns.

    Example:

    ```python
    state_dict = export_state_dict(model)
    torch_model.load_state_dict({k: torch.tensor(v) for k, v in state_dict.items()})
    ```

    Args:
        model: `keras.Model`, such as `CifarResNet(scheme="fixup")` of
            `fixinit.models`.

    Returns:
        Dict from PyTorch's parameter names to NumPy arrays.

    Raises:
        ValueError: If the model is another one: lists what differs.
    """
    arrays = _by_block(model)
    blocks: list[set[int]] = [set() for _ in FILTERS]
    for path in arrays:
        if match := re.match(r"stage([123])_block(\d+)/", path):
            blocks[int(match[1]) - 1].add(int(match[2]))
    parameters = _parameters([range(len(indices)) for indices in blocks])
    theirs = {parameter.path: parameter.name for parameter in parameters}
    state_dict = {}
    for path, array in arrays.items():
        array = array.transpose(TO_PYTORCH.get(array.ndim))
        name = theirs.get(path, path)
        state_dict[name] = np.atleast_1d(array).copy()
    if problems := mismatches(state_dict, _shapes(parameters)):
        raise ValueError(
            "Argument `model` must be a Fixup network as in the authors' CIFAR code: "
            f"three stages of {FILTERS} filters, basic blocks, shortcuts 'A'. "
            "Problems:\n- " + "\n- ".join(problems)
        )
    return state_dict


def _by_block(model: keras.Model) -> dict[str, np.ndarray]:
    """The model's weights by path, with stacked blocks taken apart."""
    arrays: dict[str, np.ndarray] = {}
    for layer in model.layers:
        stage = re.fullmatch(r"(stage[123]_block)s", layer.name)
        first = 1 + any(x.name == f"{stage[1]}1" for x in model.layers) if stage else 0
        for variable in layer.weights:
            array = keras.ops.convert_to_numpy(variable)
            if not stage:
                arrays[variable.path] = array
                continue
            path = variable.path.removeprefix(f"{layer.name}/")
            for index, row in enumerate(array, start=first):
                arrays[f"{stage[1]}{index}/{path}"] = row
    return arrays


def _parameters(
    blocks: Iterable[Sequence[int]],
    channels: int | None = None,
    classes: int | None = None,
) -> list[Parameter]:
    """All parameters of a network with the given block indices in each stage."""
    parameters = [
        Parameter("conv1.weight", "stem/kernel", (FILTERS[0], channels, 3, 3)),
        Parameter("bias1", "stem_activation_scalar_bias/scalar_bias", (1,)),
    ]
    width = FILTERS[0]
    for stage, (indices, filters) in enumerate(
        zip(blocks, FILTERS, strict=True), start=1
    ):
        for index in indices:
            theirs, ours = f"layer{stage}.{index}", f"stage{stage}_block{index + 1}"
            inputs = width if index == 0 else filters
            parameters += [
                Parameter(f"{theirs}.{name}", f"{ours}/{path}", (1,))
                for name, path in BLOCK_SCALARS.items()
            ]
            parameters += [
                Parameter(
                    f"{theirs}.conv{layer}.weight",
                    f"{ours}/weight{layer}/kernel",
                    (filters, fan, 3, 3),
                )
                for layer, fan in ((1, inputs), (2, filters))
            ]
        width = filters
    return [
        *parameters,
        Parameter("bias2", "head_weight_scalar_bias/scalar_bias", (1,)),
        Parameter("fc.weight", "head/kernel", (classes, width)),
        Parameter("fc.bias", "head/bias", (classes,)),
    ]


def _shapes(parameters: Iterable[Parameter]) -> dict[str, tuple[int | None, ...]]:
    return {parameter.name: parameter.shape for parameter in parameters}


def _arrays(state_dict: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], list[str]]:
    """The values as NumPy arrays by name, and the errors in their types."""
    if not isinstance(state_dict, Mapping):
        raise TypeError(
            "Argument `state_dict` must be a dict from parameter names to arrays, "
            "such as PyTorch's `module.state_dict()`. Received: "
            f"{type(state_dict).__name__}"
        )
    names = [str(name) for name in state_dict]
    if names and all(name.startswith("module.") for name in names):
        names = [name.removeprefix("module.") for name in names]
    arrays: dict[str, np.ndarray] = {}
    problems: list[str] = []
    for name, value in zip(names, state_dict.values(), strict=True):
        arrays[name], received = _array(value)
        if arrays[name].dtype.kind != "f":
            wanted = "float16, float32 or float64"
            problems.append(f"{name}: expected {wanted}, received {received}")
    return arrays, problems


def _array(value: Any) -> tuple[np.ndarray, str]:
    """A value as a NumPy array, and its type in words."""
    try:
        # Tensors may need gradients or lie on another device.
        for method in ("detach", "cpu", "numpy"):
            if hasattr(value, method):
                value = getattr(value, method)()
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        return np.empty(getattr(value, "shape", ()), "object"), str(error)
    return array, f"dtype {array.dtype}"


def _blocks(names: Iterable[str]) -> tuple[list[list[int]], list[str]]:
    """The block indices of every stage, and the errors in their numbering."""
    found: list[set[int]] = [set() for _ in FILTERS]
    for name in names:
        if match := re.match(r"layer([123])\.(0|[1-9]\d*)\.", name):
            found[int(match[1]) - 1].add(int(match[2]))
    blocks = [sorted(indices) for indices in found]
    problems = [
        f"layer{stage}: expected blocks numbered 0, 1, 2, ..., received {indices}"
        for stage, indices in enumerate(blocks, start=1)
        if not indices or indices != list(range(len(indices)))
    ]
    return blocks, problems


def _length(
    arrays: Mapping[str, np.ndarray], name: str, axis: int, rank: int
) -> int | None:
    """One length of an array's shape, `None` for an array that is missing."""
    shape = arrays[name].shape if name in arrays else ()
    return (shape[axis] or None) if len(shape) == rank else None
