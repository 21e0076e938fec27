"""One frame of a DICOM file, from its bytes to the numbers that it stores, in whatever way they are packed.

What a file says of its numbers is held against the numbers themselves, and where the two contradict each other, the
numbers are believed. Codecs that a damaged frame can crash work in a process of their own.
"""

import contextlib
import io
import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    RLELossless,
    UncompressedTransferSyntaxes,
)

from covid_cnn.common.errors import ImageError
from covid_cnn.images import headers, limits

# Compressions whose decoder, Pillow's of JPEG, is trusted to work within the app's own process, as with other uploads.
_SAFE = {JPEGBaseline8Bit, JPEGExtended12Bit}
_DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"  # Deflated Image Frame Compression, younger than pydicom's decoders
_UNPACKING = (
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "Rows", "Columns", "BitsAllocated"),
    *("BitsStored", "HighBit", "PixelRepresentation"),
)
_ORDER = ("pillow", "gdcm", "pylibjpeg", "pyjpegls", "pydicom")  # of decoders, the first that can is taken
FLOATS = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}  # and the bits of their numbers


def complete_header(dataset: pydicom.Dataset) -> None:
    """Say what a header leaves out, or says impossibly, as most files have it."""
    floats = next((bits for word, bits in FLOATS.items() if word in dataset), 0)
    if floats:
        dataset.BitsAllocated = floats
    photometric = str(dataset.get("PhotometricInterpretation") or "").strip().upper()
    samples = int(dataset.get("SamplesPerPixel") or (3 if photometric.startswith(("RGB", "YBR")) else 1))
    allocated = int(dataset.get("BitsAllocated") or dataset.get("BitsStored") or 8)
    stored = int(dataset.get("BitsStored") or allocated)
    cell = -(-stored // 8) * 8
    if not floats and allocated != cell and dataset.file_meta.TransferSyntaxUID in UncompressedTransferSyntaxes:
        frames = max(int(dataset.get("NumberOfFrames") or 1), 1)
        bits = 8 * len(dataset.PixelData) / (int(dataset.Rows) * int(dataset.Columns) * samples * frames)
        if cell <= bits < allocated or allocated < cell <= bits:  # the length of the data tells which is right
            allocated = cell
    dataset.BitsAllocated, dataset.BitsStored = allocated, min(stored, allocated)
    if dataset.get("PixelRepresentation") not in (0, 1):
        dataset.PixelRepresentation = 0
    dataset.SamplesPerPixel = samples
    dataset.PhotometricInterpretation = photometric or ("RGB" if samples == 3 else "MONOCHROME2")
    if samples == 3 and dataset.get("PlanarConfiguration") not in (0, 1):
        dataset.PlanarConfiguration = 0


def unpack_frame(dataset: pydicom.Dataset, name: str, frame: int) -> np.ndarray:
    """The frame as stored, YBR turned into RGB: [rows, columns] or [rows, columns, 3]."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax == _DEFLATED_FRAMES:
        return _inflate(dataset, frame)
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        decoder = None
    if decoder is None or not decoder.is_available:
        raise _cannot_unpack(name, syntax)
    if not syntax.is_encapsulated:
        return _uncompressed(dataset, frame)
    packed = get_frame(dataset.PixelData, frame, number_of_frames=int(dataset.get("NumberOfFrames") or 1))
    del dataset.PixelData  # a copy less of what may be large
    alone = _alone(dataset, syntax)
    alone.PixelData = encapsulate([packed])
    if syntax == RLELossless:  # pydicom's own decoder, in Python
        alone.BitsStored = alone.BitsAllocated
        return _align(pixel_array(alone, index=0, decoding_plugin="pydicom"), dataset)
    bits = _check_packed(packed, alone, name)
    says_colour, dataset.BitsStored = dataset.SamplesPerPixel == 3, alone.BitsStored
    if syntax in _SAFE and alone.SamplesPerPixel == 3 and not says_colour:
        with Image.open(io.BytesIO(packed), formats=("JPEG",)) as picture:  # as the JPEG by itself is read
            return np.array(picture.convert("RGB"))
    return _decode(alone, bits, name)


def _decode(alone: pydicom.Dataset, bits: int, name: str) -> np.ndarray:
    """A compressed frame by the first decoder that can, one of so many bits a sample."""
    syntax = alone.file_meta.TransferSyntaxUID
    if syntax == JPEGExtended12Bit and int(alone.BitsStored) > 8:
        if not _is_gray_of_12_bits(alone):
            raise _cannot_unpack(name, syntax)
        if bits != 12:
            raise ImageError(f"{name} contradicts itself about the depth of its image; export it again.")
        return _unpack_apart(alone, ["JPEG of 12 bits"])
    if syntax in _SAFE:
        with contextlib.suppress(Exception):  # GDCM may yet read it
            return pixel_array(alone, index=0, decoding_plugin="pillow")
    plugins = sorted(get_decoder(syntax).available_plugins, key=_ORDER.index)
    return _unpack_apart(alone, [one for one in plugins if one != "pylibjpeg"] or plugins)  # it is slow to load


def _cannot_unpack(name: str, syntax: pydicom.uid.UID) -> ImageError:
    kind = "in an unknown way" if syntax.name == str(syntax) else f"as {syntax.name}"
    return ImageError(f"{name} is compressed {kind}, which cannot be unpacked here; export it uncompressed.")


# ---- numbers that are not compressed


def _uncompressed(dataset: pydicom.Dataset, frame: int) -> np.ndarray:
    if any(word in dataset for word in FLOATS):
        return pixel_array(dataset, index=frame)
    stored = dataset.BitsStored
    dataset.BitsStored = dataset.BitsAllocated  # pydicom would cut off what lies beyond, whatever it is
    values = pixel_array(dataset, index=frame)
    dataset.BitsStored = stored
    return _align(values, dataset)


def _inflate(dataset: pydicom.Dataset, frame: int) -> np.ndarray:
    """A frame of Deflated Image Frame Compression (PS3.5, A.4.13): raw deflate of what is otherwise uncompressed."""
    packed = get_frame(dataset.PixelData, frame, number_of_frames=int(dataset.get("NumberOfFrames") or 1))
    alone = _alone(dataset, ExplicitVRLittleEndian)
    size = -(-int(alone.Rows) * int(alone.Columns) * int(alone.SamplesPerPixel) * int(alone.BitsAllocated) // 8)
    alone.PixelData = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, size + size % 2)
    return _uncompressed(alone, 0)


def _align(values: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """Leave of numbers the bits that are stored, wherever in their cells these lie.

    Bits beyond those stored may hold overlays, padding or anything (PS3.5, 8.1.1); where the numbers go through them
    without a gap, and the image is the smoother with them, they belong to the numbers, and the header is wrong. What
    is said of the high bit (ACR-NEMA had numbers that end there) is believed only of numbers that reach so far.
    """
    allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    spare = allocated - stored
    signed = values.dtype.kind == "i"
    if spare <= 0 or not _reaches_beyond(values, stored, signed):
        return values
    beyond = np.unique(values >> (stored - signed))
    without_gap = beyond[0] <= 0 <= beyond[-1] and bool((np.diff(beyond) == 1).all())
    high = dataset.get("HighBit")
    excess = min(int(high) + 1 - stored, spare) if isinstance(high, int) else 0
    cut = (values << spare) >> spare
    if not without_gap or _has_overlay_in_pixels(dataset) or _roughness(cut) <= _roughness(values):
        return cut
    if not (values & (2**spare - 1)).any():  # they end at the top of their cells, whatever is said of the high bit
        excess = spare
    if excess > 0:
        return values >> excess
    dataset.BitsStored = allocated
    return values


def _roughness(values: np.ndarray) -> float:
    """How much neighbours differ, as a part of how much all differ."""
    every = max(1, len(values) // 64)
    some, below = (values[start : len(values) - 1 + start : every].astype(np.float64) for start in (0, 1))
    low, high = np.percentile(some, (1, 99))
    differences = np.abs(np.diff(some, axis=1)).mean() + np.abs(below - some).mean()
    return float(differences / max(high - low, 1))


def _reaches_beyond(values: np.ndarray, stored: int, signed: bool) -> bool:
    low, high = int(values.min()), int(values.max())
    return low < -(2 ** (stored - 1)) or high >= 2 ** (stored - 1) if signed else high >= 2**stored


def _has_overlay_in_pixels(dataset: pydicom.Dataset) -> bool:
    """Whether a bit of each number is that of an overlay, as was done before 2004 (PS3.3, C.9.2)."""
    tags = [tag for tag in list(dataset.keys()) if tag.group & 0xFF00 == 0x6000 and tag.element == 0x0102]
    return any(dataset[tag].value for tag in tags)


# ---- compressed frames


def _is_gray_of_12_bits(alone: pydicom.Dataset) -> bool:
    """Whether the values are stored in the one way that is known to be unpacked right from deep lossy JPEG."""
    samples, allocated, stored, signed = (
        int(alone.get(tag) or 0) for tag in ("SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation")
    )
    return (samples, allocated, stored, signed) == (1, 16, 12, 0)


def _check_packed(packed: bytes, alone: pydicom.Dataset, name: str) -> int:
    """Hold what a compressed frame says of itself against what the file says of it, before it is unpacked.

    It is believed about its samples and their depth, and must agree about its size. Its bits a sample; 0 if not said.
    """
    size = int(alone.Columns), int(alone.Rows)
    own: headers.Frame | None = None
    if packed[:2] == b"\xff\xd8":
        own = headers.jpeg_frame(packed)
        if excess := headers.jpeg_excess(packed):
            raise ImageError(f"{name} {excess}.")
    elif (own := headers.jpeg2000_frame(packed)) and own.tiles > limits.MAX_TILES:
        raise ImageError(f"{name} has {own.tiles} tiles, more than {limits.MAX_TILES}; save it again as PNG.")
    if own and own.samples in (1, 3):
        if own.samples != alone.SamplesPerPixel:
            alone.SamplesPerPixel = own.samples
            alone.PhotometricInterpretation = "RGB" if own.samples == 3 else "MONOCHROME2"
            alone.PlanarConfiguration = 0
        if (own.bits <= 8) != (int(alone.BitsAllocated) <= 8):
            alone.BitsAllocated = 8 if own.bits <= 8 else 16
            alone.BitsStored = own.bits
            alone.HighBit = own.bits - 1
    most = limits.MAX_PACKED_RATIO * _unpacked_bytes(alone) + limits.MAX_ELEMENT_BYTES
    if (own and (own.width, own.height) != size) or len(packed) > most:
        raise ImageError(f"{name} contradicts itself about the size of its image; export it again.")
    return own.bits if own else 0


def _unpacked_bytes(alone: pydicom.Dataset) -> int:
    values = int(alone.Columns) * int(alone.Rows) * int(alone.get("SamplesPerPixel") or 1)
    return values * int(alone.BitsAllocated) // 8


def _alone(dataset: pydicom.Dataset, syntax: pydicom.uid.UID) -> pydicom.Dataset:
    """What it takes to unpack a frame, and nothing that is known of the patient."""
    alone = pydicom.Dataset()
    alone.file_meta = FileMetaDataset()
    alone.file_meta.TransferSyntaxUID = syntax
    for tag in _UNPACKING:
        if tag in dataset:
            setattr(alone, tag, dataset[tag].value)
    alone.NumberOfFrames = 1
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
