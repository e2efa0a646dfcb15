"""Configurations of blocks that are alike but for seeds and a few numbers."""

import copy

import keras

from fixinit import _keras
from fixinit.initializers.stacked import is_seed, with_seeds_shifted

# What holds names of layers in the configuration of a functional model.
_REFERENCES = ("name", "inbound_nodes", "input_layers", "output_layers")
# What works on the weights of all blocks at once.
_WHOLE = ("regularizer", "constraint")


def make(block, config):
    """A new layer of the class of `block`, from its serialized configuration."""
    # Keras would build the copy otherwise, which costs a draw of every weight.
    config = without_build(config)
    # Classes that nobody has registered, too.
    classes = {type(x).__name__: type(x) for x in _keras.flatten_layers(block)}
    try:
        with keras.saving.custom_object_scope(classes):
            return type(block).from_config(copy.deepcopy(config["config"]))
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ValueError(
            f"Block `{block.name}` of class {type(block).__name__} cannot be made "
            f"again from its configuration: {error}\nGive its class, and the classes "
            "of what it holds, a complete `get_config` and the decorator "
            "`@keras.saving.register_keras_serializable()`."
        ) from error


def copied(block, config):
    """A copy of a block, which draws what the block would draw.

    `config` is the block's. The seeds that are `None` in it are those that the block's
    initializers have chosen.
    """
    copy_of_block = make(block, config)
    pairs = zip(
        _keras.flatten_layers(block), _keras.flatten_layers(copy_of_block), strict=True
    )
    for old, new in pairs:
        for name, value in vars(old).items():
            if isinstance(value, keras.initializers.Initializer):
                _take_seed(getattr(new, name), value)
    return copy_of_block


def _take_seed(new, old):
    """Gives an initializer the seed of another, or the seed of what both hold."""
    if isinstance(getattr(old, "seed", None), int):
        new.seed = old.seed
    elif hasattr(old, "initializer"):
        _take_seed(new.initializer, old.initializer)


def seed_span(config):
    """The smallest distance at which shifted copies share no integer seed."""
    found = list(seeds(config))
    return max(found) - min(found) + 1 if found else 1


def seeds(config):
    """All integer seeds in a configuration."""
    if isinstance(config, dict):
        if {"block", "depth", "seed_step"} <= config.keys():
            # A stack in a block: its last block has the largest seeds.
            last = (config["depth"] - 1) * config["seed_step"]
            yield from seeds(with_seeds_shifted(config["block"], last))
        for key, value in config.items():
            if is_seed(key, value):
                yield value
            else:
                yield from seeds(value)
    elif isinstance(config, (list, tuple)):
        for value in config:
            yield from seeds(value)


def differences(configs):
    """The numbers in which configurations differ: from attribute path to values.

    Names, seeds, initializers and the shapes that blocks were built on do not count.

    Raises:
        ValueError: If they differ in anything else.
    """
    found = {}
    _compare([_plain(config, _names(config)) for config in configs], "", found)
    return found


def _compare(values, path, found):
    first = values[0]
    if isinstance(first, dict) and all(
        isinstance(v, dict) and v.keys() == first.keys() for v in values
    ):
        for key in first:
            inner = path if key == "config" else f"{path}.{key}".lstrip(".")
            _compare([v[key] for v in values], inner, found)
    elif isinstance(first, list) and all(
        isinstance(v, list) and len(v) == len(first) for v in values
    ):
        for index in range(len(first)):
            _compare([v[index] for v in values], f"{path}.{index}".lstrip("."), found)
    elif any(v != first for v in values):
        whole = any(part.endswith(_WHOLE) for part in path.split("."))
        if whole or not all(isinstance(v, float) for v in values):
            other = next(v for v in values if v != first)
            raise ValueError(
                "The blocks of a stack may differ in names, seeds, initializers, "
                "weights and floating-point numbers outside of regularizers and "
                f"constraints only. `{path}` is {first!r} in one block and {other!r} "
                "in another."
            )
        found[path] = list(values)


def _names(config):
    """The names in a configuration, numbered: functional models refer to them."""
    names = {}

    def visit(value):
        if isinstance(value, dict):
            if isinstance(value.get("name"), str):
                names.setdefault(value["name"], f"name {len(names)}")
            for key, inner in value.items():
                # The name of a dtype is not a layer's.
                if key != "dtype":
                    visit(inner)
        elif isinstance(value, (list, tuple)):
            for inner in value:
                visit(inner)

    visit(config)
    return names


def _plain(config, names, refers=False):
    """Without what may differ; `refers` to names, in a functional model's graph."""
    if isinstance(config, dict):
        return {
            key: value
            if key == "dtype"
            else _plain(value, names, refers or key in _REFERENCES)
            for key, value in config.items()
            if key not in ("seed", "build_config") and not key.endswith("initializer")
        }
    if isinstance(config, (list, tuple)):
        return [_plain(value, names, refers) for value in config]
    return names.get(config, config) if refers and isinstance(config, str) else config


def without_build(config):
    """The configuration without the shapes that layers were built on.

    Keras would build them while loading, before what they belong to, and the paths of
    their variables would lack its name.
    """
    if isinstance(config, dict):
        return {k: without_build(v) for k, v in config.items() if k != "build_config"}
    if isinstance(config, list):
        return [without_build(value) for value in config]
    return config


def resolve(block, path):
    """The object and the name of the attribute at `path` of a block.

    Raises:
        AttributeError, IndexError: If there is none.
    """
    *parents, name = path.split(".")
    owner = block
    for part in parents:
        if part == "layers" and isinstance(owner, keras.Sequential):
            # As in its configuration, which counts the input layer.
            owner = _keras.sublayers(owner)
        else:
            owner = owner[int(part)] if part.isdigit() else getattr(owner, part)
    getattr(owner, name)
    return owner, name


def with_constants(block, constants):
    """A context in which attributes of the block hold these tensors."""
    return _Constants(block, constants)


class _Constants:
    def __init__(self, block, constants):
        self.places = [
            (*resolve(block, path), value) for path, value in constants.items()
        ]

    def __enter__(self):
        self.before = [getattr(owner, name) for owner, name, _ in self.places]
        for owner, name, value in self.places:
            dtype = getattr(owner, "compute_dtype", None) or keras.config.floatx()
            setattr(owner, name, keras.ops.cast(value, dtype))

    def __exit__(self, *_):
        for (owner, name, _), value in zip(self.places, self.before, strict=True):
            setattr(owner, name, value)
