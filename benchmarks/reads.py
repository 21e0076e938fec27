"""Files of any collection as they are read here, and as independent readers read them; where the two differ is listed.

    python -m benchmarks.reads FOLDER... [--all]

DICOM is held against pydicom.pixels (its modality LUT, its VOI LUT or first window, MONOCHROME1 inverted), TIFF
against tifffile (OpenCV where that lacks the compression), the rest against OpenCV; and where a file NAME.right.png,
or right.* in a folder of its own, lies beside one, against that. Of each the first frame or page is compared, in grey,
by its correlation and by its range: from the darkest to the brightest of what 99 % of the pixels have, as a part of
white. What one of the two refuses is listed with its reason.
"""

import contextlib
import io
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import cv2
import numpy as np
import pydicom
import tifffile
import typer
from PIL import Image
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, pixel_array

from covid_cnn.common.errors import ImageError
from covid_cnn.images import greys, headers, limits, reader

ALIKE = 0.99  # correlation above which two readings are one
NARROW = 0.5  # of the other's range: below it a picture is nearly one grey beside the other
LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Reading:
    """What one reader makes of a file: pixels and the grey that is white, or why it has none; and its seconds."""

    pixels: np.ndarray | None
    white: float
    why: str
    seconds: float


def main(
    folders: Annotated[list[Path], typer.Argument(help="Folders of files, or files.")],
    every: Annotated[bool, typer.Option("--all", help="List all files, not only those that differ.")] = False,
) -> None:
    """Compare readings."""
    warnings.simplefilter("ignore")
    counts: Counter[str] = Counter()
    ratios: list[float] = []
    for path in sorted(find_files(folders)):
        data = path.read_bytes()
        right = find_right(path)
        ours = timed(read_here, data, path.name)
        theirs = timed(read_right, right) if right else timed(read_elsewhere, data)
        verdict = compare(ours, theirs)
        counts[verdict.split(":")[0]] += 1
        if not right and ours.pixels is not None and theirs.pixels is not None:
            ratios.append(ours.seconds / theirs.seconds)
        if every or verdict.split(":")[0] not in ("alike", "refused by both"):
            print(f"{path}: {verdict}")
    print(f"\n{counts.total()} files: " + ", ".join(f"{number} {what}" for what, number in counts.most_common()))
    if ratios:
        print(f"Ours takes {median(ratios):.2f} times as long as the other, a file; median of {len(ratios)}.")


def find_files(folders: list[Path]) -> Iterator[Path]:
    """Every file that may be an image."""
    for folder in folders:
        for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
            is_answer = ".right." in path.name or path.stem in ("right", "same_picture_is_taken")
            if path.is_file() and not is_answer and path.stat().st_size <= limits.MAX_FILE_BYTES:
                with path.open("rb") as file:
                    is_image = headers.is_image(file.read(headers.BEGINNING))
                if is_image or path.suffix.lower() in reader.IMAGE_SUFFIXES:
                    yield path


def find_right(path: Path) -> Path | None:
    """The file that says how one is to be read."""
    beside = path.with_name(f"{path.name}.right.png")
    alone = [*path.parent.glob("right.*"), *path.parent.glob("same_picture_is_taken.*")] if path.stem == "x" else []
    return next((place for place in (beside, *alone) if place.exists()), None)


def read_right(path: Path) -> tuple[np.ndarray, float]:
    """The answer that lies beside a file."""
    if path.name.endswith(".right.png"):
        return np.asarray(Image.open(path)).astype(float), 65535.0
    return reader.read(path).pixels.astype(float), 1.0


def timed(read: Callable[..., tuple[np.ndarray, float]], *arguments: object) -> Reading:
    """A reading, or the reason that there is none."""
    began = time.perf_counter()
    try:
        pixels, white = read(*arguments)
    except ImageError as error:
        return Reading(None, 1, str(error), time.perf_counter() - began)
    except Exception as error:  # other readers raise whatever they like
        return Reading(None, 1, f"{type(error).__name__} {error}"[:120], time.perf_counter() - began)
    return Reading(pixels, white, "", time.perf_counter() - began)


def read_here(data: bytes, name: str) -> tuple[np.ndarray, float]:
    """As the program reads a file."""
    return reader.read(data, name).pixels, 1.0


