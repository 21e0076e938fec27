"""Images to try without having one: two real DICOM files that a PyPI package carries, two that the program draws."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from covid_cnn import imaging, synthetic
from covid_cnn.errors import ImageError
from covid_cnn.imaging import Radiograph

SEED = 31  # opacities in both lungs, plain to see


@dataclass(frozen=True)
class Sample:
    """An image with a story: what it is, and what it teaches."""

    title: str
    story: str
    read: Callable[[], Radiograph]


def _pydicom_data(file: str) -> Callable[[], Radiograph]:
    def read() -> Radiograph:
        package = importlib.util.find_spec("data_store")  # as the package pydicom-data calls itself
        if package is None or not package.submodule_search_locations:
            raise ImageError("The real samples are not installed: run pip install pydicom-data.")
        return imaging.read(Path(package.submodule_search_locations[0]) / "data" / file)

    return read


def _synthetic(opacities: bool) -> Callable[[], Radiograph]:
    def read() -> Radiograph:
        pixels = synthetic.draw(SEED, opacities)
        height, width = pixels.shape
        return Radiograph(pixels, "synthetic", f"synthetic radiograph, {width} x {height} px", synthetic=True)

    return read


SAMPLES = {
    "chest": Sample(
        "A real chest X-ray",
        "A DICOM file, greys inverted, of a hospital that no model here has seen.",
        _pydicom_data("RG1_UNCR.dcm"),
    ),
    "leg": Sample(
        "A leg",
        "No chest at all. A network always answers; can it tell when not to?",
        _pydicom_data("RG3_UNCR.dcm"),
    ),
    "clear": Sample(
        "Synthetic, clear lungs",
        "Drawn by the program: no patient, and no hospital's habits to recognise.",
        _synthetic(opacities=False),
    ),
    "opacities": Sample(
        "Synthetic, patchy opacities",
        "The same drawing with opacities in the lungs, as in pneumonia. Does the heatmap find them?",
        _synthetic(opacities=True),
    ),
}
