"""Add a dataset to ``data/``: from a folder, a .zip, Kaggle, or drawn by the program.

A .zip may come from anywhere, and is checked before anything of it is unpacked. What is copied lies in a hidden folder
until all of it is there, so that no half dataset is ever listed, and an import that was cut off goes on where it was.
"""

import hashlib
import os
import re
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple, Protocol, cast

from covid_cnn.common import paths
from covid_cnn.common.errors import ArchiveError, DatasetError
from covid_cnn.data import dataset, synthetic
from covid_cnn.data.dataset import Dataset
from covid_cnn.data.metadata import ClassMapping, MetadataTable
from covid_cnn.images import limits, sources
from covid_cnn.images.reader import IMAGE_SUFFIXES

Progress = Callable[[float, str], None]
Choose = Callable[[MetadataTable], ClassMapping]
KAGGLE_DEFAULT = "khoongweihao/covid19-xray-dataset-train-test-sets"
KAGGLE_PATIENCE = 60  # seconds without one new byte, after which Kaggle counts as out of reach
PIECE = 2**20  # bytes
_UNFINISHED = re.compile(r"\.adding-(.+)-[0-9a-f]{16}")
_under_way: set[Path] = set()  # of this process
_under_way_lock = threading.Lock()


class Added(NamedTuple):
    """A dataset under ``data/``, and whether it is new there; it is not where the same was added before."""

    dataset: Dataset
    new: bool


def add_dataset(
    source: str | Path,
    data_dir: str | Path | None = None,
    name: str | None = None,
    progress: Progress | None = None,
    choose: Choose = MetadataTable.proposed,
) -> Added:
    """Add a dataset to `data_dir`, whole or not at all; one that is already there is left as it is.

    Cut off at any moment, the same call copies only what is lacking.

    Parameters
    ----------
    source : a folder, a .zip file, "kaggle:owner/name", or "synthetic".
    data_dir : the folder of the datasets; `paths.data_dir()` by default.
    name : what to call it; by default as its folder, file, or Kaggle page.
    progress : called with the part done (0..1) and a line about it.
    choose : which images are taken, and as what, where a metadata.csv has findings that are no classes yet.

    Raises
    ------
    DatasetError
        the source cannot be read or reached, is not a dataset, or another dataset has its name.
    ArchiveError
        it is a .zip that cannot be read, or is not safe to unpack.
    """
    data_dir = Path(data_dir or paths.data_dir())
    text = str(source)
    if text == "synthetic":
        place = data_dir / _name(name or text)
        new = not place.exists()
        return Added(dataset.open_dataset(synthetic.write_dataset(place, progress=progress)), new)
    if text.startswith("kaggle:"):
        handle = text.removeprefix("kaggle:")
        source, name = _download(handle, progress or _silent), name or handle.split("/")[1]
    with _open(Path(source)) as opened:
        return _install(opened, _name(name or opened.name), data_dir, progress or _silent, choose)


def add_zip(
    file: BinaryIO,
    name: str,
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
    choose: Choose = MetadataTable.proposed,
) -> Added:
    """Add a dataset from an open .zip, as `add_dataset`; its images and metadata.csv are unpacked and nothing else.

    The archive may come from anywhere; what is not safe to unpack is refused (see `sources.Archive`).
    """
    with closing(_Zip(file, name)) as opened:
        return _install(opened, _name(name), Path(data_dir or paths.data_dir()), progress or _silent, choose)


def read_table(source: Path | BinaryIO, name: str = "") -> MetadataTable | None:
    """The findings that a folder or a .zip has in a metadata.csv, None where there are none to choose from.

    Raises
    ------
    DatasetError, ArchiveError
        it cannot be read.
    """
    with _open(source) if isinstance(source, Path) else closing(_Zip(source, name)) as opened:
        return _sheet(opened)[1]


def unfinished_imports(data_dir: str | Path | None = None) -> list[str]:
    """The names of the datasets whose import was cut off. To add one again is to go on with it."""
    return sorted({name for name, _ in _cut_off(Path(data_dir or paths.data_dir()))})


def discard_unfinished(name: str, data_dir: str | Path | None = None) -> None:
    """Delete what was copied of the dataset `name` by imports that were cut off."""
    for one, folder in _cut_off(Path(data_dir or paths.data_dir())):
        if one == name:
            shutil.rmtree(folder, ignore_errors=True)


