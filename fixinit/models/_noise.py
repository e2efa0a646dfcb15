"""What distorts the residual branches of a network at random while it trains."""

import dataclasses
from collections.abc import Callable, Sequence

import keras

from fixinit import layers
from fixinit._validation import check_number
from fixinit.models._plan import BlockPlan

# From a rate and a seed to a layer.
MakesNoise = Callable[[float, int | None], keras.layers.Layer]


def _stochastic_depth(scaling: str) -> MakesNoise:
    def make(rate: float, seed: int | None) -> keras.layers.Layer:
        return layers.StochasticDepth(
            1 - rate,
            level="sample",
            scaling=scaling,
            seed=seed,
            name="stochastic_depth",
        )

    return make


def _shake_drop(rate: float, seed: int | None) -> keras.layers.Layer:
    return layers.ShakeDrop(1 - rate, seed=seed, name="shake_drop")


# The layers at the end of a branch, by the names that plans have for them.
NOISES: dict[str, MakesNoise] = {
    "stochastic_depth": _stochastic_depth("inverted"),
    # As in the code of NFNets: branches that are kept are not scaled.
    "unscaled_stochastic_depth": _stochastic_depth("none"),
    "shake_drop": _shake_drop,
}


def check_rate(argument: str, rate: float) -> float:
    """The rate of what is dropped, checked."""
    return check_number(argument, rate, "a number in [0, 1)", lambda x: 0 <= x < 1)


def with_noise(
    plans: Sequence[BlockPlan],
    stochastic_depth_rate: float,
    shake_drop_rate: float,
    plain: bool,
) -> list[BlockPlan]:
    """The plans of all blocks, with noise that grows in proportion to the depth.

    Args:
        plans: Sequence of `BlockPlan`s.
        stochastic_depth_rate: float in `[0, 1)`. Rate at the last block.
        shake_drop_rate: float in `[0, 1)`. Rate at the last block.
        plain: bool. Whether the network has no shortcuts.

    Raises:
        ValueError: If a rate is outside its range, if both are above 0, or if one is
            in a network without shortcuts.
    """
    rates = {
        "stochastic_depth": check_rate("stochastic_depth_rate", stochastic_depth_rate),
        "shake_drop": check_rate("shake_drop_rate", shake_drop_rate),
    }
    asked = [noise for noise, rate in rates.items() if rate]
    if not asked:
        return list(plans)
    if len(asked) > 1:
        raise ValueError(
            "Arguments `stochastic_depth_rate` and `shake_drop_rate` distort the same "
            f"branches. Received: {stochastic_depth_rate} and {shake_drop_rate}. Leave "
            "one of them 0."
        )
    (noise,) = asked
    if plain:
        raise ValueError(
            f"Argument `{noise}_rate` needs shortcuts, by which samples pass a branch "
            f"that is dropped. Received: {noise}_rate={rates[noise]}, plain=True. Set "
            "one of the two to its default."
        )
    return [
        dataclasses.replace(
            plan,
            noise=noise,
            noise_rate=1 - layers.survival_probability(i, len(plans), 1 - rates[noise]),
        )
        for i, plan in enumerate(plans)
    ]
