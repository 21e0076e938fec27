"""Small files of the kinds that people report as misread, each with its right picture or the sentence that refuses it.

``python -m tests.cases FOLDER`` writes them, each picture as NAME.right.png beside it, for ``benchmarks.reads``.
"""

import base64
import io
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom
import tifffile
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, JPEGBaseline8Bit

ROWS, COLUMNS = 80, 96
_y, _x = np.mgrid[0:ROWS, 0:COLUMNS]
# An ellipse on a gradient, with a bright corner so that neither turning nor mirroring goes unseen; 0..1.
PICTURE = (_x + 2 * _y) / 400 + 0.25 * (((_x - 55) / 30) ** 2 + ((_y - 40) / 25) ** 2 < 1)
PICTURE[:12, :20] += 0.6
PICTURE = (PICTURE - PICTURE.min()) / np.ptp(PICTURE)
TWELVE = np.rint(PICTURE * 4095).astype(np.uint16)
EIGHT = np.rint(PICTURE * 255).astype(np.uint8)
# 32 x 32 numbers of 12 bits, 131 a row and 4 a column, as High-Throughput JPEG 2000 of OpenHTJ2K.
HTJ2K_PICTURE = np.add.outer(131 * np.arange(32), 4 * np.arange(32)) / 4185
HTJ2K_FRAME = base64.b85decode(
    "|4;u>04YEK0000W0000W00000000000000W0000W0000000000009pH0sl|{2mk^A000XAQUDA90ssL31q1{@0smY86Cj9?kdTm&"
    "kdTm&kdTmwh=~7W02crOPjF>!N>E53R%LP^FfKASE;BCwkN^q*00000y8r?IlfVEbS@s17bO68r62Jfx0FVI(bO5&U1BY|~zyK3K"
    "026=+@&JN#09vV)0K-%OzyK8x00m$|2=S_L0(AhYR7Dk4{=ia!?6v^F02Pn`1*iZ3008H}r>CdFcmPZ?VZww76DCal{g8lr_Cf*d"
    "x&XicEeHSw(g3Qes;c?_De39y>FMd>d;kOq2nYxW2nYxW2nYxW2nhcFcwoi{zhf94{fuCH_A!C%vjP9v"
)


class Case(NamedTuple):
    """A file: its name, its bytes, and what becomes of it.

    Attributes
    ----------
    right : its pixels, 0..1; None where it is refused.
    words : of the sentence that refuses it, or of a warning.
    close : how far pixels may be off.
    """

    name: str
    data: bytes
    right: np.ndarray | None = PICTURE
    words: str = ""
    close: float = 3e-4


def every_case() -> Iterator[Case]:
    """All of them."""
    yield from _tiffs()
    yield from _pngs()
    yield from _headers()
    yield from _tables()
    yield from _packed()


# ---- TIFF and PNG


def tiff(values: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)
    return file.getvalue()


def packed_tiff(values: np.ndarray, bits: int) -> bytes:
    """A TIFF whose numbers follow each other without a gap, each row from a byte of its own."""
    each = (values[..., None] >> np.arange(bits)[::-1]) & 1
    data = np.packbits(each.reshape(len(values), -1).astype(np.uint8), axis=1).tobytes()
    tags = {256: values.shape[1], 257: len(values), 258: bits, 259: 1, 262: 1, 273: 0, 277: 1, 278: len(values)}
    tags[279] = len(data)
    tags[273] = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4) + data


def _scaled(kind: str, low: float, high: float) -> np.ndarray:
    return (low + PICTURE * (high - low)).astype(kind)