def _cut_off(data_dir: Path) -> list[tuple[str, Path]]:
    found = [(match[1], path) for path in data_dir.glob(".adding-*") if (match := _UNFINISHED.fullmatch(path.name))]
    return [(name, folder) for name, folder in found if folder not in _under_way]


# Where files come from


@dataclass(frozen=True)
class _File:
    size: int  # bytes
    state: str  # another one where the content is another


class _Source(Protocol):
    """A folder or an archive: the images in it and the metadata.csv, by their places."""

    name: str
    files: Mapping[PurePosixPath, _File]

    def pieces(self, place: PurePosixPath) -> Iterator[bytes]: ...

    def close(self) -> None: ...


class _Folder:
    def __init__(self, root: Path) -> None:
        self.name, self._root = root.resolve().name, root
        self.files: Mapping[PurePosixPath, _File] = dict(self._found())

    def _found(self) -> Iterator[tuple[PurePosixPath, _File]]:
        for path in _files(self._root):
            if _belongs(place := PurePosixPath(path.relative_to(self._root).as_posix())):
                facts = path.stat()
                yield place, _File(facts.st_size, str(facts.st_mtime_ns))

    def pieces(self, place: PurePosixPath) -> Iterator[bytes]:
        with (self._root / place).open("rb") as file:
            while piece := file.read(PIECE):
                yield piece

    def close(self) -> None:
        pass


class _Zip:
    def __init__(self, file: Path | BinaryIO, name: str) -> None:
        self.name, self._archive = name, sources.Archive(file, name)
        self._members: dict[PurePosixPath, zipfile.ZipInfo] = {}
        for member in self._archive.members:
            if _belongs(place := PurePosixPath(member.filename)):
                if place in self._members:
                    raise DatasetError(f"{name} holds two files of one name, and was not unpacked.")
                self._members[place] = member
        self.files: Mapping[PurePosixPath, _File] = {
            place: _File(member.file_size, str(member.CRC)) for place, member in self._members.items()
        }

    def pieces(self, place: PurePosixPath) -> Iterator[bytes]:
        return self._archive.pieces(self._members[place])

    def close(self) -> None:
        self._archive.close()


@contextmanager
def _open(source: Path) -> Iterator[_Source]:
    opened: _Source
    if source.is_dir():
        opened = _Folder(source)
    elif source.is_file():
        opened = _Zip(source, source.stem)
    else:
        raise DatasetError(
            f"There is no folder or .zip file {source}; other sources are kaggle:owner/name and synthetic."
        )
    with closing(opened):
        yield opened


def _files(folder: Path) -> Iterator[Path]:
    for where, _, names in os.walk(folder):
        yield from (path for path in (Path(where) / name for name in names) if dataset.inside(path, folder))


def _belongs(place: PurePosixPath) -> bool:
    """Whether a file, named inside its dataset, is an image or the metadata.csv."""
    wanted = place.suffix.lower() in IMAGE_SUFFIXES or place.name in (dataset.METADATA, dataset.NOTES)
    return wanted and not any(map(dataset.hidden, place.parts))


def _sheet(source: _Source) -> tuple[PurePosixPath, MetadataTable | None]:
    """The folder of the metadata.csv, and what it tells; the folder means nothing where that is None."""
    tables = [place for place in source.files if place.name == dataset.METADATA]
    if not tables:
        return PurePosixPath(), None
    table = min(tables, key=lambda place: (len(place.parts), place))
    if source.files[table].size > limits.MAX_FILE_BYTES:
        raise DatasetError(f"The {dataset.METADATA} of {source.name} is far too large for a table of images.")
    folder = table.parent
    beside = {place.relative_to(folder) for place in source.files if place.is_relative_to(folder)}
    return folder, MetadataTable.read(b"".join(source.pieces(table)), beside)


# Copying


def _install(source: _Source, name: str, data_dir: Path, progress: Progress, choose: Choose) -> Added:
    """Copy a dataset into a hidden folder, check it, and rename it into its place."""
    try:
        copied, written = _plan(source, choose)
        hidden = data_dir / f".adding-{name}-{_digest(source, copied, written)}"
        with _alone(hidden, name):
            try:
                _copy(source, copied, hidden / name, progress)
                for place, content in written.items():
                    (hidden / name / place).write_bytes(content)
                new = _put(hidden / name, data_dir / name)
            except (DatasetError, ArchiveError):
                shutil.rmtree(hidden, ignore_errors=True)  # there is nothing to go on with
                raise
            shutil.rmtree(hidden, ignore_errors=True)
        discard_unfinished(name, data_dir)  # what other imports of it left
    except OSError as error:
        raise DatasetError(
            f"{name} cannot be added: {error.strerror or error}. What was copied is kept: add it again to go on."
        ) from error
    return Added(dataset.open_dataset(data_dir / name), new)