def read_elsewhere(data: bytes) -> tuple[np.ndarray, float]:
    """Grey pixels of a file by a reader that is not ours, and the value that is white."""
    if headers.is_dicom(data):
        return read_by_pydicom(data)
    if headers.is_tiff(data):
        with contextlib.suppress(ValueError, NotImplementedError):  # of compressions that it leaves to another package
            return read_by_tifffile(data)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise ValueError("OpenCV reads nothing.")
    grey, white = to_grey(pixels)
    whole = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if whole is not None and whole.shape == (*grey.shape, 4) and whole[..., 3].any():  # over black, as here
        grey = grey * (whole[..., 3] / np.iinfo(whole.dtype.name).max)
    return grey, white


def read_by_pydicom(data: bytes) -> tuple[np.ndarray, float]:
    """As pydicom.pixels has it."""
    dataset = pydicom.dcmread(io.BytesIO(data), force=True)
    pixels = pixel_array(dataset, index=0)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, dataset)
        return to_grey(pixels)
    if pixels.ndim == 3:
        return pixels.astype(float) @ LUMA, 2.0 ** dataset.get("BitsStored", 8) - 1
    values = apply_voi_lut(apply_modality_lut(pixels, dataset), dataset).astype(float)
    if "VOILUTSequence" in dataset:
        low, high = 0.0, 2.0 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1
    elif "WindowWidth" in dataset:  # to the range of what is stored, rescaled
        low = -(2.0 ** (dataset.BitsStored - 1)) if dataset.PixelRepresentation else 0.0
        high = low + 2.0**dataset.BitsStored - 1
        slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
        low, high = low * slope + intercept, high * slope + intercept
    else:
        low, high = values.min(), values.max()
    grey = high - values if dataset.PhotometricInterpretation == "MONOCHROME1" else values - low
    return grey, high - low


def read_by_tifffile(data: bytes) -> tuple[np.ndarray, float]:
    """As tifffile has it: its first page, stretched where it is deeper than 8 bits."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0].aspage()
        pixels = page.asarray()
        if page.planarconfig == 2 and pixels.ndim == 3:
            pixels = np.moveaxis(pixels, 0, 2)
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
            pixels = np.moveaxis(page.colormap, 0, 1)[pixels]
        grey, white = to_grey(pixels)
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            grey = grey.max() - grey
    return grey, white


def to_grey(pixels: np.ndarray) -> tuple[np.ndarray, float]:
    """Luma, and what is white: of deeper pixels than 8 bits the brightest of them."""
    values = pixels[..., :3] if pixels.ndim == 3 and pixels.shape[2] > 2 else pixels
    if values.ndim == 3:
        values = values.astype(float) @ LUMA if values.shape[2] == 3 else values[..., 0]
    values = values.astype(float)
    if pixels.dtype.kind == "b" or pixels.dtype == np.uint8:
        return values, 1.0 if pixels.dtype.kind == "b" else 255.0
    values = np.nan_to_num(values, posinf=0, neginf=0)
    return values - values.min(), float(np.ptp(values)) or 1.0


def measure_range(pixels: np.ndarray) -> float:
    """How far apart the greys of 99 % of the pixels are."""
    return float(np.ptp(np.percentile(pixels, (0.5, 99.5))))


def compare(ours: Reading, theirs: Reading) -> str:
    """What there is to say of two readings, the kind first."""
    if ours.pixels is None or theirs.pixels is None:
        kind = "refused by both" if ours.pixels is theirs.pixels else "refused here alone"
        return f"{kind}: {ours.why}" if ours.pixels is None else f"refused there alone: {theirs.why}"
    if ours.pixels.shape != theirs.pixels.shape:
        return f"of another shape: {ours.pixels.shape} here, {theirs.pixels.shape} there"
    own, other = measure_range(ours.pixels / ours.white), measure_range(theirs.pixels / theirs.white)
    with np.errstate(all="ignore"):  # of one grey there is no correlation
        alike = float(np.nan_to_num(np.corrcoef(ours.pixels.ravel(), theirs.pixels.ravel())[0, 1]))
    kind = "alike" if own >= NARROW * other else "darker or paler here"
    if other < greys.NARROW:
        kind = "nearly one grey there"
    elif alike < ALIKE:
        kind = "inverted" if alike < -ALIKE else "another picture"
    return f"{kind}: correlation {alike:.4f}, range {own:.3f} here, {other:.3f} there"


if __name__ == "__main__":
    typer.run(main)
