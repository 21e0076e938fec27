"""From any upload to one grayscale radiograph, and from a radiograph to what a network sees.

Knows the image formats (DICOM lies in `covid_cnn.dicom`, loaded only when needed) and the one preprocessing that
training, evaluation and prediction share. The type of a file is told by its content, never by its suffix alone.
"""

import contextlib
import hashlib
import io
import re
import stat
import warnings as python_warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import BmpImagePlugin, Image, ImageOps, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from covid_cnn import headers, limits
from covid_cnn.errors import ImageError

_ROWS = 64  # of an image that are worked on at once, where all of them would take much memory

SMALL_SIDE = 64  # px; below it a warning

DICOM_SUFFIXES = frozenset({".dcm", ".dicom"})
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}) | DICOM_SUFFIXES

# Pillow's own limit lies above ours, which says the same in a sentence.
python_warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

# The PNG text chunk that marks a drawn radiograph, so that one is never taken for a patient's.
SYNTHETIC_KEY = "Software"
SYNTHETIC_PREFIX = "covid_cnn synthetic"

# Naming the plugins loads these alone; Pillow would otherwise load all it has when it meets the first TIFF or WebP.
_FORMATS = tuple(
    plugin.format
    for plugin in (
        PngImagePlugin.PngImageFile,
        JpegImagePlugin.JpegImageFile,
        WebPImagePlugin.WebPImageFile,
        BmpImagePlugin.BmpImageFile,
        TiffImagePlugin.TiffImageFile,
    )
)
_READABLE = "PNG, JPEG, WebP, BMP, TIFF or DICOM"

