"""covid_cnn.images.reader: every kind of upload becomes one grayscale image, or one sentence."""

import io
import os
import re
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from uploads import DEEP, DICOM, RAMP, check, dicom, encode, refusal

from covid_cnn.common.errors import ImageError
from covid_cnn.images import limits, reader
from covid_cnn.images.ops import prepare, to_png
from covid_cnn.images.reader import read

# ---- images of 8 bits


@pytest.mark.parametrize(
    ("kind", "options", "shown"),
    [
        ("PNG", {}, "PNG"),
        ("JPEG", {"quality": 95}, "JPEG"),
        ("WEBP", {"lossless": True}, "WebP"),
        ("BMP", {}, "BMP"),
        ("TIFF", {}, "TIFF"),
        ("TIFF", {"compression": "tiff_lzw"}, "TIFF"),
    ],
)
def test_gray_images_of_every_format_keep_their_scale(kind, options, shown):
    radiograph = check(read(encode(RAMP, kind, **options), "x-ray.bin"))
    np.testing.assert_allclose(radiograph.pixels, RAMP / 255, atol=0.02)
    assert (radiograph.name, radiograph.origin) == ("x-ray.bin", f"{shown}, 90 x 70 px")
    assert radiograph.warnings == () and not radiograph.synthetic


@pytest.mark.parametrize("mode", ["RGB", "P", "CMYK", "RGBA", "LA"])
def test_gray_content_in_other_modes_reads_the_same(mode):
    picture = Image.fromarray(RAMP).convert(mode)
    data = encode(picture, "TIFF" if mode == "CMYK" else "PNG")
    radiograph = check(read(data))
    np.testing.assert_allclose(radiograph.pixels, RAMP / 255, atol=0.01)
    assert radiograph.warnings == ()


def test_one_bit_image():
    assert set(np.unique(read(encode(Image.fromarray(RAMP).convert("1"), "PNG")).pixels)) == {0, 1}


def test_colour_becomes_luma():
    half = Image.new("RGB", (70, 140))

    def luma(colour: str) -> float:
        half.paste(colour, (0, 0, 70, 70))
        return read(encode(half, "PNG")).pixels[0, 0]

    red, green, blue = map(luma, ("red", "lime", "blue"))
    assert blue < red < green and red + green + blue == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_lies_over_black(mode):
    white = Image.new("L", (90, 70), 255).convert(mode)
    white.putalpha(Image.fromarray(RAMP))
    np.testing.assert_allclose(read(encode(white, "PNG")).pixels, RAMP / 255, atol=0.01)


def test_transparent_palette_entry_is_black():
    picture = Image.fromarray(RAMP).convert("P")
    pixels = read(encode(picture, "PNG", transparency=255)).pixels
    assert (pixels[RAMP == 255] == 0).all() and pixels[RAMP == 254].min() > 0.9


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"quality": 95}), ("PNG", {}), ("WEBP", {"lossless": True})])
def test_exif_orientation_is_applied(kind, options):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise by 90 degrees
    radiograph = read(encode(RAMP, kind, exif=exif, **options))
    np.testing.assert_allclose(radiograph.pixels, np.rot90(RAMP, -1) / 255, atol=0.03)
    assert radiograph.origin.endswith("70 x 90 px")


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_tiff_orientation_is_applied_once(compression):
    data = encode(RAMP, "TIFF", tiffinfo={274: 3}, compression=compression)
    np.testing.assert_array_equal(read(data).pixels, np.rot90(RAMP, 2).astype(np.float32) / 255)


# ---- deeper images


@pytest.mark.parametrize(
    ("kind", "values", "bits"),
    [
        ("PNG", DEEP, 16),
        ("TIFF", DEEP, 16),
        ("TIFF", DEEP.astype(np.int32), 32),
        ("TIFF", DEEP.astype(np.float32), 32),
    ],
)
def test_deep_images_are_stretched_from_their_minimum_to_their_maximum(kind, values, bits):
    radiograph = check(read(encode(values, kind)))
    np.testing.assert_allclose(radiograph.pixels, (DEEP - 100.0) / 3995, atol=1e-6)
    assert radiograph.origin == f"{kind}, {bits} bit, 90 x 70 px"


