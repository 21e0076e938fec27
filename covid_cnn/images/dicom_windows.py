"""From the stored values of a DICOM file to greys: modality and VOI look-up tables, rescaling, windows, padding."""

import itertools
import math
from collections.abc import Callable
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


def modality_lut(dataset: pydicom.Dataset) -> Callable[[np.ndarray], np.ndarray]:
    """From stored values to what they mean; holds on to nothing else of the file."""
    for table in _tables(dataset, "ModalityLUTSequence"):
        return table.look_up
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


class _Table(NamedTuple):
    """A look-up table: its entries, uint16, the value that takes the first, their bits, and what it is called."""

    entries: np.ndarray
    first: int
    depth: int
    explanation: str

    def look_up(self, values: np.ndarray) -> np.ndarray:
        """Pass values through; what lies outside takes the first or last entry.

        pydicom's own functions take neither rescaled values, which are floats, nor modality LUTs of 12 bits.
        """
        first = self.first
        if first >= 2**15 and values.min() < 0:  # written as unsigned, meant as signed
            first -= 2**16
        with np.errstate(invalid="ignore"):
            places = np.rint(values).astype(np.int64) - first
        return self.entries[np.clip(places, 0, len(self.entries) - 1)]

    def greys(self, values: np.ndarray) -> np.ndarray:
        """Make greys of values, white being the largest value of the bits that it declares, or that its entries have.

        Many tables declare more; one bit more may be meant, for a table that is to look dark.
        """
        own = int(self.entries.max()).bit_length()
        return stretch(self.look_up(values), 0, max(2 ** (self.depth if own == self.depth - 1 else own) - 1, 1))


def _tables(dataset: pydicom.Dataset, sequence: str) -> list[_Table]:
    """The tables of a sequence that have entries."""
    little_endian = dataset.original_encoding[1] is not False
    tables = []
    for item in list(dataset.get(sequence) or [])[: limits.MAX_WINDOWS]:
        descriptor = _words(item.get("LUTDescriptor"), little_endian)
        if len(descriptor) < 2:
            continue
        count, first = int(descriptor[0]) % 2**16 or 2**16, int(descriptor[1])
        entries = _words(item.get("LUTData"), little_endian, count)[:count]
        if len(entries):
            depth = int(descriptor[2]) if len(descriptor) > 2 else 16
            tables.append(_Table((entries & 0xFFFF).astype(np.uint16), first, depth, words_of(item, "LUTExplanation")))
    return tables


def _words(value: object, little_endian: bool, count: int = 3) -> np.ndarray:
    """The whole numbers of an element that may have any VR; int64."""
    if value is None or value == "":
        return np.array([], np.int64)
    if not isinstance(value, bytes):
        return np.atleast_1d(np.asarray(value, np.int64))
    if len(value) < 2 * count:  # a byte each, two to a word
        numbers = np.frombuffer(value, np.uint8)
        if not little_endian and len(numbers) % 2 == 0:
            numbers = numbers.reshape(-1, 2)[:, ::-1].ravel()
    else:
        numbers = np.frombuffer(value[: len(value) // 2 * 2], "<u2" if little_endian else ">u2")
    return numbers.astype(np.int64)


def windows_of(dataset: pydicom.Dataset) -> tuple[Window, ...]:
    """The VOI LUTs, the windows and the full range; of windows that are called the same, the first."""
    windows: dict[str, Window] = {}
    for number, table in enumerate(_tables(dataset, "VOILUTSequence"), start=1):
        label = f"lookup table {number}{_in_brackets(table.explanation)}"
        windows[label] = Window(label, table=table.greys)
    function = words_of(dataset, "VOILUTFunction")
    function = function if function in _FUNCTIONS else "LINEAR"  # never free text
    names = dataset.get("WindowCenterWidthExplanation")
    names = list(names) if isinstance(names, MultiValue) else [names]
    centers, widths = numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth")
    for center, width, name in itertools.islice(itertools.zip_longest(centers, widths, names), limits.MAX_WINDOWS):
        if center is not None and width is not None and width > (function == "LINEAR") and math.isfinite(center):
            label = f"centre {center:g}, width {width:g}{_in_brackets(plain_words(name))}"
            windows.setdefault(label, Window(label, center, width, function))
    return (*windows.values(), Window(FULL_RANGE))


def look_through(
    window: Window,
    measured: Callable[[np.ndarray], np.ndarray],
    padding: tuple[float, float] | None,
    stored: np.ndarray,
) -> np.ndarray:
    """Stored values as greys, float32 0..1, by a window of `windows_of` (PS3.3, C.11.2.1.2 and C.11.2.1.3).

    ``measured`` is what `modality_lut` gives, ``padding`` the `padding_range`, which the full range leaves out.
    """
    values, center, width = measured(stored), window.center, window.width
    if window.table:
        return window.table(values)
    if center is None or width is None:
        image = values[(stored < padding[0]) | (stored > padding[1])] if padding else values
        return stretch(values, float(image.min()), float(image.max())) if padding and image.size else stretch(values)
    if window.function == "SIGMOID":
        return (0.5 + 0.5 * np.tanh(2 * (values.astype(np.float32) - center) / width)).astype(np.float32)
    if window.function == "LINEAR":
        center, width = center - 0.5, width - 1
    return stretch(values, center - width / 2, center + width / 2)


def padding_range(dataset: pydicom.Dataset) -> tuple[float, float] | None:
    """The lowest and the highest stored value that detectors set outside their shutters (C.7.5.1.1.2).

    Whatever the VR that it is written in, it is a value of the type of the pixels.
    """
    kind = next((word for word in ("DoubleFloatPixel", "FloatPixel") if f"{word}Data" in dataset), "Pixel")
    padding = [
        number for tag in (f"{kind}PaddingValue", f"{kind}PaddingRangeLimit") for number in numbers(dataset, tag)[:1]
    ]
    if kind == "Pixel":
        size = 2 ** int(dataset.BitsAllocated)
        lowest = -size // 2 if dataset.PixelRepresentation else 0
        padding = [(number - lowest) % size + lowest for number in padding]
    return (min(padding), max(padding)) if padding else None


def _in_brackets(name: str) -> str:
    return f" ({name.lower()})" if name in _WINDOW_NAMES else ""
