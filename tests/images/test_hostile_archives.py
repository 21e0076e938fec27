"""images.sources: a .zip from a stranger is read in memory, or refused in one sentence before it is unpacked."""

import io
import stat
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covid_cnn.common.errors import ArchiveError
from covid_cnn.images import limits
from covid_cnn.images.sources import Archive

GOOD = {"A/1.png": b"one" * 99, "A/2.png": b"two", "B/": b"", "B/3.png": b""}


def pack(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def with_mode(mode: int) -> bytes:
    file = io.BytesIO(pack(GOOD))
    member = zipfile.ZipInfo("A/link.png")
    member.external_attr = mode << 16
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(member, "/etc/passwd")
    return file.getvalue()


def edited(data: bytes, offset: int, value: bytes) -> bytes:
    """With another value in the table of contents' first entry."""
    start = data.index(zipfile.stringCentralDir) + offset
    return data[:start] + value + data[start + len(value) :]


def nameless() -> bytes:
    """With a file that has no name, as coverage-guided fuzzing found one."""
    data = bytearray(pack({"A": b""}))
    start, end = data.index(zipfile.stringCentralDir), data.index(zipfile.stringEndArchive)
    data[start + 28 : start + 30] = b"\0\0"  # the length of its name, of which there is one letter
    data[end + 12 : end + 16] = (end - start - 1).to_bytes(4, "little")
    del data[start + 46]
    return bytes(data)


def contents(source) -> dict[str, bytes]:
    with Archive(source, "a.zip") as archive:
        return {member.filename: archive.read(member) for member in archive.members}


def refusal(data: bytes) -> str:
    with pytest.raises(ArchiveError) as caught:
        contents(data)
    sentence = str(caught.value)
    assert sentence.startswith("a.zip ") and sentence.endswith(".") and ". " not in sentence and "\n" not in sentence
    return sentence


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_files_are_read_from_bytes_a_path_and_a_file(tmp_path, compression):
    data = pack(GOOD, compression)
    path = tmp_path / "a.zip"
    path.write_bytes(data)
    expected = {name: content for name, content in GOOD.items() if name != "B/"}
    assert contents(data) == contents(path) == expected
    file = io.BytesIO(data)
    assert contents(file) == expected and not file.closed


def test_threads_read_each_their_own_member():
    members = {f"{n}.png": bytes([n]) * 10_000 for n in range(50)}
    with Archive(pack(members)) as archive, ThreadPoolExecutor(8) as threads:
        assert list(threads.map(archive.read, archive.members)) == list(members.values())


def test_one_damaged_member_leaves_the_others_readable():
    data = pack(GOOD, zipfile.ZIP_STORED).replace(b"two", b"owt", 1)
    with Archive(data, "a.zip") as archive:
        first, second, third = archive.members
        assert archive.read(first) == GOOD["A/1.png"] and archive.read(third) == b""
        with pytest.raises(ArchiveError, match="damaged"):
            archive.read(second)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (pack(GOOD | {"../evil.png": b""}), "outside its own folder"),
        (pack(GOOD | {"A/../../evil.png": b""}), "outside its own folder"),
        (pack(GOOD | {"/evil.png": b""}), "outside its own folder"),
        (pack(GOOD | {"C:/evil.png": b""}), "outside its own folder"),
        (pack(GOOD | {"A\\..\\evil.png": b""}), "outside its own folder"),
        (nameless(), "a file without a name"),
        (with_mode(stat.S_IFLNK | 0o777), "links"),
        (with_mode(stat.S_IFCHR | 0o666), "devices"),
        (with_mode(stat.S_IFIFO | 0o666), "devices"),
        (edited(pack(GOOD), 8, b"\1\0"), "encrypted"),
        (edited(pack(GOOD), 8, b"\x41\0"), "encrypted"),
        (pack(GOOD, zipfile.ZIP_BZIP2), "a rare way"),
        (pack(GOOD, zipfile.ZIP_LZMA), "a rare way"),
        (edited(pack(GOOD), 10, b"\x63\0"), "a rare way"),
        (pack(GOOD | {"more.zip": pack(GOOD)}), "further archive"),
        (pack(GOOD | {"A/more.TAR.gz": b""}), "further archive"),
        (pack(GOOD | {"bomb.png": bytes(10**7)}), "at most 100000 files, 50 GiB, and 100 times the size"),
        (edited(pack(GOOD), 24, b"\xff\xff\xff\x7f"), "at most 100000 files"),
        (pack(GOOD)[:-30], "damaged"),
        (pack(GOOD)[30:], "damaged"),
        (b"", "damaged, or no .zip"),
        (b"PK no zip", "damaged, or no .zip"),
    ],
)
def test_what_is_not_safe_is_refused_in_a_sentence(data, words):
    assert words in refusal(data)


def test_a_file_that_inflates_to_more_than_it_declares_ends_where_it_declared():
    data = pack({"a.png": b"x" * 5000})
    with pytest.raises(ArchiveError, match="damaged"):  # for its checksum is that of the whole
        contents(edited(data, 24, (10).to_bytes(4, "little")))


def test_the_number_of_files_is_told_before_they_become_objects(monkeypatch):
    monkeypatch.setattr(limits, "MAX_ZIP_FILES", 1000)
    data = bytearray(pack({str(n): b"" for n in range(50_000)}, zipfile.ZIP_STORED))
    end = data.rindex(zipfile.stringEndArchive)
    data[end + 8 : end + 12] = b"\1\0\1\0"  # it says that it has one
    data = bytes(data)
    tracemalloc.start()
    try:
        assert "50000 files" in refusal(data)
        assert tracemalloc.get_traced_memory()[1] < 3 * len(data)
    finally:
        tracemalloc.stop()
    monkeypatch.setattr(limits, "MAX_ZIP_DIRECTORY_BYTES", 1000)
    assert "a table of contents of 2 MiB" in refusal(data)


def test_a_file_beyond_the_limit_is_refused_and_the_others_are_read(monkeypatch):
    monkeypatch.setattr(limits, "MAX_FILE_BYTES", 200)
    with Archive(pack(GOOD), "a.zip") as archive:
        with pytest.raises(ArchiveError, match="scale the image down first"):
            archive.read(archive.members[0])
        assert archive.read(archive.members[1]) == b"two"
        assert b"".join(archive.pieces(archive.members[0])) == GOOD["A/1.png"]


def test_paths_that_cannot_be_read(tmp_path):
    with pytest.raises(ArchiveError, match=r"^none\.zip does not exist"):
        Archive(tmp_path / "none.zip")
    with pytest.raises(ArchiveError, match="damaged, or no .zip"):
        Archive(tmp_path)


SMALL = pack({"A/1.png": b"one" * 20, "2.png": b"2"})


@settings(max_examples=300, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), max_size=6),
    kept=st.integers(0, len(SMALL)) | st.just(len(SMALL)),
)
def test_damaged_archives_are_read_or_refused(changes, kept):
    data = bytearray(SMALL)
    for place, value in changes:
        data[place] = value
    try:
        assert len(contents(bytes(data[:kept]))) <= 2
    except ArchiveError as error:
        assert str(error).startswith(("a.zip ", "A file of a.zip "))
