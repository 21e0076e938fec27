"""From the bytes of a DICOM file to grayscale pixels the way a viewer shows them. Loaded by `covid_cnn.imaging` alone.

Knows the tags that decide how a radiograph looks and whether it is a frontal chest X-ray; repeats nothing that could
tell who the patient is.
"""

import contextlib
import io
import logging
import math
import re
import subprocess
import sys
import warnings as python_warnings
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.multival import MultiValue
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, get_decoder, pixel_array
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from covid_cnn.errors import ImageError
from covid_cnn.imaging import check_size, luma, stretch

# Odd values are the rule in DICOM files, and pydicom's remarks on them may quote a patient's data: keep them quiet.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
python_warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")

_DEFLATED = b"1.2.840.10008.1.2.1.99"
_CHEST_LIKE = ("CHEST", "THORA", "TORA", "LUNG", "PULM", "RIB")
_LATERAL = {"LL", "RL", "LAT", "LATERAL"}
_NOT_XRAY = {"CT", "MR", "US", "PT", "NM"}


def read(data: bytes, name: str) -> tuple[np.ndarray, str, list[str]]:
    """Decode the first frame of a DICOM file.

    Grayscale passes through the modality LUT, then the VOI LUT or the first window, then is scaled to 0..1 over the
    window or, without one, from minimum to maximum; MONOCHROME1 is inverted so that bone is white (DICOM PS3.3,
    C.11.1, C.11.2 and C.7.6.3.1.2). Colour becomes luma.

    Parameters
    ----------
    data : the file's bytes, with or without the DICOM preamble.
    name : what to call the file in an error.

    Returns
    -------
    Pixels (float32 [height, width], 0..1), what the file was, without its size, and warnings, one sentence each.

    Raises
    ------
    ImageError
        if the file holds no image, one beyond the limits, or one compressed in an unknown way. A damaged
        file may raise any other exception.
    """
    dataset = _parse(data, name)
    frames = int(dataset.get("NumberOfFrames") or 1)
    check_size(int(dataset.Columns), int(dataset.Rows), name, frames)

    warnings = _tag_warnings(dataset)
    if frames > 1:
        warnings.append(f"The file has {frames} frames; only the first is read.")
    photometric = str(dataset.PhotometricInterpretation)
    values = _unpack(dataset, data, name)
    if photometric == "PALETTE COLOR":
        values = apply_color_lut(values, dataset)
    if values.ndim == 3:
        pixels, more = luma(Image.fromarray(_to_8_bit(values, dataset)))
        warnings += more
    else:
        pixels = _to_gray(values, dataset)
    if photometric == "MONOCHROME1":
        np.subtract(1, pixels, out=pixels)
        photometric += " (inverted to show bone white)"
    return pixels, f"DICOM, {int(dataset.BitsStored)} bit, {photometric}", warnings


def _parse(data: bytes, name: str) -> pydicom.Dataset:
    if _DEFLATED in data:  # pydicom would inflate it whole, to whatever size, before its header can be looked at
        raise ImageError(f"{name} is a deflated DICOM file, which is not read; save it without deflation.")
    try:
        dataset = pydicom.dcmread(io.BytesIO(data), force=True)
        has_pixels = any(word in dataset for word in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"))
    except Exception:
        raise ImageError(f"{name} is a damaged or incomplete DICOM file; export it again.") from None
    if not has_pixels or not dataset.get("Rows") or not dataset.get("Columns"):
        raise ImageError(f"{name} is a DICOM file without an image in it, or damaged; choose one with an X-ray image.")
    if not dataset.file_meta.get("TransferSyntaxUID"):  # the file lacks its meta header: it was read as it looked
        implicit, little_endian = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset


def _unpack(dataset: pydicom.Dataset, data: bytes, name: str) -> np.ndarray:
    """The first frame as stored, YBR turned into RGB: [rows, columns] or [rows, columns, 3]."""
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        decoder = None
    if decoder is None or not decoder.is_available:
        kind = "in an unknown way" if syntax.name == str(syntax) else f"as {syntax.name}"
        raise ImageError(f"{name} is compressed {kind}, which cannot be unpacked here; export it uncompressed.")
    if "pillow" in decoder.available_plugins:
        with contextlib.suppress(Exception):  # GDCM may yet read it
            return pixel_array(dataset, index=0, decoding_plugin="pillow")
    if "gdcm" in decoder.available_plugins:  # a damaged frame can crash it, and must not crash the app with it
        worker = [sys.executable, "-P", str(Path(__file__).with_name("gdcm_worker.py"))]
        unpacked = subprocess.run(worker, input=data, capture_output=True, timeout=120, check=True)
        return np.load(io.BytesIO(unpacked.stdout))
    return pixel_array(dataset, index=0)


def _to_gray(values: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """Stored values to float32 0..1, as the file's LUTs or its first window say."""
    values = apply_modality_lut(values, dataset)
    if dataset.get("VOILUTSequence"):
        return stretch(apply_voi_lut(values, dataset))
    center, width = _first_number(dataset, "WindowCenter"), _first_number(dataset, "WindowWidth")
    if not (math.isfinite(center) and math.isfinite(width) and width > 1):
        return stretch(values)
    function = dataset.get("VOILUTFunction")
    if function == "SIGMOID":
        return (0.5 + 0.5 * np.tanh(2 * (values.astype(np.float32) - center) / width)).astype(np.float32)
    if function != "LINEAR_EXACT":
        center, width = center - 0.5, width - 1
    return stretch(values, center - width / 2, center + width / 2)


def _first_number(dataset: pydicom.Dataset, tag: str) -> float:
    value = dataset.get(tag)
    if isinstance(value, MultiValue):
        value = value[0] if value else None
    return math.nan if value is None else float(value)


def _to_8_bit(values: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """Colour of any depth to uint8 [height, width, 3]."""
    if values.dtype == np.uint8:
        return values
    # A palette's entries fill their type; other samples fill the bits stored.
    bits = 16 if dataset.PhotometricInterpretation == "PALETTE COLOR" else int(dataset.BitsStored)
    return (values >> max(bits - 8, 0)).astype(np.uint8)


def _tag_warnings(dataset: pydicom.Dataset) -> list[str]:
    warnings = []
    modality, part, view = (_code(dataset, tag) for tag in ("Modality", "BodyPartExamined", "ViewPosition"))
    if modality in _NOT_XRAY:
        warnings.append(f"The file says that this is {modality}, not an X-ray.")
    if part and not any(word in part for word in _CHEST_LIKE):
        warnings.append(f"The file says the body part is {part}, not chest.")
    if view in _LATERAL:
        warnings.append("The file says this is a lateral view; the models are trained on frontal views.")
    return warnings


def _code(dataset: pydicom.Dataset, tag: str) -> str:
    """The tag's value if it is a code, as DICOM wants it, and not free text."""
    value = str(dataset.get(tag) or "").strip().upper()
    return value if re.fullmatch(r"[A-Z0-9_ ]{1,16}", value) else ""
