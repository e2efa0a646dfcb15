"""What happens to networks between the arms of a recipe."""

import gc

import keras


def free_networks():
    """Frees networks that are not used any more, which would pile up."""
    keras.utils.clear_session()
    # They hold themselves in cycles, with the functions that were compiled for them.
    gc.collect()