def _tiffs() -> Iterator[Case]:
    for kind, low, high in (
        *(("i1", -128, 127), ("u2", 0, 4095), ("i2", -2000, 2000), ("u4", 0, 2**32 - 1), ("i4", -1e9, 1e9)),
        *(("u8", 0, 2**63), ("i8", -1e15, 1e15), ("f2", 0, 1), ("f4", -1000, 3000), ("f8", 0, 1e-3)),
    ):
        values, close = _scaled(kind, low, high), {"i1": 5e-3, "f2": 1e-3}.get(kind, 3e-4)
        words = "twentieth" if kind == "i8" else ""
        for order, name in (("<", "little"), (">", "big")):
            yield Case(f"tiff-{kind}-{name}.tif", tiff(values, byteorder=order), PICTURE, words, close)
        packed = tiff(values, compression="zlib", predictor=kind[0] != "f" and kind[1] != "8")
        yield Case(f"tiff-{kind}-deflate.tif", packed, PICTURE, words, close)
    white = tiff(4095 - TWELVE, photometric="miniswhite")
    yield Case("tiff-u2-white-is-zero.tif", white)
    yield Case(
        "tiff-u4-white-is-zero.tif", tiff(4095 - TWELVE.astype("u4"), photometric="miniswhite"), words="twentieth"
    )
    yield Case("tiff-f8-big-bigtiff.tif", tiff(PICTURE, bigtiff=True, byteorder=">"))
    yield Case("tiff-u2-tiles.tif", tiff(TWELVE, tile=(32, 32), compression="zlib", predictor=True))
    lzw = io.BytesIO()
    Image.fromarray(TWELVE).save(lzw, "TIFF", compression="tiff_lzw", tiffinfo={317: 2})
    yield Case("tiff-u2-lzw.tif", lzw.getvalue())
    yield Case("tiff-turned.tif", tiff(np.rot90(TWELVE, 1), extratags=[(274, 3, 1, 6, True)]))
    for bits in (6, 10, 12, 14):
        values = np.rint(PICTURE * (2**bits - 1)).astype(np.int64)
        yield Case(f"tiff-packed-{bits}.tif", packed_tiff(values, bits), close=1 / 2**bits)
    yield from _coloured_tiffs()
    yield Case("tiff-complex.tif", tiff(PICTURE.astype("c8")), None, "neither whole nor real numbers")
    yield Case("tiff-12-bit-jpeg.tif", _jpeg_in_tiff(), None, "packed in a rare way")


def _jpeg_in_tiff() -> bytes:
    data = bytearray(tiff(TWELVE))
    place = data.index(struct.pack("<HHI", 259, 3, 1))
    data[place + 8 : place + 10] = struct.pack("<H", 7)
    return bytes(data)


def _coloured_tiffs() -> Iterator[Case]:
    colours = np.repeat(TWELVE[..., None], 3, axis=2)
    yield Case("tiff-rgb16-of-12-bits.tif", tiff(colours, photometric="rgb"))
    planes = tiff(np.moveaxis(colours, 2, 0), photometric="rgb", planarconfig="separate")
    yield Case("tiff-rgb16-planes.tif", planes)
    for kind, top in (("u4", 2**32 - 1), ("f8", 7)):
        own = (PICTURE[..., None] * [0.8, 0.9, 1] * top).astype(kind)  # a bluish film
        yield Case(f"tiff-blue-{kind}.tif", tiff(own, photometric="rgb"))
    yield Case("tiff-rgb-f4.tif", tiff(colours.astype("f4"), photometric="rgb"))
    fade = np.broadcast_to(np.linspace(0.2, 1, COLUMNS), PICTURE.shape)
    faded = PICTURE * fade
    for kind, top in (("u1", 255), ("u2", 65535)):
        whole = np.rint(np.repeat(PICTURE[..., None], 3, axis=2) * top)
        alphas = {"clear": PICTURE * 0, "half": fade}
        for name, alpha in alphas.items():
            for extra in ("unassalpha", "assocalpha"):
                dark = np.rint(whole * fade[..., None]) if (name, extra) == ("half", "assocalpha") else whole
                values = np.dstack([dark, np.rint(alpha * top)]).astype(kind)
                right = PICTURE if name == "clear" else faded
                if kind == "u2":
                    right = (right - right.min()) / np.ptp(right)
                words = "transparent" if (name, extra) == ("clear", "unassalpha") else ""
                data = tiff(values, photometric="rgb", extrasamples=[extra])
                yield Case(f"tiff-{name}-{extra}-{kind}.tif", data, right, words, close=5e-3)