def _plan(source: _Source, choose: Choose) -> tuple[list[PurePosixPath], dict[PurePosixPath, bytes]]:
    """The files to copy as they are, and those to write."""
    folder, sheet = _sheet(source)
    if sheet is None:
        return list(source.files), {}
    choice = choose(sheet)
    taken = sheet.taken(choice)
    if not taken:
        raise DatasetError("No image would be left: give at least one finding a class, and choose its view.")
    notes = "".join(f"{note}\n" for note in sheet.notes(choice))
    written = {folder / dataset.METADATA: sheet.written(choice), folder / dataset.NOTES: notes.encode()}
    return [folder / place for place in taken], written


def _digest(source: _Source, copied: Iterable[PurePosixPath], written: Mapping[PurePosixPath, bytes]) -> str:
    """Tells one import from another of the same name, so that none goes on with the files of another."""
    told = hashlib.sha256()
    for place in sorted(copied):
        told.update(f"{place} {source.files[place]}\n".encode(errors="surrogatepass"))
    for place, content in sorted(written.items()):
        told.update(f"{place} ".encode() + content)
    return told.hexdigest()[:16]


def _copy(source: _Source, places: list[PurePosixPath], folder: Path, progress: Progress) -> None:
    """Copy what is not there yet; a file has its name only once it is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    for n, place in enumerate(places, 1):
        target = folder / place
        if not target.is_file() or target.stat().st_size != source.files[place].size:
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f".{target.name}.part")
            with part.open("wb") as file:
                file.writelines(source.pieces(place))
            part.replace(target)
        progress(n / len(places), f"Copied {n} of {len(places)} files")


def _put(finished: Path, place: Path) -> bool:
    """Give a dataset its place, where that is free; whether it was, and not the same dataset there already."""
    dataset.open_dataset(finished)
    if not place.exists():
        finished.rename(place)
        return True
    if not dataset.same_files(place, finished):
        raise DatasetError(f"There is another dataset {place.name} already; give this one another name.")
    return False


@contextmanager
def _alone(folder: Path, name: str) -> Iterator[None]:
    """Nobody else in this process does the same."""
    with _under_way_lock:
        if folder in _under_way:
            raise DatasetError(f"{name} is being added already; wait until that is done.")
        _under_way.add(folder)
    try:
        yield
    finally:
        _under_way.discard(folder)


def _name(text: str) -> str:
    """A name that is safe as a folder's."""
    name = re.sub(r"[^\w.-]+", "_", text).strip("._")
    if not name:
        raise DatasetError(f"{text!r} is no name for a dataset; use letters and digits.")
    return name


def _download(handle: str, progress: Progress) -> Path:
    """Download a dataset from Kaggle into kagglehub's cache, and say where it is."""
    if not re.fullmatch(r"[\w-]+/[\w-]+", handle):
        raise DatasetError(f"kaggle:{handle} is no Kaggle dataset; give kaggle:owner/name, as in its address.")
    import kagglehub
    from kagglehub.config import get_cache_folder

    outcome: list[str | Exception] = []

    def download() -> None:
        try:
            outcome.append(kagglehub.dataset_download(handle))
        except Exception as error:  # kagglehub lets through whatever its HTTP library, archives and disk raise
            outcome.append(error)

    # kagglehub waits without end for a server that accepts a connection and says nothing, so that it is watched.
    thread = threading.Thread(target=download, daemon=True)
    thread.start()
    cache = Path(get_cache_folder()) / "datasets" / handle
    received, quiet = 0, 0
    while thread.is_alive() and quiet < KAGGLE_PATIENCE:
        progress(0.0, f"Downloading {handle} from Kaggle: {received / 1e6:.0f} MB")
        thread.join(1)
        now = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) if cache.is_dir() else 0
        received, quiet = now, quiet + 1 if now == received else 0
    if outcome and isinstance(outcome[0], str):
        return Path(outcome[0])
    reason = type(outcome[0]).__name__ if outcome else f"no answer in {KAGGLE_PATIENCE} s"
    raise DatasetError(
        f"Kaggle could not be reached for {handle} ({reason}); download it by hand from "
        f"https://www.kaggle.com/datasets/{handle} and add the .zip."
    ) from cast("Exception | None", outcome[0] if outcome else None)


def _silent(part: float, message: str) -> None:
    pass
