"""Operations on pixels: preparing them for a network, resizing, warping, blurring, letters, heatmap overlays."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw


def prepare(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a radiograph to what a network sees; training, evaluation and prediction all pass through here.

    The image is stretched to the size, whatever its aspect ratio: letterbox bars would show that ratio, which in
    public collections tells the source of an image and so its class. Shrinking is anti-aliased. From float [H, W] of
    0..1 to float32 [*size, 1].
    """
    return _resize(pixels, size, Image.Resampling.BILINEAR)[..., np.newaxis]


def to_png(pixels: np.ndarray) -> bytes:
    """Encode float [H, W] of 0..1 (grayscale) or uint8 [H, W, 3] (RGB) as the bytes of a PNG file."""
    buffer = io.BytesIO()
    # An X-ray repeats nothing: without looking for it, the file is smaller than at the lowest level and sooner made.
    image = Image.fromarray(pixels if pixels.dtype == np.uint8 else _to_bytes(pixels))
    image.save(buffer, format="PNG", compress_type=zlib.Z_HUFFMAN_ONLY)
    return buffer.getvalue()


def _to_bytes(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def about_centre(shape: tuple[int, ...], matrix: np.ndarray, shift: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """Make a movement for `warp` from a matrix ``[2, 2]`` of (x, y): about the centre of the image, then shifted.

    It is float ``[2, 3]``: where in the image each pixel (x, y, 1) of the moved one comes from.
    """
    height, width = shape
    centre = np.array([width - 1, height - 1]) / 2
    return np.column_stack([matrix, centre + shift - matrix @ centre])


def warp(pixels: np.ndarray, movement: np.ndarray, repeat: bool = True) -> np.ndarray:
    """``pixels``, float32 ``[H, W]``, moved; the border is repeated, so that no black frame tells a moved image.

    Without ``repeat``, what comes from outside is 0.
    """
    import cv2  # in the functions, as a prediction needs none of them and it takes longer to load than that takes

    border = cv2.BORDER_REPLICATE if repeat else cv2.BORDER_CONSTANT
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(pixels, movement, pixels.shape[::-1], flags=flags, borderMode=border)


def blur(pixels: np.ndarray, sigma: float) -> np.ndarray:
    """``pixels``, float32 ``[H, W]`` 0..1, under a Gaussian of ``sigma`` pixels."""
    import cv2

    if sigma < 0.01:
        return pixels
    return cv2.GaussianBlur(pixels, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE).clip(0, 1)


def draw_text(pixels: np.ndarray, text: str, place: tuple[float, float], size: float, grey: float) -> np.ndarray:
    """``pixels``, float32 ``[H, W]`` 0..1, with letters of a grey on them; left, top and size are in pixels."""
    height, width = pixels.shape
    stencil = Image.new("L", (width, height))
    ImageDraw.Draw(stencil).text(place, text, fill=255, font_size=size)
    cover = np.asarray(stencil, np.float32) / 255
    return pixels + cover * (np.float32(grey) - pixels)


def stamp(pixels: np.ndarray, left: float, top: float, size: float, text: str = "R") -> np.ndarray:
    """A white letter on it, as the side marker of a radiograph; place and size in shares of the image, 0..1."""
    height, width = pixels.shape
    return draw_text(pixels, text, (left * width, top * height), max(1.0, size * height), 1.0)


# 256 RGB bytes of each of matplotlib's maps, so that a prediction need not wait for matplotlib. All but Jet are
# perceptually uniform and read alike by colour-blind eyes; Jet is there because many papers use it.
with np.load(Path(__file__).with_name("colour_maps.npz")) as _tables:
    COLOUR_MAPS: dict[str, np.ndarray] = dict(_tables)
DEFAULT_COLOUR_MAP = next(iter(COLOUR_MAPS))


def fit_within(pixels: np.ndarray, longest: int = 1024) -> np.ndarray:
    """An image [H, W] 0..1 scaled down, in proportion, until neither side exceeds `longest` pixels; never enlarged."""
    height, width = pixels.shape
    scale = longest / max(height, width)
    if scale >= 1:
        return pixels
    return _resize(pixels, (max(1, round(height * scale)), max(1, round(width * scale))), Image.Resampling.LANCZOS)


def enhance_contrast(pixels: np.ndarray, limit: float = 2.0, tiles: int = 8) -> np.ndarray:
    """A radiograph, float [H, W] 0..1, with its local contrast enhanced, for eyes: CLAHE (Pizer et al. 1987), uint8.

    A grey is stretched at most ``limit`` times; so many ``tiles`` a side have a histogram of their own.
    """
    import cv2

    return np.asarray(cv2.createCLAHE(clipLimit=limit, tileGridSize=(tiles, tiles)).apply(_to_bytes(pixels)))


def upsample(heatmap: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A coarse heatmap [h, w] 0..1 as a smooth float32 one of `size` (height, width), interpolated bicubically."""
    return _resize(heatmap, size, Image.Resampling.BICUBIC)


def overlay(
    pixels: np.ndarray,
    heatmap: np.ndarray,
    opacity: float = 0.5,
    colour_map: str = DEFAULT_COLOUR_MAP,
) -> np.ndarray:
    """An X-ray with a heatmap over it.

    The colour covers each pixel by `opacity` times the heat there: nothing where the heat is 0, so that cold regions
    show the X-ray as it is, and `opacity` where the heat is 1.

    From pixels [H, W] and a heatmap [h, w], float 0..1, which is stretched over the whole of them, to uint8 [H, W, 3].
    """
    level = np.linspace(0, 1, 256, dtype=np.float32)
    cover = np.float32(opacity) * level[:, None, None]
    colours = COLOUR_MAPS[colour_map].astype(np.float32)[:, None]
    mixed = _to_bytes((1 - cover) * level[:, None] + cover * colours / 255)  # of every heat and every grey
    heat, grey = _to_bytes(upsample(heatmap, pixels.shape)), _to_bytes(pixels)
    return mixed.reshape(-1, 3).take(heat * np.uint16(256) + grey, axis=0)


def _resize(image: np.ndarray, size: tuple[int, int], method: Image.Resampling) -> np.ndarray:
    """Resize to `size` (height, width); float32, clipped, as smooth filters overshoot."""
    height, width = size
    resized = Image.fromarray(np.asarray(image, np.float32)).resize((width, height), method)
    return np.asarray(resized).clip(0, 1)
