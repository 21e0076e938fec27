"""What if the image were another: changes to a radiograph, to be put before a model one after the other.

An answer that rests on the lungs should survive a letter in the corner, and should not survive the lungs being hidden.
Each change is a plain function, float32 ``[H, W]`` 0..1 -> the same type and range, and ``CHANGES`` lists them with
what can be chosen, so that a page or a guided tour can offer any of them::

    changed = CHANGES["stamp"].apply(pixels, left=0.05, top=0.05, size=0.1)
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from covid_cnn.common.errors import ImageError
from covid_cnn.images import ops
from covid_cnn.images.lungs import segment_both_lungs
from covid_cnn.images.ops import stamp


def mirror(pixels: np.ndarray) -> np.ndarray:
    """Left and right change places."""
    return np.ascontiguousarray(pixels[:, ::-1])


def rotate(pixels: np.ndarray, degrees: float) -> np.ndarray:
    """Turned about the centre, clockwise for positive degrees; what comes from outside repeats the border."""
    angle = math.radians(degrees)
    # The movement tells where each pixel comes from, so it turns the other way, in an image whose rows run downwards.
    matrix = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return ops.warp(pixels, ops.about_centre(pixels.shape, matrix)).clip(0, 1)


def crop(pixels: np.ndarray, share: float) -> np.ndarray:
    """Without the outermost ``share`` (0..0.45) of height and width on each side: a smaller image."""
    height, width = pixels.shape
    rows, columns = (min(round(share * side), (side - 1) // 2) for side in (height, width))
    return pixels[rows : height - rows, columns : width - columns].copy()


def brighten(pixels: np.ndarray, amount: float) -> np.ndarray:
    """``pixels ** 2 ** -amount``: brighter above 0, darker below; black stays black and white stays white."""
    return pixels ** np.float32(2.0**-amount)


def blur(pixels: np.ndarray, sigma: float) -> np.ndarray:
    """Under a Gaussian of ``sigma`` hundredths of the width."""
    return ops.blur(pixels, sigma / 100 * pixels.shape[1])


def enhance(pixels: np.ndarray, limit: float) -> np.ndarray:
    """With its local contrast enhanced (`ops.enhance_contrast`), a grey stretched at most ``limit`` times."""
    return ops.enhance_contrast(pixels, limit).astype(np.float32) / 255


def hide_lungs(pixels: np.ndarray, lungs: np.ndarray) -> np.ndarray:
    """Black where the lungs are, bool ``[H, W]``."""
    return np.where(lungs, np.float32(0), pixels)


def keep_lungs(pixels: np.ndarray, lungs: np.ndarray) -> np.ndarray:
    """Black everywhere but where the lungs are, bool ``[H, W]``."""
    return np.where(lungs, pixels, np.float32(0))


def cover(pixels: np.ndarray, left: float, top: float, width: float, height: float, grey: float = 0.0) -> np.ndarray:
    """An even rectangle over it; place and size in shares of the image, 0..1. What lies outside is cut off."""
    rows, columns = pixels.shape
    covered = pixels.copy()
    covered[
        round(top * rows) : round((top + height) * rows), round(left * columns) : round((left + width) * columns)
    ] = grey
    return covered


@dataclass(frozen=True)
class Setting:
    """A number to choose for a change: from ``low`` to ``high``, ``value`` at first, in steps of ``step``."""

    title: str
    low: float
    high: float
    value: float
    step: float = 0.01


@dataclass(frozen=True)
class Change:
    """A change to an image: what to call it, its function, and the numbers that the function takes, by name."""

    title: str
    done: str  # it as what was done to the image, to begin a sentence: "Mirroring"
    apply: Callable[..., np.ndarray]
    settings: Mapping[str, Setting] = field(default_factory=dict)
    moves: bool = False  # whether it moves what is in the image, so that the lungs move along
    of_lungs: bool = False  # whether the function takes the lungs, bool ``[H, W]``, after the image

    def defaults(self) -> dict[str, float]:
        """The settings as they are at first."""
        return {name: setting.value for name, setting in self.settings.items()}


_LEFT, _TOP = Setting("From the left", 0, 0.95, 0.05), Setting("From the top", 0, 0.95, 0.05)
CHANGES: dict[str, Change] = {
    "mirror": Change("Mirror", "Mirroring", mirror, moves=True),
    "rotate": Change(
        "Rotate", "Turning", rotate, {"degrees": Setting("Degrees, clockwise", -45, 45, 10, 1)}, moves=True
    ),
    "crop": Change(
        "Crop", "Cutting off the edges", crop, {"share": Setting("Share cut off on each side", 0, 0.4, 0.1)}, moves=True
    ),
    "brighten": Change(
        "Brighten or darken", "Another brightness", brighten, {"amount": Setting("Brighter", -2, 2, 0.5, 0.1)}
    ),
    "blur": Change("Blur", "Blurring", blur, {"sigma": Setting("Spread, hundredths of the width", 0, 5, 1, 0.1)}),
    "enhance": Change(
        "Enhance local contrast",
        "Another local contrast",
        enhance,
        {"limit": Setting("Stretched at most", 1, 8, 2, 0.5)},
    ),
    "hide_lungs": Change("Hide the lungs", "Hiding the lungs", hide_lungs, of_lungs=True),
    "keep_lungs": Change("Hide all but the lungs", "Hiding all but the lungs", keep_lungs, of_lungs=True),
    "cover": Change(
        "Cover a rectangle",
        "Covering a rectangle",
        cover,
        {
            "left": Setting("From the left", 0, 0.95, 0.3),
            "top": Setting("From the top", 0, 0.95, 0.3),
            "width": Setting("Width", 0.02, 1, 0.25),
            "height": Setting("Height", 0.02, 1, 0.25),
            "grey": Setting("Grey: 0 black, 1 white", 0, 1, 0, 0.05),
        },
    ),
    "stamp": Change("Stamp an R", "An R", stamp, {"left": _LEFT, "top": _TOP, "size": Setting("Size", 0.02, 0.4, 0.1)}),
}

LONGEST = 2048  # px a side, of an image that is changed


class Step(NamedTuple):
    """One change of a series: a key of ``CHANGES`` and its settings."""

    change: str
    settings: Mapping[str, float]


def apply_steps(pixels: np.ndarray, steps: Sequence[Step]) -> Iterator[np.ndarray]:
    """The image after each step, each on top of those before.

    Lungs are looked for in the image as it is at first, and move along with it: a changed one would show other lungs,
    or none. A larger image than ``LONGEST`` pixels a side is made smaller first, which no network notices. Raises
    ImageError when a step of the lungs is reached and no two lungs were found.
    """
    changes, pixels = [CHANGES[step.change] for step in steps], ops.fit_within(pixels, LONGEST)
    lungs = segment_both_lungs(pixels) if any(change.of_lungs for change in changes) else None
    for step, change in zip(steps, changes, strict=True):
        if not change.of_lungs:
            pixels = change.apply(pixels, **step.settings)
        elif lungs is not None:
            pixels = change.apply(pixels, lungs, **step.settings)
        else:
            raise ImageError("No two lungs were found in this image, so there is nothing to hide; undo this step.")
        if change.moves and lungs is not None:
            lungs = change.apply(lungs.astype(np.float32), **step.settings) > 0.5
        yield pixels
