"""From the bytes of a DICOM file to grayscale pixels the way a viewer shows them. Loaded by `covid_cnn.imaging` alone.

Knows the tags that decide how a radiograph looks and whether it is a frontal chest X-ray; repeats nothing that could
tell who the patient is. Free text in a file may hold a name wherever it stands, so of what a file says only numbers
and the words listed here are shown.
"""

import contextlib
import io
import itertools
import logging
import math
import os
import re
import subprocess
import sys
import warnings as python_warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom
from PIL import Image
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.multival import MultiValue
from pydicom.pixels import apply_color_lut, get_decoder, pixel_array
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    RLELossless,
)

from covid_cnn import headers, limits
from covid_cnn.errors import ImageError
from covid_cnn.imaging import (
    FULL_RANGE,
    IMAGE_SUFFIXES,
    Radiograph,
    Values,
    Window,
    by_value,
    check_choice,
    check_size,
    luma,
    one_of_several,
    one_sentence,
    stretch,
)

# Odd values are the rule in DICOM files, and pydicom's remarks on them may quote a patient's data: keep them quiet.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
python_warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")

_DEFLATED = b"1.2.840.10008.1.2.1.99"
_PHOTOMETRIC = re.compile(r"MONOCHROME[12]|PALETTE COLOR|RGB|YBR_(FULL|FULL_422|PARTIAL_420|ICT|RCT)")
_PIXELS = {tag_for_keyword(word) for word in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")}
# Compressions whose decoder, Pillow's of JPEG, is trusted to work within the app's own process, as with other uploads.
_SAFE = {JPEGBaseline8Bit, JPEGExtended12Bit}
_UNPACKING = (
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "Rows", "Columns", "BitsAllocated"),
    *("BitsStored", "HighBit", "PixelRepresentation"),
)
_FUNCTIONS = ("LINEAR", "LINEAR EXACT", "SIGMOID")
# What rescaled values are in (RescaleType, ModalityLUTType), and how to write it.
_UNITS = {"HU": "HU", "HU MOD": "HU", "OD": "mOD", "MGML": "mg/ml", "PCT": "%"}
_WINDOW_NAMES = frozenset({"NORMAL", "HARDER", "SOFTER", "BONE", "LUNG", "LUNGS", "MEDIASTINUM", "SOFT TISSUE"})

# Where multi-frame objects say for all frames, or for each, what others say once (PS3.3, C.7.6.16).
_FRAME_TAGS = {
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    "FrameVOILUTSequence": (
        *("VOILUTSequence", "VOILUTFunction"),
        *("WindowCenter", "WindowWidth", "WindowCenterWidthExplanation"),
    ),
    "FrameAnatomySequence": ("AnatomicRegionSequence",),
}

_SEQUENCES = {
    tag_for_keyword(word)
    for word in (
        *("ModalityLUTSequence", "VOILUTSequence", "AnatomicRegionSequence", "ViewCodeSequence"),
        *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    )
}

_NOT_XRAY = {"CT", "MR", "US", "PT", "NM"}
_CHEST_LIKE = ("CHEST", "THORA", "TORA", "LUNG", "PULM", "RIB")
# After PS3.16, annex L.
_OTHER_PART = re.compile(
    r"(ABDOMEN|ANKLE|ARM|BLADDER|BRAIN|BREAST|CALCANEUS|CALF|CLAVICLE|COCCYX|COLON|CSPINE|CTSPINE|EAR|ELBOW|"
    r"ESOPHAGUS|EXTREMITY|EYE|FACE|FEET|FEMUR|FINGER|FOOT|FOREARM|HAND|HEAD|HEART|HIP|HUMERUS|JAW|KIDNEY|KNEE|"
    r"LEG|LIVER|LSPINE|LSSPINE|MANDIBLE|NECK|NOSE|ORBIT|PANCREAS|PATELLA|PELVIS|RADIUS|SACRUM|SCAPULA|SHOULDER|"
    r"SINUS|SKULL|SPINE|SPLEEN|SSPINE|STERNUM|STOMACH|TEETH|THIGH|THUMB|TIBIA|TLSPINE|TMJ|TOE|TSPINE|ULNA|"
    r"WHOLEBODY|WRIST|ZYGOMA)S?"
)
_FRONTAL = {"AP", "PA", "FRONTAL", "ANTEROPOSTERIOR", "POSTEROANTERIOR", "ANTERO", "POSTERO"}
_OTHER_VIEWS = {
    "a decubitus": {"LLD", "RLD", "DECUBITUS"},
    "an oblique": {"LLO", "RLO", "LAO", "RAO", "LPO", "RPO", "OBL", "OBLIQUE"},
    "a lateral": {"LL", "RL", "LAT", "LATERAL"},
}

