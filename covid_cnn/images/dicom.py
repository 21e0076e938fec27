"""Read a DICOM file: from its bytes to grayscale pixels the way a viewer shows them. Only `reader` loads this.

Knows the tags that decide how a radiograph looks and whether it is a frontal chest X-ray; repeats nothing that could
tell who the patient is. Free text in a file may hold a name wherever it stands, so of what a file says only numbers
and the words listed here are shown.
"""

import io
import itertools
import logging
import re
import warnings as python_warnings
import zlib
from dataclasses import replace
from functools import partial

import numpy as np
import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.filereader import read_dataset
from pydicom.pixels import apply_color_lut
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from covid_cnn.common.errors import ImageError
from covid_cnn.images import limits
from covid_cnn.images.dicom_frames import FLOATS, complete_header, unpack_frame
from covid_cnn.images.dicom_tags import depersonalize, modality, pixel_spacing, tag_warnings
from covid_cnn.images.dicom_windows import look_through, modality_lut, padding_range, unit, windows_of
from covid_cnn.images.greys import NARROW, STRETCHED, flatten, is_narrow, map_values, spread, stretch
from covid_cnn.images.radiograph import (
    FULL_RANGE,
    Radiograph,
    Values,
    check_index,
    check_size,
    one_sentence_errors,
    warn_of_others,
)

# Odd values are the rule in DICOM files, and pydicom's remarks on them may quote a patient's data: keep them quiet.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
python_warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
_PHOTOMETRIC = re.compile(r"MONOCHROME[12]|PALETTE COLOR|RGB|YBR_(FULL|FULL_422|PARTIAL_420|ICT|RCT)")
_PIXELS = {tag_for_keyword(word) for word in ("PixelData", *FLOATS)}
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
    """Decode one frame of a DICOM file, with or without its preamble; frame and window as `reader.read` takes them.

    Grayscale passes through the modality LUT or rescale, then one of what the file offers to look at it with: its VOI
    LUTs, its windows, and last the full range, padding left out. MONOCHROME1 is inverted so that bone is white (DICOM
    PS3.3, C.11.1, C.11.2 and C.7.6.3.1.2). Colour becomes luma, and offers no windows. The patient's names, numbers and
    dates are struck out of the file's ``name``. The origin is still without the size, and there is no digest.

    Raises ImageError where the file holds no image, one beyond the limits, one compressed in an unknown way or a
    damaged one, or neither that frame nor that window.
    """
    dataset = _parse(data, name)
    name = depersonalize(name, dataset)
    with one_sentence_errors(name):
        complete_header(dataset)
        frames = max(int(dataset.get("NumberOfFrames") or 1), 1)
        photometric = str(dataset.PhotometricInterpretation)
        samples = 1 if photometric.startswith("MONOCHROME") else max(3, int(dataset.SamplesPerPixel))
        check_size(int(dataset.Columns), int(dataset.Rows), name, samples * int(dataset.BitsAllocated) / 24, frames)
        check_index(frame, frames, name, "frame")
        if not _PHOTOMETRIC.fullmatch(photometric):
            raise ImageError(f"{name} stores its colours in an unknown way; save it again as PNG.")
        _choose_frame(dataset, frame)
        warnings = tag_warnings(dataset)
        if frames > 1:
            warnings.append(warn_of_others(frame, frames, "frame"))
        stored = unpack_frame(dataset, name, frame)
        if stored.ndim == 2 and photometric != "PALETTE COLOR":
            radiograph = _gray(stored, dataset, name, window)
        else:
            if window is not None:
                check_index(window, 0, name, "window")
            radiograph = _colour(stored, dataset)
        return replace(
            radiograph,
            name=name,
            warnings=(*warnings, *radiograph.warnings),
            frames=frames,
            modality=modality(dataset),
            **pixel_spacing(dataset),
        )


