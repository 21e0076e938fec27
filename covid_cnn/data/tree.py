"""The files of a folder or a .zip, by their places in it: regular files alone, and what else lies there is counted."""

import os
import stat
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from covid_cnn.common.errors import DatasetError
from covid_cnn.common.words import count
from covid_cnn.images import headers, sources

PIECE = 2**20  # bytes


_SKIPPED = (  # what else a folder holds: its kind, and how one of it and several are told
    ("nowhere", "link that leads nowhere was", "links that lead nowhere were"),
    ("folder", "linked folder was", "linked folders were"),
    ("no file", "pipe, socket or device was", "pipes, sockets or devices were"),
)


class File(NamedTuple):
    """A file that can be read."""

    size: int  # bytes
    state: str  # another one where the content is another


class Tree:
    """A folder or an archive."""

    name: str  # what to call it
    files: Mapping[PurePosixPath, File]  # by their places; hidden ones and those of operating systems are none
    # Where those of the files that are links lead: to another place in the tree, or absolutely, outside of it
    links: Mapping[PurePosixPath, PurePosixPath]
    notes: list[str]  # a sentence for each kind of what else there is

    def pieces(self, place: PurePosixPath) -> Iterator[bytes]:
        """The content of a file, piece by piece."""
        raise NotImplementedError

    def close(self) -> None:
        """Close what was opened."""


class Folder(Tree):
    """The files of a folder. Links to files are followed, wherever they lead; those to folders may lead anywhere."""

    def __init__(self, root: Path) -> None:
        self.name, self.root = root.resolve().name, root
        self.links: dict[PurePosixPath, PurePosixPath] = {}
        self._top, self._skipped = root.resolve(), Counter[str]()
        self.files = dict(self._walk(root, PurePosixPath()))
        self.notes = [
            f"{count(number, one, several)} left out."
            for kind, one, several in _SKIPPED
            if (number := self._skipped[kind])
        ]

    def _walk(self, folder: Path, place: PurePosixPath) -> Iterator[tuple[PurePosixPath, File]]:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                inner = place / entry.name
                if sources.is_system_file(PurePosixPath(entry.name)):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    yield from self._walk(Path(entry.path), inner)
                    continue
                try:
                    facts = entry.stat()
                    real = Path(entry.path).resolve(strict=True) if entry.is_symlink() else None
                except (OSError, RuntimeError):  # RuntimeError: a link that leads to itself
                    self._skipped["nowhere"] += 1
                    continue
                if not stat.S_ISREG(facts.st_mode):
                    self._skipped["folder" if stat.S_ISDIR(facts.st_mode) else "no file"] += 1
                    continue
                if real:
                    inside = real.is_relative_to(self._top)
                    self.links[inner] = PurePosixPath(real.relative_to(self._top) if inside else real)
                yield inner, File(facts.st_size, str(facts.st_mtime_ns))

    def pieces(self, place: PurePosixPath) -> Iterator[bytes]:
        """The content of a file, piece by piece."""
        with (self.root / place).open("rb") as file:
            while piece := file.read(PIECE):
                yield piece


class Zip(Tree):
    """The files of a .zip that is safe to unpack."""

    def __init__(self, file: Path | BinaryIO, name: str) -> None:
        self.name, self._archive = name, sources.Archive(file, name)
        self.links, self.notes = {}, []  # an archive that holds links is refused
        self._members: dict[PurePosixPath, zipfile.ZipInfo] = {}
        for member in self._archive.members:
            place = PurePosixPath(member.filename)
            if sources.is_system_file(place):
                continue
            if place in self._members:
                raise DatasetError(f"{name} holds two files of one name, and was not unpacked.")
            self._members[place] = member
        self.files = {place: File(member.file_size, str(member.CRC)) for place, member in self._members.items()}

    def pieces(self, place: PurePosixPath) -> Iterator[bytes]:
        """The content of a file, piece by piece."""
        return self._archive.pieces(self._members[place])

    def close(self) -> None:
        """Close the archive."""
        self._archive.close()


@contextmanager
def open_tree(source: Path | BinaryIO, name: str = "") -> Iterator[Tree]:
    """Open a folder or a .zip; raises DatasetError or ArchiveError where there is none, or it cannot be read."""
    opened: Tree
    if not isinstance(source, Path):
        opened = Zip(source, name)
    elif source.is_dir():
        opened = Folder(source)
    elif source.is_file():
        opened = Zip(source, name or source.stem)
    else:
        raise DatasetError(
            f"There is no folder or .zip file {source}; other sources are kaggle:owner/name and synthetic."
        )
    with closing(opened):
        yield opened


def beginning(tree: Tree, place: PurePosixPath) -> bytes:
    """The first bytes of a file, as many as tell what it is."""
    pieces = tree.pieces(place)
    try:
        return next(iter(pieces), b"")[: headers.BEGINNING]
    except OSError:
        return b""
