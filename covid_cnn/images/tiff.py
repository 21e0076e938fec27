"""The samples of a TIFF as the file has them: of any type, number of bits and compression that libtiff unpacks.

Pillow has a mode for few of them, and takes others for what they are not. So its decoder is given each plane as an
image of bytes, whose rows are those of the plane, and the bytes become numbers here (TIFF 6.0, sections 2, 14, 18
and 19; Adobe Photoshop TIFF Technical Note 3 for the floating-point predictor).
"""

import io
import struct
from typing import NamedTuple

import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2 as Directory
from PIL.TiffImagePlugin import TiffImageFile

from covid_cnn.common.errors import ImageError
from covid_cnn.images import limits
from covid_cnn.images.radiograph import check_size

WIDTH, HEIGHT, BITS, COMPRESSION = 256, 257, 258, 259
PHOTOMETRIC, FILL_ORDER, ORIENTATION, SOFTWARE = 262, 266, 274, 305
STRIPS, SAMPLES, ROWS, STRIP_BYTES, PLANAR, PREDICTOR = 273, 277, 278, 279, 284, 317
TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES, EXTRA, FORMAT = 322, 323, 324, 325, 338, 339
# Those that unpack to bytes, whatever these mean: none, LZW, deflate (two numbers), PackBits, LZMA, Zstandard.
_COMPRESSIONS = {1, 5, 8, 32946, 32773, 34925, 50000}
_KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}
_DEPTHS = {"i": (8, 16, 32, 64), "f": (16, 32, 64)}
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _STRAIGHT_ALPHA = 0, 1, 2, 2


class Page(NamedTuple):
    """One page of a TIFF: its tags."""

    tags: Directory

    def number(self, tag: int, default: int = 1) -> int:
        """The first number of a tag."""
        value = self.tags.get(tag, default)
        return int(value[0] if isinstance(value, tuple) else value)

    def numbers(self, tag: int, default: int = 1) -> tuple[int, ...]:
        """All numbers of a tag."""
        value = self.tags.get(tag, default)
        return value if isinstance(value, tuple) else (value,)

    @property
    def bits(self) -> set[int]:
        """Bits a sample; of some files not all samples have as many."""
        return set(self.numbers(BITS)[: self.number(SAMPLES)])

    @property
    def depth(self) -> int:
        """Bits a sample, where all have as many."""
        return min(self.bits)

    @property
    def kind(self) -> str:
        """What the samples are, as NumPy's types begin: u, i or f; empty if none of these, or of several kinds."""
        formats = set(self.numbers(FORMAT)[: self.number(SAMPLES)])
        return _KINDS.get(min(formats), "") if len(formats) == 1 else ""

    @property
    def problem(self) -> str:
        """Why its samples are not read by ``read_samples``, as the middle of a sentence; empty where they are."""
        if not self.kind:
            return f"has samples of {self.depth} bits, neither whole nor real numbers, which are not read"
        if len(self.bits) > 1 or not 1 <= self.depth <= 64 or self.depth not in _DEPTHS.get(self.kind, range(65)):
            return f"has samples of {' and '.join(map(str, sorted(self.bits)))} bits, which are not read"
        photometric = self.number(PHOTOMETRIC, _BLACK_IS_ZERO)
        if photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB) or self.number(COMPRESSION) not in _COMPRESSIONS:
            return f"has samples of {self.depth} bits packed in a rare way"
        return ""

    @property
    def is_plain(self) -> bool:
        """Whether it is Pillow's to read: unsigned samples of at most 8 bits, or ones that ``read_samples`` does not.

        Of transparency Pillow knows too little.
        """
        if self.kind != "u" or self.problem:
            return self.kind == "u"
        if self.number(SAMPLES) == 1:
            return self.depth in (1, 2, 4, 8)
        return self.depth == 8 and self.number(PHOTOMETRIC) == _RGB and EXTRA not in self.tags

    @property
    def white_is_zero(self) -> bool:
        """Whether high numbers are dark."""
        return self.number(PHOTOMETRIC, _BLACK_IS_ZERO) == _WHITE_IS_ZERO

    @property
    def colours(self) -> int:
        """How many of the samples of a pixel are its colour, and no transparency or anything else."""
        return min(self.number(SAMPLES), 3 if self.number(PHOTOMETRIC) == _RGB else 1)

    @property
    def has_alpha(self) -> bool:
        """Whether the sample after the colour is transparency, and the colour is not dark already where it is."""
        return self.number(EXTRA, 0) == _STRAIGHT_ALPHA and self.number(SAMPLES) > self.colours


def read_pages(data: bytes) -> list[Page]:
    """The pages of a TIFF whose directories `headers.tag_excess` has held against the limits."""
    file = io.BytesIO(data)
    header = file.read(16 if 43 in data[2:4] else 8)
    order = header[:2]
    if header[:4] == b"MM\0+":  # which Pillow takes for a classic one
        header = b"II+\0" + header[4:]
    pages: list[Page] = []
    places: set[int] = set()
    directory = Directory(header, order)
    place = directory.next
    while place and place not in places and len(pages) <= limits.MAX_FRAMES:
        places.add(place)
        directory = Directory(header, order)
        file.seek(place)
        directory.load(file)
        pages.append(Page(directory))
        place = directory.next
    return pages


