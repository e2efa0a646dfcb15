"""What schemes with a normalization of tokens have in common."""

import dataclasses

import keras
import numpy as np

from fixinit._checked import check_fields
from fixinit._validation import (
    MOST_BRANCHES,
    check_number,
    check_positive_int,
    check_variance,
)
from fixinit.schemes.scheme import Scheme
from fixinit.schemes.site import Site


@dataclasses.dataclass(frozen=True)
class NormalizedScheme(Scheme):
    """Layer normalization with a network's own kernels and biases.

    A subclass says where it stands, and what variance that leaves.
    """

    epsilon: float = 1e-5

    use_bias = None
    normalizes = True

    def __post_init__(self) -> None:
        check_fields(self)
        check_number("epsilon", self.epsilon, "a positive number", lambda x: x > 0)

    def draw(self, site: Site) -> keras.initializers.Initializer | None:
        return None

    def _layer(self) -> keras.layers.Layer:
        return keras.layers.LayerNormalization(epsilon=self.epsilon)


@dataclasses.dataclass(frozen=True)
class PreNormalizedScheme(NormalizedScheme):
    """Normalization at the start of every branch and behind the last block."""

    def branch_start(self, site: Site) -> list[keras.layers.Layer]:
        return [self._layer()]

    def network_end(self, site: Site) -> list[keras.layers.Layer]:
        return [self._layer()]

    def predicted_variance(
        self, num_branches: int, input_variance: float = 1.0
    ) -> np.ndarray:
        """Every branch adds 1: after branch l it is that of the input + l."""
        check_positive_int("num_branches", num_branches, maximum=MOST_BRANCHES)
        check_variance("input_variance", input_variance)
        return input_variance + np.arange(num_branches + 1.0)


@dataclasses.dataclass(frozen=True)
class PostNormalizedScheme(NormalizedScheme):
    """Normalization behind every sum."""

    def after_merge(self, site: Site) -> list[keras.layers.Layer]:
        return [self._layer()]

    def predicted_variance(
        self, num_branches: int, input_variance: float = 1.0
    ) -> np.ndarray:
        """1 behind every block."""
        check_positive_int("num_branches", num_branches, maximum=MOST_BRANCHES)
        check_variance("input_variance", input_variance)
        return np.array([input_variance, *np.ones(num_branches)])
