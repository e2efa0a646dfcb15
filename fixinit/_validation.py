"""Argument checks shared by the whole library: one wording for one mistake.

Each returns the value that it has checked, in the type that it is used in: numbers and
truth values of NumPy become Python's, so that a configuration stays JSON.
"""

import difflib
import math
import numbers
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import keras
import numpy as np

Choice = TypeVar("Choice")

# Floats hold every integer up to here.
LARGEST_COUNT = 2**53
# Backends count the positions along an axis in 32 bits.
LARGEST_SIZE = 2**31 - 1
# Of a list with one entry for each: models, curves over depth.
MOST_BRANCHES = 1_000_000
# Passes through a model that one call may ask for.
MOST_SAMPLES = 1_000_000
# Keras and its backends take seeds of 32 bits.
LARGEST_SEED = 2**32 - 1


def check_choice(argument: str, value: Choice, allowed: Iterable[Any]) -> Choice:
    """Refuses a value that is not one of `allowed`, and suggests the nearest."""
    allowed = list(allowed)
    for choice in allowed:
        # Not `in`: arrays compare element by element, and 1 is equal to True.
        if isinstance(value, type(choice)) and value == choice:
            return choice
    nearest = difflib.get_close_matches(shown(value), map(str, allowed), n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    raise ValueError(
        f"Argument `{argument}` must be one of {allowed}.{hint} "
        f"Received: {argument}={shown(value, repr)}"
    )


def check_positive_int(
    argument: str,
    value: Any,
    minimum: int = 1,
    hint: str = "",
    maximum: int = LARGEST_COUNT,
) -> int:
    """Refuses anything but an integer in a range; `hint` ends the error."""
    number = _integer(value)
    if number is not None and minimum <= number <= maximum:
        return number
    known = number is not None and number > maximum
    least = f"of at least {minimum}" + (f" and at most {maximum}" if known else "")
    raise ValueError(
        f"Argument `{argument}` must be an integer {least}. "
        f"Received: {argument}={shown(value, repr)}.{' ' + hint if hint else ''}"
    )


def check_size(argument: str, value: Any, minimum: int = 1) -> int:
    """Refuses anything but the size of an axis: a width, a kernel size, a stride."""
    return check_positive_int(argument, value, minimum, maximum=LARGEST_SIZE)


def check_integer(argument: str, value: Any) -> int:
    """Refuses anything but an integer, of either sign."""
    number = _integer(value)
    if number is not None and abs(number) <= LARGEST_COUNT:
        return number
    raise ValueError(
        f"Argument `{argument}` must be an integer of at most 2**53 in absolute value. "
        f"Received: {argument}={shown(value, repr)}"
    )


def check_axis(argument: str, value: Any) -> int:
    """Refuses anything but an integer that can be an axis other than the batch's, 0."""
    axis = check_integer(argument, value)
    if axis:
        return axis
    raise ValueError(
        f"Argument `{argument}` must be an axis other than the batch's, 0. "
        f"Received: {argument}={axis}"
    )


def check_axis_of(argument: str, axis: int, shape: Any, layer: str) -> int:
    """Refuses an axis that a shape does not have, or that is the batch's."""
    if any(isinstance(n, (list, tuple)) for n in shape):
        raise ValueError(f"Layer `{layer}` takes one tensor. Received shapes: {shape}")
    rank = len(shape)
    if -rank < axis < rank and axis:
        return axis
    raise ValueError(
        f"Argument `{argument}` of layer `{layer}` must be an axis of the inputs other "
        f"than the batch. Received: {argument}={axis}, input shape {tuple(shape)}"
    )


def check_entries(
    argument: str, value: Sequence[int], count: int, each: bool = False
) -> tuple[int, ...]:
    """Refuses anything but integers in `[0, count)`: axes, positions, channels.

    Args:
        argument, value, count: As everywhere here.
        each: bool. Whether each of them is needed once, as in an order of axes.
    """
    entries = tuple(check_integer(argument, entry) for entry in value)
    inside = bool(entries or not count) and all(0 <= i < count for i in entries)
    if inside and (not each or sorted(entries) == list(range(count))):
        return entries
    each_one = "each integer" if each else "integers"
    raise ValueError(
        f"Argument `{argument}` must hold {each_one} in [0, {count})"
        f"{' once' if each else ''}. Received: {argument}={shown(value, repr)}"
    )


def check_seed(argument: str, value: Any) -> int | None:
    """Refuses anything but `None` or an integer of 32 bits without a sign."""
    if value is None:
        return None
    return check_positive_int(argument, value, minimum=0, maximum=LARGEST_SEED)


def check_initializer_seed(argument: str, value: Any) -> Any:
    """As `check_seed`, or a `keras.random.SeedGenerator`, or its config."""
    if isinstance(value, dict):
        get = keras.saving.deserialize_keras_object
        check_keras(argument, value, get, "a seed generator")
    if isinstance(value, (keras.random.SeedGenerator, dict)):
        return value
    return check_seed(argument, value)


def check_branch(branch: Any, num_branches: Any) -> tuple[int, int]:
    """Refuses an index of a branch outside `[0, num_branches)`; returns both."""
    num_branches = check_positive_int("num_branches", num_branches)
    branch = check_positive_int("branch", branch, minimum=0)
    if branch >= num_branches:
        raise ValueError(
            "Argument `branch` counts from 0 and must be smaller than "
            f"`num_branches`. Received: branch={branch}, num_branches={num_branches}"
        )
    return branch, num_branches


def check_number(
    argument: str,
    value: Any,
    allowed: str = "a finite number",
    valid: Callable[[float], bool] = lambda x: True,
) -> float:
    """Refuses anything but a finite real number for which `valid(value)` is true.

    `allowed` says in words which numbers these are.
    """
    number = _real(value)
    if math.isfinite(number) and valid(number):
        return number
    raise ValueError(
        f"Argument `{argument}` must be {allowed}. "
        f"Received: {argument}={shown(value, repr)}"
    )


def check_variance(argument: str, value: Any) -> float:
    """Refuses anything but a finite number of at least 0."""
    return check_number(argument, value, "a number of at least 0", lambda x: x >= 0)


def check_factor(argument: str, value: Any) -> float:
    """Refuses anything but a finite number whose square, a variance, is finite too."""
    allowed = "a finite number with a finite square"
    return check_number(argument, value, allowed, lambda x: math.isfinite(x * x))


def check_probability(argument: str, value: Any) -> float:
    """Refuses what is not a probability above 0."""
    return check_number(argument, value, "a number in (0, 1]", lambda p: 0 < p <= 1)


def check_numbers(
    argument: str, value: Any, low: float = -math.inf, high: float = math.inf
) -> np.ndarray:
    """Refuses anything but an array of finite numbers in `[low, high]`."""
    try:
        array = np.asarray(value)
        if array.dtype.kind in "iuf":
            array = array.astype("float64")
            if np.all(np.isfinite(array) & (low <= array) & (array <= high)):
                return array
    except (TypeError, ValueError, OverflowError):
        pass  # ragged, or of objects
    where = f" in [{low:g}, {high:g}]" if low > -math.inf or high < math.inf else ""
    raise ValueError(
        f"Argument `{argument}` must be an array of finite numbers{where}. "
        f"Received: {argument}={shown(value, repr)}"
    )


def check_initializer(argument: str, value: Any) -> Any:
    """The initializer that an identifier stands for; `None` is refused."""
    found = check_keras(argument, value, keras.initializers.get, "an initializer")
    if isinstance(value, (np.generic, np.ndarray)):
        check_numbers(argument, value)
    if callable(found):
        return found
    raise ValueError(
        f"Argument `{argument}` must be an initializer of Keras or a function of a "
        f"shape and a dtype. Received: {argument}={shown(value, repr)}"
    )


def check_activation(argument: str, value: Any) -> Any:
    """The activation function that an identifier stands for."""
    return check_keras(argument, value, keras.activations.get, "an activation")


def check_bool(argument: str, value: Any) -> bool:
    """Refuses anything but a truth value: 1 and "no" are none."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise ValueError(
        f"Argument `{argument}` must be True or False. "
        f"Received: {argument}={shown(value, repr)}"
    )


def check_string(argument: str, value: Any) -> str:
    """Refuses anything but a string."""
    if isinstance(value, str):
        return value
    raise ValueError(
        f"Argument `{argument}` must be a string. "
        f"Received: {argument}={shown(value, repr)}"
    )


def check_sequence(argument: str, value: Any, example: Any) -> tuple:
    """Refuses anything but a sequence, such as a shape; returns a tuple.

    `example` stands in the error. Strings are refused too.
    """
    try:
        if not isinstance(value, (str, bytes, dict)):
            return tuple(value)
    except TypeError:
        pass
    raise ValueError(
        f"Argument `{argument}` must be a tuple such as {example}. "
        f"Received: {argument}={shown(value, repr)}"
    )


def check_shape(
    argument: str, value: Any, example: Any, minimum: int = 1
) -> tuple[int | None, ...]:
    """Refuses anything but a tuple of sizes, `None` where a size is not known."""
    sizes = check_sequence(argument, value, example)
    try:
        checked = [n if n is None else check_size(argument, n, minimum) for n in sizes]
    except ValueError:
        raise ValueError(
            f"Argument `{argument}` must be a tuple of sizes such as {example}, "
            f"integers from {minimum} to {LARGEST_SIZE}. "
            f"Received: {argument}={shown(value, repr)}"
        ) from None
    return tuple(checked)


def check_known_shape(
    argument: str, value: Any, example: Any, minimum: int = 1
) -> tuple[int, ...]:
    """Refuses anything but a tuple of sizes, all of them known."""
    sizes = check_shape(argument, value, example, minimum)
    if None not in sizes:
        return tuple(n for n in sizes if n is not None)
    raise ValueError(
        f"Argument `{argument}` must have known sizes, such as {example}. "
        f"Received: {argument}={sizes}"
    )


def check_regularizer(argument: str, value: Any) -> Any:
    """The regularizer that an identifier stands for; `None` is none."""
    if value is None:
        return None
    return check_keras(argument, value, keras.regularizers.get, "a regularizer")


def check_constraint(argument: str, value: Any) -> Any:
    """The constraint that an identifier stands for; `None` is none."""
    if value is None:
        return None
    return check_keras(argument, value, keras.constraints.get, "a constraint")


def check_keras(argument: str, value: Any, get: Callable[[Any], Any], what: str) -> Any:
    """What Keras makes of an identifier; its errors do not name the argument.

    Args:
        argument, value: As everywhere here.
        get: Such as `keras.initializers.get`.
        what: String, such as `"an initializer"`.
    """
    try:
        found = get(value)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise ValueError(
            f"Argument `{argument}` must be {what} of Keras, its name or its config. "
            f"Received: {argument}={shown(value, repr)}, of which Keras says: {error}"
        ) from error
    if found is not None:
        return found
    raise ValueError(
        f"Argument `{argument}` must be {what} of Keras, its name or its config. "
        f"Received: {argument}={shown(value, repr)}"
    )


def _integer(value: Any) -> int | None:
    """A value as an integer, `None` if it is none."""
    if isinstance(value, (bool, np.bool_)):
        return None
    try:
        return operator.index(value)
    except (TypeError, AttributeError):
        return None  # TensorFlow's tensors of floats raise the latter


def _real(value: Any) -> float:
    """A value as a float, NaN if it is no real number, or too large for a float."""
    if isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_)):
        try:
            return float(value)
        except OverflowError:
            pass
    return math.nan


def shown(value: Any, show: Callable[[Any], str] = str) -> str:
    """A value in an error, cut where it is long."""
    try:
        text = show(value)
    except ValueError:
        text = f"an integer of {value.bit_length()} bits"  # Python prints 4300 digits
    return text if len(text) <= 300 else f"{text[:297]}..."
