"""Damaged uploads against `reader.read`: none may crash it, take over 2 s or 512 MiB, or raise what is no ImageError.

The seconds are of processor time, a codec's process included, and of the clock. A busy computer makes the clock run
on, so a file that takes too long by it is read once more, and only what is slow twice breaks the promise.

Small images of every format, and DICOM of every compression, are damaged by a seeded mutator: bits flipped, bytes set
to the values that overflow, pieces cut out, repeated or moved, files cut off, and headers, where most harm lies, more
often than the rest. Each batch of files is read in a process of its own, so that a crash is counted and not suffered.
The files that are slowest and largest, and every one that breaks a promise, can be drawn again from the seed and the
number that is printed with them: `mutant(kind, number, seed, seeds()[kind])`.
"""

import concurrent.futures
import contextlib
import io
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from benchmarks import measure, tables

if TYPE_CHECKING:
    import pydicom

MAX_SECONDS, MAX_MIB = 2.0, 512
BATCH = 100  # files a process reads; one that is new costs a second
HEADER = 700  # bytes, in which a format says what it has
EXTREMES = (
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\0\0",
    b"\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\xff" * 4,
    b"\x7f\xff\xff\xff",
)


def seeds() -> dict[str, list[bytes]]:
    """Small sound files of every format, drawn here or made of files that pydicom and pydicom-data carry."""
    ramp = np.linspace(0, 255, 40 * 50).reshape(40, 50).astype(np.uint8)
    deep = np.linspace(100, 4095, 40 * 50).reshape(40, 50).astype(np.uint16)
    gray, colour = Image.fromarray(ramp), Image.fromarray(ramp).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6

    def encoded(picture: Image.Image | np.ndarray, kind: str, **options: object) -> bytes:
        buffer = io.BytesIO()
        (Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture).save(buffer, kind, **options)
        return buffer.getvalue()

    more = {"save_all": True, "append_images": [gray, gray]}
    return {
        "PNG": [encoded(p, "PNG") for p in (gray, deep, colour, gray.convert("P"), gray.convert("LA"))]
        + [encoded(gray, "PNG", **more), encoded(gray, "PNG", exif=exif)],
        "JPEG": [
            encoded(gray, "JPEG", exif=exif),
            encoded(colour, "JPEG", progressive=True),
            encoded(colour.convert("CMYK"), "JPEG"),
            encoded(gray, "MPO", **more),
        ],
        "WebP": [
            encoded(colour, "WEBP", lossless=True),
            encoded(colour.convert("RGBA"), "WEBP", exif=exif),
            encoded(colour, "WEBP", save_all=True, append_images=[colour]),
        ],
        "BMP": [encoded(p, "BMP") for p in (gray, colour, gray.convert("1"), gray.convert("P"))],
        "TIFF": [
            *(encoded(gray, "TIFF", compression=way) for way in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits")),
            encoded(colour, "TIFF", compression="jpeg"),
            encoded(gray.convert("1"), "TIFF", compression="group4"),
            encoded(deep, "TIFF"),
            encoded(deep.astype(np.float32), "TIFF"),
            encoded(gray, "TIFF", **more),
            encoded(gray, "TIFF", big_tiff=True),
        ],
        "TIFF, samples Pillow does not know": _rare_tiffs(deep),
        **_dicom_seeds(deep),
    }


def _rare_tiffs(deep: np.ndarray) -> list[bytes]:
    import tifffile

    colours, rgb = np.repeat(deep[..., None], 3, axis=2), {"photometric": "rgb"}
    seeds = []
    for values, options in (
        (deep.astype(np.float64), {}),
        (deep.astype(np.int32), {"compression": "zlib", "predictor": True, "byteorder": ">"}),
        (deep, {"tile": (16, 16), "compression": "zlib"}),
        (colours, rgb),
        (np.moveaxis(colours, 2, 0), rgb | {"planarconfig": "separate"}),
        (np.dstack([colours, deep]), rgb | {"extrasamples": ["unassalpha"]}),
    ):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, values, **options)
        seeds.append(buffer.getvalue())
    return seeds


