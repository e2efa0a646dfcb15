import numpy as np
import pytest

from recipes.language_model import corpus
from recipes.language_model.settings import Settings


def load(path, content, **changes):
    path = path / "text.txt"
    path.write_bytes(content)
    options = {"dataset": f"text:{path}", "length": 4, "validation_share": 0.25}
    return corpus.load(Settings(**(options | changes)))


def test_validation_is_the_end_of_the_text(tmp_path):
    content = bytes(range(40))
    found = load(tmp_path, content)
    assert found.train.tolist() == [*range(30)]
    assert found.validation.tolist() == [*range(30, 40)]


def test_characters_of_validation_alone_are_unknown(tmp_path):
    content = ("abcé" * 6 + "abcx" * 2).encode()
    found = load(tmp_path, content, tokens="characters")
    assert found.vocabulary.characters == "abcé"
    assert (len(found.train), len(found.validation)) == (24, 8)
    np.testing.assert_equal(found.train[:4], [1, 2, 3, 4])
    np.testing.assert_equal(found.validation[:4], [1, 2, 3, 0])


def test_character_that_is_cut_is_left_out(tmp_path):
    found = load(tmp_path, "é".encode() * 50, tokens="characters", max_bytes=81)
    assert len(found.train) + len(found.validation) == 40


def test_other_text_has_another_digest(tmp_path):
    digests = {load(tmp_path, content * 40).digest for content in (b"a", b"b", b"a")}
    assert len(digests) == 2


@pytest.mark.parametrize(
    "content, changes, message",
    [
        (b"", {}, "is empty"),
        (b"a" * 17, {}, "13 tokens .* and 4 for validation.*takes 5.*--length=4"),
        (b"a" * 100, {"length": 30}, "Lower --length"),
        (b"a" * 100, {"max_bytes": 9}, "--max_bytes=9"),
        (b"a" * 90 + b"\xe9", {"tokens": "characters"}, "byte 90.*--tokens=bytes"),
        (b"a" * 90 + b"\xc3", {"tokens": "characters"}, "no UTF-8: unexpected end"),
    ],
)
def test_text_that_does_not_do_is_named(tmp_path, content, changes, message):
    with pytest.raises(ValueError, match=message) as error:
        load(tmp_path, content, **changes)
    assert "--dataset=text:" in str(error.value)
