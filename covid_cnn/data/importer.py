"""Add a dataset to ``data/``: from a folder, a .zip, Kaggle, or drawn by the program.

A .zip may come from anywhere, and is checked before anything of it is unpacked. What is copied lies in a hidden folder
until all of it is there, so that no half dataset is ever listed, and an import that was cut off goes on where it was.
"""

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from filelock import FileLock, Timeout

from covid_cnn.common import paths
from covid_cnn.common.errors import ArchiveError, DatasetError, ImageError
from covid_cnn.common.jobs import Job, Progress, unwatched
from covid_cnn.data import dataset, index, synthetic
from covid_cnn.data.dataset import Dataset
from covid_cnn.data.layout import Entry, Layout, understand
from covid_cnn.data.metadata import ClassMapping, MetadataTable
from covid_cnn.data.tables import METADATA, NOTES
from covid_cnn.data.tree import Tree, open_tree
from covid_cnn.images import reader

KAGGLE_DEFAULT = "khoongweihao/covid19-xray-dataset-train-test-sets"
KAGGLE_PATIENCE = 60  # seconds without one new byte, after which Kaggle counts as out of reach
_UNFINISHED = re.compile(r"\.adding-(.+)-[0-9a-f]{16}")
SHOWN, MOST_SHOWN = 3, 40  # images of a finding that are shown before it is added; findings that are


class Added(NamedTuple):
    """A dataset under ``data/``, and whether it is new there; it is not where the same was added before."""

    dataset: Dataset
    new: bool


class Offer(NamedTuple):
    """What a source was understood as, before anything of it is copied.

    Its ``sheet`` is what is told of each image, from which it is chosen which is taken, and as what.
    """

    name: str
    sheet: MetadataTable
    layout: Layout

    def taken(self, choice: ClassMapping) -> list[Entry]:
        """The images that a choice takes, each with its class."""
        labels = self.sheet.taken(choice)
        root = self.layout.root
        return [
            replace(entry, label=labels[inner])
            for entry in (self.layout.entries if self.sheet.from_folders else self.layout.every)
            if (inner := entry.place.relative_to(root)) in labels
        ]

    def notes(self, choice: ClassMapping) -> list[str]:
        """A sentence for each group of images that is left out, or taken otherwise than it is written."""
        of_layout = self.layout.notes if self.sheet.from_folders else self.layout.about_files
        return [*of_layout, *self.sheet.notes(choice)]

    def summary(self, choice: ClassMapping) -> list[dict[str, str | int]]:
        """The table of what is taken: split, class, images and patients of each."""
        groups: dict[tuple[str, str], list[Entry]] = {}
        for entry in self.taken(choice):
            groups.setdefault((entry.split, entry.label), []).append(entry)
        order = sorted(groups, key=lambda group: (dataset.SPLITS.index(group[0]), group[1]))
        return [
            {
                "Split": split or "none told",
                "Class": label,
                "Images": len(groups[split, label]),
                "Patients": len({entry.patient for entry in groups[split, label]}),
            }
            for split, label in order
        ]


Choose = Callable[[Offer], ClassMapping]


def examine_source(source: Path | BinaryIO, name: str = "") -> Offer:
    """What a folder or a .zip is understood as; nothing is copied.

    Raises DatasetError or ArchiveError where it cannot be read, or is no dataset.
    """
    with open_tree(source, name) as tree:
        return _offer(tree, name or tree.name)


def load_samples(source: Path | BinaryIO, offer: Offer) -> dict[str, list[bytes]]:
    """A thumbnail, as a JPEG, of the first `SHOWN` images of each finding that can be read, by finding."""
    samples: dict[str, list[bytes]] = {finding: [] for finding in list(offer.sheet.findings())[:MOST_SHOWN]}
    with open_tree(source, offer.name) as tree:
        for place, row in offer.sheet.rows.items():
            thumbnails = samples.get(row["finding"])
            if thumbnails is not None and len(thumbnails) < SHOWN:
                with contextlib.suppress(ImageError, ArchiveError):  # adding tells of those that cannot be read
                    content = b"".join(tree.pieces(offer.layout.root / place))
                    thumbnails.append(index.make_thumbnail(reader.read(content, place.name).pixels))
    return samples


