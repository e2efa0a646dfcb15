"""Embeddings of tokens, which also score them."""

from typing import Any

import keras
from keras import ops

from fixinit._checked import checked
from fixinit._typing import Identifier, Tensor
from fixinit._validation import check_initializer, check_positive_int
from fixinit.layers.facts import Facts


@keras.saving.register_keras_serializable("fixinit")
class TokenEmbedding(keras.layers.ReversibleEmbedding):
    """Vectors for tokens, and with `reverse=True` scores of tokens for vectors.

        embedding(i) = table_i,    embedding(x, reverse=True) = x table^T

    `keras.layers.ReversibleEmbedding`, whose mask may belong to any token.

    Example:

    >>> embedding = fixinit.layers.TokenEmbedding(10, 4, mask_token=9)
    >>> x = embedding(np.array([[9, 1, 2]]))
    >>> tuple(x.shape), tuple(embedding(x, reverse=True).shape)
    ((1, 3, 4), (1, 3, 10))

    Args:
        input_dim: int. Number of tokens.
        output_dim: int. Width of the vectors.
        mask_token: int below `input_dim`, or `None` (default) for none. The token of
            padding: nobody looks at it, and positions count without it.
        tie_weights: bool. Whether scores use the table (default) or one of their own.
        embeddings_initializer: Initializer of the table, by default normal with a
            standard deviation of 0.02.
        **kwargs: Further arguments of `keras.layers.ReversibleEmbedding`.

    Raises:
        ValueError: If `mask_token` is no token.

    Reference:

    - [Press and Wolf, 2016](https://arxiv.org/abs/1608.05859)
    """

    # As of `keras.layers.ReversibleEmbedding`.
    fixinit_facts = Facts(units={"embeddings": (0,), "reverse_embeddings": (-1,)})

    @checked
    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        mask_token: int | None = None,
        tie_weights: bool = True,
        embeddings_initializer: Identifier = None,
        **kwargs: Any,
    ) -> None:
        if embeddings_initializer is None:
            embeddings_initializer = keras.initializers.RandomNormal(stddev=0.02)
        check_initializer("embeddings_initializer", embeddings_initializer)
        super().__init__(
            input_dim,
            output_dim,
            tie_weights=tie_weights,
            embeddings_initializer=embeddings_initializer,
            **kwargs,
        )
        self.mask_token = mask_token
        if mask_token is not None:
            check_positive_int(
                "mask_token", mask_token, minimum=0, maximum=input_dim - 1
            )
            self.supports_masking = True

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(inputs, (list, tuple, dict)):
            raise ValueError(f"`{self.name}` takes one tensor. Received: {inputs!r}")
        return super().__call__(inputs, *args, **kwargs)

    def compute_mask(self, inputs: Tensor, mask: Any = None) -> Any:
        # Vectors that are scored have one axis more.
        if self.mask_token is None or len(inputs.shape) > 2:
            return mask
        return ops.not_equal(inputs, self.mask_token)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mask_token": self.mask_token}
