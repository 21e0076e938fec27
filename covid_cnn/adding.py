"""Add a dataset to ``data/``: from a folder, a .zip, Kaggle, or drawn by the program.

A .zip may come from anywhere, and is checked before anything of it is unpacked.
"""

import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from covid_cnn import archives, datasets, paths, synthetic
from covid_cnn.datasets import Dataset
from covid_cnn.errors import DatasetError
from covid_cnn.imaging import IMAGE_SUFFIXES

Progress = Callable[[float, str], None]

KAGGLE_DEFAULT = "khoongweihao/covid19-xray-dataset-train-test-sets"
KAGGLE_PATIENCE = 60  # seconds without one new byte, after which Kaggle counts as out of reach


def add(
    source: str | Path, data_dir: str | Path | None = None, name: str | None = None, progress: Progress | None = None
) -> Dataset:
    """Add a dataset to `data_dir`, whole or not at all; one that is already there is left as it is.

    Parameters
    ----------
    source : a folder, a .zip file, "kaggle:owner/name", or "synthetic".
    data_dir : the folder of the datasets; `paths.data_dir()` by default.
    name : what to call it; by default as its folder, file, or Kaggle page.
    progress : called with the part done (0..1) and a line about it.

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
        return datasets.open(synthetic.write_dataset(data_dir / _name(name or text), progress=progress))
    if text.startswith("kaggle:"):
        handle = text.removeprefix("kaggle:")
        folder = _download(handle, progress or _silent)
        return _add_folder(folder, _name(name or handle.split("/")[1]), data_dir, progress or _silent)
    path = Path(source)
    if path.is_dir():
        return _add_folder(path, _name(name or path.resolve().name), data_dir, progress or _silent)
    if path.is_file():
        with path.open("rb") as file:
            return add_zip(file, name or path.stem, data_dir, progress)
    raise DatasetError(f"There is no folder or .zip file {source}; other sources are kaggle:owner/name and synthetic.")


def add_zip(file: BinaryIO, name: str, data_dir: str | Path | None = None, progress: Progress | None = None) -> Dataset:
    """Add a dataset from a .zip, as `add`; its images and metadata.csv are unpacked and nothing else.

    The archive may come from anywhere; what is not safe to unpack is refused (see `archives.Archive`).
    """
    name = _name(name)

    def unpack(folder: Path) -> None:
        with archives.Archive(file, name) as archive:
            wanted = [member for member in archive.members if _belongs(PurePosixPath(member.filename))]
            for n, member in enumerate(wanted, 1):
                target = folder / member.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    with target.open("xb") as unpacked:
                        unpacked.writelines(archive.pieces(member))
                except FileExistsError as error:
                    raise DatasetError(f"{name} holds two files of one name, and was not unpacked.") from error
                (progress or _silent)(n / len(wanted), f"Unpacked {n} of {len(wanted)} files")

    return _install(unpack, name, Path(data_dir or paths.data_dir()))


def _add_folder(source: Path, name: str, data_dir: Path, progress: Progress) -> Dataset:
    wanted = [path for path in _files(source) if _belongs(path.relative_to(source))]

    def copy(folder: Path) -> None:
        for n, path in enumerate(wanted, 1):
            target = folder / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            progress(n / len(wanted), f"Copied {n} of {len(wanted)} files")

    return _install(copy, name, data_dir)


def _files(folder: Path) -> Iterator[Path]:
    for where, _, names in os.walk(folder):
        yield from (path for path in (Path(where) / name for name in names) if datasets.inside(path, folder))


def _belongs(path: PurePosixPath | Path) -> bool:
    """Whether a file, named inside its dataset, is an image or the metadata.csv."""
    wanted = path.suffix.lower() in IMAGE_SUFFIXES or path.name == datasets.METADATA
    return wanted and not any(map(datasets.hidden, path.parts))


def _install(write: Callable[[Path], None], name: str, data_dir: Path) -> Dataset:
    """Write a dataset into a temporary folder, check it, and rename it into its place."""
    place = data_dir / name
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=data_dir, prefix=".adding-") as temporary:
            unfinished = Path(temporary) / name
            unfinished.mkdir()
            write(unfinished)
            added = datasets.open(unfinished)
            if not place.exists():
                unfinished.rename(place)
            elif not _same(place, added):
                raise DatasetError(f"There is another dataset {name} already; give this one another name.")
    except OSError as error:
        raise DatasetError(f"{name} cannot be added: {error.strerror or error}.") from error
    return datasets.open(place)


def _same(place: Path, added: Dataset) -> bool:
    try:
        return datasets.fingerprint(datasets.open(place).items) == datasets.fingerprint(added.items)
    except DatasetError:
        return False


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
