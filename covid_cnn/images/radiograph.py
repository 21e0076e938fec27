"""One grayscale image with the numbers behind it, and the limits and sentences that every reader shares."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from covid_cnn.common.errors import ImageError
from covid_cnn.images import limits

FULL_RANGE = "from the darkest to the brightest value"


class Window(NamedTuple):
    """A way in which values become greys: about a centre, through a table, or, with neither, over their whole range."""

    label: str  # what it is called
    # As DICOM has them (PS3.3, C.11.2.1.2 and C.11.2.1.3)
    center: float | None = None
    width: float | None = None
    function: str = "LINEAR"
    table: Callable[[np.ndarray], np.ndarray] | None = None  # makes float32 0..1 of values


@dataclass(frozen=True)
class Values:
    """The numbers behind a radiograph's greys, for those who look closely; no network sees them."""

    stored: np.ndarray  # number [height, width], as the file has them
    # Makes of stored numbers what they mean, such as Hounsfield units (DICOM's modality LUT)
    measured: Callable[[np.ndarray], np.ndarray] = np.asarray
    unit: str = "stored value"  # of what is measured
    # The ways to look at it, in the order of the radiograph's `windows` where it has any
    windows: tuple[Window, ...] = (Window(FULL_RANGE),)
    window: int = 0  # the index of the one that made the pixels
    inverted: bool = False  # whether high values are black
    padding: tuple[float, float] | None = None  # the lowest and the highest stored number that mean no image, if any do


@dataclass(frozen=True)
class Radiograph:
    """One grayscale image, ready to be shown or prepared."""

    pixels: np.ndarray  # float32 [height, width], 0..1, where 1 is white (dense, such as bone)
    name: str  # the file's own name, for display; what a DICOM file says of its patient is struck out of it
    origin: str  # what the file was, such as "JPEG, 1024 x 890 px"; never says who the patient is
    warnings: tuple[str, ...] = ()  # what to know before trusting a prediction, one sentence each
    synthetic: bool = False  # whether `covid_cnn.data.synthetic` drew it
    frames: int = 1  # how many frames or pages the file has; one of them was read
    # What `read` takes as its window, a label each, by index; empty where there is nothing to choose
    windows: tuple[str, ...] = ()
    # Which of these were read, the frame counted from 0
    frame: int = 0
    window: str = ""
    digest: str = ""  # SHA-256 of the file in hexadecimal, as `sha256sum` prints it; empty where there was no file
    values: Values | None = None  # the numbers behind the pixels; None where these are 0..255, scaled
    modality: str = ""  # what made a DICOM file's image, such as "CR" or "DX"; empty where no file says it
    # Millimetres from the centre of a pixel to that of the next, down and across, where the file knows them
    spacing: tuple[float, float] | None = None
    # Whether `spacing` is the detector's: the body, which lies nearer to the tube, is smaller than that
    at_detector: bool = False


def check_size(width: int, height: int, name: str, weight: float = 1, frames: int = 1) -> None:
    """Raise ImageError where an image is, by its declared size in pixels, too large to decode or too small to be one.

    ``weight`` is how many times the memory of three bytes a pixel takes, where it takes more.
    """
    if min(width, height) < limits.MIN_SIDE:
        raise ImageError(
            f"{name} is only {width} x {height} px; choose an image of at least {limits.MIN_SIDE} px a side."
        )
    if width * height * max(weight, 1) > limits.MAX_PIXELS:
        heavy = f", as large as {width * height * weight / 1e6:.0f} million of 8 bits" if weight > 1 else ""
        million = limits.MAX_PIXELS // 10**6
        raise ImageError(f"{name} has {width} x {height} px{heavy}, more than {million} million; scale it down first.")
    if frames > limits.MAX_FRAMES:
        raise ImageError(f"{name} has {frames} frames, more than {limits.MAX_FRAMES}; save the one you need by itself.")


def check_index(index: int, count: int, name: str, kind: str) -> None:
    """Raise ImageError where a choice, counted from 0, is none of `count` frames, pages or windows."""
    if not 0 <= index < count:
        raise ImageError(f"{name} has no {kind} {index + 1}; the number of its {kind}s is {count}.")


def warn_of_others(index: int, count: int, kind: str) -> str:
    """The warning that only this frame or page, counted from 0, of so many was read."""
    which = "the first" if index == 0 else f"{kind} {index + 1}"
    return f"The file has {count} {kind}s; only {which} is read."


@contextlib.contextmanager
def one_sentence_errors(name: str) -> Iterator[None]:
    """Turn whatever is raised inside into an ImageError that names the file and quotes nothing of it."""
    try:
        yield
    except ImageError as error:
        error.name = error.name or name
        raise
    except MemoryError:
        raise ImageError(f"{name} does not fit into memory; scale it down and try again.", name) from None
    except Exception:  # decoders raise whatever they like at a damaged file, and may quote a patient's data in it
        raise ImageError(
            f"{name} cannot be decoded: it is damaged, incomplete or of a rare kind; save it again as PNG.", name
        ) from None
