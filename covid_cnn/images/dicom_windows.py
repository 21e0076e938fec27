"""From the stored values of a DICOM file to greys: modality and VOI look-up tables, rescaling, windows, padding."""

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import pydicom
from pydicom.multival import MultiValue

from covid_cnn.images import limits
from covid_cnn.images.dicom_tags import numbers, plain_words, words_of
from covid_cnn.images.greys import stretch
from covid_cnn.images.radiograph import FULL_RANGE, Window

_FUNCTIONS = ("LINEAR", "LINEAR EXACT", "SIGMOID")
# What rescaled values are in (RescaleType, ModalityLUTType), and how to write it.
_UNITS = {"HU": "HU", "HU MOD": "HU", "OD": "mOD", "MGML": "mg/ml", "PCT": "%"}
_WINDOW_NAMES = frozenset({"NORMAL", "HARDER", "SOFTER", "BONE", "LUNG", "LUNGS", "MEDIASTINUM", "SOFT TISSUE"})


# ---- from stored values to gray


def modality_lut(dataset: pydicom.Dataset) -> Callable[[np.ndarray], np.ndarray]:
    """From stored values to what they mean; holds on to nothing else of the file."""
    for table in dataset.get("ModalityLUTSequence") or []:
        return lambda stored: look_up(stored, table)[0]
    slope, intercept = _rescale(dataset)
    if (slope, intercept) == (1, 0):
        return np.asarray
    return lambda stored: stored.astype(np.float64) * slope + intercept


def _rescale(dataset: pydicom.Dataset) -> tuple[float, float]:
    slope, intercept = (numbers(dataset, tag) for tag in ("RescaleSlope", "RescaleIntercept"))
    return (slope or [1.0])[0], (intercept or [0.0])[0]


def unit(dataset: pydicom.Dataset) -> str:
    """What the values behind the modality LUT are in; CT's are in HU where it is not said (PS3.3, C.8.2.1.1.2)."""
    tables = list(dataset.get("ModalityLUTSequence") or [])[:1]
    if unit := _UNITS.get(words_of(tables[0], "ModalityLUTType") if tables else words_of(dataset, "RescaleType")):
        return unit
    if not tables and words_of(dataset, "Modality") == "CT":
        return "HU"
    return "rescaled value" if tables or _rescale(dataset) != (1, 0) else "stored value"


def look_up(values: np.ndarray, table: pydicom.Dataset) -> tuple[np.ndarray, float]:
    """Pass values through a LUT; what lies outside takes its first or last entry.

    pydicom's own functions take neither rescaled values, which are floats, nor modality LUTs of 12 bits.

    Returns
    -------
    uint16, of the shape of `values`, and the largest value that the table's depth allows.
    """
    count, first, depth = (int(number) for number in table.LUTDescriptor)
    count = count or 2**16
    content = table.LUTData
    if isinstance(content, bytes):
        entries = np.frombuffer(content, np.uint8 if len(content) < 2 * count else "<u2")
    else:
        entries = np.atleast_1d(np.asarray(content, np.int64))
    entries = entries[:count].astype(np.uint16)
    if first >= 2**15 and values.min() < 0:  # written as unsigned, meant as signed
        first -= 2**16
    with np.errstate(invalid="ignore"):
        places = np.rint(values).astype(np.int64) - first
    depth = max(depth, int(entries.max()).bit_length())
    return entries[np.clip(places, 0, len(entries) - 1)], float(2**depth - 1)


class _Way(NamedTuple):
    """How to get from stored values and those behind the modality LUT to float32 0..1, and the window that it is."""

    look: Callable[[np.ndarray, np.ndarray], np.ndarray]
    center: float | None = None
    width: float | None = None
    function: str = "LINEAR"
    is_table: bool = False


def as_window(label: str, way: _Way) -> Window:
    """A way to look as the ``Window`` that a radiograph offers."""
    table = (lambda values: way.look(values, values)) if way.is_table else None
    function = way.function if way.function in _FUNCTIONS else "LINEAR"  # never free text
    return Window(label, way.center, way.width, function, table)


def ways_to_look(dataset: pydicom.Dataset) -> dict[str, _Way]:
    """The VOI LUTs, the windows and the full range, by what each is called."""
    ways: dict[str, _Way] = {}
    tables = list(dataset.get("VOILUTSequence") or [])[: limits.MAX_WINDOWS]
    for number, table in enumerate(tables, start=1):
        label = f"lookup table {number}{_in_brackets(words_of(table, 'LUTExplanation'))}"
        ways[label] = _Way(partial(_through, table), is_table=True)
    function = words_of(dataset, "VOILUTFunction") or "LINEAR"
    names = dataset.get("WindowCenterWidthExplanation")
    names = list(names) if isinstance(names, MultiValue) else [names]
    centers, widths = numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth")
    windows = itertools.zip_longest(centers, widths, names[: len(centers)])
    for center, width, name in itertools.islice(windows, limits.MAX_WINDOWS):
        if center is not None and width is not None and width > (function == "LINEAR") and math.isfinite(center):
            label = f"centre {center:g}, width {width:g}{_in_brackets(plain_words(name))}"
            ways.setdefault(label, _Way(partial(_windowed, center, width, function), center, width, function))
    ways[FULL_RANGE] = _Way(partial(_over_full_range, padding_range(dataset)))
    return ways


def _through(table: pydicom.Dataset, _: np.ndarray, values: np.ndarray) -> np.ndarray:
    found, top = look_up(values, table)
    return stretch(found, 0, top)


def _windowed(center: float, width: float, function: str, _: np.ndarray, values: np.ndarray) -> np.ndarray:
    """PS3.3, C.11.2.1.2 and C.11.2.1.3."""
    if function == "SIGMOID":
        return (0.5 + 0.5 * np.tanh(2 * (values.astype(np.float32) - center) / width)).astype(np.float32)
    if function != "LINEAR EXACT":
        center, width = center - 0.5, width - 1
    return stretch(values, center - width / 2, center + width / 2)


def padding_range(dataset: pydicom.Dataset) -> tuple[float, float] | None:
    """The lowest and the highest stored value that detectors set outside their shutters (C.7.5.1.1.2)."""
    padding = numbers(dataset, "PixelPaddingValue") + numbers(dataset, "PixelPaddingRangeLimit")
    return (min(padding), max(padding)) if padding else None


def _over_full_range(padding: tuple[float, float] | None, stored: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Stretch to 0..1 the values that are no padding."""
    if padding:
        image = values[(stored < padding[0]) | (stored > padding[1])]
        if image.size:
            return stretch(values, float(image.min()), float(image.max()))
    return stretch(values)


def to_8_bit(values: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """Colour of any depth to uint8 [height, width, 3]."""
    if values.dtype == np.uint8:
        return values
    # A palette's entries fill their type; other samples fill the bits stored.
    bits = 16 if dataset.PhotometricInterpretation == "PALETTE COLOR" else int(dataset.BitsStored)
    return (values >> max(bits - 8, 0)).astype(np.uint8)


def _in_brackets(name: str) -> str:
    return f" ({name.lower()})" if name in _WINDOW_NAMES else ""
