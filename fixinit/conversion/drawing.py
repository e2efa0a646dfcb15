"""Makes weight layers again, each with a draw of its own."""

import keras

from fixinit import theory
from fixinit._validation import check_positive_int
from fixinit.conversion import kernels, kinds
from fixinit.conversion.rewrite import config_of
from fixinit.schemes.answers import first_seed, with_seed
from fixinit.schemes.scheme import Scheme


class Drawing:
    """Weight layers as a scheme says, fitted to what they are.

    Args:
        scheme: `fixinit.schemes.Scheme`.
        seed: int or `None`.

    Attributes:
        next_seed: int, that of the next draw.
    """

    def __init__(self, scheme, seed=None):
        if seed is not None:
            check_positive_int("seed", seed, minimum=0)
        self.scheme = scheme
        self.next_seed = first_seed(seed)

    def drawn(self, weight, site, splits):
        """A weight layer of a survey again, drawn as the scheme says.

        Args:
            weight: `fixinit.conversion.survey.Weight`.
            site: Its `fixinit.schemes.Site`.
            splits: bool, whether its activation becomes a layer of its own.

        Returns:
            `(layer, intended)`: the variance that the scheme wants here over that of
            He initialization.
        """
        old, is_head = kinds.unwrapped(weight.call.operation), weight.role == "head"
        *others, main = kinds.kernel_arguments(old)
        initializer = self.scheme.kernel_initializer(site)
        if is_head:
            initializer = self.scheme.head_initializer()
        changes = {main: initializer}
        # The part of a separable convolution that no activation follows.
        changes |= {name: keras.initializers.HeNormal() for name in others}
        for name in changes:
            gain = self._gain(weight, site) if name == main else 1.0
            seeded = with_seed(changes[name], self._seed())
            if not is_head:
                seeded = kernels.fitted(seeded, old, name, gain)
            changes[name] = seeded
        if not is_head:
            changes |= self._biases(old, weight)
            if splits:
                changes |= {"activation": "linear", "activity_regularizer": None}
        new = again(weight.call.operation, changes)
        return new, self._intended(initializer, site, old, main)

    def redrawn(self, layer):
        """A layer that keeps its initializers, with a draw of its own."""
        inner = kinds.unwrapped(layer)
        arguments = kinds.kernel_arguments(inner)
        return again(
            layer,
            {name: with_seed(getattr(inner, name), self._seed()) for name in arguments},
        )

    def _seed(self):
        self.next_seed += 1
        return self.next_seed - 1

    def _biases(self, old, weight):
        """What says in a layer's config whether it has a bias vector."""
        uses = weight.is_output or self.scheme.use_bias
        if isinstance(old, keras.layers.EinsumDense):
            return {"bias_axes": old.get_config()["bias_axes"] if uses else None}
        return {"use_bias": uses} if hasattr(old, "use_bias") else {}

    def _gain(self, weight, site):
        """What keeps the mean square from one weight layer to the next."""
        if isinstance(weight.call.operation, keras.layers.Embedding):
            return 1.0
        if site.preactivation or weight.role != "branch":
            return 2.0
        activation = weight.activation
        if weight.call in weight.branch.last:
            activation = activation or weight.branch.end_activation
        return 1.0 if activation is None else kernels.gain_behind(activation.operation)

    def _intended(self, initializer, site, layer, argument):
        shape = tuple(kinds.kernel_of(layer, argument).shape)
        plain = Scheme.kernel_initializer(self.scheme, site)
        variance = theory.weight_moments(plain, shape)[1]
        return theory.weight_moments(initializer, shape)[1] / variance


def again(layer, changes):
    """A weight layer with changes in its config.

    Of a wrapper that is taken off the name stays, which is the one in the model.
    """
    inner = kinds.unwrapped(layer)
    config = {**config_of(inner), **changes, "name": layer.name}
    return type(inner).from_config(config)