def test_big_endian_tiff():
    picture = Image.frombytes("I;16B", (90, 70), DEEP.astype(">u2").tobytes())
    np.testing.assert_allclose(read(encode(picture, "TIFF")).pixels, (DEEP - 100.0) / 3995, atol=1e-6)


@pytest.mark.parametrize("values", [RAMP, DEEP])
def test_tiff_that_stores_white_as_zero_is_turned(values):
    entry = struct.pack("<HHI", 262, 3, 1)  # PhotometricInterpretation, one short
    data = encode(values, "TIFF")
    assert data.count(entry + b"\1\0") == 1
    pixels = read(data.replace(entry + b"\1\0", entry + b"\0\0")).pixels
    np.testing.assert_allclose(pixels, 1 - read(data).pixels, atol=1e-6)


def test_values_that_are_no_number_become_black():
    values = DEEP.astype(np.float32)
    values[0, :3] = np.nan, np.inf, -np.inf
    pixels = check(read(encode(values, "TIFF"))).pixels
    assert pixels[0, 0] == 0 and pixels[0, 1] == 1 and pixels[0, 2] == 0
    np.testing.assert_allclose(pixels[1:], (DEEP[1:] - 103.0) / 3992, atol=1e-3)


# ---- warnings and marks


def page(mode: str, colour: str) -> Image.Image:
    """A grey page with the same dark and bright stripes as any other."""
    drawn = Image.new(mode, (90, 70), colour)
    drawn.paste("black", (0, 0, 90, 10))
    drawn.paste("white", (0, 60, 90, 70))
    return drawn


@pytest.mark.parametrize(("kind", "mode"), [("TIFF", "L"), ("WEBP", "RGB")])
def test_of_several_pages_the_first_is_read(kind, mode):
    first, *others = (page(mode, colour) for colour in ("#606060", "white", "black"))
    radiograph = read(encode(first, kind, save_all=True, append_images=others))
    assert radiograph.pixels[10:60].mean() == pytest.approx(0x60 / 255, abs=0.02)
    assert "The file has 3 pages; only the first is read." in radiograph.warnings


@pytest.mark.parametrize(("kind", "mode"), [("TIFF", "L"), ("WEBP", "RGB")])
def test_another_page_can_be_chosen(kind, mode):
    first, *others = (page(mode, colour) for colour in ("black", "#606060", "white"))
    data = encode(first, kind, save_all=True, append_images=others)
    radiograph = check(read(data, frame=1))
    assert radiograph.pixels[10:60].mean() == pytest.approx(0x60 / 255, abs=0.02)
    assert (radiograph.frames, radiograph.windows) == (3, ())
    assert "The file has 3 pages; only page 2 is read." in radiograph.warnings


def test_every_page_is_held_against_the_limits():
    data = encode(
        Image.fromarray(RAMP).convert("1"), "TIFF", save_all=True, append_images=[Image.new("1", (9000, 8000))]
    )
    assert read(data).frames == 2
    with pytest.raises(ImageError, match="million"):
        read(data, frame=1)


@pytest.mark.parametrize("choice", [{"frame": 1}, {"frame": -1}, {"window": 0}])
def test_there_is_nothing_to_choose_in_most_images(choice):
    assert read(encode(RAMP, "PNG")).frames == 1
    with pytest.raises(ImageError, match=r"^a\.png has no (page|window) \d; the number of its \1s is [01]\.$"):
        read(encode(RAMP, "PNG"), "a.png", **{"frame": 0, **choice})


@pytest.mark.parametrize("values", [RAMP * 0, RAMP * 0 + 90, DEEP * 0, DEEP * 0 + 700])
def test_blank_image_is_refused(values):
    assert "is blank" in refusal(encode(values, "PNG"))