def add_dataset(
    source: str | Path | BinaryIO,
    name: str | None = None,
    progress: Progress = unwatched,
    choose: Choose | None = None,
) -> Added:
    """Add a dataset to data/, whole or not at all; one that is already there is left as it is.

    Cut off at any moment, the same call copies only what is lacking. Raises DatasetError where the source cannot be
    read or reached, is no dataset, or another has its name; ArchiveError where it is a .zip that is damaged or not safe
    to unpack.

    Parameters
    ----------
    source : a folder, a .zip file or an open one, "kaggle:owner/name", or "synthetic".
    name : what to call it; by default as its folder, file, or Kaggle page.
    choose : which images are taken, and as what; called before anything is copied; by default all that folders tell,
        and of findings frontal X-rays whose meaning is plain.
    """
    if str(source).strip() in ("", "."):
        raise DatasetError("Give the folder or .zip of a dataset; other sources are kaggle:owner/name and synthetic.")
    if source == "synthetic":
        place = paths.data_dir() / _name(name or "synthetic")
        new = not place.exists()
        return Added(dataset.open_dataset(synthetic.write_dataset(place, progress=progress)), new)
    if isinstance(source, str) and source.startswith("kaggle:"):
        handle = source.removeprefix("kaggle:")
        source, name = download_kaggle(handle, progress), name or handle.split("/")[1]
    with open_tree(Path(source) if isinstance(source, str) else source, name or "") as opened:
        return _install(opened, _name(name or opened.name), progress, choose)


def unfinished_imports() -> list[str]:
    """The names of the datasets whose import was cut off. To add one again is to go on with it."""
    return sorted({name for name, _ in _cut_off() if not _is_under_way(name)})


def discard_unfinished(name: str) -> None:
    """Delete what was copied of the dataset `name` by imports that were cut off."""
    for one, folder in _cut_off():
        if one == name:
            shutil.rmtree(folder, ignore_errors=True)


def _cut_off() -> list[tuple[str, Path]]:
    folders = paths.data_dir().glob(".adding-*")
    return [(match[1], folder) for folder in folders if (match := _UNFINISHED.fullmatch(folder.name))]


def _offer(tree: Tree, name: str) -> Offer:
    layout = understand(tree, name)
    sheet = layout.findings or MetadataTable.of_classes(
        {entry.place.relative_to(layout.root): _row(entry, layout.root) for entry in layout.entries}
    )
    return Offer(name, sheet, layout)


def _row(entry: Entry, root: PurePosixPath) -> dict[str, str]:
    """What a metadata.csv tells of an image whose class is known already."""
    inner = entry.place.relative_to(root).as_posix()
    patient = entry.patient if entry.patient != inner else ""
    own = {"filename": inner, "finding": entry.label, "split": entry.split, "patientid": patient}
    return entry.facts | own | {"source": entry.source}


def _install(tree: Tree, name: str, progress: Progress, choose: Choose | None) -> Added:
    """Copy a dataset into a hidden folder, check it, and rename it into its place."""
    data_dir = paths.data_dir()
    try:
        copied, written = _plan(_offer(tree, name), choose)
        hidden = data_dir / f".adding-{name}-{_digest(tree, copied, written)}"
        _check_names(name, hidden, copied)
        with _alone(name):
            try:
                _copy(tree, copied, hidden / name, progress)
                for place, content in written.items():
                    (hidden / name / place).write_bytes(content)
                new = _put(hidden / name, data_dir / name)
            except (DatasetError, ArchiveError):
                shutil.rmtree(hidden, ignore_errors=True)  # there is nothing to go on with
                raise
            shutil.rmtree(hidden, ignore_errors=True)
            discard_unfinished(name)  # what other imports of it left
    except OSError as error:
        raise DatasetError(
            f"{name} cannot be added: {error.strerror or error}. What was copied is kept: add it again to go on."
        ) from error
    return Added(dataset.open_dataset(data_dir / name), new)


