"""The only package that imports a backend: gradients, compilation and loops."""

from fixinit.backend.compilation import compiled, is_eager
from fixinit.backend.gradients import value_and_gradients
from fixinit.backend.noise import kept_random_state
from fixinit.backend.products import vector_products
from fixinit.backend.scan import scan
from fixinit.backend.spreading import spread
from fixinit.backend.summaries import SummaryWriter

__all__ = [
    "SummaryWriter",
    "compiled",
    "is_eager",
    "kept_random_state",
    "scan",
    "spread",
    "value_and_gradients",
    "vector_products",
]
