"""Images behind an address such as s3://bucket/folder, by fsspec; a folder, an image or a .zip of them.

Of the clouds whose own package (s3fs, gcsfs) is not installed, pyarrow reads what it can.
"""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from covid_cnn.common.errors import ArchiveError, CovidCnnError, ImageError
from covid_cnn.images import headers, limits, reader, sources
from covid_cnn.images.radiograph import Radiograph

TRIES = 3  # of one file: what is far away may be out of reach for a moment
PAUSE = 0.5  # seconds before the second try, and more before the third
_STAMPS = ("size", "mtime", "LastModified", "last_modified", "ETag", "etag")  # as file systems name them


@dataclass(frozen=True)
class RemoteFile:
    """One file of a file system; as small as the two texts, for it is sent to other processes."""

    address: str  # what was chosen, by which its file system is known
    path: str  # of the file, as that file system names it

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def url(self) -> str:
        """Its whole address, to be told."""
        return self.path if "://" in self.path else f"{self.address.split('://')[0]}://{self.path}"

    def open(self, mode: str = "rb") -> BinaryIO:
        """The open file, of which only what is read is fetched."""
        return _file_system(self.address)[0].open(self.path, mode)

    def read(self) -> Radiograph:
        """Fetch and read it as a radiograph; raises ImageError."""
        return reader.read(self._fetch(), self.name)

    def _fetch(self) -> bytes:
        name = reader.display_name(self.name)
        for again in range(1, TRIES + 1):
            try:
                with self.open() as file:
                    return file.read(limits.MAX_FILE_BYTES + 1)
            except FileNotFoundError:
                raise ImageError(f"{name} does not exist; check its path.") from None
            except Exception as error:  # each file system has its own
                if again == TRIES:
                    raise ImageError(f"{name} could not be fetched ({_reason(error)}); try it again later.") from None
                time.sleep(PAUSE * again)
        raise AssertionError


def select(address: str, opened: Callable[[sources.Archive], sources.Archive], choice: sources.Selection) -> None:
    """Add the images behind an address to what was chosen; see `sources.select`. Raises CovidCnnError."""
    files, root = _file_system(address)
    try:
        if files.isdir(root):
            _select_folder(address, root, files.find(root, detail=True), choice)
            return
        if not files.exists(root):
            raise CovidCnnError(f"There is nothing at {address}: check it, and your right to read it.")
        file = RemoteFile(address, root)
        with file.open() as beginning:
            is_archive = headers.is_zip(beginning.read(headers.BEGINNING))
        stamp = _stamp(files.info(root))
    except CovidCnnError:
        raise
    except Exception as error:  # each file system has its own
        raise CovidCnnError(f"{address} cannot be reached: {_reason(error)}.") from None
    if not is_archive:
        choice.images.append(sources.SelectedImage(file.url, file.read, stamp))
        return
    try:
        sources.select_members(file.url, opened(sources.Archive(file)), choice, stamp)
    except ArchiveError as error:
        choice.images.append(sources.refused(file.url, error))


def _select_folder(address: str, root: str, found: dict[str, Any], choice: sources.Selection) -> None:
    for path in sorted(found, key=lambda path: path.split("/")):
        file = RemoteFile(address, path)
        image = sources.SelectedImage(file.url, file.read, _stamp(found[path]))
        sources.add(PurePosixPath(path[len(root) :].strip("/")), image, functools.partial(_beginning, file), choice)


def _beginning(file: RemoteFile) -> bytes:
    with file.open() as opened:
        return opened.read(headers.BEGINNING)


def _stamp(info: dict[str, Any]) -> str:
    """What tells one state of a file from the next."""
    return " ".join(str(info[key]) for key in _STAMPS if info.get(key) is not None)


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


@functools.lru_cache(maxsize=16)
def _file_system(address: str) -> tuple[Any, str]:
    """The file system behind an address, and the path in it; raises CovidCnnError."""
    kind = address.split("://", maxsplit=1)[0]
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise CovidCnnError(
            f"Addresses such as {kind}:// need fsspec, which is not installed: run pip install 'covid-cnn[cluster]'."
        ) from None
    try:
        return url_to_fs(address)
    except ValueError:
        raise CovidCnnError(f"{address} cannot be read: fsspec knows no {kind}://.") from None
    except ImportError as error:
        missing = str(error).rstrip(".")
    try:
        from fsspec.implementations.arrow import ArrowFSWrapper
        from pyarrow.fs import FileSystem

        files, path = FileSystem.from_uri(address)
    except (ImportError, ValueError, OSError):
        raise CovidCnnError(f"{kind}:// needs a package of its own: {missing}.") from None
    return ArrowFSWrapper(files), path
