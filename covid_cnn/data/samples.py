"""Sample images for those who have none at hand, each with one thing to learn from it.

Real films, two real DICOM files that a PyPI package carries, and drawings of the program.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from covid_cnn.common.errors import ImageError
from covid_cnn.data import synthetic
from covid_cnn.data.classes import COVID, NORMAL, OTHER
from covid_cnn.images import ops, reader
from covid_cnn.images.radiograph import Radiograph

FILMS = Path(__file__).with_name("films")
LICENSES = FILMS / "LICENSES.md"
SEED = 31  # opacities in both lungs, plain to see
LETTER_HEIGHT = 0.09  # of the image


@dataclass(frozen=True)
class Provenance:
    """Where a real film comes from: a row of the table in `LICENSES`, its columns as they stand there."""

    file: str
    truth: str
    source: str
    licence: str
    credit: str
    url: str


@dataclass(frozen=True)
class Sample:
    """A sample image with its title, story, true finding and provenance."""

    title: str  # what it is called
    story: str  # what it is, and the question that it asks
    read: Callable[..., Radiograph]  # takes `frame` and `window` as `reader.read` does
    provenance: Provenance | None = None  # of a real film, its truth and its licence
    finding: str = ""  # the class that it truly is of, as `data.classes` calls it; empty where nobody can tell


def read_licenses() -> dict[str, Provenance]:
    """The table of the real films by file name, in its order."""
    rows = [line for line in LICENSES.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][2:]
    films = (Provenance(*(cell.strip() for cell in row.strip("| ").split(" | "))) for row in rows)
    return {film.file: film for film in films}


def _film(title: str, story: str, file: str, finding: str) -> Sample:
    return Sample(title, story, partial(reader.read, FILMS / file), _PROVENANCE[file], finding)


def _read_pydicom_data(file: str, frame: int = 0, window: int | None = None) -> Radiograph:
    package = importlib.util.find_spec("data_store")  # as the package pydicom-data calls itself
    if package is None or not package.submodule_search_locations:
        raise ImageError("The real samples are not installed: run pip install pydicom-data.")
    path = Path(package.submodule_search_locations[0]) / "data" / file
    return reader.read(path, frame=frame, window=window)


def _draw(opacities: bool, frame: int = 0, window: int | None = None) -> Radiograph:
    pixels = synthetic.draw_radiograph(SEED, opacities)
    height, width = pixels.shape
    return Radiograph(pixels, "synthetic", f"synthetic radiograph, {width} x {height} px", synthetic=True)


def _read_changed(
    read: Callable[..., Radiograph], change: Callable[[Radiograph], Radiograph], done: str, **chosen: int | None
) -> Radiograph:
    changed = change(read(**chosen))
    return replace(changed, warnings=(*changed.warnings, f"For this sample the image was {done}."))


def _stamp_letter(radiograph: Radiograph) -> Radiograph:
    return replace(radiograph, pixels=ops.stamp(radiograph.pixels, 0.06, 0.04, LETTER_HEIGHT), values=None)


def _invert(radiograph: Radiograph) -> Radiograph:
    values = radiograph.values and replace(radiograph.values, inverted=not radiograph.values.inverted)
    return replace(radiograph, pixels=1 - radiograph.pixels, values=values)


def _turn(radiograph: Radiograph) -> Radiograph:
    values = radiograph.values and replace(radiograph.values, stored=np.rot90(radiograph.values.stored))
    return replace(radiograph, pixels=np.ascontiguousarray(np.rot90(radiograph.pixels)), values=values)


_chest = partial(_read_pydicom_data, "RG1_UNCR.dcm")
_PROVENANCE = read_licenses()
SAMPLES = {
    "covid_severe": _film(
        "COVID-19, severe", "A man of 44, gravely ill. Where does the model look?", "covid_severe.jpg", COVID
    ),
    "healthy_adult": _film("A healthy adult", "Nothing was found. Does the model agree?", "healthy_adult.jpg", NORMAL),
    "healthy_child": _film(
        "A healthy child",
        "In the first public datasets the healthy were children. Is it the age?",
        "healthy_child.jpg",
        NORMAL,
    ),
    "covid_early": _film(
        "COVID-19, early",
        "Faint patches at the edges of the lungs. Does the heatmap find them?",
        "covid_early.jpg",
        COVID,
    ),
    "covid_clear_film": _film(
        "COVID-19, clear film",
        "Ill, and the film shows nothing. Can a film rule COVID-19 out?",
        "covid_clear_film.jpg",
        COVID,
    ),
    "pneumocystis": _film("Another pneumonia", "A fungus, not a virus. Can the model tell?", "pneumocystis.jpg", OTHER),
    "missed": _film("Easy to miss", "The report says pneumonia. Does the model see it?", "missed.jpg", OTHER),
    "chest": Sample("A DICOM chest", "A file of a hospital that no model here has seen. How sure can it be?", _chest),
    "clear": Sample(
        "Drawn, clear",
        "Drawn by the program: no patient, and no hospital's habits to recognise. Does a model notice?",
        partial(_draw, opacities=False),
    ),
    "opacities": Sample(
        "Drawn, opacities",
        "The same drawing with opacities in the lungs, as in pneumonia. Does the heatmap find them?",
        partial(_draw, opacities=True),
    ),
    "letter": Sample(
        "A letter",
        "The clear drawing with an R in its corner. A letter tells of a hospital, not of lungs: does a model heed it?",
        partial(_read_changed, partial(_draw, opacities=False), _stamp_letter, "stamped with a letter"),
    ),
    "inverted": Sample(
        "Inverted",
        "The DICOM chest, black for white, as when MONOCHROME1 is not heeded. Does a model notice?",
        partial(_read_changed, _chest, _invert, "inverted"),
    ),
    "turned": Sample(
        "Lying",
        "The DICOM chest, turned by 90 degrees. The lungs are the same; is the answer?",
        partial(_read_changed, _chest, _turn, "turned by 90 degrees"),
    ),
    "leg": Sample(
        "A leg",
        "No chest at all. A network always answers; can it tell when not to?",
        partial(_read_pydicom_data, "RG3_UNCR.dcm"),
    ),
}
FILM_KEYS = tuple(key for key, sample in SAMPLES.items() if sample.provenance)