def _dicom_seeds(deep: np.ndarray) -> dict[str, list[bytes]]:
    import data_store
    import pydicom
    from pydicom.dataset import FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import (
        UID,
        DeflatedExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
    )

    def plain(syntax: UID, frames: int = 1) -> bytes:
        dataset = pydicom.Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2.3"
        dataset.Rows, dataset.Columns = deep.shape
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.WindowCenter, dataset.WindowWidth = [2000, 1000], [1000, 900]
        dataset.RescaleSlope, dataset.RescaleIntercept = 2, -1
        table = pydicom.Dataset()
        table.LUTDescriptor = [64, 0, 16]
        table.add_new("LUTData", "US", list(range(0, 6400, 100)))
        dataset.VOILUTSequence = [table]
        order = deep.dtype.newbyteorder(">") if not syntax.is_little_endian else "<u2"
        dataset.PixelData = deep.astype(order).tobytes() * frames
        if frames > 1:
            dataset.NumberOfFrames = frames
            dataset.PerFrameFunctionalGroupsSequence = [_frame_window(number) for number in range(frames)]
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, dataset, enforce_file_format=True, little_endian=None, implicit_vr=None)
        return buffer.getvalue()

    def carried(name: str, whole: bool = False) -> bytes:
        """A file of these packages, cut down to its first frame unless it shall be whole."""
        folders = [Path(data_store.__file__).parent / "data", Path(pydicom.__file__).parent / "data" / "test_files"]
        dataset = pydicom.dcmread(next(folder / name for folder in folders if (folder / name).exists()))
        frames = int(dataset.get("NumberOfFrames") or 1)
        if frames > 1 and not whole:
            dataset.PixelData = encapsulate([pydicom.encaps.get_frame(dataset.PixelData, 0, number_of_frames=frames)])
            dataset.NumberOfFrames = 1
        buffer = io.BytesIO()
        dataset.save_as(buffer)
        return buffer.getvalue()

    syntaxes = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
    return {
        "DICOM, uncompressed": [*map(plain, syntaxes), plain(ExplicitVRLittleEndian, frames=3)],
        "DICOM, deflated": [plain(DeflatedExplicitVRLittleEndian)],
        "DICOM, palette": [carried("OBXXXX1A_rle.dcm")],
        "DICOM, JPEG": [carried("SC_rgb_jpeg_dcmtk.dcm")],
        "DICOM, JPEG of 12 bits": [carried("JPGExtended.dcm")],
        "DICOM, JPEG lossless": [carried("JPGLosslessP14SV1_1s_1f_8b.dcm")],
        "DICOM, JPEG-LS": [carried("emri_small_jpeg_ls_lossless.dcm", whole) for whole in (False, True)],
        "DICOM, JPEG 2000": [carried("emri_small_jpeg_2k_lossless.dcm", whole) for whole in (False, True)],
        "DICOM, RLE": [carried("MR_small_RLE.dcm"), carried("emri_small_RLE.dcm", whole=True)],
    }


def _frame_window(number: int) -> "pydicom.Dataset":
    """What a multi-frame object says of one of its frames."""
    import pydicom

    frame, window = pydicom.Dataset(), pydicom.Dataset()
    window.WindowCenter, window.WindowWidth = 1000 + 100 * number, 900
    frame.FrameVOILUTSequence = [window]
    return frame


def mutate(data: bytes, draw: random.Random) -> bytes:
    """The file with one to eight things done to it."""
    damaged = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 5, 8))):
        draw.choice(MUTATIONS)(damaged, draw)
        if not damaged:
            break
    return bytes(damaged)


def _place(data: bytearray, draw: random.Random) -> int:
    """Where to do harm: in three of four cases in the header."""
    return draw.randrange(min(len(data), HEADER) if draw.random() < 0.75 else len(data))


def _flip(data: bytearray, draw: random.Random) -> None:
    data[_place(data, draw)] ^= 1 << draw.randrange(8)


def _set(data: bytearray, draw: random.Random) -> None:
    data[_place(data, draw)] = draw.randrange(256)


def _extreme(data: bytearray, draw: random.Random) -> None:
    value, place = draw.choice(EXTREMES), _place(data, draw)
    data[place : place + len(value)] = value


def _cut_off(data: bytearray, draw: random.Random) -> None:
    del data[draw.randrange(len(data)) :]


def _cut_out(data: bytearray, draw: random.Random) -> None:
    place = _place(data, draw)
    del data[place : place + draw.choice((1, 2, 4, 16, 200))]


def _repeat(data: bytearray, draw: random.Random) -> None:
    place = _place(data, draw)
    piece = data[place : place + draw.choice((1, 4, 12, 64, 500))]
    data[place:place] = piece * draw.choice((1, 1, 2, 100))


def _move(data: bytearray, draw: random.Random) -> None:
    start, target = _place(data, draw), _place(data, draw)
    piece = data[start : start + draw.choice((2, 4, 12, 64))]
    data[target : target + len(piece)] = piece


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(_flip, _flip, _set, _set, _extreme, _extreme),
    *(_cut_off, _cut_out, _repeat, _move),
)


