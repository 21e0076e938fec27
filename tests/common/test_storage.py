"""What is kept is found again by its key, and a file that is damaged or cannot be written only costs time."""

import os
from pathlib import Path

import pytest

from covid_cnn.common.storage import Cache


@pytest.fixture
def store(tmp_path) -> Cache:
    return Cache(tmp_path / "deep" / "store.sqlite")


def test_what_is_put_is_got_by_kind_and_key(store):
    assert store.get("a", ["1"]) == {}
    store.put("a", {str(n): bytes([n % 256]) for n in range(1200)})
    store.put("b", {"1": b"other"})
    assert len(store.get("a", [str(n) for n in range(2000)])) == 1200
    assert store.get("b", ["1", "2"]) == {"1": b"other"}
    store.put("b", {"1": b"new"})
    assert Cache(store.file).get("b", ["1"]) == {"1": b"new"}


def test_a_damaged_file_is_thrown_away(store):
    store.file.parent.mkdir()
    store.file.write_bytes(b"no database" * 1000)
    assert store.get("a", ["1"]) == {}
    store.put("a", {"1": b"x"})
    assert store.get("a", ["1"]) == {"1": b"x"}


def test_a_place_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").touch()
    store = Cache(tmp_path / "file" / "store.sqlite")
    store.put("a", {"1": b"x"})
    assert store.get("a", ["1"]) == {}


def test_digests_follow_the_content(store, tmp_path):
    one, other, missing = tmp_path / "1.png", tmp_path / "2.png", tmp_path / "3.png"
    one.write_bytes(b"x")
    other.write_bytes(b"x")
    first = store.file_digests([one, other, missing])
    assert first[one] == first[other] and missing not in first
    one.write_bytes(b"yy")
    assert store.file_digests([one, other])[one] != first[one]


def test_an_unchanged_file_is_not_read_again(store, tmp_path, monkeypatch):
    file = tmp_path / "1.png"
    file.write_bytes(b"x")
    first = store.file_digests([file])
    monkeypatch.setattr(Path, "open", None)
    assert store.file_digests([file]) == first
    os.utime(file, ns=(1, 1))
    with pytest.raises(TypeError):
        store.file_digests([file])
