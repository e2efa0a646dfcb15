"""The class of language models."""

from typing import Any

import keras
import numpy as np

from fixinit._checked import checked
from fixinit._validation import check_number, check_positive_int, check_seed
from fixinit.layers import PositionEmbedding
from fixinit.models._decoding import Decoder
from fixinit.models._token_network import TokenNetwork


@keras.saving.register_keras_serializable("fixinit")
class CausalNetwork(TokenNetwork):
    """A functional `keras.Model` from tokens to scores of the next.

    The class of `fixinit.models.LanguageModel`.
    """

    @checked
    def generate(
        self,
        tokens: Any,
        num_tokens: int,
        temperature: float = 0.0,
        top_k: int | None = None,
        stop_token: int | None = None,
        seed: int | None = None,
    ) -> np.ndarray:
        """Continues sequences, one token after the other.

        Keys and values of what came before are kept, so that a token costs one
        position. `p(i) = softmax(logits / temperature)_i`.

        Example:

        >>> model = fixinit.models.LanguageModel(
        ...     50, max_length=16, num_blocks=2, width=32, num_heads=4, seed=0
        ... )
        >>> model.generate([[1, 2, 3]], num_tokens=4).shape
        (1, 7)

        Args:
            tokens: Integers `(batch, length)`, the beginnings. Shorter ones are padded
                on the left with the model's `mask_token`.
            num_tokens: int. How many tokens to add.
            temperature: float. 0 (default) takes the likeliest token.
            top_k: int, or `None` (default) for all. How many of the likeliest are drawn
                from.
            stop_token: int, or `None` (default). A sequence that has it goes on with it
                alone, and all end when every one has. The model's `mask_token` is
                never chosen otherwise.
            seed: int. The same seed draws the same tokens.

        Returns:
            Integer array `(batch, length + num_tokens)`, shorter if all stop.

        Raises:
            ValueError: If an argument is outside its range, tokens are outside of the
                vocabulary or nothing but padding, or the model has not as many
                positions.
        """
        found = self._checked_tokens(tokens)
        check_positive_int("num_tokens", num_tokens)
        check_number("temperature", temperature, "at least 0", lambda x: x >= 0)
        if top_k is not None:
            check_positive_int("top_k", top_k)
        self._check_stop_token(stop_token)
        rng = np.random.default_rng(check_seed("seed", seed))
        batch, start = found.shape
        length = start + num_tokens
        self._check_length(length)
        valid = np.ones((batch, length), bool)
        mask_token = self.embedding.mask_token
        if mask_token is not None:
            valid[:, :start] = found != mask_token
        decoder = Decoder(self, batch, length)
        new, stopped = found, np.zeros(batch, bool)
        for at in range(start, length):
            logits = decoder(new, at - new.shape[1], valid)
            logits = np.array(keras.ops.convert_to_numpy(logits))
            if mask_token not in (None, stop_token):
                logits[:, mask_token] = -np.inf  # it would be padding
            chosen = _chosen(logits, temperature, top_k, rng)
            if stop_token is not None:
                chosen = np.where(stopped, stop_token, chosen)
                stopped |= chosen == stop_token
            new = chosen[:, None].astype(found.dtype)
            found = np.concatenate([found, new], axis=1)
            if stopped.all():
                break
        return found

    def _checked_tokens(self, tokens: Any) -> np.ndarray:
        try:
            found = np.asarray(tokens)
        except ValueError as error:
            raise ValueError(
                "Argument `tokens` must be beginnings of one length. Pad the shorter "
                "ones on the left with the model's mask_token. Received: "
                f"tokens={tokens!r}"
            ) from error
        count = self.embedding.input_dim
        if found.ndim != 2 or not np.issubdtype(found.dtype, np.integer):
            raise ValueError(
                "Argument `tokens` must be integers of shape (batch, length). "
                f"Received: dtype={found.dtype}, shape={found.shape}"
            )
        if not found.size or found.min() < 0 or found.max() >= count:
            raise ValueError(
                f"Argument `tokens` must be one or more of 0 to {count - 1}. Received: "
                f"tokens={tokens!r}"
            )
        mask_token = self.embedding.mask_token
        if mask_token is not None and np.any(np.all(found == mask_token, axis=1)):
            raise ValueError(
                f"Argument `tokens` holds a beginning of padding alone, {mask_token}. "
                "Begin with another token."
            )
        return found.astype("int32")

    def _check_stop_token(self, stop_token: int | None) -> None:
        count = self.embedding.input_dim
        if stop_token is not None and not 0 <= stop_token < count:
            raise ValueError(
                f"Argument `stop_token` must be one of 0 to {count - 1}. Received: "
                f"stop_token={stop_token}"
            )

    def _check_length(self, length: int) -> None:
        for layer in self.layers:
            if isinstance(layer, PositionEmbedding) and length > layer.length:
                raise ValueError(
                    f"The model has {layer.length} positions. Received: beginnings and "
                    f"`num_tokens` of {length} in all. Ask for fewer, or make it with "
                    "a larger max_length."
                )


def _chosen(
    logits: np.ndarray, temperature: float, top_k: int | None, rng: Any
) -> np.ndarray:
    """One token for each row of scores."""
    if not temperature:
        return logits.argmax(axis=-1)
    scores = logits.astype("float64") / temperature
    if top_k is not None and top_k < scores.shape[-1]:
        least = np.partition(scores, -top_k, axis=-1)[:, -top_k, None]
        scores = np.where(scores < least, -np.inf, scores)
    # The largest of scores with Gumbel noise is a draw of the softmax.
    return (scores + rng.gumbel(size=scores.shape)).argmax(axis=-1)
