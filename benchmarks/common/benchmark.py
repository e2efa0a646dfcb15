"""What a benchmark declares: arms that do the same work, and ratios between them."""

import collections.abc
import dataclasses


@dataclasses.dataclass(frozen=True)
class Arm:
    """One way to do the work that a benchmark compares.

    Attributes:
        build: Callable `build(quick)` that makes everything the step needs and returns
            the step: a callable without arguments that returns when its work is done,
            as `model.train_on_batch` does. It may return a pair of the step and a dict
            of measures of its own, name to number. `quick` asks for a size at which
            the benchmark only shows that it runs.
        environment: Dict of environment variables that the arm's process starts with,
            such as `{"KERAS_BACKEND": "jax"}`. `PYTHONPATH` selects other code.
    """

    build: collections.abc.Callable
    environment: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Ratio:
    """What one arm needs over what another needs.

    Attributes:
        name: Line of the table.
        numerator: Name of an arm.
        denominator: Name of an arm, or `None` for the numerator in its own unit.
        limit: The largest value that passes, `None` if the value is only reported.
        measure: `"step"`: seconds of a steady step. `"processor"`: seconds that its
            threads computed, which a busy machine disturbs less; what spins while it
            waits counts as well. `"build"`: seconds in `build`.
            `"first_step"`: seconds of the first step, which traces and compiles.
            `"compile"`: `"first_step"` less the median of `"step"`. `"memory"`: MB
            that a steady step holds at its peak beyond what is resident between steps;
            what the allocator keeps is resident, which for small arrays depends on
            the environment. Or a measure that the arms' `build` returns.
    """

    name: str
    numerator: str
    denominator: str | None = None
    limit: float | None = None
    measure: str = "step"


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """Arms, each in a process of its own, and the ratios between them.

    Attributes:
        name: What `--only` selects it by.
        arms: Dict of name to `Arm`, in the order in which they take turns.
        ratios: List of `Ratio`.
        repeats: int. How often every arm has its turn.
        steps: int. Steps in one turn.
        warmup: int. Steps between the first and those that are measured.
        starts: int. How often every arm's process starts anew, with its share of the
            repeats. What happens once in a process, such as the first step, has a
            spread only from several starts.
    """

    name: str
    arms: dict
    ratios: list
    repeats: int = 20
    steps: int = 1
    warmup: int = 2
    starts: int = 1

    def __post_init__(self):
        for ratio in self.ratios:
            for arm in (ratio.numerator, ratio.denominator):
                if arm is not None and arm not in self.arms:
                    raise ValueError(
                        f"Ratio {ratio.name!r} of benchmark {self.name!r} needs the "
                        f"arms {list(self.arms)}. Received: {arm!r}"
                    )

    def quick(self):
        """The same benchmark with the fewest repeats that show that it runs."""
        return dataclasses.replace(self, repeats=2, steps=1, warmup=0, starts=1)
