"""What a stack accepts: its arguments, checked before anything is made of them."""

import weakref

import keras

from fixinit.layers import block_configs

REMAT = ("block", "sqrt")

# Blocks that serve as templates already.
_TEMPLATES = weakref.WeakSet()
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
    if block in _TEMPLATES:
        raise ValueError(_IN_USE.format(block.name))
    check_unused(block)


def claim(block):
    """Marks a block as the template of one stack."""
    _TEMPLATES.add(block)


def check_unused(block):
    """Refuses a block of which a part is called somewhere else."""
    if block._inbound_nodes:
        raise ValueError(_IN_USE.format(block.name))
    # The layers of a functional model are called in the model itself.
    if not isinstance(block, keras.Model):
        for layer in block._layers:
            check_unused(layer)


def check_remat(remat):
    """Refuses a `remat` that is not known."""
    if remat in (None, *REMAT):
        return remat
    if isinstance(remat, int) and not isinstance(remat, bool) and remat > 0:
        return remat
    raise ValueError(
        f"Argument `remat` must be None, one of {list(REMAT)} or an integer of at "
        f"least 1. Received: remat={remat!r}"
    )


def check_constants(constants, block, depth):
    """The constants as floats, one per block."""
    checked = {}
    for path, values in constants.items():
        try:
            owner, name = block_configs.resolve(block, path)
            if not isinstance(getattr(owner, name), float):
                raise TypeError
        except (AttributeError, IndexError, TypeError):
            raise ValueError(
                f"Argument `constants`: block `{block.name}` has no attribute "
                f"{path!r} that is a float. Received: constants={list(constants)}. A "
                "path such as 'merge.branch_scale' leads to one."
            ) from None
        values = [float(value) for value in values]
        if len(values) != depth:
            raise ValueError(
                f"Argument `constants` needs one value per block, {depth} of them. "
                f"Received {len(values)} for {path!r}."
            )
        checked[path] = values
    return checked