def png(values: np.ndarray, colour_type: int) -> bytes:
    """A PNG of 16 bits: 2 RGB, 4 grey with transparency, 6 RGB with transparency."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", COLUMNS, ROWS, 16, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*part) for part in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )


def _saved(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def _pngs() -> Iterator[Case]:
    yield Case("png-rgb16-of-12-bits.png", png(np.dstack([TWELVE] * 3), 2))
    full = np.full_like(TWELVE, 65535)
    yield Case("png-rgba16-of-12-bits.png", png(np.dstack([TWELVE] * 3 + [full]), 6))
    yield Case("png-rgba16-clear.png", png(np.dstack([TWELVE] * 3 + [full * 0]), 6), words="transparent")
    yield Case("png-la16-of-12-bits.png", png(np.dstack([TWELVE, full]), 4))
    for mode in ("LA", "RGBA"):
        clear = Image.fromarray(EIGHT).convert(mode)
        clear.putalpha(0)
        yield Case(f"png-clear-{mode}.png", _saved(clear), words="transparent", close=3e-3)
    yield Case("webp-clear.webp", _saved(clear, "WEBP", lossless=True, exact=True), words="transparent", close=3e-3)
    faint = np.rint(100 + PICTURE * 10).astype(np.uint8)
    yield Case("png-ten-greys.png", _saved(Image.fromarray(faint)), words="twentieth", close=0.06)
    hot = TWELVE // 16
    hot[40, 3:9] = 65535  # a few pixels of a detector that are broken
    yield Case("png-hot-pixels.png", _saved(Image.fromarray(hot)), words="twentieth", close=2)
    yield Case("png-blank.png", _saved(Image.new("L", (96, 80), 77)), None, "blank")


# ---- DICOM


def dicom(values: np.ndarray | None = TWELVE, syntax: str = ExplicitVRLittleEndian, **tags: object) -> bytes:
    """A DICOM file of these numbers, with whatever tags besides or instead."""
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2.3"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = ROWS, COLUMNS, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    if values is not None:
        order = ">" if syntax == ExplicitVRBigEndian else "<"
        dataset.PixelData = values.astype(values.dtype.newbyteorder(order)).tobytes()
    for tag, value in tags.items():
        if isinstance(value, pydicom.DataElement):
            dataset[tag] = value
        else:
            setattr(dataset, tag, value)
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


def _element(tag: str, kind: str, value: object) -> pydicom.DataElement:
    return pydicom.DataElement(tag, kind, value)


def _headers() -> Iterator[Case]:
    yield Case("high-bit-15.dcm", dicom(TWELVE << 4, HighBit=15, WindowCenter=2048, WindowWidth=4096))
    yield Case("high-bit-11-left-aligned.dcm", dicom(TWELVE << 4, WindowCenter=2048, WindowWidth=4096))
    yield Case("high-bit-15-right-aligned.dcm", dicom(HighBit=15))
    yield Case("bits-stored-too-few.dcm", dicom(np.rint(PICTURE * 65535).astype(np.uint16)))
    yield Case("bits-allocated-too-many.dcm", dicom(EIGHT, BitsStored=8, HighBit=7), close=3e-3)
    yield Case("bits-stored-too-many.dcm", dicom(EIGHT, BitsAllocated=8), close=3e-3)
    overlay = TWELVE | ((_x + _y) % 7 == 0).astype(np.uint16) << 12
    yield Case("overlay-in-a-high-bit.dcm", dicom(overlay))
    shuttered = TWELVE.astype(np.int16)
    shuttered[-10:] = -2000
    right = PICTURE.copy()
    right[-10:] = 0
    signed = {"BitsStored": 16, "HighBit": 15}
    for kind, value in (("US", 63536), ("SS", -2000), ("OW", struct.pack("<H", 63536)), ("DS", "-2000")):
        tags = {"PixelRepresentation": 1, "PixelPaddingValue": _element("PixelPaddingValue", kind, value)}
        yield Case(f"padding-{kind}-signed.dcm", dicom(shuttered, **signed, **tags), right)
    right = PICTURE.copy()
    right[-10:] = 1
    tags = {"PixelPaddingValue": _element("PixelPaddingValue", "SS", -2000)}
    yield Case("padding-SS-unsigned.dcm", dicom(shuttered.view(np.uint16), **signed, **tags), right)
    mention = pydicom.Dataset()
    mention.MACCalculationTransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    yield Case("deflate-only-mentioned.dcm", dicom(MACParametersSequence=[mention]))
    yield Case("window-beside-the-image.dcm", dicom(WindowCenter=60000, WindowWidth=100), words="nearly one grey")
    yield Case("window-far-too-wide.dcm", dicom(WindowCenter=0, WindowWidth=2**20), words="nearly one grey")
    yield Case("few-numbers-of-16-bits.dcm", dicom(TWELVE // 8, **signed), words="twentieth", close=3e-3)
    yield Case("blank.dcm", dicom(TWELVE * 0 + 9), None, "blank")


def table(entries: np.ndarray, depth: int, first: int = 0, kind: str = "US", data: object = None) -> pydicom.Dataset:
    """An item of a sequence of look-up tables."""
    item = pydicom.Dataset()
    item.LUTDescriptor = [len(entries), first, depth]
    item.add_new("LUTData", kind, list(map(int, entries)) if data is None else data)
    return item


def _tables() -> Iterator[Case]:
    entries = np.arange(4096)[::-1]
    negative = (4095.0 - TWELVE) / 4095
    for depth in (12, 14, 16):
        yield Case(f"lut-of-12-bits-said-{depth}.dcm", dicom(VOILUTSequence=[table(entries, depth)]), negative)
    short = table(entries[:3000], 12)
    short.LUTDescriptor = [4096, 0, 12]
    cut = (4095.0 - np.minimum(TWELVE, 2999)) / 4095
    yield Case("lut-of-fewer-entries.dcm", dicom(VOILUTSequence=[short]), cut)
    for sequence in ("VOILUTSequence", "ModalityLUTSequence"):
        swapped = table(entries, 12, kind="OW", data=entries.astype(">u2").tobytes())
        data = dicom(syntax=ExplicitVRBigEndian, **{sequence: [swapped]})
        yield Case(f"lut-{sequence.lower()}-big-endian.dcm", data, negative)
    words = table(entries, 12, kind="OW", data=entries.astype("<u2").tobytes())
    yield Case("lut-of-words.dcm", dicom(VOILUTSequence=[words]), negative)
    bare, empty = table(entries, 12), pydicom.Dataset()
    del bare.LUTData
    window = {"WindowCenter": 2048, "WindowWidth": 4096}
    yield Case("lut-without-data.dcm", dicom(VOILUTSequence=[bare], **window))
    yield Case("lut-without-anything.dcm", dicom(VOILUTSequence=[empty], ModalityLUTSequence=[empty], **window))
    few = table(entries, 12, data=[0] * 4096)
    yield Case("lut-of-zeros.dcm", dicom(VOILUTSequence=[few], **window), words="nearly one grey")
    bytes_each = np.arange(256, dtype=np.uint8)[::-1]
    eight = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    small = table(bytes_each, 8, kind="OW", data=bytes_each.tobytes())
    yield Case("lut-of-bytes.dcm", dicom(EIGHT, VOILUTSequence=[small], **eight), 1 - EIGHT / 255.0)


def _packed() -> Iterator[Case]:
    floats = {"PixelData": None, "BitsStored": None, "HighBit": None, "PixelRepresentation": None}
    for word, kind in (("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")):
        numbers = {word: (PICTURE * 7 - 3).astype(kind).tobytes(), "BitsAllocated": int(kind[2]) * 8}
        yield Case(f"{word.lower()}.dcm", _without(dicom(None, **numbers), floats))
    deflated = dicom(syntax=pydicom.uid.DeflatedExplicitVRLittleEndian)
    yield Case("deflated.dcm", deflated)
    start = 128 + 4 + 12 + pydicom.dcmread(io.BytesIO(deflated)).file_meta.FileMetaInformationGroupLength
    dataset = zlib.decompress(deflated[start:], wbits=-zlib.MAX_WBITS)
    yield Case("deflated-with-zlib-header.dcm", deflated[:start] + zlib.compress(dataset))
    yield Case(
        "deflated-damaged.dcm",
        deflated[:340] + b"\xff" * 400 + deflated[740:],
        None,
        "deflated DICOM file that is damaged",
    )
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    frame = packer.compress(TWELVE.tobytes()) + packer.flush()
    deflated = _encapsulated(frame, JPEGBaseline8Bit).replace(JPEGBaseline8Bit.encode(), b"1.2.840.10008.1.2.8.1\0")
    yield Case("deflated-frame.dcm", deflated)
    small = {"Rows": 32, "Columns": 32}
    yield Case("htj2k.dcm", _encapsulated(HTJ2K_FRAME, "1.2.840.10008.1.2.4.201", **small), HTJ2K_PICTURE)
    eight = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    colour = _saved(Image.fromarray(EIGHT).convert("RGB"), "JPEG", quality=95)
    data = _encapsulated(colour, JPEGBaseline8Bit, **eight)
    yield Case("colour-jpeg-said-grey.dcm", data, words="holds one in colour", close=0.03)
    grey = _saved(Image.fromarray(EIGHT), "JPEG", quality=95)
    said = {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "PhotometricInterpretation": "YBR_FULL_422"}
    yield Case("grey-jpeg-said-colour.dcm", _encapsulated(grey, JPEGBaseline8Bit, **eight, **said), close=0.03)
    yield Case("jpeg-of-8-bits-said-16.dcm", _encapsulated(grey, JPEGBaseline8Bit), close=0.03)
    picture = _saved(Image.fromarray(EIGHT).convert("RGB"), "JPEG2000", irreversible=False)
    data = _encapsulated(picture, "1.2.840.10008.1.2.4.90", **eight)
    yield Case("colour-jpeg2000-said-grey.dcm", data, words="holds one in colour", close=3e-3)
    large = _saved(Image.fromarray(EIGHT).resize((2600, 2600), Image.Resampling.NEAREST).convert("RGB"), "JPEG")
    whole = {"Rows": 2600, "Columns": 2600} | eight | said
    enlarged = np.asarray(Image.fromarray(EIGHT).resize((2600, 2600), Image.Resampling.NEAREST)) / 255
    yield Case("large-colour-capture.dcm", _encapsulated(large, JPEGBaseline8Bit, **whole), enlarged, close=0.2)


def _encapsulated(frame: bytes, syntax: str, **tags: object) -> bytes:
    return dicom(None, pydicom.uid.UID(syntax), PixelData=encapsulate([frame]), **tags)


def _without(data: bytes, tags: dict[str, None]) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(data))
    for tag in tags:
        if tag in dataset:
            del dataset[tag]
    file = io.BytesIO()
    dataset.save_as(file)
    return file.getvalue()


def write_cases(folder: Path) -> None:
    """Write every case, and beside it what it should be read as."""
    folder.mkdir(parents=True, exist_ok=True)
    for case in every_case():
        (folder / case.name).write_bytes(case.data)
        if case.right is not None:
            right = np.rint(case.right * 65535).astype(np.uint16)
            Image.fromarray(right).save(folder / f"{case.name}.right.png")


if __name__ == "__main__":
    write_cases(Path(sys.argv[1]))
