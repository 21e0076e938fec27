"""From the numbers of a file to greys 0..1."""

from collections.abc import Callable

import numpy as np
from PIL import Image

NARROW = 1 / 20  # of the greys that there could be: an image that uses fewer is nearly one grey
IN_COLOUR = "This image is in colour, so it is probably not an X-ray."
ALL_TRANSPARENT = "The file says that all of the image is transparent; it is read as if it were not."
STRETCHED = "The image uses less than a twentieth of its greys, and is stretched to be seen."
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow
_ROWS = 64  # of an image that are worked on at once, where all of them would take much memory


def stretch(values: np.ndarray, low: float | None = None, high: float | None = None) -> np.ndarray:
    """Map low..high, or else the finite minimum..maximum, linearly to 0..1, and clip to it.

    Values that are no number become 0; so does everything where low and high are equal. The result is float32.
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

    It makes float32 0..1 of values, each for itself, or from all those that there are.
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


def flatten(samples: np.ndarray, colours: int, has_alpha: bool = False) -> tuple[np.ndarray, list[str]]:
    """One number a pixel of the samples of an image of any depth, and warnings.

    The samples, number [height, width, samples], are 1 or 3 colours, the transparency, over black, if there is any, and
    what is left out.
    """
    warnings = []
    values = samples[..., 0]
    if colours == 3 and any(not np.array_equal(values, samples[..., i]) for i in (1, 2)):
        values = np.empty(samples.shape[:2], np.float32)
        for row, out in zip(samples, values, strict=True):
            np.dot(row[:, :3].astype(np.float32), _LUMA, out=out)
        if _is_colourful(samples[:: -(-len(samples) // 96), :: -(-samples.shape[1] // 96), :3]):
            warnings.append(IN_COLOUR)
    if has_alpha:
        alpha = samples[..., colours].astype(np.float32)
        alpha /= 1 if samples.dtype.kind == "f" else np.iinfo(samples.dtype).max
        if alpha.max() < NARROW:
            warnings.append(ALL_TRANSPARENT)
        elif alpha.min() < 1:
            values = values * alpha
    return values, warnings


def luma(picture: Image.Image) -> tuple[np.ndarray, list[str]]:
    """Grayscale pixels, float32 [height, width] of 0..1, of a picture of at most 8 bits a channel, and warnings."""
    warnings = []
    if picture.mode not in ("1", "L") or picture.has_transparency_data:
        picture, is_transparent = _over_black(picture)
        if is_transparent:
            warnings.append(ALL_TRANSPARENT)
        if _is_colourful(np.asarray(picture.resize((96, 96), Image.Resampling.NEAREST))):
            warnings.append(IN_COLOUR)
    grey = picture if picture.mode == "L" else picture.convert("L")  # which would copy it
    return np.divide(np.asarray(grey), np.float32(255), dtype=np.float32), warnings


def _over_black(picture: Image.Image) -> tuple[Image.Image, bool]:
    """The picture in RGB, what is transparent in it showing black; and whether all is, and was not let be so."""
    if not picture.has_transparency_data:
        return picture.convert("RGB"), False
    layer = picture.convert("RGBA")
    alpha = layer.getchannel("A")
    if np.asarray(alpha).max() < 255 * NARROW:
        return layer.convert("RGB"), True
    black = Image.new("RGB", picture.size)
    black.paste(layer, mask=alpha)
    return black, False


def _is_colourful(sample: np.ndarray) -> bool:
    """Whether over a tenth of the pixels differ clearly in hue from the picture's overall tint.

    Measured against the median tint, so that a film on a bluish or sepia base is not taken for a photograph; a tenth,
    so that coloured letters and arrows are not either. A few thousand pixels, number [height, width, 3], tell enough.
    """
    shares = np.ascontiguousarray(sample.reshape(-1, 3).T, np.float64)  # a row a colour, which NumPy is quick at
    shares /= 255 if sample.dtype == np.uint8 else max(np.nanmax(np.abs(shares)), 1e-9)
    hue = shares - shares.mean(axis=0)
    return bool((np.abs(hue - np.median(hue, axis=1, keepdims=True)).max(axis=0) > 0.1).mean() > 0.1)


def is_narrow(values: np.ndarray, depth: int) -> bool:
    """Whether whole numbers of so many bits use so few of them that one who did not stretch them saw one grey."""
    return values.dtype.kind in "iu" and int(values.max()) - int(values.min()) < NARROW * 2**depth


def spread(pixels: np.ndarray) -> tuple[float, float]:
    """Between which greys 99 % of the pixels lie, by some 16,000 of them: all would take longer than decoding."""
    some = pixels[:: -(-len(pixels) // 128), :: -(-pixels.shape[1] // 128)]
    low, high = np.percentile(some, (0.5, 99.5), method="nearest")
    return float(low), float(high)
