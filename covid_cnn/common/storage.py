"""Atomic writes, and a cache on disk of what was computed from files."""

import contextlib
import hashlib
import io
import json
import math
import os
import sqlite3
import zipfile
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from covid_cnn.common import paths
from covid_cnn.common.jobs import map_ahead


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, have reached the disk."""
    if path.is_dir() and os.name == "nt":  # Windows writes the names by itself, and opens no folder
        return
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all: into a temporary file beside it, synced, then renamed."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content.encode() if isinstance(content, str) else content)
        sync(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    sync(path.parent)


T = TypeVar("T")
E = TypeVar("E", bound=Exception)
Make = Callable[[list[Path], dict[Path, str]], Generator[bytes | E, None, None]]
NAME = "worked_out.sqlite"
SCHEMA = "CREATE TABLE IF NOT EXISTS blobs (kind TEXT, key TEXT, blob BLOB, PRIMARY KEY (kind, key))"

PATIENCE = 10  # seconds to wait for another process that writes
AT_ONCE = 64  # files after which what was made of them is kept, so that a crash loses no more


class Cache:
    """A cache of blobs by kind and key, in one SQLite file, which is made when something is first put.

    Safe to share between threads and processes.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.file = file or paths.cache_dir() / NAME

    def get(self, kind: str, keys: Sequence[str]) -> dict[str, bytes]:
        """The blobs of those keys that are there, by key."""
        return dict(self._select("key, blob", kind, keys))

    def known(self, kind: str, keys: Sequence[str]) -> set[str]:
        """Those of the keys that are there; their blobs are not read."""
        return {key for (key,) in self._select("key", kind, keys)}

    def _select(self, columns: str, kind: str, keys: Sequence[str]) -> list[tuple]:
        if not self.file.is_file():
            return []
        query = f"SELECT {columns} FROM blobs WHERE kind = ? AND key IN (SELECT value FROM json_each(?))"
        return self._with_connection(lambda c: c.execute(query, (kind, json.dumps(list(keys)))).fetchall()) or []

    def put(self, kind: str, blobs: Mapping[str, bytes]) -> None:
        """Keep blobs; what is there under the same keys is replaced."""
        rows = [(kind, key, blob) for key, blob in blobs.items()]
        if rows:
            with contextlib.suppress(OSError):
                self.file.parent.mkdir(parents=True, exist_ok=True)
            self._with_connection(lambda c: c.executemany("INSERT OR REPLACE INTO blobs VALUES (?, ?, ?)", rows))

    def file_digests(self, files: Sequence[Path]) -> dict[Path, str]:
        """The SHA-256 of each file's content; those that cannot be read are left out.

        A file whose name, size and time of change are those of an earlier call is not read again.
        """
        states = {file: state for file in files if (state := _state(file))}
        known = self.get("file", list(states.values()))
        unknown = [file for file, state in states.items() if state not in known]
        digests = {file: known[state].decode() for file, state in states.items() if state in known}
        fresh = {file: digest for file, digest in zip(unknown, map_ahead(unknown, _try_digest), strict=True) if digest}
        self.put("file", {states[file]: digest.encode() for file, digest in fresh.items()})
        return digests | fresh

    def complete(self, kind: str, files: Sequence[Path], make: Make[E]) -> Generator[bytes | E, None, None]:
        """What is kept of each file's content, in order, or else what is made of it, which is then kept.

        ``make`` is given some files that lack theirs, and the digests by file; it gives the blob of each, or the error
        why there is none. What was made is kept every `AT_ONCE` files, and where the iteration ends early.
        """
        for first in range(0, len(files), AT_ONCE):
            some = files[first : first + AT_ONCE]
            digests = self.file_digests(some)
            kept = self.get(kind, list(digests.values()))
            fresh: dict[str, bytes] = {}
            with contextlib.closing(make([file for file in some if digests.get(file) not in kept], digests)) as made:
                try:
                    for file in some:
                        digest = digests.get(file, "")  # none of a file that is gone
                        blob = kept[digest] if digest in kept else next(made)
                        if digest and digest not in kept and isinstance(blob, bytes):
                            fresh[digest] = blob
                        yield blob
                finally:
                    self.put(kind, fresh)

    def _with_connection(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """Run `work` on the open database; None where it cannot be used. A damaged one is deleted."""
        try:
            with contextlib.closing(sqlite3.connect(self.file, timeout=PATIENCE)) as connection, connection:
                connection.execute("PRAGMA journal_mode = WAL")  # reading need not wait for writing
                connection.execute("PRAGMA synchronous = OFF")
                connection.execute(SCHEMA)
                return work(connection)
        except sqlite3.OperationalError:
            return None  # locked, full or read-only
        except sqlite3.DatabaseError:
            for suffix in ("", "-wal", "-shm"):
                with contextlib.suppress(OSError):
                    self.file.with_name(self.file.name + suffix).unlink(missing_ok=True)
            return None


def _state(file: Path) -> str:
    try:
        facts = file.stat()
    except (OSError, ValueError):
        return ""
    state = os.fsencode(file.absolute()) + f"|{facts.st_size}|{facts.st_mtime_ns}".encode()
    return hashlib.sha256(state).hexdigest()


def digest_of(file: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _try_digest(file: Path) -> str:
    try:
        return digest_of(file)
    except OSError:
        return ""


def load_arrays(content: bytes, most_bytes: int) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file by their names.

    Raises ValueError where ``content`` is no such file, holds objects, or declares arrays of more than ``most_bytes``.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            declared = sum(_declared_bytes(archive, member) for member in archive.infolist())
        if declared > most_bytes:
            raise ValueError(f"arrays of {declared} bytes")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (KeyError, OSError, EOFError, MemoryError, zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(str(error)) from error


def _declared_bytes(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """The bytes that an array of an ``.npz`` needs, by its header or by the archive, whichever is more."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, _, dtype = read[version](file)
    return max(dtype.itemsize * math.prod(shape), member.file_size)
