"""The contract between networks, which ask, and schemes, which answer."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, Self, TypeAlias

import keras
import numpy as np

from fixinit import layers, optimizers
from fixinit._typing import Identifier
from fixinit._validation import (
    MOST_BRANCHES,
    check_choice,
    check_keras,
    check_positive_int,
    check_variance,
)
from fixinit.schemes._findings import FINDINGS
from fixinit.schemes.site import Site
from fixinit.schemes.start import Start

# What `Scheme.prepared` is given.
Network: TypeAlias = Callable[[float, Callable[[float], float]], float]


@dataclasses.dataclass(frozen=True)
class Scheme:
    """One published method that keeps a residual network trainable.

    A network asks its scheme the questions below for every `Site` and builds what
    the scheme answers. A new method is a subclass that overrides the answers which
    it changes. Answers are plain Keras objects, new ones at every call, without
    seeds: the network gives each weight layer a seed of its own.

    * Layers at a place: `branch_start`, `before_activation`, `before_weight`,
      `branch_end`, `after_merge`, `after_projection`, `network_end`.
    * What stands for a plain layer: `weight_layer`, `activation`, `normalization`.
    * How a weight layer is drawn: `kernel_initializer`, which scales a `draw`.
    * How shortcut and branch are joined: `merge`.
    * Facts: `start`, `depends_on_branch`, `use_bias`, `shifts_projection`,
      `draws_embeddings`, `normalizes`, `refuses_batch_norm`.
    * What it has to know of the whole network: `prepared`.
    * How it trains: `optimizer_rules`, by role, and `clipping`, which `optimizer`
      applies.

    The defaults are He initialization alone. A subclass is a frozen dataclass whose
    fields are its arguments, registered with
    `keras.saving.register_keras_serializable` under a package of its own, since a
    scheme and its initializer may share a name. `fixinit.schemes.register` lets
    `fixinit.schemes.get` find it by name.

    Example:

    >>> @keras.saving.register_keras_serializable("example.schemes")
    ... @dataclasses.dataclass(frozen=True)
    ... class HalvedBranch(fixinit.schemes.Scheme):
    ...     name = "halved_branch"
    ...
    ...     def start(self, site):
    ...         return fixinit.schemes.Start(0.5)
    >>> HalvedBranch().predicted_variance(2).tolist()
    [1.0, 1.25, 1.5625]
    >>> model = fixinit.models.ResidualMLP(2, 8, scheme=HalvedBranch())
    >>> model.get_layer("block1").merge.branch_scale
    0.5
    """

    # The string by which `fixinit.schemes.get` finds a registered scheme.
    name: ClassVar[str | None] = None
    # A projecting or subsampling shortcut reads x + the branch's first bias.
    shifts_projection: ClassVar[bool] = False
    # Weight layers carry a bias vector; `None` for those that the network gives one.
    # The classification layer always does.
    use_bias: ClassVar[bool | None] = True
    # Its layers normalize, by a statistic of a batch or of a sample.
    normalizes: ClassVar[bool] = False
    # `draw` has an initializer for the tables of token embeddings, too.
    draws_embeddings: ClassVar[bool] = False
    # `normalization` refuses batch normalization, with the method's own reason.
    refuses_batch_norm: ClassVar[bool] = False
    # The findings of `fixinit.diagnostics` that the method is published to repair:
    # `fixinit.schemes.remedies` lists the schemes for one.
    remedies: ClassVar[tuple[str, ...]] = ()
    # The learning rates and weight decays by role that the method trains with.
    optimizer_rules: ClassVar[tuple[optimizers.Rule, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for finding in cls.remedies:
            check_choice("remedies", finding, FINDINGS)

    def prepared(self, network: Network) -> "Scheme":
        """The scheme for one network, asked for once, in front of all other answers.

        Args:
            network: Callable `(x, local_map)`, how the activations of the network
                follow one another: the largest value that a part of it which one value
                enters and one leaves maps `x` to. Activations apply `local_map`; sums
                average by the squares of the factors that `start` says, concatenations
                by their channels; weight layers, pooling and the rest pass on what they
                read. So `network(0, lambda x: x + 1)` counts activations in a row.
                It raises `ValueError` for networks of which that is not known.

        Returns:
            The scheme itself (default), or one of its class with more of its fields
            filled in.
        """
        return self

    @property
    def depends_on_branch(self) -> bool:
        """Whether an answer depends on the index of the branch or of the stage.

        Networks build equal blocks from one answer where none does.
        """
        return False

    @property
    def clipping(self) -> float | None:
        """The factor of `fixinit.optimizers.adaptive_clipping` that it trains with.

        `None` without clipping. The classification layer is never clipped.
        """
        return None

    def start(self, site: Site) -> Start:
        """How the branch at `site` starts."""
        return Start()

    def started(self, site: Site) -> Start:
        """`start`, raised where the branch may not start at zero.

        Layers in `branch_end` that carry the start read it from here, so that a
        branch which holds others opens.
        """
        return self.start(site).raised(site.smallest_start)

    def variance_factor(self, site: Site) -> float:
        """The factor by which the block at `site` multiplies the variance.

        That of `start` by default, for branches that keep the variance.
        """
        return self.start(site).variance_factor

    @property
    def starts_at_identity(self) -> bool:
        """Whether the branch of a network of one block is zero at initialization.

        Where `start` depends on the index of the branch, ask it for each.
        """
        return self.start(Site(0, 1)).is_zero

    def draw(self, site: Site) -> keras.initializers.Initializer | None:
        """The initializer at `site`, before `start` scales it.

        Returns:
            `keras.initializers.Initializer`, or `None` for the one that the network
            gives the layer, of a scheme whose `start` does not scale kernels.
        """
        if site.role == "head":
            return keras.initializers.LecunNormal()
        return keras.initializers.HeNormal()

    def kernel_initializer(self, site: Site) -> keras.initializers.Initializer | None:
        """The initializer of the weight layer at `site`; `None` for its own."""
        start = self.started(site)
        if not (site.is_last and start.by == "kernel"):
            return self.draw(site)
        if start.is_zero:
            return keras.initializers.Zeros()
        drawn = self.draw(site)
        if drawn is None:
            raise TypeError(
                f"Scheme {self!r} scales kernels by its start, {start!r}, and draw() "
                "gives None for them. Give an initializer."
            )
        return start.scaled(drawn)

    def weight_layer(self, site: Site, layer: keras.layers.Layer) -> keras.layers.Layer:
        """The layer that stands for a plain weight layer.

        Args:
            site: `Site` of the layer.
            layer: Plain Keras layer, not built, with its initializer set.

        Returns:
            `layer` itself (default), or another of the same output shape, made of
            its config.
        """
        return layer

    def activation(self, site: Site, layer: keras.layers.Layer) -> keras.layers.Layer:
        """The layer that stands for a plain activation: `layer` itself by default."""
        return layer

    def normalization(
        self, site: Site, layer: keras.layers.Layer
    ) -> list[keras.layers.Layer]:
        """The layers that stand for a normalization of a converted model.

        Where the answer is not empty, it takes the place of `branch_start`,
        `after_merge` or `network_end` there.

        Args:
            site: `Site` of the weight layer behind it.
            layer: The model's own normalization layer, not to be used again.

        Returns:
            List of layers. Empty by default: the normalization is taken out.
        """
        return []

    def branch_start(self, site: Site) -> list[keras.layers.Layer]:
        """Layers at the start of the branch whose first weight is `site`."""
        return []

    def before_activation(self, site: Site) -> list[keras.layers.Layer]:
        """Layers in front of the activation that belongs to `site`."""
        return []

    def before_weight(self, site: Site) -> list[keras.layers.Layer]:
        """Layers in front of the weight layer at `site`."""
        return []

    def branch_end(self, site: Site) -> list[keras.layers.Layer]:
        """Layers at the end of the branch whose last weight is `site`."""
        start = self.started(site)
        if start.by != "multiplier":
            return []
        return [layers.ScalarMultiplier(keras.initializers.Constant(start.scale))]

    def merge(self, site: Site) -> keras.layers.Layer:
        """The layer that joins `[shortcut, branch]`."""
        start = self.started(site)
        return layers.ScaledAdd(start.shortcut_scale, start.merge_scale)

    def after_merge(self, site: Site) -> list[keras.layers.Layer]:
        """Layers behind the merge, in front of the block's last activation."""
        return []

    def after_projection(self, site: Site) -> list[keras.layers.Layer]:
        """Layers behind the weight layer of a projecting shortcut."""
        return []

    def network_end(self, site: Site) -> list[keras.layers.Layer]:
        """Layers behind the last block."""
        return []

    def optimizer(
        self, optimizer: Identifier, model: keras.Model | None = None
    ) -> keras.optimizers.Optimizer:
        """The optimizer with the scheme's rules by role and its adaptive clipping.

        Example:

        >>> optimizer = fixinit.schemes.Fixup().optimizer(keras.optimizers.SGD(0.1))
        >>> [round(float(group.learning_rate), 3) for group in optimizer.optimizers]
        [0.1, 0.01]

        Args:
            optimizer: Keras optimizer that is not built, its name or its config.
            model: Built `keras.Model` that the optimizer is to train. Needed by schemes
                with `clipping` alone, for its layers say what is clipped together.

        Returns:
            A `fixinit.optimizers.GroupedOptimizer`, or the plain optimizer if the
            scheme has no rules; in a `fixinit.optimizers.AdaptiveClipping` if it has
            `clipping`.

        Raises:
            ValueError: If the scheme has `clipping` and `model` is `None`, or as
                `fixinit.optimizers.by_role` and `adaptive_clipping` do.
            TypeError: As these do.
        """
        made = self._with_rules(optimizer)
        if self.clipping is None:
            return made
        if model is None:
            raise ValueError(
                f"Argument `model` is needed by the scheme {self.name!r}, whose "
                "optimizer clips gradients by the layers that they are of. Pass the "
                "model that it trains: scheme.optimizer(optimizer, model)."
            )
        return optimizers.adaptive_clipping(made, model, self.clipping)

    def _with_rules(self, optimizer: Identifier) -> keras.optimizers.Optimizer:
        """The optimizer with the scheme's rules by role."""
        if not self.optimizer_rules:
            return check_keras(
                "optimizer", optimizer, keras.optimizers.get, "an optimizer"
            )
        return optimizers.by_role(optimizer, self.optimizer_rules)

    def predicted_variance(
        self, num_branches: int, input_variance: float = 1.0
    ) -> np.ndarray:
        """Variance of the activations after every block, in closed form.

        For ReLU blocks of equal shape in pre-activation order, dense or
        convolutional without zero padding, at infinite width. The variance is taken
        over weights and inputs. Since kernels have zero mean, it is what the mean
        square over a batch estimates, and what `fixinit.theory.predict` says.
        Elsewhere the two differ:

        * `padding="same"` reads zeros beyond the borders, which takes something
          from every branch. After 20 blocks of 3x3 convolutions `scaled_residual`
          has 0.83 of this variance on 8x8 positions, 0.96 on 32x32 and 0.99 on
          224x224; where branches weigh as much as shortcuts, as in `unnormalized`
          and `normalized_sum`, it is 0.18, 0.74 and 0.96.
        * In post-activation order the sum passes a ReLU, behind which it has a mean,
          and a distribution that changes from block to block. Only branches that
          start at zero keep the variance in both orders.

        Args:
            num_branches: int, at most a million. Number of residual branches (L).
            input_variance: float, at least 0. Variance of the first block's input.

        Returns:
            Array of shape `(num_branches + 1,)`: the input's variance, then that
            of every block's output.

        Raises:
            ValueError: If an argument is outside its range.
        """
        check_positive_int("num_branches", num_branches, maximum=MOST_BRANCHES)
        input_variance = check_variance("input_variance", input_variance)
        if not input_variance:
            return np.zeros(num_branches + 1)
        # One answer stands for all branches where none depends on the index.
        asked = num_branches if self.depends_on_branch else 1
        factors = [
            self.variance_factor(Site(branch, num_branches, stream_sums=branch))
            for branch in range(asked)
        ]
        # Exponential growth overflows to infinity, as the activations do.
        with np.errstate(over="ignore"):
            grown = np.cumprod(np.resize(factors, num_branches))
            return np.concatenate([[1.0], grown]) * input_variance

    def get_config(self) -> dict[str, Any]:
        # One level deep: Keras makes the configs of what a field holds.
        fields = dataclasses.fields(self)
        return {field.name: getattr(self, field.name) for field in fields}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        if not isinstance(config, dict):
            raise TypeError(
                f"Argument `config` must be a dict. Received: config={config!r}"
            )
        arguments = [field.name for field in dataclasses.fields(cls)]
        for key in config:
            check_choice(f"{cls.name} config", key, arguments)
        return cls(**{name: _deserialized(value) for name, value in config.items()})


def _deserialized(value: Any) -> Any:
    """What a field holds, from its config."""
    if isinstance(value, (list, tuple)):
        return type(value)(_deserialized(item) for item in value)
    if not isinstance(value, dict):
        return value
    if {"class_name", "config"} <= value.keys():
        return keras.saving.deserialize_keras_object(value)
    return {key: _deserialized(item) for key, item in value.items()}


# What `fixinit.schemes.get` takes.
SchemeLike: TypeAlias = str | dict[str, Any] | Scheme