def _gray(stored: np.ndarray, dataset: pydicom.Dataset, name: str, window: int | None) -> Radiograph:
    """Stored numbers as one looks at them."""
    windows, measured, padding = windows_of(dataset), modality_lut(dataset), padding_range(dataset)
    if window is not None:
        check_index(window, len(windows), name, "window")
    labels, warnings = tuple(one.label for one in windows), []
    first = window or 0
    for index in range(first, len(windows) if window is None else first + 1):
        pixels = map_values(stored, partial(look_through, windows[index], measured, padding))
        low, high = spread(pixels)
        if high - low >= NARROW:
            break
    if index > first:
        warnings.append(f"Seen by {labels[0]} the image is nearly one grey; it is seen by {labels[index]}.")
    if labels[index] == FULL_RANGE and not padding and is_narrow(stored, int(dataset.BitsStored)):
        warnings.append(STRETCHED)
    inverted = dataset.PhotometricInterpretation == "MONOCHROME1"
    if inverted:
        np.subtract(1, pixels, out=pixels)
    photometric = "MONOCHROME1 (inverted to show bone white)" if inverted else "MONOCHROME2"
    return Radiograph(
        pixels,
        "",
        f"DICOM, {int(dataset.BitsStored)} bit, {photometric}",
        tuple(warnings),
        windows=labels,
        window=labels[index],
        values=Values(stored, measured, unit(dataset), windows, index, inverted, padding),
    )


def _colour(stored: np.ndarray, dataset: pydicom.Dataset) -> Radiograph:
    """Colours, or numbers that stand for some, as luma."""
    photometric, bits = str(dataset.PhotometricInterpretation), int(dataset.BitsStored)
    warnings = []
    if photometric.startswith("MONOCHROME"):
        photometric = "RGB"
        warnings.append("The file says that its image is grey, and holds one in colour, which is read.")
    if photometric == "PALETTE COLOR":
        stored = apply_color_lut(stored, dataset)
    values, more = flatten(stored, 3)
    pixels = stretch(values, 0, 255) if stored.dtype == np.uint8 else stretch(values)
    return Radiograph(pixels, "", f"DICOM, {bits} bit, {photometric}", (*warnings, *more))


def _parse(data: bytes, name: str) -> pydicom.Dataset:
    try:
        data = _without_deflation(data)
        dataset = pydicom.dcmread(_Metered(data), force=True)
        _leave_out_what_is_too_large(dataset)
        has_pixels = any(word in dataset for word in ("PixelData", *FLOATS))
    except zlib.error:
        raise ImageError(f"{name} is a deflated DICOM file that is damaged; export it without deflation.") from None
    except OverflowError:
        raise ImageError(
            f"{name} is a deflated DICOM file of more than {limits.MAX_INFLATED_BYTES // 2**20} MiB; export it without."
        ) from None
    except Exception:
        raise ImageError(f"{name} is a damaged, incomplete or very odd DICOM file; export it again.") from None
    if not has_pixels or not dataset.get("Rows") or not dataset.get("Columns"):
        raise ImageError(f"{name} is a DICOM file without an image in it, or damaged; choose one with an X-ray image.")
    if not dataset.file_meta.get("TransferSyntaxUID"):  # the file lacks its meta header: it was read as it looked
        implicit, little_endian = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset


def _without_deflation(data: bytes) -> bytes:
    """The file with its dataset inflated, where its meta header says that it is deflated; to a bounded size.

    pydicom would inflate it whole, to whatever size, before its header can be looked at.
    """
    if data[128:132] != b"DICM":
        return data
    file = _Metered(data)
    file.seek(132)
    meta = read_dataset(file, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
    if str(meta.get("TransferSyntaxUID")) != DeflatedExplicitVRLittleEndian:
        return data
    packed = memoryview(data)[file.tell() :]
    # Without zlib's header (PS3.5, A.5), or with it, as some write it.
    has_header = len(packed) > 1 and packed[0] & 15 == zlib.DEFLATED and int.from_bytes(packed[:2]) % 31 == 0
    unpacker = zlib.decompressobj(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
    unpacked = unpacker.decompress(packed, limits.MAX_INFLATED_BYTES)
    if unpacker.unconsumed_tail:
        raise OverflowError
    syntax = b"\2\0\x10\0UI\x14\0" + ExplicitVRLittleEndian.encode() + b"\0"
    return b"".join([bytes(128), b"DICM", syntax, unpacked])


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
