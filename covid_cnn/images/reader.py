"""From the bytes of any upload to one radiograph.

Knows the image formats (DICOM lies in `dicom`, loaded only when needed). The type of a file is told by its content,
never by its suffix alone.
"""

import hashlib
import io
import re
import stat
import warnings as python_warnings
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import BmpImagePlugin, Image, ImageOps, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from covid_cnn.common.errors import ImageError
from covid_cnn.common.jobs import T, map_ahead
from covid_cnn.images import headers, limits, tiff
from covid_cnn.images.greys import NARROW, STRETCHED, flatten, is_narrow, luma, map_values, spread, stretch
from covid_cnn.images.radiograph import Radiograph, Values, check_index, check_size, one_sentence_errors, warn_of_others


def read_ahead(files: Iterable[Path], then: Callable[[Radiograph], T]) -> Generator[T | ImageError, None, None]:
    """``then(radiograph)`` for each file, in order; for one that cannot be read, its error.

    Decoding leaves Python's lock, so threads use all cores. Only a few images are held at a time, whatever their
    number.
    """
    return map_ahead(files, partial(_read, then))


def _read(then: Callable[[Radiograph], T], file: Path) -> T | ImageError:
    try:
        return then(read(file))
    except ImageError as error:
        return error


SMALLEST_USUAL_SIDE = 64  # px; below it a warning
DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".dic", ".ima"})
IMAGE_SUFFIXES = DICOM_SUFFIXES | {
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".pjpeg", ".pjp", ".mpo"),
    *(".webp", ".bmp", ".dib", ".tif", ".tiff", ".btf", ".tf8"),
}
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


def read(source: bytes | Path, name: str = "", *, frame: int = 0, window: int | None = None) -> Radiograph:
    """Read a PNG, JPEG, WebP, BMP, TIFF or DICOM file as one radiograph; raises ImageError, and nothing else.

    8-bit images keep their scale (0..255 becomes 0..1). Deeper grayscale images are stretched from their own darkest to
    their own brightest pixel, because 12-bit data often sits in 16-bit files. Colour becomes luma, transparency lies
    over black, and an EXIF orientation is applied. For DICOM see `dicom.read_dicom`.

    Parameters
    ----------
    source : the file's bytes, or its path.
    name : what to call it; without it a path's own name.
    frame : which frame of a DICOM file, or page of another, to read, from 0.
    window : which of the `windows` that a DICOM file offers to show it with; None takes the first.
    """
    name = display_name(name or (source.name if isinstance(source, Path) else "") or "image")
    with one_sentence_errors(name):
        data = _load(source, name) if isinstance(source, Path) else source
        _check_bytes(len(data), name)
        radiograph = _decode(data, name, frame, window)
    pixels, warnings = radiograph.pixels, list(radiograph.warnings)
    height, width = pixels.shape
    if min(height, width) < SMALLEST_USUAL_SIDE:
        warnings.append(f"The image is very small ({width} x {height} px), so there is little to see in it.")
    low, high = spread(pixels)
    if low == high:
        raise ImageError(f"{radiograph.name} is blank: 99 % of its pixels or more have one grey; choose another image.")
    values = radiograph.values
    if high - low < NARROW:
        pixels, values = stretch(pixels, low, high), None  # no window of the numbers makes these greys
        warnings = list(dict.fromkeys([*warnings, STRETCHED]))
    return replace(
        radiograph,
        pixels=pixels,
        values=values,
        origin=f"{radiograph.origin}, {width} x {height} px",
        warnings=tuple(warnings),
        frame=frame,
        digest=hashlib.sha256(data).hexdigest(),
    )


def display_name(name: str) -> str:
    """The file's own name without its folder (of either kind of slash), safe to print."""
    own = re.split(r"[\\/]", name)[-1] or name
    return "".join(character if character.isprintable() else "?" for character in own)


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
        if window is not None and headers.is_image(data):
            check_index(window, 0, name, "window")
        pages = tiff.read_pages(data) if headers.is_tiff(data) else []
        page = pages[frame] if 0 <= frame < len(pages) else None
        if page and not page.is_plain:
            return _decode_samples(data, page, name, frame, len(pages))
        try:
            with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
                return _decode_picture(picture, name, frame, data)
        except (ImageError, MemoryError):
            raise
        except Image.DecompressionBombError:
            raise ImageError(
                f"{name} has more than {limits.MAX_PIXELS // 10**6} million pixels; scale it down first."
            ) from None
        except Exception as error:
            if page and page.problem:
                raise ImageError(f"{name} {page.problem}; save it as 16-bit PNG.") from None
            if not isinstance(error, Image.UnidentifiedImageError):
                raise
            if Path(name).suffix.lower() not in DICOM_SUFFIXES and not headers.is_dicom(data):  # it may lack its mark
                raise ImageError(_unreadable(data, name)) from None
    from covid_cnn.images import dicom

    return dicom.read_dicom(data, name, frame, window)


