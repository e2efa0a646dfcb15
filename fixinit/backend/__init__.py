"""The only package that imports a backend: gradients, compilation and loops."""

from fixinit.backend.compilation import compiled, is_eager, without_gradients
from fixinit.backend.curvature import hessian_products
from fixinit.backend.custom_gradients import custom_gradient
from fixinit.backend.gradients import value_and_gradients
from fixinit.backend.nested_gradients import inner_gradients
from fixinit.backend.noise import kept_random_state
from fixinit.backend.norms import norm_function
from fixinit.backend.products import vector_products
from fixinit.backend.scalar_arithmetic import add_scalar, multiply_by_scalar
from fixinit.backend.scan import scan
from fixinit.backend.sparse import dense
from fixinit.backend.summaries import SummaryWriter

__all__ = [
    "SummaryWriter",
    "add_scalar",
    "compiled",
    "custom_gradient",
    "dense",
    "hessian_products",
    "inner_gradients",
    "is_eager",
    "kept_random_state",
    "multiply_by_scalar",
    "norm_function",
    "scan",
    "value_and_gradients",
    "vector_products",
    "without_gradients",
]