def test_small_image_is_read_with_a_warning():
    (warning,) = read(encode(RAMP[:63], "PNG")).warnings
    assert "very small (90 x 63 px)" in warning
    assert read(encode(np.tile(RAMP, (2, 1))[:64], "PNG")).warnings == ()


def says_colour(picture: np.ndarray) -> bool:
    return any("in colour" in warning for warning in read(encode(picture, "PNG")).warnings)


def test_colour_photograph_is_told():
    x, y = np.meshgrid(np.linspace(0, 1, 90), np.linspace(0, 1, 70))
    assert says_colour(np.rint(255 * np.stack([x, y, 1 - x], axis=-1)).astype(np.uint8))


@pytest.mark.parametrize("tint", [(255, 255, 255), (200, 225, 255), (255, 220, 170)])
def test_tinted_film_with_coloured_letters_is_no_colour_photograph(tint):
    film = np.rint(RAMP[..., None] / 255 * np.array(tint)).astype(np.uint8)
    film[:14, :14] = (255, 0, 0)  # 3 % of the image
    assert not says_colour(film)


def test_synthetic_mark_is_read():
    marks = PngImagePlugin.PngInfo()
    marks.add_text(reader.SYNTHETIC_KEY, f"{reader.SYNTHETIC_PREFIX} 1")
    radiograph = read(encode(RAMP, "PNG", pnginfo=marks))
    assert radiograph.synthetic and "synthetic" in radiograph.origin
    other = PngImagePlugin.PngInfo()
    other.add_text(reader.SYNTHETIC_KEY, "a paint program")
    assert not read(encode(RAMP, "PNG", pnginfo=other)).synthetic


# ---- what is refused


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (b"", "empty.png", "is empty"),
        (b"just a note\n" * 20, "note.png", "damaged or not an image"),
        (b"BM and more text, which only looks like a BMP" * 20, "text.bmp", "damaged"),
        (b"just a note\n" * 20, "note.dcm", "DICOM"),
        (encode(RAMP, "GIF"), "moving.gif", "GIF"),
        (b"%PDF-1.7\n" + bytes(400), "report.pdf", "PDF"),
        (b"PK\x03\x04" + bytes(400), "images.zip", "ZIP"),
        (b"\0\0\0\x18ftypheic" + bytes(400), "photo.jpg", "HEIC"),
        (bytes(128) + b"DICM" + bytes(20), "zeros.dcm", "DICOM"),
        (encode(RAMP[:7], "PNG"), "line.png", "90 x 7 px"),
        (dicom(DEEP[:, :5]), "line.dcm", "5 x 70 px"),
    ],
)
def test_bad_files_are_refused_in_a_sentence(data, name, words):
    assert words in refusal(data, name)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_images_are_refused(kind, share):
    noise = np.random.default_rng(0).integers(0, 256, (100, 100), np.uint8)
    data = encode(noise, kind)
    refusal(data[: int(len(data) * share)], f"cut.{kind.lower()}")


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
@pytest.mark.parametrize("name", ["RG3_UNCR.dcm", "JPEG-LL.dcm", "SC_rgb.dcm"])
def test_truncated_dicom_is_refused(name, share):
    data = (DICOM / name).read_bytes()
    refusal(data[: int(len(data) * share)], name)


def test_a_codec_that_crashes_takes_only_itself_down():
    data = bytearray((DICOM / "JPGLosslessP14SV1_1s_1f_8b.dcm").read_bytes())
    frame_header = data.index(b"\xff\xc3")
    data[frame_header + 4] = 99  # bits a sample: GDCM ends by a segmentation fault
    assert "cannot be decoded" in refusal(bytes(data), "damaged.dcm")


def test_dicom_without_an_image_is_refused():
    report = pydicom.dcmread(io.BytesIO(dicom(DEEP)))
    del report.PixelData
    report.EncapsulatedDocument = b"%PDF-1.7"
    buffer = io.BytesIO()
    report.save_as(buffer)
    assert "without an image" in refusal(buffer.getvalue(), "report.dcm")