def _unreadable(data: bytes, name: str) -> str:
    for offset, mark, kind in _OTHER_KINDS:
        if data[offset : offset + len(mark)] == mark:
            return f"{name} is {kind}, which is not read; save the image as {_READABLE}."
    return f"{name} is damaged or not an image; choose a {_READABLE} file."


def _decode_samples(data: bytes, page: tiff.Page, name: str, index: int, pages: int) -> Radiograph:
    """A page of a TIFF whose samples Pillow has no mode for."""
    samples = _turn(tiff.read_samples(data, page, name), page.number(tiff.ORIENTATION))
    radiograph = _from_samples(samples, page.colours, page.depth, page.has_alpha, page.white_is_zero)
    warnings = [warn_of_others(index, pages, "page")] if pages > 1 else []
    synthetic = str(page.tags.get(tiff.SOFTWARE, "")).startswith(SYNTHETIC_PREFIX)
    return replace(
        radiograph,
        name=name,
        origin=f"TIFF{', synthetic' if synthetic else ''}, {page.depth} bit",
        warnings=(*warnings, *radiograph.warnings),
        synthetic=synthetic,
        frames=pages,
    )


def _from_samples(
    samples: np.ndarray, colours: int, depth: int, has_alpha: bool = False, white_is_zero: bool = False
) -> Radiograph:
    """A radiograph without a name, of samples of so many bits [height, width, samples]."""
    stored, warnings = flatten(samples, colours, has_alpha)
    if depth == 8 and samples.dtype == np.uint8:
        pixels, values = stretch(stored, 0, 255), None
    else:
        pixels, values = map_values(stored, stretch), Values(stored, inverted=white_is_zero)
        if is_narrow(samples[..., :colours], depth):
            warnings.append(STRETCHED)
    if white_is_zero:
        np.subtract(1, pixels, out=pixels)
    return Radiograph(pixels, "", "", tuple(warnings), values=values)


def _decode_picture(picture: Image.Image, name: str, page: int, data: bytes) -> Radiograph:
    check_size(picture.width, picture.height, name)
    if headers.tag_excess(picture.info.get("exif") or b""):  # what a camera wrote; the image can do without
        del picture.info["exif"]
    warnings = []
    pages = getattr(picture, "n_frames", 1)
    # To get to a frame of an animation, all those before it are decoded.
    independent = isinstance(picture, (TiffImagePlugin.TiffImageFile, JpegImagePlugin.JpegImageFile))
    check_size(picture.width, picture.height, name, 1 if independent else pages, pages)
    check_index(page, pages, name, "page")
    if pages > 1:
        warnings.append(warn_of_others(page, pages, "page"))
        picture.seek(page)
        check_size(picture.width, picture.height, name)  # pages differ in size
    origin = {"WEBP": "WebP", "MPO": "JPEG"}.get(str(picture.format), str(picture.format))
    synthetic = str(picture.info.get(SYNTHETIC_KEY, "")).startswith(SYNTHETIC_PREFIX)
    if synthetic:
        origin += ", synthetic"
    has_deep_colours = pages == 1 and headers.has_deep_colours(data)
    orientation = int(picture.getexif().get(tiff.ORIENTATION, 1)) if has_deep_colours else 1
    picture.load()  # also where others are asked for the values, for it tells of damage
    if has_deep_colours:
        check_size(picture.width, picture.height, name, 8 / 3)
        samples = _deep_png(data)
        radiograph = _from_samples(_turn(samples, orientation), 3, 16, has_alpha=samples.shape[2] == 4)
    else:
        ImageOps.exif_transpose(picture, in_place=True)
        if not picture.mode.startswith(("I", "F")):
            pixels, more = luma(picture)
            return Radiograph(pixels, name, origin, (*warnings, *more), synthetic, pages)
        radiograph = _from_samples(np.asarray(picture)[..., None], 1, depth=16)
    warnings += radiograph.warnings
    return replace(
        radiograph, name=name, origin=f"{origin}, 16 bit", warnings=tuple(warnings), synthetic=synthetic, frames=pages
    )


def _deep_png(data: bytes) -> np.ndarray:
    """The samples of a PNG with colours or transparency of 16 bits, which Pillow halves: [height, width, 3 or 4]."""
    import cv2

    samples = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if samples is None or samples.ndim != 3:
        raise ValueError
    return samples[..., [2, 1, 0, 3][: samples.shape[2]]]


def _turn(samples: np.ndarray, orientation: int) -> np.ndarray:
    """As a TIFF or Exif says that the picture stands (TIFF 6.0, Orientation)."""
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    return samples[:, ::-1] if orientation in (2, 3, 6, 7) else samples
