"""The viewer of one X-ray and its heatmaps: a component that works in the browser, with no wait for the server.

What it looks like is in ``viewer.html`` and ``viewer.css``, what it does in ``viewer.js``; this module hands it its
data, as JSON and in memory alone.
"""

import base64
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import streamlit as st

from covid_cnn.app.shared import elements
from covid_cnn.images import ops
from covid_cnn.images.radiograph import Radiograph, Values, Window
from covid_cnn.reports import wording

LONGEST = 2048  # px a side; of a larger image every second pixel is shown, or every third
HEAT_SIDE = 256  # px; the browser enlarges it further, linearly
_DRAWN = "viewer_drawn"  # in the session: opacity and colours as last chosen in a viewer
_component = elements.register_component(Path(__file__).with_name("viewer"))


class Map(NamedTuple):
    """A heatmap, float [h, w] of 0..1, of what speaks for a class of a model, and how it was made."""

    model: str
    name: str
    heat: np.ndarray
    by: str


class Shown(NamedTuple):
    """What a person chose to see: the model and the class of a heatmap, and how heat is drawn."""

    model: str
    name: str
    opacity: float = 0.5
    colour_map: str = ops.DEFAULT_COLOUR_MAP


def packed(radiograph: Radiograph) -> dict[str, Any]:
    """The X-ray as the viewer takes it: its stored numbers, losslessly, what they mean, and the ways to look at them.

    Takes some tenths of a second, so keep it while the image stays.
    """
    values = radiograph.values or _eight_bits(radiograph.pixels)
    full_height, full_width = values.stored.shape
    every = math.ceil(max(full_height, full_width) / LONGEST)
    steps, stored = _steps(_every_nth(values.stored, every), radiograph.values is None)
    with np.errstate(all="ignore"):
        measured = np.nan_to_num(values.measured(stored).astype(np.float64))
    there = np.bincount(steps.ravel(), minlength=stored.size) > 0
    if values.padding:
        image = there & ((stored < values.padding[0]) | (stored > values.padding[1]))
        there = image if image.any() else there
    height, width = steps.shape
    presets = [_preset(window, measured, measured[there]) for window in values.windows]
    if len(presets) == 1:
        presets += _parts(steps, measured, there)
    return {
        "pixels": _deflated_rows(steps),
        "bytes": steps.itemsize,
        "width": width,
        "height": height,
        "full_width": full_width,
        "full_height": full_height,
        "every": every,
        "measured": _deflated(measured.astype("<f8")),
        "unit": values.unit,
        "inverted": values.inverted,
        "presets": presets,
        "preset": values.window,
        "spacing": radiograph.spacing,
        "at_detector": radiograph.at_detector,
    }


def enhanced(radiograph: Radiograph) -> str:
    """The X-ray with its local contrast enhanced (CLAHE), as many pixels of it as `packed` has, for the viewer."""
    every = math.ceil(max(radiograph.pixels.shape) / LONGEST)
    return _deflated_rows(ops.enhance_contrast(_every_nth(radiograph.pixels, every)))


