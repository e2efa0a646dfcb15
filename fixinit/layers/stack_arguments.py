"""What a stack accepts: its arguments, checked before anything is made of them."""

import weakref

import keras

from fixinit import _keras
from fixinit._validation import check_number, check_positive_int, check_sequence
from fixinit.layers import block_configs

REMAT = ("block", "sqrt")

# Blocks that serve as templates already.
_TEMPLATES: weakref.WeakSet = weakref.WeakSet()
_IN_USE = (
    "Argument `block` must not be part of a model or of another stack: the blocks of a "
    "stack share no weights with other layers. Received `{}`, which is in use. Make a "
    "new layer for the stack."
)


def check_block(block):
    """Refuses what cannot be the template of a stack."""
    if not isinstance(block, keras.layers.Layer):
        raise ValueError(
            "Argument `block` must be a Keras layer or functional model. Received: "
            f"block={block!r}"
        )
    if len(getattr(block, "inputs", None) or [0]) != 1:
        raise ValueError(
            "Argument `block` must take one tensor. Received the model "
            f"`{block.name}` with {len(block.inputs)} inputs."
        )
    for layer in _keras.flatten_layers(block):
        if layer in _TEMPLATES:
            raise ValueError(_IN_USE.format(layer.name))
    check_unused(block)


def claim(block):
    """Marks a block, and all that it holds, as the template of one stack."""
    _TEMPLATES.update(_keras.flatten_layers(block))


def check_unused(block):
    """Refuses a block of which a part is called somewhere else."""
    if _keras.calls_of(block):
        raise ValueError(_IN_USE.format(block.name))
    _check_parts(block)


def _check_parts(block):
    # A functional model calls its layers itself; a sequential one, and one within
    # another, makes calls that nobody can tell from those of others.
    calls = _keras.calls(block) if _keras.is_functional(block) else ()
    own = {id(call) for call in calls}
    for layer in [] if isinstance(block, keras.Sequential) else _keras.sublayers(block):
        if isinstance(layer, keras.layers.InputLayer):
            continue
        if any(id(node) not in own for node in _keras.calls_of(layer)):
            raise ValueError(_IN_USE.format(layer.name))
        if not isinstance(layer, keras.Model):
            _check_parts(layer)


def check_remat(remat):
    """Refuses a `remat` that is not known."""
    if remat is None or isinstance(remat, str) and remat in REMAT:
        return remat
    try:
        return check_positive_int("remat", remat)
    except ValueError:
        raise ValueError(
            f"Argument `remat` must be None, one of {list(REMAT)} or an integer of at "
            f"least 1. Received: remat={remat!r}"
        ) from None


def check_constants(constants, block, depth):
    """The constants as floats, one per block."""
    if not isinstance(constants, dict):
        raise ValueError(
            "Argument `constants` must be a dict from paths of attributes to lists of "
            f"numbers. Received: constants={constants!r}"
        )
    checked = {}
    for path, values in constants.items():
        try:
            if not isinstance(path, str):
                raise TypeError
            owner, name = block_configs.resolve(block, path)
            if not isinstance(getattr(owner, name), float):
                raise TypeError
            # Some attributes cannot be set.
            setattr(owner, name, getattr(owner, name))
        except (AttributeError, IndexError, TypeError):
            raise ValueError(
                f"Argument `constants`: block `{block.name}` has no attribute "
                f"{path!r} that is a float. Received: constants={list(constants)}. A "
                "path such as 'merge.branch_scale' leads to one."
            ) from None
        values = [
            check_number(f"constants[{path!r}]", value, "a list of finite numbers")
            for value in check_sequence("constants", values, "one number per block")
        ]
        if len(values) != depth:
            raise ValueError(
                f"Argument `constants` needs one value per block, {depth} of them. "
                f"Received {len(values)} for {path!r}."
            )
        checked[path] = values
    return checked


def check_seeds(config, depth, seed_step):
    """Refuses seeds that would not fit: some backends would draw alike."""
    largest = max(block_configs.seeds(config), default=0) + (depth - 1) * seed_step
    if largest >= 2**32:
        raise ValueError(
            f"The seeds of the last of {depth} blocks would reach {largest}, and must "
            f"stay below 2**32. Received: seed_step={seed_step}. Give the layers of "
            "the block smaller seeds that lie closer together, or a smaller "
            "`seed_step`."
        )


def check_differences(blocks, template, constants):
    """Refuses blocks that `constants`, set on the template, do not make alike."""
    for path, values in constants.items():
        try:
            owner, name = block_configs.resolve(template, path)
            if getattr(owner, name) != values[0]:
                raise AttributeError
        except (AttributeError, IndexError, TypeError):
            raise ValueError(
                f"The blocks differ in {path!r} of their configurations, which is "
                "no attribute of the block. Make these layers alike."
            ) from None
        parent = path.rpartition(".")[0]
        paths = [other.rpartition(".") for other in constants]
        names = {name for owner, _, name in paths if owner == parent}
        plain = [_plain_attributes(block, path, names) for block in blocks]
        different = next((p for p in plain if p != plain[0]), plain[0])
        for name, value in plain[0].items():
            if different.get(name) != value:
                raise ValueError(
                    f"The blocks differ in {path!r}, and therefore in the attribute "
                    f"{name!r} of the same layer: {value!r} and "
                    f"{different.get(name)!r}. A stack only sets the first. Let the "
                    "layer compute the other in its `call`."
                )


def _plain_attributes(block, path, without):
    """The numbers and strings that the layer at `path` holds, but for some."""
    owner, _ = block_configs.resolve(block, path)
    return {
        name: value
        for name, value in vars(owner).items()
        if isinstance(value, (bool, int, float, str))
        and not name.startswith("_")
        and name not in {"name", "built", "seed", *without}
    }