@pytest.mark.parametrize(
    ("syntax", "words"),
    [
        ("1.2.840.10008.1.2.4.201", "cannot be decoded"),
        ("1.2.840.10008.1.2.4.102", "MPEG-4"),
        ("1.2.3.4.5", "in an unknown way"),
        ("1.2.840.10008.1.2.1.99", "deflated"),
    ],
)
def test_unknown_compression_is_named(syntax, words):
    data = dicom(DEEP)
    dataset = data[data.index(b"\x08\x00\x16\x00") :]
    value = syntax.encode() + b"\0" * (len(syntax) % 2)
    meta = struct.pack("<HH2sHI", 2, 0, b"UL", 4, 8 + len(value)) + struct.pack("<HH2sH", 2, 16, b"UI", len(value))
    assert words in refusal(bytes(128) + b"DICM" + meta + value + dataset, "odd.dcm")


def test_paths_that_cannot_be_read(tmp_path):
    assert "does not exist" in refusal(tmp_path / "missing.png")
    folder = tmp_path / "folder.png"
    folder.mkdir()
    assert "is not a file" in refusal(folder)
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    assert "is not a file" in refusal(pipe)
    assert "cannot be opened" in refusal(tmp_path / ("long" * 100))
    loop = tmp_path / "loop.png"
    loop.symlink_to(loop)
    assert "cannot be opened" in refusal(loop)


def test_path_and_bytes_read_the_same(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encode(RAMP, "PNG"))
    assert read(path).name == "a.png"
    np.testing.assert_array_equal(read(path).pixels, read(path.read_bytes()).pixels)


@pytest.mark.parametrize(
    ("name", "shown"),
    [("patients/smith/a.png", "a.png"), ("C:\\x\\a.png", "a.png"), ("a\n.png", "a?.png"), ("", "image")],
)
def test_only_the_files_own_name_is_shown(name, shown):
    assert read(encode(RAMP, "PNG"), name).name == shown
    with pytest.raises(ImageError, match="^" + shown.replace("?", r"\?") + " is empty"):
        read(b"", name)


def test_memory_errors_are_told_and_interrupts_pass(monkeypatch):
    def fail(error):
        def load(*_):
            raise error

        monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", load)

    fail(MemoryError())
    assert "memory" in refusal(encode(RAMP, "PNG"), "a.png")
    fail(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        read(encode(RAMP, "PNG"))


# ---- limits


def huge_png(side: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9999)))


def huge_webp(side: int) -> bytes:
    data = bytearray(encode(Image.new("RGB", (70, 70)), "WEBP", lossless=True))
    data[21:25] = struct.pack("<I", (side - 1) | (side - 1) << 14)
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        huge_png(8_001),
        huge_png(30_000),
        huge_webp(12_000),
        dicom(DEEP, Rows=30_000, Columns=30_000),
        dicom(DEEP, NumberOfFrames=100_000),
    ],
    ids=["png", "png beyond Pillow's limit", "webp", "dicom", "dicom frames"],
)
def test_declared_size_is_refused_before_anything_is_decoded(data):
    tracemalloc.start()
    try:
        assert re.search("million|more than 1000", refusal(data, "huge"))
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_file_size_is_refused_before_the_file_is_read(tmp_path):
    path = tmp_path / "big.png"
    with path.open("wb") as file:
        file.truncate(limits.MAX_FILE_BYTES + 1)  # a sparse file
    assert "100 MiB" in refusal(path)


# ---- damaged at random

SEEDS = {
    "gray.png": encode(RAMP, "PNG"),
    "deep.png": encode(DEEP, "PNG"),
    "palette.png": encode(Image.fromarray(RAMP).convert("P"), "PNG"),
    "photo.jpg": encode(RAMP, "JPEG"),
    "photo.webp": encode(RAMP, "WEBP"),
    "old.bmp": encode(RAMP, "BMP"),
    "scan.tif": encode(RAMP, "TIFF", compression="tiff_lzw"),
    "deep.tif": encode(DEEP, "TIFF"),
    "plain.dcm": dicom(DEEP, WindowCenter=2000, WindowWidth=1000, RescaleSlope=2, RescaleIntercept=1),
    "colour.dcm": dicom(np.repeat(RAMP[..., None], 3, axis=2)),
}