# What may stand in a file's name, because archives make it of these.
_NAME_TAGS = ("PatientName", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName")
_NUMBER_TAGS = ("PatientID", "OtherPatientIDs", "AccessionNumber")
_DATE_TAGS = ("PatientBirthDate", "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")


def read(data: bytes, name: str, frame: int = 0, window: int | None = None) -> Radiograph:
    """Decode one frame of a DICOM file.

    Grayscale passes through the modality LUT or rescale, then one of what the file offers to look at it with: its VOI
    LUTs, its windows, and last the full range, padding left out. MONOCHROME1 is inverted so that bone is white (DICOM
    PS3.3, C.11.1, C.11.2 and C.7.6.3.1.2). Colour becomes luma, and offers no windows.

    Parameters
    ----------
    data : the file's bytes, with or without the DICOM preamble.
    name : what to call the file; the patient's names, numbers and dates are struck out of it.
    frame : which frame, from 0.
    window : which of the radiograph's `windows`, from 0; None takes the first.

    Returns
    -------
    The radiograph, its origin still without the size, and without the digest.

    Raises
    ------
    ImageError
        if the file holds no image, one beyond the limits, one compressed in an unknown way or a damaged one, or
        neither that frame nor that window.
    """
    dataset = _parse(data, name)
    name = _impersonal(name, dataset)
    with one_sentence(name):
        frames = int(dataset.get("NumberOfFrames") or 1)
        photometric = str(dataset.PhotometricInterpretation).strip()
        samples = 1 if photometric.startswith("MONOCHROME") else max(3, int(dataset.get("SamplesPerPixel") or 1))
        values = samples * max(int(dataset.BitsAllocated) / 16, 1)
        check_size(int(dataset.Columns), int(dataset.Rows), name, values, frames)
        check_choice(frame, frames, name, "frame")
        if not _PHOTOMETRIC.fullmatch(photometric):
            raise ImageError(f"{name} stores its colours in an unknown way; save it again as PNG.")
        _choose_frame(dataset, frame)
        ways = _ways_to_look(dataset) if photometric.startswith("MONOCHROME") else {}
        if window is not None:
            check_choice(window, len(ways), name, "window")

        warnings = _tag_warnings(dataset)
        if frames > 1:
            warnings.append(one_of_several(frame, frames, "frame"))
        stored = _unpack(dataset, name, frame)
        if photometric == "PALETTE COLOR":
            stored = apply_color_lut(stored, dataset)
        behind = None
        if ways:
            way, measured = list(ways.values())[window or 0], _modality(dataset)
            pixels = by_value(stored, lambda numbers: way.look(numbers, measured(numbers)))
            behind = Values(
                *(stored, measured, _unit(dataset), tuple(_named(*item) for item in ways.items()), window or 0),
                inverted=photometric == "MONOCHROME1",
                padding=_padding(dataset),
            )
        else:
            pixels, more = luma(Image.fromarray(_to_8_bit(stored, dataset)))
            warnings += more
        if photometric == "MONOCHROME1":
            np.subtract(1, pixels, out=pixels)
            photometric += " (inverted to show bone white)"
        origin = f"DICOM, {int(dataset.BitsStored)} bit, {photometric}"
        chosen = list(ways)[window or 0] if ways else ""
        return Radiograph(
            pixels,
            name,
            origin,
            tuple(warnings),
            frames=frames,
            windows=tuple(ways),
            window=chosen,
            values=behind,
        )


def _parse(data: bytes, name: str) -> pydicom.Dataset:
    if _DEFLATED in data:  # pydicom would inflate it whole, to whatever size, before its header can be looked at
        raise ImageError(f"{name} is a deflated DICOM file, which is not read; save it without deflation.")
    try:
        dataset = pydicom.dcmread(_Metered(data), force=True)
        _leave_out_what_is_too_large(dataset)
        has_pixels = any(word in dataset for word in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"))
    except Exception:
        raise ImageError(f"{name} is a damaged, incomplete or very odd DICOM file; export it again.") from None
    if not has_pixels or not dataset.get("Rows") or not dataset.get("Columns"):
        raise ImageError(f"{name} is a DICOM file without an image in it, or damaged; choose one with an X-ray image.")
    if not dataset.file_meta.get("TransferSyntaxUID"):  # the file lacks its meta header: it was read as it looked
        implicit, little_endian = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset


class _Metered(io.BytesIO):
    """A file that allows so many reads: one of a million tiny elements would take minutes to parse."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads > limits.MAX_READS:
            raise EOFError
        return super().read(size)


def _leave_out_what_is_too_large(dataset: pydicom.Dataset) -> None:
    """Drop elements, but for pixels, that nothing here needs at such a size, before they become lists and items."""
    for tag in list(dataset.keys()):
        element = dataset.get_item(tag)
        if tag in _PIXELS or not isinstance(element, RawDataElement):  # what is not raw was metered
            continue
        is_sequence = element.VR == "SQ" or (element.VR is None and tag in _SEQUENCES)
        limit = limits.MAX_SEQUENCE_BYTES if is_sequence else limits.MAX_ELEMENT_BYTES
        if len(element.value or b"") > limit:
            del dataset[tag]


def _choose_frame(dataset: pydicom.Dataset, frame: int) -> None:
    """Put what a multi-frame object says of the frame where a file of one frame says it."""
    shared = list(dataset.get("SharedFunctionalGroupsSequence") or [])[:1]
    own = list(dataset.get("PerFrameFunctionalGroupsSequence") or [])[frame : frame + 1]
    for group, (sequence, tags) in itertools.product(shared + own, _FRAME_TAGS.items()):
        for item in list(group.get(sequence) or [])[:1]:
            for tag in tags:
                if tag in item:
                    dataset[tag] = item[tag]


def _unpack(dataset: pydicom.Dataset, name: str, frame: int) -> np.ndarray:
    """The frame as stored, YBR turned into RGB: [rows, columns] or [rows, columns, 3]."""
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        decoder = None
    deep = syntax == JPEGExtended12Bit and int(dataset.BitsStored) > 8
    if decoder is None or not decoder.is_available or (deep and not _is_gray_of_12_bits(dataset)):
        kind = "in an unknown way" if syntax.name == str(syntax) else f"as {syntax.name}"
        raise ImageError(f"{name} is compressed {kind}, which cannot be unpacked here; export it uncompressed.")
    if not syntax.is_encapsulated:
        return pixel_array(dataset, index=frame)
    packed = get_frame(dataset.PixelData, frame, number_of_frames=int(dataset.get("NumberOfFrames") or 1))
    del dataset.PixelData  # a copy less of what may be large
    alone = _alone(dataset, packed)
    if syntax == RLELossless:  # pydicom's own decoder, in Python
        return pixel_array(alone, index=0, decoding_plugin="pydicom")
    _check_packed(packed, alone, name)
    if deep and headers.jpeg_size(packed) != (int(alone.Columns), int(alone.Rows), 12):
        raise ImageError(f"{name} contradicts itself about the depth of its image; export it again.")
    del packed
    if deep:
        return _unpack_apart(alone, ["JPEG of 12 bits"])
    if syntax in _SAFE:
        with contextlib.suppress(Exception):  # GDCM may yet read it
            return pixel_array(alone, index=0, decoding_plugin="pillow")
    return _unpack_apart(alone, sorted(decoder.available_plugins, key=lambda plugin: plugin != "pillow"))


def _is_gray_of_12_bits(dataset: pydicom.Dataset) -> bool:
    """Whether the values are stored in the one way that is known to be unpacked right from deep lossy JPEG."""
    samples, allocated, stored, signed = (
        int(dataset.get(tag) or 0) for tag in ("SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation")
    )
    return (samples, allocated, stored, signed) == (1, 16, 12, 0)


def _check_packed(packed: bytes, alone: pydicom.Dataset, name: str) -> None:
    """Hold what a compressed frame says of itself against what the file says of it, before it is unpacked."""
    size = int(alone.Columns), int(alone.Rows)
    found: tuple[int, int] | None = None
    if packed[:2] == b"\xff\xd8":
        if header := headers.jpeg_size(packed):
            found = header[:2]
        if excess := headers.jpeg_excess(packed):
            raise ImageError(f"{name} {excess}.")
    elif declared := headers.jpeg2000_size(packed):
        found = declared[:2]
        if declared[2] > limits.MAX_TILES:
            raise ImageError(f"{name} has {declared[2]} tiles, more than {limits.MAX_TILES}; save it again as PNG.")
    most = limits.MAX_PACKED_RATIO * _unpacked_bytes(alone) + limits.MAX_ELEMENT_BYTES
    if found not in (None, size) or len(packed) > most:
        raise ImageError(f"{name} contradicts itself about the size of its image; export it again.")


def _unpacked_bytes(alone: pydicom.Dataset) -> int:
    values = int(alone.Columns) * int(alone.Rows) * int(alone.get("SamplesPerPixel") or 1)
    return values * int(alone.BitsAllocated) // 8


def _alone(dataset: pydicom.Dataset, packed: bytes) -> pydicom.Dataset:
    """A compressed frame with what it takes to unpack it, and nothing that is known of the patient."""
    alone = pydicom.Dataset()
    alone.file_meta = FileMetaDataset()
    alone.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    for tag in _UNPACKING:
        if tag in dataset:
            alone[tag] = dataset[tag]
    alone.NumberOfFrames = 1
    alone.PixelData = encapsulate([packed])
    return alone


def _unpack_apart(alone: pydicom.Dataset, plugins: list[str]) -> np.ndarray:
    """Unpack a frame in a process of its own, which a damaged frame can crash or stall without harm to the app."""
    seconds = limits.CODEC_SECONDS + int(alone.Rows) * int(alone.Columns) / limits.CODEC_PIXELS_PER_SECOND
    buffer = io.BytesIO()
    alone.save_as(buffer, enforce_file_format=False)
    del alone.PixelData
    command = [sys.executable, "-P", str(Path(__file__).with_name("codec_worker.py"))]
    memory = limits.CODEC_BYTES + limits.CODEC_BYTES_PER_BYTE * _unpacked_bytes(alone)
    command += [str(seconds), str(memory), *plugins]
    unpacked = subprocess.run(
        command,
        input=buffer.getvalue(),
        capture_output=True,
        timeout=limits.CODEC_WALL_SECONDS,
        check=True,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # which takes memory for each
    )
    return np.load(io.BytesIO(unpacked.stdout), allow_pickle=False)


# ---- from stored values to gray


def _modality(dataset: pydicom.Dataset) -> Callable[[np.ndarray], np.ndarray]:
    """From stored values to what they mean; holds on to nothing else of the file."""
    for table in dataset.get("ModalityLUTSequence") or []:
        return lambda stored: _look_up(stored, table)[0]
    slope, intercept = _rescale(dataset)
    if (slope, intercept) == (1, 0):
        return np.asarray
    return lambda stored: stored.astype(np.float64) * slope + intercept


def _rescale(dataset: pydicom.Dataset) -> tuple[float, float]:
    slope, intercept = (_numbers(dataset, tag) for tag in ("RescaleSlope", "RescaleIntercept"))
    return (slope or [1.0])[0], (intercept or [0.0])[0]


def _unit(dataset: pydicom.Dataset) -> str:
    """What the values behind the modality LUT are in; CT's are in HU where it is not said (PS3.3, C.8.2.1.1.2)."""
    tables = list(dataset.get("ModalityLUTSequence") or [])[:1]
    if unit := _UNITS.get(_text(tables[0], "ModalityLUTType") if tables else _text(dataset, "RescaleType")):
        return unit
    if not tables and _text(dataset, "Modality") == "CT":
        return "HU"
    return "rescaled value" if tables or _rescale(dataset) != (1, 0) else "stored value"


def _look_up(values: np.ndarray, table: pydicom.Dataset) -> tuple[np.ndarray, float]:
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


def _named(label: str, way: _Way) -> Window:
    table = (lambda values: way.look(values, values)) if way.is_table else None
    function = way.function if way.function in _FUNCTIONS else "LINEAR"  # never free text
    return Window(label, way.center, way.width, function, table)


def _ways_to_look(dataset: pydicom.Dataset) -> dict[str, _Way]:
    """The VOI LUTs, the windows and the full range, by what each is called."""
    ways: dict[str, _Way] = {}
    tables = list(dataset.get("VOILUTSequence") or [])[: limits.MAX_WINDOWS]
    for number, table in enumerate(tables, start=1):
        label = f"lookup table {number}{_in_brackets(_text(table, 'LUTExplanation'))}"
        ways[label] = _Way(partial(_through, table), is_table=True)
    function = _text(dataset, "VOILUTFunction") or "LINEAR"
    names = dataset.get("WindowCenterWidthExplanation")
    names = list(names) if isinstance(names, MultiValue) else [names]
    centers, widths = _numbers(dataset, "WindowCenter"), _numbers(dataset, "WindowWidth")
    windows = itertools.zip_longest(centers, widths, names[: len(centers)])
    for center, width, name in itertools.islice(windows, limits.MAX_WINDOWS):
        if center is not None and width is not None and width > (function == "LINEAR") and math.isfinite(center):
            label = f"centre {center:g}, width {width:g}{_in_brackets(_plain(name))}"
            ways.setdefault(label, _Way(partial(_windowed, center, width, function), center, width, function))
    ways[FULL_RANGE] = _Way(partial(_over_full_range, _padding(dataset)))
    return ways


def _through(table: pydicom.Dataset, _: np.ndarray, values: np.ndarray) -> np.ndarray:
    found, top = _look_up(values, table)
    return stretch(found, 0, top)


def _windowed(center: float, width: float, function: str, _: np.ndarray, values: np.ndarray) -> np.ndarray:
    """PS3.3, C.11.2.1.2 and C.11.2.1.3."""
    if function == "SIGMOID":
        return (0.5 + 0.5 * np.tanh(2 * (values.astype(np.float32) - center) / width)).astype(np.float32)
    if function != "LINEAR EXACT":
        center, width = center - 0.5, width - 1
    return stretch(values, center - width / 2, center + width / 2)


def _padding(dataset: pydicom.Dataset) -> tuple[float, float] | None:
    """The lowest and the highest stored value that detectors set outside their shutters (C.7.5.1.1.2)."""
    padding = _numbers(dataset, "PixelPaddingValue") + _numbers(dataset, "PixelPaddingRangeLimit")
    return (min(padding), max(padding)) if padding else None


def _over_full_range(padding: tuple[float, float] | None, stored: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Stretch to 0..1 the values that are no padding."""
    if padding:
        image = values[(stored < padding[0]) | (stored > padding[1])]
        if image.size:
            return stretch(values, float(image.min()), float(image.max()))
    return stretch(values)


def _to_8_bit(values: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """Colour of any depth to uint8 [height, width, 3]."""
    if values.dtype == np.uint8:
        return values
    # A palette's entries fill their type; other samples fill the bits stored.
    bits = 16 if dataset.PhotometricInterpretation == "PALETTE COLOR" else int(dataset.BitsStored)
    return (values >> max(bits - 8, 0)).astype(np.uint8)


# ---- what the file says of itself


def _numbers(dataset: pydicom.Dataset, tag: str) -> list[float]:
    """The tag's values, or none where they are no numbers."""
    with contextlib.suppress(ValueError, TypeError):
        value = dataset.get(tag)
        values = value if isinstance(value, MultiValue) else [value]
        return [float(number) for number in values if number is not None and number != ""]
    return []


def _plain(value: object) -> str:
    """Upper-case words with single spaces between them; never to be shown as it is."""
    return " ".join(re.findall(r"[^\W_]+", str(value or "").upper()))


def _text(dataset: pydicom.Dataset, *tags: str) -> str:
    return " ".join(filter(None, (_plain(dataset.get(tag)) for tag in tags)))


def _meanings(dataset: pydicom.Dataset, tag: str) -> str:
    return " ".join(_text(item, "CodeMeaning") for item in dataset.get(tag) or [])


def _in_brackets(name: str) -> str:
    return f" ({name.lower()})" if name in _WINDOW_NAMES else ""


def _tag_warnings(dataset: pydicom.Dataset) -> list[str]:
    warnings = []
    modality = _text(dataset, "Modality")
    if modality in _NOT_XRAY:
        warnings.append(f"The file says that this is {modality}, not an X-ray.")
    warnings += _body_part_warning(dataset)
    if view := _other_view(dataset):
        warnings.append(f"The file says this is {view} view; the models are trained on frontal views.")
    if _text(dataset, "PresentationIntentType") == "FOR PROCESSING":
        warnings.append("The file holds a detector's raw values, which look unlike the images the models learned from.")
    if _text(dataset, "BurnedInAnnotation") == "YES":
        warnings.append("The file says that writing is burned into the image; look whether it names the patient.")
    return warnings


def _body_part_warning(dataset: pydicom.Dataset) -> list[str]:
    stated = f"{_text(dataset, 'BodyPartExamined')} {_meanings(dataset, 'AnatomicRegionSequence')}".strip()
    text = stated or _text(dataset, "StudyDescription", "SeriesDescription", "ProtocolName")
    if any(word in text for word in _CHEST_LIKE) and "SPINE" not in text:
        return []
    for word in (text.replace(" ", ""), *text.split()):
        if part := _OTHER_PART.fullmatch(word):
            return [f"The file says the body part is {part[1]}, not chest."]
    return ["The file names a body part that is not known to be the chest."] if stated else []


def _other_view(dataset: pydicom.Dataset) -> str:
    """What the view is called if it is not frontal, article included; the first source that tells decides."""
    described = _text(dataset, "SeriesDescription", "ProtocolName", "AcquisitionDeviceProcessingDescription")
    for text in (_text(dataset, "ViewPosition"), _meanings(dataset, "ViewCodeSequence"), described):
        words = set(text.split())
        if words & _FRONTAL:
            return ""
        for view, names in _OTHER_VIEWS.items():
            if words & names:
                return view
    along_rows = _text(dataset, "PatientOrientation")[:1]  # across a frontal view they run from left to right
    return "a lateral" if along_rows in ("A", "P") else ""


def _impersonal(name: str, dataset: pydicom.Dataset) -> str:
    """The file's name with the patient's names, numbers and dates struck out."""
    suffix = Path(name).suffix if Path(name).suffix.lower() in IMAGE_SUFFIXES else ""  # else it may be a name, too
    stem = name.removesuffix(suffix)
    for word in _text(dataset, *_NAME_TAGS, *_NUMBER_TAGS).split():
        if len(word) >= 4:
            stem = re.sub(word, "***", stem, flags=re.IGNORECASE)
        elif len(word) > 1 and word.isalpha():
            stem = re.sub(rf"(?<![^\W_]){word}(?![^\W_])", "***", stem, flags=re.IGNORECASE)
    for date in _text(dataset, *_DATE_TAGS).split():
        if match := re.fullmatch(r"(\d{4})(\d\d)(\d\d)", date):
            year, month, day = match.groups()
            for parts in ((year, month, day), (day, month, year), (month, day, year)):
                stem = re.sub(r"[\W_]?".join(parts), "***", stem)
    return stem + suffix
