"""Words and ids by the release's token rule."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_models.dmgan.data.vocabulary import END, Vocabulary, tokenize
from reference_models.dmgan.errors import DataError

WORDS = Vocabulary((END, "a", "red", "bird", "caf"))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("This bird's wing-bars: RED, 2 of them!", ["this", "bird", "s", "wing", "bars", "red", "2", "of", "them"]),
        ("Café au lait", ["caf", "au", "lait"]),
        ("snake_case stays", ["snake_case", "stays"]),
        ("éé naïve", ["nave"]),
        ("日本 bird", ["bird"]),
        ("  \t\n", []),
    ],
)  # fmt: skip
def test_the_token_rule(text: str, tokens: list[str]) -> None:
    assert tokenize(text) == tokens


@given(st.text())
def test_tokens_are_lower_case_ascii_words(text: str) -> None:
    for token in tokenize(text):
        assert token.isascii()
        assert token == token.lower()
        assert token.replace("_", "a").isalnum()
        assert tokenize(token) == [token]


def test_ids_are_places_and_unknown_words_are_dropped_and_told() -> None:
    assert WORDS.encode("A red, red BIRD") == [1, 2, 2, 3]
    assert WORDS.encode_reporting("a purple café bird") == ([1, 4, 3], ["purple"])
    assert WORDS.decode([1, 2, 3, 0, 2]) == "a red bird"


def test_first_sight_gives_the_ids() -> None:
    assert Vocabulary.from_captions(["the bird", "a red bird"]).words == (END, "the", "bird", "a", "red")


@given(st.lists(st.from_regex(r"[a-z]{1,5}", fullmatch=True), min_size=1, max_size=20))
def test_encoding_and_decoding_are_inverse_on_known_words(words: list[str]) -> None:
    vocabulary = Vocabulary.from_captions([" ".join(words)])
    assert vocabulary.decode(vocabulary.encode(" ".join(words))) == " ".join(words)


def test_json_keeps_every_word_and_its_place(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.json"
    WORDS.to_json(path)
    assert Vocabulary.from_json(path) == WORDS
    assert hash(Vocabulary.from_json(path)) == hash(WORDS)
    assert repr(WORDS) == "Vocabulary(5 words)"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", "expected .* as JSON"),
        (b"[]", "expected .* as JSON"),
        (b'{"words": "a"}', "'words' must be a list of strings"),
        (b'{"words": ["<end>", 1]}', "'words' must be a list of strings"),
        (b'{"words": ["a"]}', "must begin with '<end>'"),
        (b'{"words": []}', "must begin with '<end>'"),
        (b'{"words": ["<end>", "a", "b", "a"]}', "must not repeat, but 'a' stands there twice"),
    ],
)
def test_damaged_files_are_told(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "vocabulary.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"vocabulary\.json: .*{told}"):
        Vocabulary.from_json(path)


def test_an_id_that_no_word_has_is_told() -> None:
    with pytest.raises(DataError, match=r"`ids` must be in 0\.\.4, got 5"):
        WORDS.decode([1, 5])
