"""The constant factor of what a residual branch reads."""

import keras

from fixinit.layers.facts import Facts


@keras.saving.register_keras_serializable("fixinit")
class BranchInputScale(keras.layers.Rescaling):
    """Multiplies what a branch reads by a constant: `outputs = scale * inputs`.

    A `keras.layers.Rescaling` that belongs to the scheme of the branch, as `1 / beta_l`
    of normalizer-free networks: `fixinit.convert` takes it out.

    Example:

    >>> layer = fixinit.layers.BranchInputScale(0.5)
    >>> float(keras.ops.mean(layer(keras.ops.ones((1, 2)))))
    0.5

    Args:
        scale: float. The factor.
        **kwargs: The arguments of `keras.layers.Layer`.

    Reference:

    - [Brock et al., 2021](https://arxiv.org/abs/2101.08692), section 3.
    """

    fixinit_facts = Facts(scales_branch=True, linear=True)
