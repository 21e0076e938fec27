"""Which files of a folder or an archive are meant when someone says: these images.

Hospitals' CDs name DICOM files IM000001 or by a number with dots, so no suffix tells them; a folder of a dataset holds
tables and notes as well. What an operating system leaves in folders is nobody's choice and is never spoken of.
"""

import contextlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path, PurePath, PurePosixPath
from typing import NamedTuple
from zipfile import ZipInfo

from covid_cnn import headers, imaging
from covid_cnn.archives import Archive
from covid_cnn.errors import ArchiveError
from covid_cnn.imaging import Radiograph

SYSTEM_FILES = {"thumbs.db", "desktop.ini", "dicomdir", "__macosx"}  # DICOMDIR: the table of contents of a CD
NAMED = 3  # of what was left out, in the sentence that tells of it


class Image(NamedTuple):
    """A file that is meant: the path by which it is told, and what reads it or raises ImageError or ArchiveError."""

    path: str
    read: Callable[[], Radiograph]


class Choice(NamedTuple):
    """The images that were found, in order, and the paths of files that were left out because they are none."""

    images: list[Image]
    left_out: list[str]

    def told(self) -> str:
        """One sentence on what was left out; empty where nothing was."""
        count = len(self.left_out)
        if not count:
            return ""
        names = [imaging.display_name(path) for path in self.left_out[:NAMED]]
        if count > NAMED:
            names.append(f"{count - NAMED} more")
        what = "1 file that is no image was" if count == 1 else f"{count} files that are no images were"
        return f"{what} left out: {' and '.join(filter(None, (', '.join(names[:-1]), names[-1])))}."


def is_system(path: PurePath) -> bool:
    """Whether a path below a folder is hidden, or a file or folder that an operating system or a CD has for itself."""
    return any(part.startswith(".") or part.lower() in SYSTEM_FILES for part in path.parts)


def found(paths: Iterable[Path], opened: Callable[[Archive], Archive]) -> Choice:
    """The images that paths name: files as they are, and of folders and archives what is named like an image or is
    DICOM by its content.

    Parameters
    ----------
    paths : files, folders and .zip archives; an archive that cannot be read becomes an image that raises why.
    opened : is given each archive, and returns it; it must stay open until its images are read.
    """
    choice = Choice([], [])
    for path in paths:
        if path.is_dir():
            _from_folder(path, choice)
        elif headers.is_zip(_beginning(path)):
            try:
                _from_archive(path, opened(Archive(path)), choice)
            except ArchiveError as error:
                choice.images.append(Image(str(path), partial(_refuse, error)))
        else:
            choice.images.append(Image(str(path), partial(imaging.read, path)))
    return choice


def _from_folder(folder: Path, choice: Choice) -> None:
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        _add(path.relative_to(folder), Image(str(path), partial(imaging.read, path)), partial(_beginning, path), choice)


def _from_archive(path: Path, archive: Archive, choice: Choice) -> None:
    for member in sorted(archive.members, key=lambda member: member.filename):
        # No path that could be opened, but one that tells a person where the image lies.
        image = Image(f"{path}/{member.filename}", partial(_read_member, archive, member))
        _add(PurePosixPath(member.filename), image, partial(_beginning_of, archive, member), choice)


def _add(inner: PurePath, image: Image, beginning: Callable[[], bytes], choice: Choice) -> None:
    if is_system(inner):
        return
    if inner.suffix.lower() in imaging.IMAGE_SUFFIXES or headers.is_dicom(beginning()):
        choice.images.append(image)
    else:
        choice.left_out.append(image.path)


def _beginning(path: Path) -> bytes:
    with contextlib.suppress(OSError):
        if path.is_file():  # a pipe would be waited for
            with path.open("rb") as file:
                return file.read(headers.BEGINNING)
    return b""


def _beginning_of(archive: Archive, member: ZipInfo) -> bytes:
    try:
        return next(archive.pieces(member), b"")
    except ArchiveError:
        return b""


def _read_member(archive: Archive, member: ZipInfo) -> Radiograph:
    return imaging.read(archive.read(member), member.filename)


def _refuse(error: ArchiveError) -> Radiograph:
    raise error
