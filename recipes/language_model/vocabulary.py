"""Vocabularies: what the tokens of a text stand for."""

import numpy as np

# Stands for what cannot be shown, and for characters that training has not seen.
UNKNOWN = "\N{REPLACEMENT CHARACTER}"


class Bytes:
    """256 tokens, one for each value of a byte of UTF-8.

    Example:

    >>> Bytes().encode("é").tolist()
    [195, 169]
    """

    size = 256
    characters = None

    def encode(self, text):
        """The tokens of a string."""
        # Arguments of programs may hold bytes that are no UTF-8.
        return np.frombuffer(text.encode(errors="surrogateescape"), np.uint8)

    def decode(self, tokens):
        """The string of tokens, as far as it can be shown."""
        return _shown(np.asarray(tokens, np.uint8).tobytes().decode(errors="replace"))


class Characters:
    """The characters of a text, in sorted order, behind token 0 for all others.

    Example:

    >>> vocabulary = Characters("abc")
    >>> vocabulary.encode("cab?").tolist()
    [3, 1, 2, 0]

    Args:
        characters: str. Those that have a token, in sorted order.
    """

    def __init__(self, characters):
        self.characters = characters
        self.size = len(characters) + 1
        self._codes = codes(characters)

    @classmethod
    def of(cls, found):
        """The vocabulary of the codes of a text."""
        return cls("".join(map(chr, np.unique(found))))

    def encode(self, text):
        """The tokens of a string."""
        return self.tokens(codes(text))

    def tokens(self, found):
        """The tokens of the codes of a text."""
        places = np.searchsorted(self._codes, found)
        near = self._codes[np.minimum(places, len(self._codes) - 1)]
        return np.where(near == found, places + 1, 0).astype(np.int32)

    def decode(self, tokens):
        """The string of tokens, as far as it can be shown."""
        return _shown("".join((UNKNOWN + self.characters)[token] for token in tokens))


def codes(text):
    """The code points of a string."""
    return np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), np.uint32)


def _shown(text):
    """Without control characters, which a terminal would obey."""
    return "".join(c if c.isprintable() or c in "\n\t" else UNKNOWN for c in text)
