"""Many images at once: answers in the order of the images, and the table that they make.

The command line and the page share both. Reading, resizing and the network leave Python's lock, so a thread a core
takes each image from its file to its answer; while one waits for the disk, the others compute.
"""

import csv
import itertools
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO, TypeVar

from covid_cnn.common.errors import ArchiveError, CovidCnnError, ImageError
from covid_cnn.common.jobs import map_ahead
from covid_cnn.common.paths import LONGEST_NAME
from covid_cnn.images import ops
from covid_cnn.images.radiograph import Radiograph
from covid_cnn.images.sources import SelectedImage
from covid_cnn.models.bundle import Bundle, Prediction

# What a spreadsheet takes for the beginning of a formula, also as East Asian keyboards type it; and the mark of text.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20", "'")
PARQUET_ROWS = 65_536  # that are written at a time
NO_HEAT = "Nothing in the image raised this score: its heatmap is empty."
S = TypeVar("S")
T = TypeVar("T")
Row = dict[str, Any]


def predict_images(
    model: Bundle,
    sources: Iterable[S],
    then: Callable[[Radiograph, Prediction], T],
    read: Callable[[S], Radiograph],
    crowd: bool = True,
    ahead: int | None = None,
    explained: bool = True,
) -> Generator[tuple[S, T | CovidCnnError], None, None]:
    """Each source with ``then(radiograph, prediction)``, in order; one that cannot be read with its error.

    Few images are held at a time, whatever their number. When the iterator is closed, what has not begun is dropped.

    Parameters
    ----------
    then : makes of the answer what is kept of it; called in the background, several at a time
    read : reads one source; raises ImageError or ArchiveError for one that cannot be read
    crowd, explained : see ``Bundle.predict``
    ahead : how many are held at a time, by default twice the cores
    """

    def answer(source: S) -> tuple[S, T | CovidCnnError]:
        try:
            radiograph = read(source)
        except (ImageError, ArchiveError) as error:
            return source, error
        return source, then(radiograph, model.predict(radiograph.pixels, crowd, explained))

    return map_ahead(sources, answer, ahead)


def predict_rows(
    model: Bundle,
    images: Sequence[SelectedImage],
    heatmaps: Path | None = None,
    crowd: bool | None = None,
    ahead: int | None = None,
) -> Iterator[Row]:
    """A row of the table (``to_row``) for each image, in order; few images are held at a time.

    The folder ``heatmaps`` gets the Grad-CAM overlay of each image's label, as PNG. By default a ``crowd`` is more than
    one image.
    """
    if heatmaps:
        heatmaps.mkdir(parents=True, exist_ok=True)

    def explain(radiograph: Radiograph, prediction: Prediction) -> tuple[Row, str, bytes]:
        overlay = ops.overlay(ops.fit_within(radiograph.pixels), prediction.heatmap()) if heatmaps else None
        png = b"" if overlay is None else ops.to_png(overlay)
        return to_row(model, "", (radiograph, prediction)), prediction.label, png

    crowd = len(images) > 1 if crowd is None else crowd
    explained = heatmaps is not None
    for image, answer in predict_images(model, images, explain, lambda one: one.read(), crowd, ahead, explained):
        if isinstance(answer, CovidCnnError):
            yield to_row(model, image.path, answer)
            continue
        row, label, overlay = answer
        if heatmaps:
            try:
                _write_overlay(heatmaps, Path(image.path).stem, label, overlay)
            except OSError as error:  # such as a full disk; the answer is no worse for it
                row["warning"] = f"{row['warning']} Its overlay was not written: {error.strerror}.".strip()
        yield row | {"path": image.path}


