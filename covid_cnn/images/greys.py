"""From the numbers of a file to greys 0..1."""

from collections.abc import Callable

import numpy as np
from PIL import Image

_ROWS = 64  # of an image that are worked on at once, where all of them would take much memory


def stretch(values: np.ndarray, low: float | None = None, high: float | None = None) -> np.ndarray:
    """Map low..high, or else the finite minimum..maximum, linearly to 0..1, and clip to it.

    Values that are no number become 0; so does everything where low and high are equal.

    Returns
    -------
    float32, of the shape of `values`.
    """
    if low is None or high is None:
        finite = values
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            finite = values[np.isfinite(values)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    stretched = np.zeros(values.shape, np.float32)
    if not low < high:
        return stretched
    for i in range(0, len(values), _ROWS):  # in float64, but never all of it at once
        with np.errstate(all="ignore"):  # infinities on the way end at 0 or 1, and what is no number at 0
            scaled = values[i : i + _ROWS].astype(np.float64)
            np.subtract(scaled, low, out=scaled)
            np.divide(scaled, high - low, out=scaled)
        np.clip(scaled, 0, 1, out=scaled)
        stretched[i : i + _ROWS] = np.nan_to_num(scaled, copy=False)
    return stretched


def map_values(stored: np.ndarray, look: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """What `look` makes of an image, computed once a value instead of once a pixel where there are few values.

    Parameters
    ----------
    stored : number [height, width].
    look : makes float32 0..1 of values, each for itself, or from all those that there are.

    Returns
    -------
    float32, of the shape of `stored`.
    """
    if stored.dtype.kind not in "iu" or stored.dtype.itemsize > 2:
        return look(stored)
    lowest, highest = int(stored.min()), int(stored.max())
    blocks = [slice(i, i + _ROWS) for i in range(0, len(stored), _ROWS)]
    there = np.zeros(highest - lowest + 1, bool)
    for block in blocks:
        there[stored[block].astype(np.int32) - lowest] = True
    table = np.zeros(there.size, np.float32)
    table[there] = look((np.flatnonzero(there) + lowest).astype(stored.dtype))
    shown = np.empty(stored.shape, np.float32)
    for block in blocks:
        np.take(table, stored[block].astype(np.int32) - lowest, out=shown[block], mode="clip")
    return shown


def luma(picture: Image.Image) -> tuple[np.ndarray, list[str]]:
    """Grayscale pixels, float32 [height, width] of 0..1, of a picture of at most 8 bits a channel, and warnings."""
    warnings = []
    if picture.mode not in ("1", "L") or picture.has_transparency_data:
        picture = _over_black(picture)
        if _is_colourful(picture):
            warnings.append("This image is in colour, so it is probably not an X-ray.")
    pixels = np.asarray(picture.convert("L")).astype(np.float32)
    pixels /= 255
    return pixels, warnings


def _over_black(picture: Image.Image) -> Image.Image:
    """The picture in RGB, what is transparent in it showing black."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layer = picture.convert("RGBA")
    black = Image.new("RGB", picture.size)
    black.paste(layer, mask=layer.getchannel("A"))
    return black


def _is_colourful(picture: Image.Image) -> bool:
    """Whether over a tenth of the pixels differ clearly in hue from the picture's overall tint.

    Measured against the median tint, so that a film on a bluish or sepia base is not taken for a photograph; a tenth,
    so that coloured letters and arrows are not either. A few thousand pixels tell enough.
    """
    sample = np.asarray(picture.resize((96, 96), Image.Resampling.NEAREST)).reshape(-1, 3) / 255
    hue = sample - sample.mean(axis=1, keepdims=True)
    return bool((np.abs(hue - np.median(hue, axis=0)).max(axis=1) > 0.1).mean() > 0.1)
