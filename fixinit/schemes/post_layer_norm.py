import dataclasses

import keras

from fixinit.schemes._normalized import PostNormalizedScheme


@keras.saving.register_keras_serializable("fixinit.schemes")
@dataclasses.dataclass(frozen=True)
class PostLayerNorm(PostNormalizedScheme):
    """Post-layer normalization (post-LN): the original Transformer, and BERT.

        LN(x + F(x))

    The variance is 1 behind every block. Gradients shrink from block to block, so that
    deep networks need a warmup of the learning rate.

    Example:

    >>> fixinit.schemes.PostLayerNorm().predicted_variance(2, 3.0).tolist()
    [3.0, 1.0, 1.0]

    Args:
        epsilon: float, positive. Added to the variance before its square root.

    Raises:
        ValueError: If `epsilon` is not positive.

    References:

    - [Vaswani et al., 2017](https://arxiv.org/abs/1706.03762)
    - [Xiong et al., 2020](https://arxiv.org/abs/2002.04745)
    """

    name = "post_layer_norm"