def read_samples(data: bytes, page: Page, name: str) -> np.ndarray:
    """The samples of a page, unturned: number [height, width, samples], of the file's own type.

    Packed bits become the next larger type; of planes there are those alone that are colours or transparency. Raises
    ImageError where they are of a type or a compression that is not read, or too many.
    """
    if page.problem:
        raise ImageError(f"{name} {page.problem}; save it as 16-bit PNG.")
    samples, used = page.number(SAMPLES), page.colours + page.has_alpha
    check_size(page.number(WIDTH), page.number(HEIGHT), name, samples * max(page.depth, 8) / 24)
    if page.number(PLANAR) != 2:
        return _read_plane(data, page, 0, 1)
    return np.concatenate([_read_plane(data, page, plane, samples) for plane in range(used)], axis=2)


def _read_plane(data: bytes, page: Page, plane: int, planes: int) -> np.ndarray:
    """One plane of so many: [height, width, samples of it]."""
    width, height, count = page.number(WIDTH), page.number(HEIGHT), page.number(SAMPLES) // planes
    depth = page.depth
    tiled = TILES in page.tags
    block = page.number(TILE_WIDTH) if tiled else width  # pixels of a row that are packed together
    across, block_bytes = -(-width // block), -(-block * count * depth // 8)
    offsets = page.numbers(TILES if tiled else STRIPS)
    sizes = page.numbers(TILE_BYTES if tiled else STRIP_BYTES, 0)
    if len(sizes) != len(offsets):  # old writers leave them out
        sizes = tuple(len(data) - offset for offset in offsets)
    own = slice(plane * (len(offsets) // planes), (plane + 1) * (len(offsets) // planes))
    entries = {WIDTH: block_bytes * across, HEIGHT: height, BITS: 8, SAMPLES: 1, PHOTOMETRIC: _BLACK_IS_ZERO}
    entries |= {tag: page.number(tag) for tag in (COMPRESSION, FILL_ORDER)}
    if tiled:
        entries |= {TILE_WIDTH: block_bytes, TILE_HEIGHT: page.number(TILE_HEIGHT)}
        places = {TILES: offsets[own], TILE_BYTES: sizes[own]}
    else:
        entries[ROWS] = min(page.number(ROWS, height), height)
        places = {STRIPS: offsets[own], STRIP_BYTES: sizes[own]}
    with TiffImageFile(io.BytesIO(_redescribe(data, page.tags.prefix, entries, places))) as picture:
        blocks = np.array(picture).reshape(height, across, block_bytes)
    if depth not in (8, 16, 32, 64):
        values = _unpack_bits(blocks, depth, block * count)
    else:
        order = "<" if page.tags.prefix == b"II" else ">"
        values = _to_numbers(blocks, count, f"{order}{page.kind}{depth // 8}", page.number(PREDICTOR))
    return values.reshape(height, across * block, count)[:, :width]


def _redescribe(data: bytes, prefix: bytes, entries: dict[int, int], places: dict[int, tuple[int, ...]]) -> bytes:
    """The file with another directory, put at its end."""
    order = "<" if prefix == b"II" else ">"
    every = sorted([*((tag, (value,)) for tag, value in entries.items()), *places.items()])
    start = len(data) + len(data) % 2
    directory, lists = struct.pack(order + "H", len(every)), b""
    beyond = start + len(directory) + 12 * len(every) + 4
    for tag, values in every:
        packed = struct.pack(f"{order}{len(values)}I", *values)
        alone = len(values) == 1
        directory += struct.pack(order + "HHI", tag, 4, len(values))
        directory += packed if alone else struct.pack(order + "I", beyond + len(lists))
        lists += b"" if alone else packed
    header = prefix + struct.pack(order + "HI", 42, start)
    return b"".join([header, memoryview(data)[8:], bytes(len(data) % 2), directory, bytes(4), lists])


def _to_numbers(blocks: np.ndarray, count: int, kind: str, predictor: int) -> np.ndarray:
    """From bytes [height, blocks, bytes] to numbers [height, blocks, numbers]."""
    height, across, size = blocks.shape
    if predictor == 3:  # bytes of one weight lie together, the weightiest first, each row as differences
        sums = np.cumsum(blocks.reshape(height, across, -1, count), axis=2, dtype=np.uint8)
        by_weight = sums.reshape(height, across, int(kind[2:]), -1)
        return np.ascontiguousarray(by_weight.swapaxes(2, 3)).view(f">{kind[1:]}")[..., 0]
    values = blocks.view(kind)
    if predictor == 2:
        pixels = values.reshape(height, across, -1, count)
        values = np.cumsum(pixels, axis=2, dtype=values.dtype.newbyteorder("=")).reshape(values.shape)
    return values


def _unpack_bits(blocks: np.ndarray, depth: int, count: int) -> np.ndarray:
    """From bytes to `count` numbers a block of so many bits each, the weightiest first."""
    kind = next(kind for kind in (np.uint8, np.uint16, np.uint32, np.uint64) if kind().itemsize * 8 >= depth)
    values = np.zeros((*blocks.shape[:2], count), kind)
    for row, numbers in zip(blocks, values, strict=True):  # one at a time, for a byte a bit is much
        bits = np.unpackbits(row, axis=1)[:, : count * depth].reshape(*numbers.shape, depth)
        for bit in range(depth):
            np.bitwise_or(numbers << kind(1), bits[..., bit], out=numbers)
    return values
