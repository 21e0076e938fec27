"""What a person chose to read: files, folders (with all in them) and .zip archives, as a list of images.

Nothing is unpacked onto the disk; the limits lie in `limits`.
"""

import contextlib
import io
import re
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path, PurePath, PurePosixPath
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Self
from zipfile import ZipInfo

from covid_cnn.common.errors import ArchiveError
from covid_cnn.common.words import count
from covid_cnn.images import headers, limits, reader
from covid_cnn.images.radiograph import Radiograph

if TYPE_CHECKING:
    from covid_cnn.images.remote import RemoteFile

# zipfile inflates these piece by piece; of bzip2 and LZMA it unpacks 4 KiB at once, to as much as gigabytes.
_COMPRESSIONS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_ENCRYPTED = 0x1 | 0x40 | 0x2000  # the flags of encryption, strong encryption, and masked headers
_OUTSIDE = re.compile(r"/|[A-Za-z]:")
_PIECE = 2**20  # bytes


class Archive:
    """An open .zip whose table of contents is harmless; a context manager. Safe to read from several threads.

    Another process to which it is sent opens it anew, once for all that it reads of it. The source is the .zip as
    bytes, a path or an address, or an open binary file, which must stay open as long. Raises ArchiveError where it is
    no .zip, is damaged, encrypted, beyond the limits, or names files outside its folder, or holds links, devices, or
    further archives.
    """

    def __init__(self, source: "bytes | Path | RemoteFile | BinaryIO", name: str = "") -> None:
        self.source, self.name = source, name or getattr(source, "name", "") or "The archive"
        self._open = contextlib.ExitStack()
        with contextlib.ExitStack() as unfinished, self._one_sentence():
            file: BinaryIO
            if isinstance(source, bytes):
                file = io.BytesIO(source)
            else:
                file = unfinished.enter_context(source.open("rb")) if hasattr(source, "open") else source
            size = file.seek(0, io.SEEK_END)
            self._check_directory(file)
            self._zip = unfinished.enter_context(zipfile.ZipFile(file))
            for member in self._zip.infolist():
                # .NET and old Windows tools separate folders by backslashes; zipfile opens by the object, not its name.
                member.filename = member.filename.replace("\\", "/")
            self._check(self._zip.infolist(), size)
            self._open = unfinished.pop_all()
        # Its files, without folders: `filename` is the path inside, with slashes, never absolute and without "..".
        self.members = [member for member in self._zip.infolist() if not member.is_dir()]

    def __reduce__(self) -> tuple[Any, ...]:
        return _open_once, (self.source, self.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self.close()

    def close(self) -> None:
        """Close the archive and a file that it opened itself."""
        self._open.close()

    def read(self, member: zipfile.ZipInfo) -> bytes:
        """The bytes of one of `members`; raises ArchiveError where it is damaged, or too large for an image."""
        if member.file_size > limits.MAX_FILE_BYTES:
            raise ArchiveError(
                f"A file of {self.name} has {member.file_size / 2**20:.0f} MiB, more than "
                f"{limits.MAX_FILE_BYTES // 2**20}; scale the image down first."
            )
        return b"".join(self.pieces(member))

    def pieces(self, member: zipfile.ZipInfo) -> Iterator[bytes]:
        """The bytes of one of `members`, however large, piece by piece; raises ArchiveError where it is damaged."""
        with self._one_sentence(), self._zip.open(member) as packed:  # ends at the size that was checked
            while piece := packed.read(_PIECE):
                yield piece

    def _check_directory(self, file: BinaryIO) -> None:
        """Hold the table of contents against the limits before zipfile makes objects of it."""
        end = zipfile._EndRecData(file)  # type: ignore[attr-defined]  # finds it, in 32 and 64 bits, as ZipFile does
        if end is None:
            raise zipfile.BadZipFile
        size, start = end[zipfile._ECD_SIZE], end[zipfile._ECD_LOCATION]  # type: ignore[attr-defined]
        if end[zipfile._ECD_SIGNATURE] == zipfile.stringEndArchive64:  # type: ignore[attr-defined]
            start -= 56 + 20  # the 64-bit record and its locator lie between
        if size > limits.MAX_ZIP_DIRECTORY_BYTES:
            raise self._too_much(f"a table of contents of {size / 2**20:.0f} MiB")
        file.seek(max(start - size, 0))
        # The count that the archive declares may lie, and zipfile does not look at it.
        count = file.read(size).count(zipfile.stringCentralDir)  # type: ignore[attr-defined]
        if count > limits.MAX_ZIP_FILES:
            raise self._too_much(f"{count} files")

    def _check(self, members: list[zipfile.ZipInfo], size: int) -> None:
        unpacked = sum(member.file_size for member in members)
        if unpacked > min(limits.MAX_ZIP_BYTES, limits.MAX_ZIP_RATIO * size):
            raise self._too_much(f"{len(members)} files of {unpacked / 1e6:.0f} MB in {size / 1e6:.0f} MB")
        for member in members:
            if not member.filename:
                raise self._refused("it holds a file without a name; pack the folder again")
            if ".." in PurePosixPath(member.filename).parts or _OUTSIDE.match(member.filename):
                raise self._refused("it names files outside its own folder; pack the folder again")
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise self._refused("it holds links or devices, where only files belong; pack the files themselves")
            if member.flag_bits & _ENCRYPTED:
                raise self._refused("it is encrypted; pack it again without a password")
            if member.compress_type not in _COMPRESSIONS:
                raise self._refused("it is packed in a rare way; pack it again as an ordinary .zip (deflate)")
            if PurePosixPath(member.filename).suffix.lower() in limits.ARCHIVE_SUFFIXES:
                raise self._refused("it holds a further archive; unpack that one, and pack its files instead")

    def _refused(self, why: str) -> ArchiveError:
        return ArchiveError(f"{self.name} was not unpacked: {why}.")

    def _too_much(self, what: str) -> ArchiveError:
        return self._refused(
            f"{what} are more than a .zip of images has (at most {limits.MAX_ZIP_FILES} files, "
            f"{limits.MAX_ZIP_BYTES // 2**30} GiB, and {limits.MAX_ZIP_RATIO} times the size of the .zip); "
            "unpack it yourself, and take the files that you need"
        )

    @contextlib.contextmanager
    def _one_sentence(self) -> Iterator[None]:
        try:
            yield
        except ArchiveError:
            raise
        except FileNotFoundError:
            raise ArchiveError(f"{self.name} does not exist; check its path.") from None
        except PermissionError:
            raise ArchiveError(f"{self.name} cannot be opened; check your permission to read it.") from None
        except Exception:  # zipfile raises whatever it likes at a damaged archive
            raise ArchiveError(
                f"{self.name} is not a .zip that can be read: it is damaged, or no .zip at all; pack it again."
            ) from None


@lru_cache(maxsize=4)
def _open_once(source: "bytes | Path | RemoteFile", name: str) -> Archive:
    return Archive(source, name)


SYSTEM_FILES = {"thumbs.db", "desktop.ini", "dicomdir", "__macosx"}  # DICOMDIR: the table of contents of a CD
NAMED = 3  # of what was left out, in the sentence that tells of it


class SelectedImage(NamedTuple):
    """A file that is meant: the path by which it is told, and what reads it or raises ImageError or ArchiveError.

    Where the path is none that could be opened, ``stamp`` tells one state of the file from the next.
    """

    path: str
    read: Callable[[], Radiograph]
    stamp: str = ""


class Selection(NamedTuple):
    """The images that were found, in order, and the paths of what was left out."""

    images: list[SelectedImage]  # what is read
    other_kinds: list[str]  # files of no kind that is read
    no_files: list[str]  # pipes, sockets, devices, and links that lead nowhere

    def notes(self) -> list[str]:
        """A sentence for each kind of what was left out."""
        kinds = (
            (self.other_kinds, "file of no kind that is read was", "files of no kind that is read were"),
            (self.no_files, "pipe, device or broken link was", "pipes, devices or broken links were"),
        )
        notes = []
        for paths, one, several in kinds:
            names = [reader.display_name(path) for path in paths[:NAMED]]
            names += [f"{len(paths) - NAMED} more"] if len(paths) > NAMED else []
            named = " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
            notes += [f"{count(len(paths), one, several)} left out: {named}."] if paths else []
        return notes


def is_system_file(path: PurePath) -> bool:
    """Whether a path below a folder is hidden, or a file or folder that an operating system or a CD has for itself."""
    return any(part.startswith(".") or part.lower() in SYSTEM_FILES for part in path.parts)


def select(paths: Iterable[Path | str], opened: Callable[[Archive], Archive]) -> Selection:
    """Select the images that paths name.

    Files are taken as they are, and of folders, .zip archives and addresses such as s3://bucket/folder what is named
    like an image or is one by its content. An archive that cannot be read becomes an image that raises why; ``opened``
    is given each other, and returns it: it must stay open until its images are read.
    """
    choice = Selection([], [], [])
    for named in paths:
        if "://" in str(named):
            from covid_cnn.images import remote

            remote.select(str(named), opened, choice)
            continue
        path = Path(named)
        if path.is_dir():
            _from_folder(path, choice)
        elif headers.is_zip(_beginning(path)):
            try:
                facts = path.stat()
                stamp = f"{facts.st_size} {facts.st_mtime_ns}"
                select_members(str(path), opened(Archive(path)), choice, stamp)
            except ArchiveError as error:
                choice.images.append(refused(str(path), error))
        else:
            choice.images.append(SelectedImage(str(path), partial(reader.read, path)))
    return choice


def _from_folder(folder: Path, choice: Selection) -> None:
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        if path.is_file():
            add(inner, SelectedImage(str(path), partial(reader.read, path)), partial(_beginning, path), choice)
        elif not path.is_dir() and not is_system_file(inner):
            choice.no_files.append(str(path))


def select_members(path: str, archive: Archive, choice: Selection, stamp: str) -> None:
    """Add the images of an archive; ``path`` is told before the name of each, ``stamp`` is of the archive."""
    for member in sorted(archive.members, key=lambda member: member.filename):
        # No path that could be opened, but one that tells a person where the image lies.
        image = SelectedImage(f"{path}/{member.filename}", partial(_read_member, archive, member), stamp)
        add(PurePosixPath(member.filename), image, partial(_beginning_of, archive, member), choice)


def add(inner: PurePath, image: SelectedImage, beginning: Callable[[], bytes], choice: Selection) -> None:
    """Add a file to the images or to what is left out, by its path below what was chosen and by how it begins."""
    if is_system_file(inner):
        return
    if inner.suffix.lower() in reader.IMAGE_SUFFIXES or headers.is_image(beginning()):
        choice.images.append(image)
    else:
        choice.other_kinds.append(image.path)


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
    return reader.read(archive.read(member), member.filename)


def refused(path: str, error: ArchiveError) -> SelectedImage:
    """An archive that cannot be read, as an image that raises why."""
    return SelectedImage(path, partial(_refuse, error))


def _refuse(error: ArchiveError) -> Radiograph:
    raise error
