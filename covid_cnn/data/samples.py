"""Images to try without having one, each to teach one thing.

Made of two real DICOM files that a PyPI package carries, and of drawings of the program.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from covid_cnn.common.errors import ImageError
from covid_cnn.data import synthetic
from covid_cnn.images import reader
from covid_cnn.images.radiograph import Radiograph

SEED = 31  # opacities in both lungs, plain to see
LETTER_HEIGHT = 0.09  # of the image


@dataclass(frozen=True)
class Sample:
    """An image with a story.

    Attributes
    ----------
    title : what it is called.
    story : what it is, and the question that it asks.
    seen : what the shipped models answer; tests hold each number in it against the models.
    read : takes `frame` and `window` as `reader.read` does.
    """

    title: str
    story: str
    seen: str
    read: Callable[..., Radiograph]


def with_corner_letter(pixels: np.ndarray, letter: str = "R") -> np.ndarray:
    """The radiograph [H, W], 0..1, with a white letter in its upper left corner, as a side marker leaves one."""
    height, width = pixels.shape
    picture = Image.fromarray(np.asarray(pixels, np.float32))
    font = ImageFont.load_default(LETTER_HEIGHT * height)
    ImageDraw.Draw(picture).text((0.06 * width, 0.04 * height), letter, fill=1.0, font=font)
    return np.asarray(picture)


def _pydicom_data(file: str) -> Callable[..., Radiograph]:
    def read(frame: int = 0, window: int | None = None) -> Radiograph:
        package = importlib.util.find_spec("data_store")  # as the package pydicom-data calls itself
        if package is None or not package.submodule_search_locations:
            raise ImageError("The real samples are not installed: run pip install pydicom-data.")
        path = Path(package.submodule_search_locations[0]) / "data" / file
        return reader.read(path, frame=frame, window=window)

    return read


def _synthetic(opacities: bool) -> Callable[..., Radiograph]:
    def read(frame: int = 0, window: int | None = None) -> Radiograph:
        pixels = synthetic.draw_radiograph(SEED, opacities)
        height, width = pixels.shape
        return Radiograph(pixels, "synthetic", f"synthetic radiograph, {width} x {height} px", synthetic=True)

    return read


def _changed(
    read: Callable[..., Radiograph], change: Callable[[Radiograph], Radiograph], told: str
) -> Callable[..., Radiograph]:
    def read_changed(frame: int = 0, window: int | None = None) -> Radiograph:
        changed = change(read(frame=frame, window=window))
        return replace(changed, warnings=(*changed.warnings, f"For this sample the image was {told}."))

    return read_changed


def _stamp_letter(radiograph: Radiograph) -> Radiograph:
    return replace(radiograph, pixels=with_corner_letter(radiograph.pixels), values=None)


def _invert(radiograph: Radiograph) -> Radiograph:
    values = radiograph.values and replace(radiograph.values, inverted=not radiograph.values.inverted)
    return replace(radiograph, pixels=1 - radiograph.pixels, values=values)


def _turn(radiograph: Radiograph) -> Radiograph:
    values = radiograph.values and replace(radiograph.values, stored=np.rot90(radiograph.values.stored))
    return replace(radiograph, pixels=np.ascontiguousarray(np.rot90(radiograph.pixels)), values=values)


_chest = _pydicom_data("RG1_UNCR.dcm")
SAMPLES = {
    "chest": Sample(
        "A real chest",
        "A DICOM file of a hospital that no model here has seen. How sure can it be?",
        "lung_zones says normal with 0.45 and does not rule out other pneumonia; notebook_cnn says PNEUMONIA with "
        "0.95. The surer answer is not the better one.",
        _chest,
    ),
    "clear": Sample(
        "Drawn, clear",
        "Drawn by the program: no patient, and no hospital's habits to recognise. Does a model notice?",
        "lung_zones does not know such images. notebook_cnn does not notice, and says NORMAL with 0.66.",
        _synthetic(opacities=False),
    ),
    "opacities": Sample(
        "Drawn, opacities",
        "The same drawing with opacities in the lungs, as in pneumonia. Does the heatmap find them?",
        "That of lung_zones for COVID-19 in part: 31 % of its hottest tenth lies on the opacities, which cover 13 % of "
        "the image. That of notebook_cnn for PNEUMONIA does not, with 0 %, and its probability of PNEUMONIA goes from "
        "0.34 for the clear drawing to only 0.41.",
        _synthetic(opacities=True),
    ),
    "letter": Sample(
        "A letter",
        "The clear drawing with an R in its corner. A letter tells of a hospital, not of lungs: does a model heed it?",
        "None here does: no probability of any model is 0.01 or more away from that for the clear drawing. The Tour "
        "shows a network that has learned to.",
        _changed(_synthetic(opacities=False), _stamp_letter, "stamped with a letter"),
    ),
    "inverted": Sample(
        "Inverted",
        "The real chest, black for white, as when MONOCHROME1 is not heeded. Does a model notice?",
        "lung_zones does not know such images. notebook_cnn does not notice, and turns from PNEUMONIA with 0.95 to "
        "NORMAL with 0.81.",
        _changed(_chest, _invert, "inverted"),
    ),
    "turned": Sample(
        "Lying",
        "The real chest, turned by 90 degrees. The lungs are the same; is the answer?",
        "lung_zones does not know such images. notebook_cnn does not notice, and goes from 0.95 to 0.78 for PNEUMONIA.",
        _changed(_chest, _turn, "turned by 90 degrees"),
    ),
    "leg": Sample(
        "A leg",
        "No chest at all. A network always answers; can it tell when not to?",
        "lung_zones can: it does not know such images. notebook_cnn cannot, and says PNEUMONIA with 1.00.",
        _pydicom_data("RG3_UNCR.dcm"),
    ),
}
