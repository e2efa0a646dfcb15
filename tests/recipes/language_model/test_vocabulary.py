import numpy as np

from recipes.language_model.vocabulary import UNKNOWN, Bytes, Characters, codes


def test_bytes_go_there_and_back():
    text = "x = 'é'\n\t∀"
    assert Bytes().decode(Bytes().encode(text)) == text
    assert Bytes().encode("a\udcff").tolist() == [97, 255]  # as sys.argv holds it


def test_bytes_that_are_no_text_are_shown():
    assert Bytes().decode([255, 27, 97]) == f"{UNKNOWN}{UNKNOWN}a"


def test_characters_are_those_of_the_text():
    vocabulary = Characters.of(codes("∀banana\n"))
    assert vocabulary.characters == "\nabn∀" and vocabulary.size == 6
    assert vocabulary.decode(vocabulary.encode("nab∀\n")) == "nab∀\n"


def test_other_characters_are_one_token():
    vocabulary = Characters.of(codes("abc"))
    tokens = vocabulary.encode("a\x00z\U0010ffff\udcffc")
    np.testing.assert_equal(tokens, [1, 0, 0, 0, 0, 3])
    assert vocabulary.decode(tokens) == f"a{UNKNOWN * 4}c"
