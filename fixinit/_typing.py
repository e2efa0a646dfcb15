"""Type aliases of the public API."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy.typing as npt

# Keras ships no type stubs, and a tensor's class is the backend's.
Tensor: TypeAlias = Any
# Anything that `np.asarray` takes.
ArrayLike: TypeAlias = npt.ArrayLike
# `None` stands for an axis of unknown size.
Shape: TypeAlias = Sequence[int | None]
# A Keras object, or what Keras makes one of: its name or its config.
Identifier: TypeAlias = Any
