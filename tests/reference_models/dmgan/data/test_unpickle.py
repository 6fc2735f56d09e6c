"""Foreign pickles are data or refused: nothing that they say is run."""

from __future__ import annotations

import collections
import contextlib
import os
import pickle
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_models.dmgan.data.unpickle import read_pickle
from reference_models.dmgan.errors import DataError
from tests.reference_models.dmgan.data.python2 import dumps


def stored(value: object, path: Path, protocol: int = 2) -> Path:
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_of_every_protocol(tmp_path: Path, protocol: int) -> None:
    value = {"a": [1, 2.5, "café"], "b": ("x", None, True), 3: {"c"}, "d": collections.OrderedDict(e=1)}
    assert read_pickle(stored(value, tmp_path / "plain.pickle", protocol)) == value


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_numpy_arrays_and_scalars(tmp_path: Path, protocol: int) -> None:
    value = [np.arange(6).reshape(2, 3), np.float32(2.5)]
    array, scalar = read_pickle(stored(value, tmp_path / "numpy.pickle", protocol))
    assert np.array_equal(array, value[0])
    assert scalar == 2.5


@pytest.mark.parametrize("protocol", [0, 2])
def test_what_python_2_wrote(tmp_path: Path, protocol: int) -> None:
    value = [[["it's", "x" * 300], "caf\xe9"], {0: "<end>", 70000: "a\nb", -1: []}, [255, 256]]
    assert read_pickle(stored(dumps(value, protocol), tmp_path / "two.pickle")) == value


def test_python_2_text(tmp_path: Path) -> None:
    # What Python 2 wrote for ['001.Black_footed_Albatross', 'caf\\xe9']: byte strings, protocol 2.
    python2 = b"\x80\x02]q\x00(U\x1a001.Black_footed_AlbatrossU\x04caf\xe9e."
    assert read_pickle(stored(python2, tmp_path / "two.pickle")) == ["001.Black_footed_Albatross", "café"]


class Calls:
    def __init__(self, function: object, *args: object) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple:
        return self.call


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    ("function", "name"),
    [(os.system, "posix.system"), (eval, "builtin"), (os.path.join, "posixpath.join"), (getattr, "getattr")],
)
def test_a_pickle_that_calls_anything_is_refused_by_name_and_place(
    tmp_path: Path, protocol: int, function: object, name: str
) -> None:
    made = tmp_path / "it_ran"
    path = stored([1, Calls(function, f"touch {made}")], tmp_path / "evil.pickle", protocol)
    with pytest.raises(DataError, match=rf"evil\.pickle is refused: at byte \d+ it names .*{name}"):
        read_pickle(path)
    assert not made.exists()


@pytest.mark.parametrize(
    "attack",
    [
        b"(S'touch it'\nios\nsystem\n.",  # INST
        b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93\x8c\x02id\x85R.",  # STACK_GLOBAL
        b"\x80\x04\x8c\x02os\x94\x8c\x06system\x940h\x00h\x01\x93\x8c\x02id\x85R.",  # names from the memo
        b"cnumpy\nload\n(S'x'\ntR.",  # another name of a module that is allowed
        b"cnumpy.core.multiarray\nfromfile\n.",
        b"Pstranger\n.",  # a persistent id
        b"\x80\x02\x82\x01.",  # an extension code
    ],
    ids=["inst", "stack_global", "memo", "numpy.load", "fromfile", "persistent", "extension"],
)
def test_other_ways_of_naming_a_function(tmp_path: Path, attack: bytes) -> None:
    with pytest.raises(DataError, match="refused"):
        read_pickle(stored(attack, tmp_path / "evil.pickle"))


def test_an_array_of_objects_cannot_smuggle_a_pickle(tmp_path: Path) -> None:
    value = np.array([Calls(os.system, "true")], dtype=object)
    with pytest.raises(DataError, match="refused"):
        read_pickle(stored(value, tmp_path / "objects.pickle"))


def test_a_damaged_pickle_that_names_something_is_refused_for_the_name(tmp_path: Path) -> None:
    evil = pickle.dumps([Calls(os.system, "true"), list(range(100))], 2)
    with pytest.raises(DataError, match=r"refused: at byte \d+ it names posix\.system"):
        read_pickle(stored(evil[:-40], tmp_path / "evil.pickle"))


@given(st.data())
def test_whatever_the_bytes_they_are_data_or_refused(data: st.DataObject) -> None:
    value = [{"a": [1, 2.5, "café"]}, np.arange(3), ("x", None)]
    whole = bytearray(data.draw(st.sampled_from([dumps([["a", 300], {1: "b"}]), pickle.dumps(value, 2)])))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(DataError):
        read_pickle(stored(bytes(whole), Path(folder) / "changed.pickle"))


@pytest.mark.parametrize("keep", [0, 1, 10, 40, -1])
def test_truncated_files(tmp_path: Path, keep: int) -> None:
    whole = pickle.dumps([{"a": list(range(50))}, "text"], 2)
    with pytest.raises(DataError, match=r"cut\.pickle is truncated or damaged"):
        read_pickle(stored(whole[:keep], tmp_path / "cut.pickle"))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none\.pickle"):
        read_pickle(tmp_path / "none.pickle")