@dataclass
class Tally:
    """What became of the files of a format.

    The slowest in seconds of processor time and of the clock and the largest in MiB, each with its number.
    """

    read: int = 0
    refused: int = 0
    slowest: tuple[float, int] = (0.0, 0)
    longest: tuple[float, int] = (0.0, 0)
    largest: tuple[float, int] = (0.0, 0)
    broken: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Count what became of other files as well."""
        self.read += other.read
        self.refused += other.refused
        self.slowest = max(self.slowest, other.slowest)
        self.longest = max(self.longest, other.longest)
        self.largest = max(self.largest, other.largest)
        self.broken += other.broken


def mutant(kind: str, number: int, seed: int, sound: list[bytes]) -> bytes:
    """The damaged file of this number."""
    draw = random.Random(f"{seed} {kind} {number}")
    return mutate(draw.choice(sound), draw)


def read(kind: str, data: bytes) -> None:
    """Read an upload as the page does, its first frame and its last; raises ImageError where it is refused."""
    from covid_cnn.images import reader

    name = "a.dcm" if kind.startswith("DICOM") else "a.png"
    first = reader.read(data, name)
    last = reader.read(data, name, frame=first.frames - 1) if first.frames > 1 else first
    for pixels in (first.pixels, last.pixels):
        if not (pixels.dtype == np.float32 and pixels.ndim == 2 and 0 <= pixels.min() <= pixels.max() <= 1):
            raise ValueError("pixels beyond their range")


def seconds_of(kind: str, data: bytes) -> float:
    """How long it takes by the clock to read an upload, or to refuse it."""
    began = time.perf_counter()
    with contextlib.suppress(Exception):
        read(kind, data)
    return time.perf_counter() - began


def read_batch(kind: str, numbers: range, seed: int, sound: list[bytes]) -> Tally:
    """Read damaged files one after the other in this process."""
    import resource

    from covid_cnn.common.errors import ImageError

    tally = Tally()
    with Path(os.devnull).open("w") as nowhere:  # codecs write their complaints past Python's streams
        os.dup2(nowhere.fileno(), 2)
    for number in numbers:
        data = mutant(kind, number, seed, sound)
        began, clock = _processor_seconds(), time.perf_counter()
        try:
            read(kind, data)
            tally.read += 1
        except ImageError:
            tally.refused += 1
        except BaseException as error:
            tally.broken.append(f"{kind} {number}: {type(error).__name__}")
        seconds, waited = _processor_seconds() - began, time.perf_counter() - clock
        if seconds > MAX_SECONDS:
            tally.broken.append(f"{kind} {number}: {seconds:.1f} s")
        if waited > MAX_SECONDS:
            waited = min(waited, seconds_of(kind, data))
            if waited > MAX_SECONDS:
                tally.broken.append(f"{kind} {number}: {waited:.1f} s by the clock, twice")
        tally.slowest = max(tally.slowest, (seconds, number))
        tally.longest = max(tally.longest, (waited, number))
        used = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        peak = sum(used) / (2**20 if sys.platform == "darwin" else 2**10)
        if peak > MAX_MIB >= tally.largest[0]:
            tally.broken.append(f"{kind} {number}: {peak:.0f} MiB")
        if peak > tally.largest[0]:  # a process's peak never falls: the file that raised it is the one to name
            tally.largest = peak, number
    return tally


def _processor_seconds() -> float:
    """Of this process and of its children that have ended: what does not depend on what else the computer does."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def run(count: int, seed: int, processes: int = 1, only: str = "", first: int = 0) -> dict[str, Tally]:
    """Read `count` damaged files in all, of each format as many from `first` on, and count what became of them."""
    kinds = {kind: sound for kind, sound in seeds().items() if kind.startswith(only)}
    end = first - (-count // len(kinds))
    tallies = {kind: Tally() for kind in kinds}
    # A process a batch: a crash ends that batch, and memory that an earlier batch took is not counted again.
    context = multiprocessing.get_context("spawn")
    for kind, sound in kinds.items():
        for start in range(first, end, BATCH * processes):
            batches = [range(s, min(s + BATCH, end)) for s in range(start, min(start + BATCH * processes, end), BATCH)]
            with concurrent.futures.ProcessPoolExecutor(processes, context, max_tasks_per_child=1) as pool:
                waiting = {pool.submit(read_batch, kind, batch, seed, sound): batch for batch in batches}
                for done in concurrent.futures.as_completed(waiting):
                    try:
                        tallies[kind].add(done.result())
                    except concurrent.futures.process.BrokenProcessPool:
                        batch = waiting[done]
                        tallies[kind].broken.append(f"{kind} {batch.start} to {batch.stop - 1}: a crash")
    return tallies


def main(count: int = 20_000, seed: int = 0, processes: int = 1, only: str = "", first: int = 0) -> None:
    """Print what became of so many damaged files, of all formats or only of those whose name begins so.

    `first`, the number of the first, lets one go on where an earlier call ended.
    """
    tallies = run(count, seed, processes, only, first)
    rows = [
        [kind, str(t.read), str(t.refused), "{:.2f} s ({})".format(*t.slowest), "{:.2f} s ({})".format(*t.longest)]
        + ["{:.0f} MiB ({})".format(*t.largest), str(len(t.broken))]
        for kind, t in tallies.items()
    ]
    done = sum(t.read + t.refused for t in tallies.values())
    text = (
        f"{done} files, seed {seed}. Seconds and memory are those of a process with its codec's process; "
        "in brackets the file's number."
    )
    columns = ["Format", "Read", "Refused", "Slowest", "By the clock", "Largest", "Broken promises"]
    print(tables.markdown(tables.finding("Mutated uploads", text, columns, rows)))
    for tally in tallies.values():
        for line in tally.broken:
            print(f"BROKEN {line}")
    measure.verdict("broken promises", sum(len(t.broken) for t in tallies.values()), 0, at_least=False)


if __name__ == "__main__":
    measure.run(main)
