"""The viewer of one X-ray and its heatmaps: a component that works in the browser, with no wait for the server.

What it looks like is in ``viewer.html`` and ``viewer.css``, what it does in ``viewer.js``; this module hands it its
data, as JSON and in memory alone.
"""

import base64
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import streamlit as st

from covid_cnn import figures, report
from covid_cnn.imaging import Radiograph

HEAT_SIDE = 256  # px; the browser enlarges it further, linearly
_HTML, _CSS, _JS = (
    Path(__file__).with_name(f"viewer.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")
)
_component = st.components.v2.component("covid_cnn_viewer", html=_HTML, css=_CSS, js=_JS)


class Map(NamedTuple):
    """A heatmap, float [h, w] of 0..1, of what speaks for a class of a model."""

    model: str
    name: str
    heat: np.ndarray


def packed(radiograph: Radiograph) -> dict[str, Any]:
    """The part of the viewer's data that is the X-ray; takes a tenth of a second, so keep it while the image stays."""
    pixels = figures.fit_within(radiograph.pixels)
    height, width = pixels.shape
    full_height, full_width = radiograph.pixels.shape
    return {
        "pixels": _deflated(np.rint(65535 * pixels).astype("<u2")),
        "width": width,
        "height": height,
        "full_width": full_width,
        "full_height": full_height,
    }


def show(
    key: str, image: dict[str, Any], maps: Sequence[Map], first: int, second: int | None = None, heat: bool = True
) -> tuple[str, str] | None:
    """The viewer on the page.

    Parameters
    ----------
    key : its own among the viewers of the page; with the same key it keeps its settings.
    image : the X-ray, from `packed`.
    maps : the heatmaps that can be chosen.
    first : the index of the one that is shown at first.
    second : the index of one to open beside it.
    heat : whether heat is shown at first.

    Returns
    -------
    Model and class of the heatmap that a person chose, or None before anyone chose.
    """
    height, width = image["height"], image["width"]
    scale = min(1, HEAT_SIDE / max(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    several = len({each.model for each in maps}) > 1
    data = image | {
        "heat_width": size[1],
        "heat_height": size[0],
        "maps": [
            {"model": each.model, "name": each.name, "several": several, "heat": _deflated(_eight_bit(each.heat, size))}
            for each in maps
        ],
        "palettes": {name: _text(table.astype(np.uint8)) for name, table in figures.COLOUR_MAPS.items()},
        "first": first,
        "second": second,
        "show": "colours" if heat else "off",
        "notice": report.NOTICE,
    }
    chosen = _component(key=key, data=data, on_shown_change=lambda: None).shown
    return (chosen[0], chosen[1]) if chosen else None


def _eight_bit(heat: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.rint(255 * figures.upsample(heat, size).clip(0, 1)).astype(np.uint8)


def _deflated(array: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(array.tobytes(), 1)).decode("ascii")


def _text(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")
