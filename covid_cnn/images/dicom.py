"""Read a DICOM file: from its bytes to grayscale pixels the way a viewer shows them. Only `reader` loads this.

Knows the tags that decide how a radiograph looks and whether it is a frontal chest X-ray; repeats nothing that could
tell who the patient is. Free text in a file may hold a name wherever it stands, so of what a file says only numbers
and the words listed here are shown.
"""

import contextlib
import io
import itertools
import logging
import os
import re
import subprocess
import sys
import warnings as python_warnings
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import apply_color_lut, get_decoder, pixel_array
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    RLELossless,
)

from covid_cnn.common.errors import ImageError
from covid_cnn.images import headers, limits
from covid_cnn.images.dicom_tags import depersonalize, modality, pixel_spacing, tag_warnings
from covid_cnn.images.dicom_windows import as_window, modality_lut, padding_range, to_8_bit, unit, ways_to_look
from covid_cnn.images.greys import luma, map_values
from covid_cnn.images.radiograph import Radiograph, Values, check_index, check_size, one_sentence_errors, warn_of_others

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


def read_dicom(data: bytes, name: str, frame: int = 0, window: int | None = None) -> Radiograph:
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
    name = depersonalize(name, dataset)
    with one_sentence_errors(name):
        frames = int(dataset.get("NumberOfFrames") or 1)
        photometric = str(dataset.PhotometricInterpretation).strip()
        samples = 1 if photometric.startswith("MONOCHROME") else max(3, int(dataset.get("SamplesPerPixel") or 1))
        check_size(int(dataset.Columns), int(dataset.Rows), name, samples * int(dataset.BitsAllocated) / 24, frames)
        check_index(frame, frames, name, "frame")
        if not _PHOTOMETRIC.fullmatch(photometric):
            raise ImageError(f"{name} stores its colours in an unknown way; save it again as PNG.")
        _choose_frame(dataset, frame)
        ways = ways_to_look(dataset) if photometric.startswith("MONOCHROME") else {}
        if window is not None:
            check_index(window, len(ways), name, "window")

        warnings = tag_warnings(dataset)
        if frames > 1:
            warnings.append(warn_of_others(frame, frames, "frame"))
        stored = _unpack(dataset, name, frame)
        if photometric == "PALETTE COLOR":
            stored = apply_color_lut(stored, dataset)
        behind = None
        if ways:
            way, measured = list(ways.values())[window or 0], modality_lut(dataset)
            pixels = map_values(stored, lambda numbers: way.look(numbers, measured(numbers)))
            behind = Values(
                *(stored, measured, unit(dataset), tuple(as_window(*item) for item in ways.items()), window or 0),
                inverted=photometric == "MONOCHROME1",
                padding=padding_range(dataset),
            )
        else:
            pixels, more = luma(Image.fromarray(to_8_bit(stored, dataset)))
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
            modality=modality(dataset),
            **pixel_spacing(dataset),
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
    command = [sys.executable, "-P", str(Path(__file__).with_name("codec.py"))]
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