def _every_nth(pixels: np.ndarray, every: int) -> np.ndarray:
    """Every second pixel, or third, of an array ``[H, W]``, and of a side shorter than that the last."""
    height, width = pixels.shape
    return pixels[min(every // 2, height - 1) :: every, min(every // 2, width - 1) :: every]


def map_facts(radiograph: Radiograph) -> str:
    """What the numbers under the pointer are, as Markdown."""
    if radiograph.values is None:
        return "Under the pointer are the grey values of the file, from 0 to 255."
    kinds = {"stored value": "the file's stored values", "rescaled value": "the file's rescaled values"}
    unit = radiograph.values.unit
    return f"Under the pointer are {kinds.get(unit, f'values in {unit}')}."


def _eight_bits(pixels: np.ndarray) -> Values:
    window = Window("from 0, black, to 255, white", 128, 256)
    return Values(np.rint(255 * pixels).astype(np.uint8), unit="of 255", windows=(window,))


def _steps(stored: np.ndarray, all_256: bool) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of any kind as uint8 or uint16 of their shape, and the number that each step stands for.

    Exact, but for floats and for integers that span more than 16 bits: those are rounded to one of 65,536 steps.
    """
    finite = stored[np.isfinite(stored)] if stored.dtype.kind == "f" else stored
    low, high = (finite.min(), finite.max()) if finite.size else (0, 0)
    if all_256:
        low, high = 0, 255
    span = float(high) - float(low)
    if stored.dtype.kind in "iu" and span < 2**16:
        steps = (stored.astype(np.int64) - int(low)).astype("<u2" if span > 255 else np.uint8)
        return steps, (int(low) + np.arange(int(span) + 1)).astype(stored.dtype)
    scaled = np.nan_to_num((stored.astype(np.float64) - float(low)) * (65535 / (span or 1)), posinf=65535, neginf=0)
    return np.rint(scaled).clip(0, 65535).astype("<u2"), float(low) + np.arange(2**16) * (span / 65535)


def _preset(window: Window, measured: np.ndarray, shown: np.ndarray) -> dict[str, Any]:
    """A window by its numbers; a table by the grey of each step besides those of the whole range."""
    low, high = float(shown.min()), float(shown.max())
    center, width, function = window.center, window.width, window.function
    if center is None or width is None:
        center, width, function = (low + high) / 2, high - low, "LINEAR EXACT"
        if not width:  # one value: black, as `greys.stretch` has it
            center, width = low + 0.5, 1.0
    greys = None if window.table is None else _deflated(np.rint(255 * window.table(measured)).astype(np.uint8))
    return {"name": window.label, "center": center, "width": width, "function": function, "greys": greys}


def _parts(steps: np.ndarray, measured: np.ndarray, there: np.ndarray) -> list[dict[str, Any]]:
    """Windows about the lower and the upper half of the pixels, for an image that brings one window alone."""
    counts = np.bincount(steps.ravel(), minlength=there.size) * there
    part = np.cumsum(counts[np.argsort(measured)]) / counts.sum()
    lowest, middle, highest = (float(np.sort(measured)[np.searchsorted(part, share)]) for share in (0.02, 0.5, 0.98))
    halves = {"low values": (lowest, middle), "high values": (middle, highest)}
    return [
        {"name": name, "center": (low + high) / 2, "width": high - low, "function": "LINEAR EXACT", "greys": None}
        for name, (low, high) in halves.items()
        if high > low
    ]


def is_enhanced(key: str) -> bool:
    """Whether a person asked a viewer for the X-ray with its local contrast enhanced."""
    return bool(st.session_state.get(key, {}).get("enhanced"))


def show_viewer(
    key: str,
    image: dict[str, Any],
    maps: Sequence[Map],
    first: int,
    second: int | None = None,
    heat: bool = True,
    headline: str = "",
) -> Shown:
    """The viewer on the page, and what a person chose in it; how heat is drawn goes along from one viewer to the next.

    Parameters
    ----------
    key : its own among the viewers of the page; with the same key it keeps its settings.
    image : the X-ray, from `packed`, and as "enhanced" what `enhanced` gives, where that was asked for.
    first, second : the index of the one of the ``maps`` that is shown at first, and of one to open beside it.
    heat : whether heat is shown at first.
    headline : what the model says, for full screen, where nothing else of the page is seen.
    """

    def drawn() -> None:
        st.session_state[_DRAWN] = tuple(st.session_state[key]["drawn"])

    height, width = image["height"], image["width"]
    scale = min(1, HEAT_SIDE / max(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    several = len({each.model for each in maps}) > 1
    data = image | {
        "heat_width": size[1],
        "heat_height": size[0],
        "maps": [
            each._asdict() | {"several": several, "heat": _deflated(_eight_bit(each.heat, size))} for each in maps
        ],
        "palettes": {name: _text(table.astype(np.uint8)) for name, table in ops.COLOUR_MAPS.items()},
        "first": first,
        "second": second,
        "show": "colours" if heat else "off",
        "notice": wording.NOTICE,
        "headline": f"{headline}. {wording.NOTICE}" if headline else wording.NOTICE,
    }
    chosen = _component(
        key=key,
        data=data,
        on_shown_change=lambda: None,
        on_drawn_change=drawn,
        on_enhanced_change=lambda: None,
    ).shown
    model, name = chosen or maps[first][:2]
    return Shown(model, name, *st.session_state.get(_DRAWN, ()))


def _eight_bit(heat: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.rint(255 * ops.upsample(heat, size).clip(0, 1)).astype(np.uint8)


def _deflated(array: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(array.tobytes(), 1)).decode("ascii")


def _deflated_rows(image: np.ndarray) -> str:
    """An unsigned image ``[h, w]`` by what each row differs from the one above: of an X-ray two thirds of the size.

    Such noise hardly repeats itself, so that to look for repeats would double the time and find none.
    """
    differences = np.diff(image, axis=0, prepend=np.zeros_like(image[:1]))
    stream = zlib.compressobj(level=1, strategy=zlib.Z_HUFFMAN_ONLY)
    return base64.b64encode(stream.compress(differences.tobytes()) + stream.flush()).decode("ascii")


def _text(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")
