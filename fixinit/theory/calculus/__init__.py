"""What layers do to moments, and what that does to gradients on the way back.

Every function takes and returns `Moments`, and leaves in its result what takes the mean
square of a gradient back to its inputs. Gradients are taken to be independent of the
activations, and uncorrelated between positions. Where they are alike at neighbouring
positions, as in front of a global average, they come out 4 to 17 times too small behind
overlapping averages, repetition and broadcasting (see docs/theory.md).

Example:

>>> x = fixinit.theory.Moments.inputs((100,))
>>> dense = fixinit.theory.calculus.mix(x, [], filters=50, weight=(0.0, 0.02))
>>> dense.mean_square
2.0
"""

from fixinit.theory.calculus.concatenation import concatenate
from fixinit.theory.calculus.elementwise import apply, randomly_scale, scale
from fixinit.theory.calculus.joining import Dependent, add, maximum, multiply
from fixinit.theory.calculus.space import (
    flatten,
    global_average,
    merge_space,
    permute,
    reshape,
    spatial,
    unflatten,
)
from fixinit.theory.calculus.weights import depthwise, mix

__all__ = [
    "Dependent",
    "add",
    "apply",
    "concatenate",
    "depthwise",
    "flatten",
    "global_average",
    "maximum",
    "merge_space",
    "mix",
    "multiply",
    "permute",
    "randomly_scale",
    "reshape",
    "scale",
    "spatial",
    "unflatten",
]