def read_or_refuse(data: bytes, name: str) -> None:
    try:
        check(read(data, name))
    except ImageError as error:
        assert str(error).startswith(name) and str(error).endswith(".")


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=600), st.sampled_from(["a.png", "a.dcm"]))
def test_any_bytes_are_read_or_refused(data, name):
    read_or_refuse(data, name)


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(sorted(SEEDS)),
    changes=st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), max_size=8),
    kept=st.floats(0.05, 3),
)
@pytest.mark.filterwarnings("ignore")  # what Pillow says about damaged TIFFs
def test_damaged_files_are_read_or_refused(name, changes, kept):
    data = bytearray(SEEDS[name])
    for place, value in changes:
        data[place % len(data)] = value
    read_or_refuse(bytes(data[: int(len(data) * kept)]), name)


# ---- preprocessing and PNG


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(8, 120),
    width=st.integers(8, 120),
    size=st.tuples(st.integers(8, 96), st.integers(8, 96)),
    seed=st.integers(0, 99),
)
def test_prepared_shape_range_and_mean(height, width, size, seed):
    pixels = np.random.default_rng(seed).random((height, width), np.float32)
    prepared = prepare(pixels, size)
    assert prepared.shape == (*size, 1) and prepared.dtype == np.float32
    assert prepared.min() >= 0 and prepared.max() <= 1
    np.testing.assert_allclose(prepare(pixels * 0 + 0.7, size), 0.7, atol=1e-6)
    np.testing.assert_array_equal(prepare(pixels, (height, width))[..., 0], pixels)
    smooth = np.add.outer(np.linspace(0, 0.5, height), np.linspace(0, 0.5, width))
    assert prepare(smooth, size).mean() == pytest.approx(0.5, abs=0.02)


def test_preparing_stretches_without_letterbox():
    pixels = np.tile(np.linspace(0, 1, 400, dtype=np.float32), (100, 1))
    prepared = prepare(pixels, (50, 50))[..., 0]
    np.testing.assert_allclose(prepared, np.tile((np.arange(50) + 0.5) / 50, (50, 1)), atol=0.01)


def test_preparing_filters_fine_detail_when_it_shrinks():
    checkerboard = (np.indices((512, 512)).sum(axis=0) % 2).astype(np.float32)
    np.testing.assert_allclose(prepare(checkerboard, (64, 64)), 0.5, atol=0.05)


def test_preparing_clips_and_leaves_its_input_alone():
    pixels = np.full((20, 20), 1.5)
    assert prepare(pixels, (20, 20)).max() == 1 and pixels.max() == 1.5


def test_png_round_trip():
    np.testing.assert_array_equal(read(to_png(RAMP.astype(np.float32) / 255)).pixels, RAMP.astype(np.float32) / 255)
    colour = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(to_png(colour)))), colour)


# ---- the module as a whole


def test_import_stays_light():
    heavy = {"pydicom", "scipy", "sklearn", "matplotlib", "pandas", "tensorflow", "streamlit"}
    code = f"import sys, covid_cnn.images.reader; print({heavy!r} & set(sys.modules))"
    root = Path(reader.__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.real_data
def test_real_images_are_read_quickly_and_without_false_alarm(real_data):
    paths = sorted(path for path in real_data.rglob("*") if path.suffix.lower() in reader.IMAGE_SUFFIXES)[::10]
    assert len(paths) > 100
    start = time.perf_counter()
    radiographs = [check(read(path)) for path in paths]
    assert time.perf_counter() - start < 0.1 * len(paths)
    assert sum("in colour" in " ".join(radiograph.warnings) for radiograph in radiographs) < 0.02 * len(paths)
