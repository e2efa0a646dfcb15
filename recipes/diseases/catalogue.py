"""Diseases by name, and what the gallery shows of each."""

import dataclasses

SIZE, GRADIENT = "mean_square", "gradient_mean_square"


@dataclasses.dataclass(frozen=True)
class Disease:
    """Disease of the gallery.

    Attributes:
        label: str.
        kind: str. That of the finding that names it.
        shows: str. The measure by layer in its figure.
        batch_size: int. Samples of a step.
    """

    label: str
    kind: str
    shows: str = SIZE
    batch_size: int = 32


DISEASES = {
    "raw_inputs": Disease("pixels from 0 to 255", "input_scale"),
    "raw_targets": Disease("targets in the hundreds", "target_scale", GRADIENT),
    "softmax_over_one_unit": Disease(
        "softmax over one unit", "last_activation", GRADIENT
    ),
    "logits_as_probabilities": Disease(
        "logits as probabilities", "logits_mismatch", GRADIENT
    ),
    "labels_from_one": Disease("labels from 1", "label_range"),
    "no_nonlinearity": Disease("no nonlinearity", "no_nonlinearity"),
    "kernels_of_zeros": Disease("kernels of zeros", "initialization", GRADIENT),
    "one_initializer": Disease("one initializer for all", "initialization"),
    "large_kernels": Disease("kernels of size 1", "initialization"),
    "stack_of_sigmoids": Disease("a stack of sigmoids", "hidden_activation", GRADIENT),
    "dead_relus": Disease("dead rectifiers", "dead_units", GRADIENT),
    "exploding_residuals": Disease("exploding residual network", "exploding"),
    "rate_too_high": Disease("learning rate too high", "learning_rate_high"),
    "rate_too_low": Disease("learning rate too low", "learning_rate_low"),
    "normalized_alone": Disease(
        "BatchNorm of one sample", "normalization_batch", batch_size=1
    ),
}
# Keras itself refuses what is wrong here.
REFUSED = ("labels_from_one",)
