"""What the headers of an image file tell before anything is decoded. Knows where each format keeps them, no more.

Only what a decoder would take much time or memory over is looked at; damage is the decoder's to find.
"""

import struct
from typing import NamedTuple

from covid_cnn.images import limits

_PNG, _JPEG, _BMP = b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"BM"
_TIFF = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}
_TAG_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_FIRST_TYPES = {b"UL", b"OB", b"UI", b"CS", b"SH", b"LO", b"ST", b"DA", b"DT", b"TM", b"SQ"}  # of DICOM elements
_POINTERS = {330, 34665, 34853, 40965}  # tags that hold the place of a further directory
BEGINNING = 132  # bytes of a file that tell what `is_zip` and `is_dicom` ask


def is_zip(data: bytes) -> bool:
    """Whether a file is a .zip, by its first bytes: its name may say anything."""
    return data[:4] in (b"PK\x03\x04", b"PK\x05\x06")


def is_dicom(data: bytes) -> bool:
    """Whether a file is DICOM, by its mark, or where it lacks that by its first element, of group 0002 or 0008."""
    little, big = data[:2] in (b"\2\0", b"\x08\0"), data[:2] in (b"\0\2", b"\0\x08")
    typed = data[4:6] in _FIRST_TYPES
    return data[128:132] == b"DICM" or ((little or big) and typed) or (little and data[6:8] == b"\0\0")


def is_tiff(data: bytes) -> bool:
    """Whether a file is a TIFF, by its first bytes."""
    return data[:4] in _TIFF


def has_deep_colours(data: bytes) -> bool:
    """Whether a file is a PNG of 16 bits with colours or transparency."""
    return data[:8] == _PNG and data[24:25] == b"\x10" and data[25:26] in (b"\2", b"\4", b"\6")


def is_image(data: bytes) -> bool:
    """Whether a file is of a kind that is read, by its first bytes: its name may say anything."""
    is_webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    is_bmp = data[:2] == _BMP and data[6:10] == b"\0\0\0\0"
    return data[:8] == _PNG or data[:3] == b"\xff\xd8\xff" or data[:4] in _TIFF or is_webp or is_bmp or is_dicom(data)


def excess(data: bytes) -> str:
    """What is too much in a PNG, JPEG, BMP or TIFF file, as the end of a sentence; empty where nothing is."""
    if data[:8] == _PNG:
        return _png_excess(data)
    if data[:2] == _JPEG:
        return jpeg_excess(data)
    if data[:2] == _BMP and data[30:34] in (b"\1\0\0\0", b"\2\0\0\0"):
        return "is a compressed BMP image, which is not read; save it as PNG"
    return tag_excess(data) if data[:4] in _TIFF else ""


def jpeg_excess(data: bytes) -> str:
    """As `excess`, of the bytes of a JPEG image."""
    scans = data.count(b"\xff\xda")  # a marker wherever it stands: in the data proper 0xFF is followed by 0
    if scans > limits.MAX_SCANS:
        return f"has {scans} scans, more than {limits.MAX_SCANS}; save it again as PNG"
    place, segments = 2, 0
    while segments <= limits.MAX_SEGMENTS and place + 4 <= len(data) and data[place : place + 2] != b"\xff\xda":
        segments += 1
        if data[place] != 0xFF:  # Pillow looks on byte by byte
            found = data.find(b"\xff", place, place + limits.MAX_SEGMENTS)
            if found < 0:
                return "" if len(data) - place < limits.MAX_SEGMENTS else _TOO_MANY
            place = found
        elif data[place + 1] in (0, 0xFF) or 0xD0 <= data[place + 1] <= 0xD8:  # without a length
            place += 1 if data[place + 1] == 0xFF else 2
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4])
    return _TOO_MANY if segments > limits.MAX_SEGMENTS else ""


class Frame(NamedTuple):
    """What a compressed image says of itself: pixels across and down, bits a sample, samples a pixel, and tiles."""

    width: int
    height: int
    bits: int
    samples: int
    tiles: int = 1


def jpeg_frame(data: bytes) -> Frame | None:
    """The frame header of a JPEG or JPEG-LS image, or None."""
    place = 2
    while place + 10 <= len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4])
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            bits, height, width, samples = struct.unpack_from(">BHHB", data, place + 4)
            return Frame(width, height, bits, samples)
        place += 2 + length
    return None


def jpeg2000_frame(data: bytes) -> Frame | None:
    """The SIZ segment of a JPEG 2000 image, or None."""
    place = data.find(b"\xff\x4f\xff\x51")
    if place < 0 or len(data) < place + 43:
        return None
    right, bottom, left, top, tile_width, tile_height = struct.unpack_from(">6I", data, place + 8)
    samples, bits = struct.unpack_from(">HB", data, place + 40)
    tiles = -(-right // max(tile_width, 1)) * -(-bottom // max(tile_height, 1))
    return Frame(right - left, bottom - top, (bits & 0x7F) + 1, samples, tiles)


def tag_excess(data: bytes) -> str:
    """As `excess`, of TIFF's directories, which Exif has too: their number, and what they point to."""
    start = 6 if data[:6] == b"Exif\0\0" else 0
    data = data[start:] if start else data
    order = _TIFF.get(data[:4])
    if order is None:
        return ""
    big = data[2:4] in (b"+\0", b"\0+")
    offset, number, entry = ("Q", "Q", "HHQ") if big else ("I", "H", "HHI")
    wide = 8 if big else 4  # an entry's value, or where that lies
    seen = held = 0
    try:
        waiting = [struct.unpack_from(order + offset, data, 8 if big else 4)[0]]
        while waiting:
            place = waiting.pop()
            if not 0 < place < len(data):
                continue
            seen += 1
            (count,) = struct.unpack_from(order + number, data, place)
            place += struct.calcsize(order + number)
            if seen > limits.MAX_FRAMES or count > limits.MAX_SEGMENTS:
                return f"has more than {limits.MAX_FRAMES} pages, or {limits.MAX_SEGMENTS} tags; save it again as PNG"
            for _ in range(count):
                tag, kind, values = struct.unpack_from(order + entry, data, place)
                place += struct.calcsize(order + entry)
                held += _TAG_SIZES.get(kind, 1) * values
                if tag in _POINTERS and values == 1:
                    waiting.append(struct.unpack_from(order + offset, data, place)[0])
                place += wide
            if held > len(data) + limits.MAX_ELEMENT_BYTES:
                return f"has tags of {held} bytes in {len(data)}; save it again as PNG"
            waiting.append(struct.unpack_from(order + offset, data, place)[0])
    except struct.error:  # cut off: the decoder tells
        pass
    return ""


def _png_excess(data: bytes) -> str:
    place = len(_PNG)
    for _ in range(limits.MAX_SEGMENTS):
        if place + 8 > len(data):
            return ""
        place += 12 + int.from_bytes(data[place : place + 4])
    return _TOO_MANY


_TOO_MANY = f"has more than {limits.MAX_SEGMENTS} parts; save it again as PNG"
