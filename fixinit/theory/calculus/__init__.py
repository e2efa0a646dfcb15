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
from fixinit.theory.calculus.batches import from_batch, into_batch
from fixinit.theory.calculus.concatenation import concatenate
from fixinit.theory.calculus.constants import constant
from fixinit.theory.calculus.elementwise import apply, randomly_scale, scale
from fixinit.theory.calculus.joining import add, maximum, multiply
from fixinit.theory.calculus.max_pooling import max_pool
from fixinit.theory.calculus.normalization import (
    normalize_by_batch,
    normalize_by_input,
)
from fixinit.theory.calculus.rearranging import rearrange, transpose
from fixinit.theory.calculus.reducing import average, largest, spread, total
from fixinit.theory.calculus.regrouping import regroup
from fixinit.theory.calculus.reshaping import (
    flatten,
    reshape,
)
from fixinit.theory.calculus.selecting import (
    concatenate_space,
    select,
    select_channels,
    zero_pad,
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
    "average",
    "concatenate",
    "concatenate_space",
    "constant",
    "depthwise",
    "flatten",
    "from_batch",
    "global_average",
    "into_batch",
    "largest",
    "log_softmax",
    "max_pool",
    "maximum",
    "mix",
    "multiply",
    "normalize_by_batch",
    "normalize_by_input",
    "permute",
    "randomly_scale",
    "rearrange",
    "regroup",
    "reshape",
    "scale",
    "select",
    "select_channels",
    "softmax",
    "spatial",
    "spread",
    "total",
    "transpose",
    "zero_pad",
]