def _write_overlay(folder: Path, stem: str, label: str, png: bytes) -> None:
    for number in itertools.count(1):  # folders may hold several files of one name
        ending = f"_{label}{f'_{number}' if number > 1 else ''}.png"
        if len(os.fsencode(stem + ending)) > LONGEST_NAME:
            stem = os.fsencode(stem)[: LONGEST_NAME - len(os.fsencode(ending))].decode(errors="ignore")
        target = folder / (stem + ending)
        if not target.exists():
            break
    try:
        target.write_bytes(png)
    except OSError:
        target.unlink(missing_ok=True)  # half of one is none
        raise


def to_row(model: Bundle, name: str, answer: tuple[Radiograph, Prediction] | CovidCnnError) -> Row:
    """What the table tells of one image: what ``csv_columns`` names, empty where there is nothing to tell.

    The label is what the decision rule says, also of an image that is unlike the training images, for which the page
    says "not sure": a table is for programs, which can leave out what is not ``in_distribution`` but could not bring
    back a label; and every row that has probabilities has the label that they make.
    """
    empty: Row = dict.fromkeys(csv_columns(model), "") | {"path": name, "prediction_set": None}
    if isinstance(answer, CovidCnnError):
        return empty | {"error": str(answer)}
    radiograph, prediction = answer
    heat = prediction.heatmap()
    no_heat = "" if heat.any() or not heat.size else NO_HEAT
    return empty | {
        "label": prediction.label,
        "in_distribution": "" if prediction.resembles_training is None else prediction.resembles_training,
        "warning": " ".join(filter(None, (prediction.warning, *radiograph.warnings, no_heat))),
        "prediction_set": prediction.prediction_set,
        **{f"p_{label}": round(p, 6) for label, p in prediction.by_class().items()},
    }


def csv_columns(model: Bundle) -> list[str]:
    """The columns of the table, in order."""
    fixed = ["path", "label", "in_distribution", "warning", "error", "prediction_set"]
    return fixed + [f"p_{label}" for label in model.classes]


def write_csv(file: TextIO, model: Bundle, rows: Iterable[Row]) -> None:
    """Write the table as CSV, each row as soon as there is one.

    Whoever named a file must not have a say in a spreadsheet, which takes a cell that begins with such as "=" for a
    formula. Such a text gets an apostrophe in front, by which spreadsheets mark text, and so does one that has an
    apostrophe there: without its first apostrophe each is what it was. A path instead gets "./" in front, for it must
    stay one that other programs can open: it is the same file, and no formula.
    """
    writer = csv.DictWriter(file, csv_columns(model), extrasaction="ignore")
    writer.writeheader()
    for one in rows:
        text = {key: _no_formula(one[key], "'") for key in ("label", "warning", "error")}
        text["path"] = _no_formula(one["path"], "./")
        text["in_distribution"] = str(one["in_distribution"]).lower()  # true, false, or empty
        text["prediction_set"] = _no_formula(" | ".join(one["prediction_set"] or ()), "'")
        writer.writerow(one | text)


def write_parquet(file: Path, model: Bundle, rows: Iterable[Row]) -> None:
    r"""Write the table as Parquet, whole or not at all: its texts as they are, and nothing where there is nothing.

    A path that is no Unicode has its odd bytes as ``\\xNN``, for Parquet knows no other texts. Raises CovidCnnError
    where pyarrow, which writes it, is not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise CovidCnnError("Parquet needs pyarrow: run pip install 'covid-cnn[cluster]', or choose --csv.") from None
    types = {"in_distribution": pa.bool_(), "prediction_set": pa.list_(pa.string())}
    types |= {f"p_{label}": pa.float64() for label in model.classes}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in csv_columns(model)])
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with parquet.ParquetWriter(beside, schema) as writer:
            while some := list(itertools.islice(rows := iter(rows), PARQUET_ROWS)):
                columns = {name: [None if row[name] == "" else row[name] for row in some] for name in schema.names}
                columns["path"] = [os.fsencode(row["path"]).decode(errors="backslashreplace") for row in some]
                writer.write_table(pa.table(columns, schema))
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)


def _no_formula(text: str, mark: str) -> str:
    return mark + text if text.startswith(_FORMULA) else text
