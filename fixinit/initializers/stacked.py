"""Independent draws of one initializer in one loop."""

import copy
import json
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from fixinit import backend
from fixinit._typing import Identifier, Tensor
from fixinit._validation import (
    LARGEST_SEED,
    check_initializer,
    check_known_shape,
    check_positive_int,
)
from fixinit.initializers.looks_linear import LooksLinear

_COMPILED: dict[Any, Any] = {}
_CONSTANT = (
    keras.initializers.Zeros,
    keras.initializers.Ones,
    keras.initializers.Constant,
    keras.initializers.Identity,
)


@keras.saving.register_keras_serializable("fixinit")
class Stacked(keras.initializers.Initializer):
    """Independent draws of one initializer, stacked along a new first axis.

    Row i is what `initializer` draws with the seed `seed + i * seed_step`, bit for
    bit on TensorFlow and PyTorch, and to rounding on JAX. All rows are drawn in one
    compiled loop, which is what makes thousands of them cheap.

    Example:

    >>> he = keras.initializers.HeNormal(seed=3)
    >>> stacked = fixinit.initializers.Stacked(he, seed_step=2)
    >>> rows = stacked((10, 4, 4))
    >>> same = keras.initializers.HeNormal(seed=5)((4, 4))
    >>> bool(keras.ops.all(keras.ops.isclose(rows[1], same)))
    True

    Args:
        initializer: Keras initializer of one row. Constants, such as `Zeros`, give
            every row the same values. Classes that are not Keras's are made anew
            for every row; functions are called once per row.
        seed_step: int, at least 1. Distance between the seeds of consecutive rows.

    Raises:
        ValueError: If an argument is outside its range.
    """

    def __init__(self, initializer: Identifier, seed_step: int = 1) -> None:
        self.initializer = check_initializer("initializer", initializer)
        self.seed_step = check_positive_int(
            "seed_step", seed_step, maximum=LARGEST_SEED
        )

    @property
    def seed(self) -> Any:
        return getattr(self.initializer, "seed", None)

    @seed.setter
    def seed(self, seed: Any) -> None:
        self.initializer = _reseeded(self.initializer, seed)

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Tensor:
        depth, *shape = check_known_shape("shape", shape, (10, 4, 4), 0)
        if isinstance(self.seed, _Seed):
            first = self.seed.pair
            return self._draw(first + self._steps(depth, 0, first.dtype), shape, dtype)
        if isinstance(self.seed, int) and _is_known(self.initializer):
            seed_dtype = keras.random.SeedGenerator(0).state.dtype
            draw = self._compiled_draw(shape, dtype)
            return draw(self._steps(depth, self.seed, seed_dtype))
        if isinstance(self.initializer, _CONSTANT):
            row = ops.convert_to_tensor(self.initializer(shape, dtype=dtype))
            # Not broadcast: on PyTorch all rows would be one piece of memory.
            return ops.tile(row[None], (depth,) + (1,) * len(shape))
        return ops.stack([row(shape, dtype=dtype) for row in self._rows(depth)])

    def _rows(self, depth):
        """The initializers of the rows, where they cannot be drawn in one loop."""
        if not isinstance(self.initializer, keras.initializers.Initializer):
            return [self.initializer] * depth
        config = self.initializer.get_config()
        if isinstance(self.seed, int) and "seed" in config:
            # Given or, where the configuration has none, drawn.
            config = {**config, "seed": self.seed}
        elif with_seeds_shifted(config, 1) == config and not _unseeded(config):
            return [self.initializer] * depth
        return [
            type(self.initializer).from_config(
                with_seeds_shifted(config, index * self.seed_step)
            )
            for index in range(depth)
        ]

    def _steps(self, depth, seed, dtype):
        """The seeds of the rows as Keras draws them: pairs of seed and counter."""
        seeds = seed + np.arange(depth, dtype="int64") * self.seed_step
        pairs = np.stack([seeds, np.zeros_like(seeds)], axis=1)
        dtype = keras.backend.standardize_dtype(dtype)
        if dtype != "int64":
            # 32 bits without a sign, which some backends hold in signed integers.
            pairs = pairs.astype("uint32").view(dtype)
        return ops.convert_to_tensor(pairs)

    def _draw(self, seeds, shape, dtype):
        return ops.map(
            lambda pair: _reseeded(self.initializer, _Seed(pair))(shape, dtype=dtype),
            seeds,
        )

    def _compiled_draw(self, shape, dtype):
        """Compiled once for all initializers that differ in their seeds only."""

        def draw(seeds):
            return self._draw(seeds, shape, dtype)

        config = _without_seeds(keras.initializers.serialize(self))
        key = json.dumps([config, shape, dtype or keras.config.floatx()])
        return _COMPILED.setdefault(key, backend.compiled(draw))

    def get_config(self) -> dict[str, Any]:
        return {
            "initializer": keras.initializers.serialize(self.initializer),
            "seed_step": self.seed_step,
        }


class _Seed(keras.random.SeedGenerator):
    """A seed that is a tensor, as it is inside a compiled loop."""

    def __init__(self, pair):
        # Without the variable that a SeedGenerator keeps its state in.
        self.pair = pair

    def next(self, ordered=True):
        return self.pair


def _is_known(initializer):
    """Whether an initializer passes its seed on, and its configuration tells all."""
    while isinstance(initializer, (Stacked, LooksLinear)):
        initializer = initializer.initializer
    return type(initializer).__module__.split(".")[0] in ("keras", "fixinit")


def _unseeded(config):
    """Whether something in a configuration draws a seed when it is made."""
    if isinstance(config, dict):
        return any(
            (key == "seed" and value is None) or _unseeded(value)
            for key, value in config.items()
        )
    return isinstance(config, (list, tuple)) and any(map(_unseeded, config))


def _reseeded(initializer, seed):
    initializer = copy.copy(initializer)
    initializer.seed = seed
    return initializer


def _without_seeds(config):
    if isinstance(config, dict):
        return {k: _without_seeds(v) for k, v in config.items() if k != "seed"}
    return config


def with_seeds_shifted(config: Any, offset: int) -> Any:
    """The configuration with `offset` added to every integer seed."""
    if isinstance(config, dict):
        return {
            key: value + offset
            if is_seed(key, value)
            else with_seeds_shifted(value, offset)
            for key, value in config.items()
        }
    if isinstance(config, (list, tuple)):
        return [with_seeds_shifted(value, offset) for value in config]
    return config


def is_seed(key: Any, value: Any) -> bool:
    """Whether an entry of a configuration is an integer seed."""
    return key == "seed" and isinstance(value, int) and not isinstance(value, bool)