def _plan(offer: Offer, choose: Choose | None) -> tuple[list[PurePosixPath], dict[PurePosixPath, bytes]]:
    """The files to copy as they are, and those to write."""
    choice = choose(offer) if choose else offer.sheet.proposed()
    taken = offer.taken(choice)
    if not taken:
        raise DatasetError("No image would be left: give at least one finding a class, and choose its view.")
    copied, root = [entry.place for entry in taken], offer.layout.root
    notes = "".join(f"{note}\n" for note in offer.notes(choice)).encode()
    written = {root / NOTES: notes} if notes else {}
    as_it_is = offer.sheet.from_folders and all(finding == label for finding, label in choice.classes.items())
    if not as_it_is:
        written[root / METADATA] = offer.sheet.written(choice)
    elif offer.layout.table:
        copied.append(offer.layout.table)
    return copied, written


def _check_names(name: str, hidden: Path, copied: Iterable[PurePosixPath]) -> None:
    if len(os.fsencode(hidden.name)) > paths.LONGEST_NAME:
        raise DatasetError(f"{name[:40]}... is too long a name for a dataset; give a shorter one.")
    for place in copied:
        for part in place.parts:
            if len(part.encode(errors="surrogateescape")) > paths.LONGEST_NAME:
                raise DatasetError(f"The name {part[:40]}... in {name} is too long to be copied; shorten it.")


def _digest(tree: Tree, copied: Iterable[PurePosixPath], written: Mapping[PurePosixPath, bytes]) -> str:
    """Tells one import from another of the same name, so that none goes on with the files of another."""
    digest = hashlib.sha256()
    for place in sorted(copied):
        digest.update(f"{place} {tree.files[place]}\n".encode(errors="surrogatepass"))
    for place, content in sorted(written.items()):
        digest.update(f"{place} ".encode() + content)
    return digest.hexdigest()[:16]


def _copy(tree: Tree, places: list[PurePosixPath], folder: Path, progress: Progress) -> None:
    """Copy what is not there yet; a file has its name only once it is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    for n, place in enumerate(places, 1):
        target = folder / place
        if not target.is_file() or target.stat().st_size != tree.files[place].size:
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(".part")  # a longer name might be too long
            with part.open("wb") as file:
                file.writelines(tree.pieces(place))
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


def _lock(name: str, patience: float = 0) -> FileLock:
    locks = paths.data_dir() / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    return FileLock(locks / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.lock", timeout=patience)


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Nobody else adds a dataset of this name, in this process or another."""
    try:
        with _lock(name, patience=1):  # a page that asks who is at it holds it for a moment
            yield
    except Timeout:
        raise DatasetError(f"{name} is being added already; wait until that is done.") from None


def _is_under_way(name: str) -> bool:
    try:
        with _lock(name):
            return False
    except Timeout:
        return True


def _name(text: str) -> str:
    """A name that is safe as a folder's."""
    name = re.sub(r"[^\w.-]+", "_", text).strip("._")
    if not name:
        raise DatasetError(f"{text!r} is no name for a dataset; use letters and digits.")
    return name


def download_kaggle(handle: str, progress: Progress) -> Path:
    """Download a dataset, owner/name, from Kaggle into kagglehub's cache, and say where it is.

    Raises DatasetError where it is no such name, or Kaggle cannot be reached.
    """
    if not re.fullmatch(r"[\w-]+/[\w-]+", handle):
        raise DatasetError(f"kaggle:{handle} is no Kaggle dataset; give kaggle:owner/name, as in its address.")
    import kagglehub
    from kagglehub.config import get_cache_folder

    def download(_: Progress) -> str:
        try:
            return kagglehub.dataset_download(handle)
        except Exception as error:  # kagglehub lets through whatever its HTTP library, archives and disk raise
            raise DatasetError(type(error).__name__) from error

    # kagglehub waits without end for a server that accepts a connection and says nothing, so that it is watched.
    job = Job(download)
    cache = Path(get_cache_folder()) / "datasets" / handle
    received, quiet = 0, 0
    while job.running and quiet < KAGGLE_PATIENCE:
        progress(0.0, f"Downloading {handle} from Kaggle: {received / 1e6:.0f} MB")
        job.wait(1)
        now = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) if cache.is_dir() else 0
        received, quiet = now, quiet + 1 if now == received else 0
    if job.result:
        return Path(job.result)
    raise DatasetError(
        f"Kaggle could not be reached for {handle} ({job.problem or f'no answer in {KAGGLE_PATIENCE} s'}); download it "
        f"by hand from https://www.kaggle.com/datasets/{handle} and add the .zip."
    )
