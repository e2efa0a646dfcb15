import dataclasses

import keras

from fixinit.schemes.scheme import Scheme


@keras.saving.register_keras_serializable("fixinit.schemes")
@dataclasses.dataclass(frozen=True)
class Unnormalized(Scheme):
    """He initialization alone: the network that the other schemes repair.

    The variance doubles with every block: after block l it is `2^l` times the
    input's.

    Example:

    >>> fixinit.schemes.Unnormalized().predicted_variance(4).tolist()
    [1.0, 2.0, 4.0, 8.0, 16.0]

    Reference:

    - [He et al., 2015](https://arxiv.org/abs/1502.01852)
    """

    name = "unnormalized"