# What people try besides: (where the mark stands, the mark, what to call it).
_OTHER_KINDS = (
    (0, b"GIF8", "a GIF image"),
    (0, b"%PDF", "a PDF document"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (4, b"ftypheic", "a HEIC photograph"),
    (4, b"ftypheix", "a HEIC photograph"),
    (4, b"ftypmif1", "a HEIC photograph"),
    (4, b"ftypavif", "an AVIF image"),
    (4, b"jP  ", "a JPEG 2000 image"),
)


FULL_RANGE = "from the darkest to the brightest value"


class Window(NamedTuple):
    """A way in which values become greys: about a centre, through a table, or, with neither, over their whole range.

    Attributes
    ----------
    label : what it is called.
    center, width, function : as DICOM has them (PS3.3, C.11.2.1.2 and C.11.2.1.3).
    table : makes float32 0..1 of values.
    """

    label: str
    center: float | None = None
    width: float | None = None
    function: str = "LINEAR"
    table: Callable[[np.ndarray], np.ndarray] | None = None


@dataclass(frozen=True)
class Values:
    """The numbers behind a radiograph's greys, for those who look closely; no network sees them.

    Attributes
    ----------
    stored : number [height, width], as the file has them.
    measured : makes of stored numbers what they mean, such as Hounsfield units (DICOM's modality LUT).
    unit : of what is measured.
    windows : the ways to look at it, in the order of the radiograph's `windows` where it has any.
    window : the index of the one that made the pixels.
    inverted : whether high values are black.
    padding : the lowest and the highest stored number that mean no image, if any do.
    """

    stored: np.ndarray
    measured: Callable[[np.ndarray], np.ndarray] = np.asarray
    unit: str = "stored value"
    windows: tuple[Window, ...] = (Window(FULL_RANGE),)
    window: int = 0
    inverted: bool = False
    padding: tuple[float, float] | None = None


@dataclass(frozen=True)
class Radiograph:
    """One grayscale image, ready to be shown or prepared.

    Attributes
    ----------
    pixels : float32 [height, width], 0..1, where 1 is white (dense, such as bone).
    name : the file's own name, for display; what a DICOM file says of its patient is struck out of it.
    origin : what the file was, such as "JPEG, 1024 x 890 px"; never says who the patient is.
    warnings : what to know before trusting a prediction, one sentence each.
    synthetic : whether `covid_cnn.synthetic` drew it.
    frames : how many frames or pages the file has; one of them was read.
    windows : what `read` takes as its window, a label each, by index; empty where there is nothing to choose.
    frame, window : which of these were read, the frame counted from 0.
    digest : SHA-256 of the file in hexadecimal, as `sha256sum` prints it; empty where there was no file.
    values : the numbers behind the pixels; None where these are 0..255, scaled.
    """

    pixels: np.ndarray
    name: str
    origin: str
    warnings: tuple[str, ...] = ()
    synthetic: bool = False
    frames: int = 1
    windows: tuple[str, ...] = ()
    frame: int = 0
    window: str = ""
    digest: str = ""
    values: Values | None = None


def read(source: bytes | Path, name: str = "", *, frame: int = 0, window: int | None = None) -> Radiograph:
    """Read a PNG, JPEG, WebP, BMP, TIFF or DICOM file as one radiograph.

    8-bit images keep their scale (0..255 becomes 0..1). Deeper grayscale images are stretched from their own darkest
    to their own brightest pixel, because 12-bit data often sits in 16-bit files. Colour becomes luma, transparency
    lies over black, and an EXIF orientation is applied. For DICOM see `covid_cnn.dicom.read`.

    Parameters
    ----------
    source : the file's bytes, or its path.
    name : what to call it; without it a path's own name.
    frame : which frame of a DICOM file, or page of another, to read, from 0.
    window : which of the `windows` that a DICOM file offers to show it with; None takes the first.

    Raises
    ------
    ImageError
        for whatever cannot be read, and nothing but ImageError.
    """
    name = display_name(name or (source.name if isinstance(source, Path) else "") or "image")
    with one_sentence(name):
        data = _load(source, name) if isinstance(source, Path) else source
        _check_bytes(len(data), name)
        radiograph = _decode(data, name, frame, window)
    pixels, warnings = radiograph.pixels, list(radiograph.warnings)
    height, width = pixels.shape
    if min(height, width) < SMALL_SIDE:
        warnings.append(f"The image is very small ({width} x {height} px), so there is little to see in it.")
    if pixels.min() == pixels.max():
        warnings.append("The image is blank: all its pixels have one value.")
    return replace(
        radiograph,
        origin=f"{radiograph.origin}, {width} x {height} px",
        warnings=tuple(warnings),
        frame=frame,
        digest=hashlib.sha256(data).hexdigest(),
    )


def prepare(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a radiograph to what a network sees; training, evaluation and prediction all pass through here.

    The image is stretched to the size, whatever its aspect ratio: letterbox bars would show that ratio, which in
    public collections tells the source of an image and so its class. Shrinking is anti-aliased.

    Parameters
    ----------
    pixels : float [height, width], 0..1.
    size : (height, width) to resize to, in pixels.

    Returns
    -------
    float32 [size[0], size[1], 1], 0..1.
    """
    height, width = size
    picture = Image.fromarray(np.ascontiguousarray(pixels, dtype=np.float32))
    resized = np.array(picture.resize((width, height), Image.Resampling.BILINEAR))
    return np.clip(resized, 0, 1, out=resized)[..., np.newaxis]


def to_png(pixels: np.ndarray) -> bytes:
    """Encode float [H, W] of 0..1 (grayscale) or uint8 [H, W, 3] (RGB) as the bytes of a PNG file."""
    if pixels.dtype != np.uint8:
        pixels = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1)  # a sixth of the time, a sixth larger
    return buffer.getvalue()


# ---- shared with covid_cnn.dicom


def check_size(width: int, height: int, name: str, values: float = 1, frames: int = 1) -> None:
    """Hold a declared size against the limits.

    Parameters
    ----------
    width, height : of the frame that is to be read, in pixels.
    name : of the file.
    values : how many values of 16 bits a pixel takes, where it takes more than one.
    frames : how many there are.

    Raises
    ------
    ImageError
        if the image is too large to decode or too small to be one.
    """
    if min(width, height) < limits.MIN_SIDE:
        raise ImageError(
            f"{name} is only {width} x {height} px; choose an image of at least {limits.MIN_SIDE} px a side."
        )
    if width * height * values > limits.MAX_PIXELS:
        of = f" of {values:g} values" if values > 1 else ""
        million = limits.MAX_PIXELS // 10**6
        raise ImageError(f"{name} has {width} x {height} px{of}, more than {million} million; scale it down first.")
    if frames > limits.MAX_FRAMES:
        raise ImageError(f"{name} has {frames} frames, more than {limits.MAX_FRAMES}; save the one you need by itself.")


def check_choice(index: int, count: int, name: str, kind: str) -> None:
    """Hold a choice, counted from 0, of one of `count` frames, pages or windows against how many there are.

    Raises
    ------
    ImageError
        if there is none of that number.
    """
    if not 0 <= index < count:
        raise ImageError(f"{name} has no {kind} {index + 1}; the number of its {kind}s is {count}.")


def one_of_several(index: int, count: int, kind: str) -> str:
    """The warning that only this frame or page, counted from 0, of so many was read."""
    which = "the first" if index == 0 else f"{kind} {index + 1}"
    return f"The file has {count} {kind}s; only {which} is read."


@contextlib.contextmanager
def one_sentence(name: str) -> Iterator[None]:
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


def by_value(stored: np.ndarray, look: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
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


def display_name(name: str) -> str:
    """The file's own name without its folder (of either kind of slash), safe to print."""
    own = re.split(r"[\\/]", name)[-1] or name
    return "".join(character if character.isprintable() else "?" for character in own)


# ---- the steps of read


def _load(path: Path, name: str) -> bytes:
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):  # reading a pipe or a device might never end
            raise ImageError(f"{name} is not a file; choose an image file.")
        _check_bytes(facts.st_size, name)
        return path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{name} does not exist; check its path.") from None
    except (OSError, ValueError):  # ValueError: a path with a null character
        raise ImageError(f"{name} cannot be opened; check its path and your permission to read it.") from None


def _check_bytes(count: int, name: str) -> None:
    if count == 0:
        raise ImageError(f"{name} is empty; choose another file.")
    if count > limits.MAX_FILE_BYTES:
        raise ImageError(f"{name} is larger than {limits.MAX_FILE_BYTES // 2**20} MiB; scale the image down first.")


def _decode(data: bytes, name: str, frame: int, window: int | None) -> Radiograph:
    """The radiograph, its origin still without the size."""
    if data[128:132] != b"DICM":
        if excess := headers.excess(data):
            raise ImageError(f"{name} {excess}.")
        try:
            with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
                if window is not None:
                    check_choice(window, 0, name, "window")
                return _decode_picture(picture, name, frame)
        except Image.DecompressionBombError:
            raise ImageError(
                f"{name} has more than {limits.MAX_PIXELS // 10**6} million pixels; scale it down first."
            ) from None
        except Image.UnidentifiedImageError:
            if Path(name).suffix.lower() not in DICOM_SUFFIXES and not headers.is_dicom(data):  # it may lack its mark
                raise ImageError(_unreadable(data, name)) from None
    from covid_cnn import dicom

    return dicom.read(data, name, frame, window)


def _unreadable(data: bytes, name: str) -> str:
    for offset, mark, kind in _OTHER_KINDS:
        if data[offset : offset + len(mark)] == mark:
            return f"{name} is {kind}, which is not read; save the image as {_READABLE}."
    return f"{name} is damaged or not an image; choose a {_READABLE} file."


def _decode_picture(picture: Image.Image, name: str, page: int) -> Radiograph:
    check_size(picture.width, picture.height, name)
    if headers.tag_excess(picture.info.get("exif") or b""):  # what a camera wrote; the image can do without
        del picture.info["exif"]
    warnings = []
    pages = getattr(picture, "n_frames", 1)
    # To get to a frame of an animation, all those before it are decoded.
    independent = isinstance(picture, (TiffImagePlugin.TiffImageFile, JpegImagePlugin.JpegImageFile))
    check_size(picture.width, picture.height, name, 1 if independent else pages, pages)
    check_choice(page, pages, name, "page")
    if pages > 1:
        warnings.append(one_of_several(page, pages, "page"))
        picture.seek(page)
        check_size(picture.width, picture.height, name)  # pages differ in size
    origin = {"WEBP": "WebP", "MPO": "JPEG"}.get(str(picture.format), str(picture.format))
    synthetic = str(picture.info.get(SYNTHETIC_KEY, "")).startswith(SYNTHETIC_PREFIX)
    if synthetic:
        origin += ", synthetic"
    # Pillow turns 8-bit TIFFs that store white as 0, but not the deeper ones.
    white_is_zero = isinstance(picture, TiffImagePlugin.TiffImageFile) and picture.tag_v2.get(262) == 0

    picture.load()
    ImageOps.exif_transpose(picture, in_place=True)
    if picture.mode not in ("I", "F") and not picture.mode.startswith("I;16"):
        pixels, more = luma(picture)
        return Radiograph(pixels, name, origin, (*warnings, *more), synthetic, pages)
    stored = np.asarray(picture)
    pixels = by_value(stored, stretch)
    if white_is_zero:
        np.subtract(1, pixels, out=pixels)
    origin += f", {32 if picture.mode in ('I', 'F') else 16} bit"
    values = Values(stored, inverted=white_is_zero)
    return Radiograph(pixels, name, origin, tuple(warnings), synthetic, pages, values=values)


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
