"""Operations on moments, and on the gradients that go back through them.

Every function takes and returns `fixinit.theory.Moments`, and leaves in its result what
takes the mean square of a gradient back to its inputs. Gradients are taken to be
independent of the activations, and uncorrelated between positions. Where they are alike
at neighbouring positions, as in front of a global average, they come out 4 to 17 times
too small behind overlapping averages, repetition and broadcasting (see docs/theory.md).

Example:

>>> x = fixinit.theory.Moments.inputs((100,))
>>> dense = fixinit.theory.calculus.mix(x, [], filters=50, weight=(0.0, 0.02))
>>> dense.mean_square
2.0
"""

from fixinit.theory.calculus.alignment import Dependent
from fixinit.theory.calculus.concatenation import concatenate
from fixinit.theory.calculus.elementwise import apply, randomly_scale, scale
from fixinit.theory.calculus.joining import add, maximum, multiply
from fixinit.theory.calculus.max_pooling import max_pool
from fixinit.theory.calculus.normalization import (
    normalize_by_batch,
    normalize_by_input,
)
from fixinit.theory.calculus.reshaping import (
    flatten,
    merge_space,
    reshape,
    unflatten,
)
from fixinit.theory.calculus.softmax import log_softmax, softmax
from fixinit.theory.calculus.space import global_average, permute, spatial
from fixinit.theory.calculus.weights import depthwise, mix
from fixinit.theory.calculus.windows import Window

__all__ = [
    "Dependent",
    "Window",
    "add",
    "apply",
    "concatenate",
    "depthwise",
    "flatten",
    "global_average",
    "log_softmax",
    "max_pool",
    "maximum",
    "merge_space",
    "mix",
    "multiply",
    "normalize_by_batch",
    "normalize_by_input",
    "permute",
    "randomly_scale",
    "reshape",
    "scale",
    "softmax",
    "spatial",
    "unflatten",
]
