"""covid_cnn.images.dicom: files as hospitals send them, in whatever depth, look, compression and number of frames."""

import io
import subprocess
import sys
from pathlib import Path

import gdcm
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_windowing
from uploads import CHEST, DEEP, DICOM, LEG, RAMP, check, dicom, encode, refusal

from covid_cnn.common.errors import ImageError
from covid_cnn.images.reader import read


def test_real_chest_radiograph_shows_bone_white():
    radiograph = check(read(CHEST))
    assert radiograph.origin == "DICOM, 15 bit, MONOCHROME1 (inverted to show bone white), 1841 x 1955 px"
    assert radiograph.warnings == ()
    spine = radiograph.pixels[900:1100, 880:960].mean()
    lungs = radiograph.pixels[300:400, 600:700].mean(), radiograph.pixels[300:400, 1100:1200].mean()
    assert spine > max(lungs) + 0.2
    stored = pydicom.dcmread(CHEST).pixel_array
    assert np.corrcoef(radiograph.pixels[::9, ::9].ravel(), stored[::9, ::9].ravel())[0, 1] < -0.99


def test_real_leg_is_told():
    radiograph = check(read(LEG))
    assert radiograph.warnings == ("The file says the body part is EXTREMITY, not chest.",)


def test_window_agrees_with_pydicom():
    dataset = pydicom.dcmread(LEG)
    windowed = apply_windowing(dataset.pixel_array, dataset)
    np.testing.assert_allclose(read(LEG).pixels, 1 - windowed / (2**dataset.BitsStored - 1), atol=1e-5)


@pytest.mark.parametrize("name", ["RG1_J2KR.dcm", "JPGLosslessP14SV1_1s_1f_8b.dcm", "OBXXXX1A_rle.dcm"])
def test_compressed_files_are_unpacked(name):
    radiograph = check(read(DICOM / name))
    assert radiograph.pixels.std() > 0.05
    if name.startswith("RG1"):
        np.testing.assert_allclose(radiograph.pixels, read(CHEST).pixels, atol=1e-6)


def test_nothing_in_a_file_that_names_the_patient_is_repeated():
    dataset = pydicom.dcmread(CHEST)
    private = [str(dataset[tag].value) for tag in ("PatientName", "PatientID", "StudyDate", "InstitutionName")]
    radiograph = read(CHEST.read_bytes(), "upload.dcm")
    damaged = refusal(CHEST.read_bytes()[:4000], "upload.dcm")
    for text in (radiograph.origin, *radiograph.warnings, damaged):
        assert not any(word in text for word in private)


def test_stored_values_without_a_window_are_stretched():
    np.testing.assert_allclose(check(read(dicom(DEEP))).pixels, (DEEP - 100.0) / 3995, atol=1e-6)


def test_signed_values_and_rescale_slope():
    values = DEEP.astype(np.int16) - 2000
    rescaled = dicom(values, RescaleSlope=-1, RescaleIntercept=5)
    np.testing.assert_allclose(read(dicom(values)).pixels, (DEEP - 100.0) / 3995, atol=1e-6)
    np.testing.assert_allclose(read(rescaled).pixels, 1 - (DEEP - 100.0) / 3995, atol=1e-6)


def test_first_of_several_windows_is_used():
    pixels = read(dicom(DEEP, WindowCenter=[2000.5, 9], WindowWidth=[1001, 9])).pixels
    np.testing.assert_allclose(pixels, np.clip((DEEP - 1500.0) / 1000, 0, 1), atol=1e-5)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("LINEAR_EXACT", lambda x: np.clip((x - 1500) / 1000, 0, 1)),
        ("SIGMOID", lambda x: 1 / (1 + np.exp(-4 * (x - 2000) / 1000))),
    ],
)
def test_window_functions(function, expected):
    pixels = read(dicom(DEEP, WindowCenter=2000, WindowWidth=1000, VOILUTFunction=function)).pixels
    np.testing.assert_allclose(pixels, expected(DEEP.astype(float)), atol=1e-5)


def test_useless_window_is_ignored():
    pixels = read(dicom(DEEP, WindowCenter=2000, WindowWidth=0)).pixels
    np.testing.assert_allclose(pixels, (DEEP - 100.0) / 3995, atol=1e-6)


def test_voi_lut():
    table = pydicom.Dataset()
    table.LUTDescriptor = [256, 0, 16]
    table.add_new("LUTData", "US", [65535 - 257 * entry for entry in range(256)])
    np.testing.assert_allclose(read(dicom(RAMP, VOILUTSequence=[table])).pixels, 1 - RAMP / 255, atol=1e-6)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_colour_dicom_becomes_luma(depth):
    picture = np.repeat(RAMP[..., None], 3, axis=2).astype(depth) << (8 if depth is np.uint16 else 0)
    radiograph = check(read(dicom(picture)))
    np.testing.assert_allclose(radiograph.pixels, RAMP / 255, atol=0.01)


def test_ybr_and_palette_dicom():
    rgb, ybr = (read(DICOM / name) for name in ("SC_rgb.dcm", "SC_ybr_full_uncompressed.dcm"))
    np.testing.assert_allclose(rgb.pixels, ybr.pixels, atol=0.02)
    assert any("in colour" in warning for warning in rgb.warnings)
    palette = read(DICOM / "OT-PAL-8-face.dcm")
    assert "PALETTE COLOR" in palette.origin and palette.pixels.std() > 0.1


def test_of_several_frames_the_first_is_read():
    one, two = read(DICOM / "SC_rgb.dcm"), read(DICOM / "SC_rgb_2frame.dcm")
    np.testing.assert_array_equal(one.pixels, two.pixels)
    assert "The file has 2 frames; only the first is read." in two.warnings


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"BodyPartExamined": "LEG"}, "the body part is LEG, not chest"),
        ({"BodyPartExamined": "Port Chest"}, None),
        ({"BodyPartExamined": "RIBS"}, None),
        ({"BodyPartExamined": ""}, None),
        ({"ViewPosition": "LL"}, "lateral view"),
        ({"ViewPosition": "PA"}, None),
        ({"Modality": "CT"}, "CT, not an X-ray"),
        ({"Modality": "DX"}, None),
    ],
)
def test_tags_that_speak_against_a_frontal_chest_radiograph(tags, words):
    warnings = read(dicom(DEEP, **tags)).warnings
    assert warnings == () if words is None else [words in warning for warning in warnings] == [True]


def test_dicom_is_told_by_content_or_else_by_suffix():
    data = dicom(DEEP)
    assert read(data, "IM0001").origin.startswith("DICOM")
    bare = data[data.index(b"\x08\x00\x16\x00") :]  # from its first tag: neither preamble nor meta header
    np.testing.assert_array_equal(read(bare, "bare.dcm").pixels, read(data).pixels)
    assert read(bare, "bare.png").origin.startswith("DICOM")
    odd = data[data.index(b"\x28\x00\x02\x00") :]  # from the image's own tags on: nothing tells what it is
    np.testing.assert_array_equal(read(odd, "odd.dcm").pixels, read(data).pixels)
    refusal(odd, "odd.png")
    assert read(encode(RAMP, "PNG"), "wrong.dcm").origin.startswith("PNG")


# ---- depths


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [10, 12, 15, 16])
def test_every_depth_with_whatever_lies_in_the_unused_bits(bits, signed):
    values = np.linspace(0, 2**bits - 1, DEEP.size).reshape(DEEP.shape).astype(np.int64) - signed * 2 ** (bits - 1)
    stored = (values & (2**bits - 1)).astype(np.uint16)
    if bits < 16:
        stored |= np.uint16(2**bits) * (np.indices(DEEP.shape)[0] % 2).astype(np.uint16)  # an overlay, say
    data = dicom(stored, BitsStored=bits, HighBit=bits - 1, PixelRepresentation=int(signed))
    radiograph = check(read(data))
    np.testing.assert_allclose(radiograph.pixels, (values - values.min()) / (2**bits - 1), atol=1e-6)
    assert radiograph.origin.startswith(f"DICOM, {bits} bit, MONOCHROME2, ")


def test_monochrome1_is_inverted_behind_its_window():
    tags = {"WindowCenter": 2000, "WindowWidth": 1001}
    inverted = check(read(dicom(DEEP, PhotometricInterpretation="MONOCHROME1", **tags)))
    np.testing.assert_allclose(inverted.pixels, 1 - read(dicom(DEEP, **tags)).pixels, atol=1e-6)


def test_unknown_colours_are_refused_and_not_repeated():
    assert "in an unknown way" in refusal(dicom(DEEP, PhotometricInterpretation="DOE JANE"), "a.dcm")


# ---- tables


def table(entries: list[int], first: int, bits: int, **tags: object) -> pydicom.Dataset:
    item = pydicom.Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item.add_new("LUTData", "US", entries)
    for tag, value in tags.items():
        setattr(item, tag, value)
    return item


FALLING = [4095 - entry for entry in range(4096)]


@pytest.mark.parametrize("bits", [12, 16])
def test_modality_lut_of_any_depth(bits):
    pixels = read(dicom(DEEP, ModalityLUTSequence=[table(FALLING, 0, bits)])).pixels
    np.testing.assert_allclose(pixels, 1 - (DEEP - 100.0) / 3995, atol=1e-6)


def test_voi_lut_behind_a_rescale_fills_its_own_depth():
    half = [entry // 2 for entry in range(4096)]
    data = dicom(DEEP, RescaleSlope=0.5, RescaleIntercept=10, VOILUTSequence=[table(half, 10, 12)])
    np.testing.assert_allclose(read(data).pixels, np.rint(DEEP * 0.5) // 2 / 4095, atol=3e-4)


def test_voi_lut_from_a_negative_value_on():
    values = DEEP.astype(np.int16) - 2000
    rising = list(range(4096))
    expected = np.clip(DEEP - 1000.0, 0, 4095) / 4095
    for first in (-1000, 64536):  # as signed and, as many files have it, as unsigned number
        item = table(rising, 0, 12)
        item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [4096, first, 12])
        data = dicom(values, VOILUTSequence=[item])
        np.testing.assert_allclose(read(data).pixels, expected, atol=1e-6)


def test_tables_as_bytes():
    words = table([], 0, 16)
    words.add_new("LUTDescriptor", "US", [256, 0, 16])
    words.add_new("LUTData", "OW", np.arange(0, 65536, 257, np.uint16).tobytes())
    octets = table([], 0, 8)
    octets.add_new("LUTDescriptor", "US", [256, 0, 8])
    octets.add_new("LUTData", "OW", bytes(range(256)))
    for item in (words, octets):
        np.testing.assert_allclose(read(dicom(RAMP, VOILUTSequence=[item])).pixels, RAMP / 255, atol=1e-6)


def test_real_tables_agree_with_the_values_they_hold():
    modality, voi = (pydicom.dcmread(DICOM / name) for name in ("mlut_18.dcm", "vlut_04.dcm"))
    for dataset, sequence in ((modality, "ModalityLUTSequence"), (voi, "VOILUTSequence")):
        (item,) = dataset[sequence].value
        count, first, depth = item.LUTDescriptor
        places = np.clip(dataset.pixel_array.astype(int) - first, 0, (count or 65536) - 1)
        looked_up = np.frombuffer(np.asarray(item.LUTData, np.uint16), np.uint16)[places].astype(float)
        low, high = (looked_up.min(), looked_up.max()) if dataset is modality else (0, 2**depth - 1)
        np.testing.assert_allclose(read(Path(dataset.filename)).pixels, (looked_up - low) / (high - low), atol=1e-5)


# ---- what there is to choose

FULL_RANGE = "from the darkest to the brightest value"


def test_windows_are_offered_and_chosen_by_number():
    data = dicom(
        DEEP,
        WindowCenter=[2000.5, 9, 1000.5],
        WindowWidth=[1001, 0, 501],
        WindowCenterWidthExplanation=["NORMAL", "HARDER", "Dr Doe"],
        VOILUTSequence=[table(FALLING, 0, 12, LUTExplanation="Softer"), table(FALLING[::-1], 0, 12)],
    )
    expected = {
        "lookup table 1 (softer)": 1 - DEEP / 4095,
        "lookup table 2": DEEP / 4095,
        "centre 2000.5, width 1001 (normal)": np.clip((DEEP - 1500.0) / 1000, 0, 1),
        "centre 1000.5, width 501": np.clip((DEEP - 750.0) / 500, 0, 1),
        FULL_RANGE: (DEEP - 100.0) / 3995,
    }
    assert read(data).windows == tuple(expected)
    for number, pixels in enumerate(expected.values()):
        np.testing.assert_allclose(check(read(data, window=number)).pixels, pixels, atol=1e-5)
    np.testing.assert_array_equal(read(data).pixels, read(data, window=0).pixels)
    for wrong in (-1, 5):
        with pytest.raises(ImageError, match=rf"^a\.dcm has no window {wrong + 1}; the number of its windows is 5\.$"):
            read(data, "a.dcm", window=wrong)


def test_only_linear_exact_and_sigmoid_windows_may_be_narrow():
    values = np.linspace(0, 1, DEEP.size).reshape(DEEP.shape) * 65535
    tags = {"RescaleSlope": 1 / 65535, "RescaleIntercept": 0, "WindowCenter": 0.5, "WindowWidth": 0.5}
    exact = dicom(values.astype(np.uint16), VOILUTFunction="LINEAR_EXACT", **tags)
    np.testing.assert_allclose(read(exact).pixels, np.clip(values / 65535 * 2 - 0.5, 0, 1), atol=1e-4)
    assert read(dicom(values.astype(np.uint16), **tags)).windows == (FULL_RANGE,)


def test_window_that_is_no_number_is_left_out():
    dataset = pydicom.dcmread(io.BytesIO(dicom(DEEP, WindowWidth=1000)))
    dataset.add_new("WindowCenter", "LO", "JANE DOE")
    dataset["WindowCenter"].VR = "LO"
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    assert read(buffer.getvalue()).windows == (FULL_RANGE,)


@pytest.mark.parametrize("tags", [{"PixelPaddingValue": 0}, {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 50}])
def test_padding_does_not_set_the_range(tags):
    values = DEEP + np.uint16(10_000)
    values[:, :20] = 0
    expected = np.clip((values.astype(float) - values[0, 20]) / (float(values.max()) - values[0, 20]), 0, 1)
    np.testing.assert_allclose(read(dicom(values, **tags)).pixels, expected, atol=1e-6)


def test_colour_offers_no_window():
    assert read(DICOM / "SC_rgb.dcm").windows == ()
    with pytest.raises(ImageError, match="no window 1"):
        read(DICOM / "SC_rgb.dcm", window=0)


# ---- frames and compression

FRAMES = np.stack([DEEP, DEEP[::-1], DEEP[:, ::-1]])
NO_CHOICE = "^a\\.dcm has no frame {}; the number of its frames is 3\\.$"


def test_any_frame_can_be_chosen():
    data = dicom(DEEP, NumberOfFrames=3, PixelData=FRAMES.tobytes())
    for number, frame in enumerate(FRAMES):
        radiograph = check(read(data, frame=number))
        np.testing.assert_allclose(radiograph.pixels, (frame - 100.0) / 3995, atol=1e-6)
        assert radiograph.frames == 3
    assert read(data, frame=2).warnings == ("The file has 3 frames; only frame 3 is read.",)
    for wrong in (-1, 3):
        with pytest.raises(ImageError, match=NO_CHOICE.format(wrong + 1)):
            read(data, "a.dcm", frame=wrong)


def group(sequence: str, **tags: object) -> pydicom.Dataset:
    item, outer = pydicom.Dataset(), pydicom.Dataset()
    for tag, value in tags.items():
        setattr(item, tag, value)
    setattr(outer, sequence, [item])
    return outer


def test_every_frame_has_its_own_window_and_rescale():
    data = dicom(
        DEEP,
        NumberOfFrames=3,
        PixelData=FRAMES.tobytes(),
        SharedFunctionalGroupsSequence=[group("PixelValueTransformationSequence", RescaleSlope=2, RescaleIntercept=0)],
        PerFrameFunctionalGroupsSequence=[
            group("FrameVOILUTSequence", WindowCenter=center, WindowWidth=1001) for center in (1000, 2000, 3000)
        ],
    )
    radiograph = read(data, frame=2)
    assert radiograph.windows == ("centre 3000, width 1001", FULL_RANGE)
    np.testing.assert_allclose(radiograph.pixels, np.clip((FRAMES[2] * 2.0 - 2499.5) / 1000, 0, 1), atol=1e-5)


def test_what_frames_say_cannot_change_the_size():
    hidden = group("FrameVOILUTSequence", Rows=30_000, Columns=30_000, WindowCenter=2000, WindowWidth=1001)
    assert read(dicom(DEEP, SharedFunctionalGroupsSequence=[hidden])).pixels.shape == DEEP.shape


def compressed(data: bytes, syntax: object, folder: Path) -> bytes:
    """The DICOM file, its pixels compressed by GDCM."""
    source, target = str(folder / "in.dcm"), str(folder / "out.dcm")
    Path(source).write_bytes(data)
    reader = gdcm.ImageReader()
    reader.SetFileName(source)
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(target)
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return Path(target).read_bytes()


# Enhanced MR: GDCM writes frames of signed values as hardly anything else.
MULTI_FRAME = "1.2.840.10008.5.1.4.1.1.4.1"
LOSSLESS = {
    "RLE": (gdcm.TransferSyntax.RLELossless, "1.2.840.10008.1.2.5"),
    "JPEG": (gdcm.TransferSyntax.JPEGLosslessProcess14_1, "1.2.840.10008.1.2.4.70"),
    "JPEG-LS": (gdcm.TransferSyntax.JPEGLSLossless, "1.2.840.10008.1.2.4.80"),
    "JPEG 2000": (gdcm.TransferSyntax.JPEG2000Lossless, "1.2.840.10008.1.2.4.90"),
}


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_compression_changes_nothing(kind, bits, signed, tmp_path):
    values = np.linspace(0, 2**bits - 1, FRAMES.size).reshape(FRAMES.shape).astype(np.int64)
    values -= signed * 2 ** (bits - 1)
    stored = values.astype({(8, 0): "u1", (8, 1): "i1"}.get((bits, signed), "i2" if signed else "u2"))
    depth = {"BitsStored": bits, "HighBit": bits - 1, "PatientName": "", "PatientID": ""}
    data = dicom(stored[0], NumberOfFrames=3, PixelData=stored.tobytes(), **depth, SOPClassUID=MULTI_FRAME)
    packed = compressed(data, LOSSLESS[kind][0], tmp_path)
    assert pydicom.dcmread(io.BytesIO(packed)).file_meta.TransferSyntaxUID == LOSSLESS[kind][1]
    np.testing.assert_allclose(read(packed, frame=2).pixels, read(data, frame=2).pixels, atol=1e-6)


PYDICOM = Path(pydicom.__file__).parent / "data" / "test_files"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("JPEGLSNearLossless_08.dcm", "8 bit"),
        ("JPEGLSNearLossless_16.dcm", "16 bit"),
        ("693_J2KI.dcm", "14 bit"),
        ("J2K_pixelrep_mismatch.dcm", "13 bit"),
        ("SC_rgb_jpeg_dcmtk.dcm", "YBR_FULL"),
        ("MR_small_RLE.dcm", "16 bit"),
    ],
)
def test_lossy_and_odd_compression(name, shown):
    path = PYDICOM / name
    if not path.exists():
        pytest.skip("pydicom came without its test files")
    radiograph = check(read(path))
    assert shown in radiograph.origin and radiograph.pixels.std() > 0.05


@pytest.mark.parametrize("name", ["JPGExtended.dcm", "JPEG-lossy.dcm"])
def test_lossy_jpeg_of_12_bits(name):
    path = PYDICOM / name
    if not path.exists():
        pytest.skip("pydicom came without its test files")
    dataset = pydicom.dcmread(path)
    for tag in ("WindowCenter", "WindowWidth"):
        if tag in dataset:
            del dataset[tag]
    radiograph = check(read(saved(dataset)))  # over its full range
    assert "12 bit" in radiograph.origin
    # Points whose values were read in another viewer, as pydicom's own tests have them.
    assert radiograph.pixels[230, 120] / radiograph.pixels[420, 140] == pytest.approx(95 / 244, abs=1e-6)


def test_jpeg_of_12_bits_stored_in_another_way_is_refused():
    path = PYDICOM / "JPGExtended.dcm"
    if not path.exists():
        pytest.skip("pydicom came without its test files")
    data, dataset = path.read_bytes(), pydicom.dcmread(path)
    dataset.PixelRepresentation = 1
    assert "is compressed as JPEG Extended" in refusal(saved(dataset))
    header = data.index(b"\xff\xc1")
    assert "contradicts itself about the depth" in refusal(data[: header + 4] + b"\x10" + data[header + 5 :])
    frame = pydicom.encaps.get_frame(pydicom.dcmread(path).PixelData, 0, number_of_frames=1)
    dataset.PixelRepresentation, dataset.PixelData = 0, encapsulate([frame[:300]])
    assert "cannot be decoded" in refusal(saved(dataset))


def saved(dataset: pydicom.Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def test_real_frames_read_the_same_in_every_compression():
    plain = read(DICOM / "emri_small.dcm", frame=7)
    assert plain.frames == 10 and plain.pixels.std() > 0.05
    for name in ("emri_small_RLE.dcm", "emri_small_jpeg_2k_lossless.dcm", "emri_small_jpeg_ls_lossless.dcm"):
        np.testing.assert_allclose(read(DICOM / name, frame=7).pixels, plain.pixels, atol=1e-6)


def test_damaged_frame_leaves_the_others_readable():
    good = pydicom.dcmread(DICOM / "emri_small_jpeg_2k_lossless.dcm")
    frames = list(pydicom.encaps.generate_frames(good.PixelData, number_of_frames=10))
    frames[4] = frames[4][:40]
    good.PixelData = encapsulate(frames)
    buffer = io.BytesIO()
    good.save_as(buffer)
    np.testing.assert_array_equal(
        read(buffer.getvalue(), frame=7).pixels, read(DICOM / "emri_small.dcm", frame=7).pixels
    )
    with pytest.raises(ImageError, match="cannot be decoded"):
        read(buffer.getvalue(), frame=4)


# ---- what the file says


def code(meaning: str) -> pydicom.Dataset:
    item = pydicom.Dataset()
    item.CodeMeaning = meaning
    return item


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"BodyPartExamined": "left knees"}, "the body part is KNEE, not chest"),
        ({"BodyPartExamined": "WHOLE BODY"}, "the body part is WHOLEBODY, not chest"),
        ({"BodyPartExamined": "THORACIC SPINE"}, "the body part is SPINE, not chest"),
        ({"BodyPartExamined": "JANE DOE"}, "names a body part that is not known to be the chest"),
        ({"AnatomicRegionSequence": [code("Knee")]}, "the body part is KNEE, not chest"),
        ({"AnatomicRegionSequence": [code("Chest")]}, None),
        ({"StudyDescription": "XR Knee, 2 views"}, "the body part is KNEE, not chest"),
        ({"StudyDescription": "XR Chest and abdomen"}, None),
        ({"StudyDescription": "Check-up"}, None),
        ({"BodyPartExamined": "CHEST", "StudyDescription": "Chest, knee"}, None),
        ({"ViewPosition": "LLO"}, "an oblique view"),
        ({"ViewPosition": "RLD"}, "a decubitus view"),
        ({"ViewCodeSequence": [code("left lateral")]}, "a lateral view"),
        ({"ViewCodeSequence": [code("postero-anterior")]}, None),
        ({"SeriesDescription": "Chest LAT"}, "a lateral view"),
        ({"SeriesDescription": "Chest bilateral"}, None),
        ({"SeriesDescription": "Chest PA/LAT"}, None),
        ({"ViewPosition": "PA", "SeriesDescription": "Chest LAT"}, None),
        ({"PatientOrientation": ["A", "F"]}, "a lateral view"),
        ({"PatientOrientation": ["L", "F"]}, None),
        ({"PresentationIntentType": "FOR PROCESSING"}, "raw values"),
        ({"PresentationIntentType": "FOR PRESENTATION"}, None),
        ({"BurnedInAnnotation": "YES"}, "burned into the image"),
        ({"BurnedInAnnotation": "NO"}, None),
    ],
)
def test_what_the_file_says_of_part_and_view(tags, words):
    warnings = check(read(dicom(DEEP, **tags))).warnings
    assert warnings == () if words is None else [words in warning for warning in warnings] == [True]


PRIVATE = {
    "PatientName": "Doeling^Jane^Li",
    "PatientID": "MRN-8472915",
    "PatientBirthDate": "19610417",
    "StudyDate": "20200319",
    "AccessionNumber": "ACC55501",
    "OtherPatientIDs": ["H77431", "K9920"],
}
# The same, wherever else a careless machine might write it.
MISPLACED = {
    "BodyPartExamined": "DOELING JANE",
    "ViewPosition": "8472915",
    "Modality": "DOELING",
    "StudyDescription": "Doeling Jane 19610417",
    "SeriesDescription": "Doeling LAT",
    "WindowCenter": 2000,
    "WindowWidth": 1000,
    "WindowCenterWidthExplanation": "Doeling 8472915",
    "VOILUTFunction": "DOELING",
    "PresentationIntentType": "DOELING",
}
TOLD = ("doeling", "jane", "8472915", "19610417", "1961-04-17", "17.04.1961", "20200319", "acc55501", "h77431", "k9920")


def everything(data: bytes, name: str) -> str:
    try:
        return repr(read(data, name)).lower()
    except ImageError as error:
        return str(error).lower()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Doeling_Jane.dcm", "***_***.dcm"),
        ("chest-of-LI-1961-04-17.dcm", "chest-of-***-***.dcm"),
        ("17.04.1961 linear.dcm", "*** linear.dcm"),
        ("mrn8472915_20200319_PA.dcm", "mrn***_***_PA.dcm"),
        ("ACC55501", "***"),
        ("k9920-h77431.dcm", "***-***.dcm"),
        ("IM000001.dcm", "IM000001.dcm"),
    ],
)
def test_the_patient_is_struck_out_of_the_files_name(name, shown):
    data = dicom(DEEP, **PRIVATE, **MISPLACED)
    assert read(data, name).name == shown
    for broken in (dicom(DEEP, **PRIVATE, Rows=30_000, Columns=30_000), dicom(DEEP, **PRIVATE)[:-2000]):
        with pytest.raises(ImageError) as caught:
            read(broken, name)
        assert str(caught.value).startswith(f"{shown} ")


@pytest.mark.parametrize("extra", [{}, MISPLACED, {"PhotometricInterpretation": "DOELING"}, {"NumberOfFrames": 9}])
def test_nothing_of_the_patient_is_repeated(extra):
    told = everything(dicom(DEEP, **PRIVATE, **extra), "Doeling_8472915_1961-04-17.dcm")
    assert "***_***_***.dcm" in told and not any(word in told for word in TOLD)


def test_nothing_of_the_patient_is_printed_or_logged(tmp_path):
    damaged = pydicom.dcmread(io.BytesIO(dicom(DEEP, **PRIVATE, **MISPLACED)))
    damaged.add_new("PatientAge", "LO", "Doeling")
    damaged.add_new("PatientWeight", "LO", "Doeling")
    damaged["PatientAge"].VR, damaged["PatientWeight"].VR = "AS", "DS"
    sources = [dicom(DEEP, **PRIVATE, **MISPLACED), dicom(DEEP, **PRIVATE)[:-2000]]
    sources.append(sources[0].replace(b"PNDoe", b"UIDoe").replace(b"DA\x08\x001961", b"TM\x08\x001961"))
    sources.append(sources[0].replace(b"PN\x10", b"PN\xff"))
    for number, source in enumerate(sources):
        (tmp_path / f"{number}.dcm").write_bytes(source)
    script = (
        "import logging, sys, pathlib; logging.basicConfig(level=logging.DEBUG)\n"
        "from covid_cnn.common import errors; from covid_cnn.images import reader\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    try: print(reader.read(path))\n"
        "    except errors.ImageError: logging.exception('refused')\n"
    )
    command = [sys.executable, "-W", "always", "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = (done.stdout + done.stderr).lower()
    assert told.count("radiograph(") + told.count("refused") == len(sources)
    assert not any(word in told for word in TOLD)


@pytest.mark.parametrize(
    ("tags", "spacing", "at_detector"),
    [
        ({}, None, False),
        ({"PixelSpacing": [0.2, 0.1]}, (0.2, 0.1), False),
        ({"ImagerPixelSpacing": [0.2, 0.2]}, (0.2, 0.2), True),
        ({"PixelSpacing": [0.15, 0.15], "ImagerPixelSpacing": [0.2, 0.2]}, (0.15, 0.15), False),
        ({"PixelSpacing": [0.2, 0.2], "ImagerPixelSpacing": [0.2, 0.2]}, (0.2, 0.2), True),
        (
            {
                "PixelSpacing": [0.2, 0.2],
                "ImagerPixelSpacing": [0.2, 0.2],
                "PixelSpacingCalibrationType": "FIDUCIAL",
            },
            (0.2, 0.2),
            False,
        ),
        ({"PixelSpacing": [0, 0.2]}, None, False),
        ({"PixelSpacing": [-1, -1], "ImagerPixelSpacing": [0.2, 0.2]}, (0.2, 0.2), True),
        ({"PixelSpacing": 0.2}, None, False),
    ],
)
def test_the_spacing_of_pixels_is_the_files_and_told_where_it_is_the_detectors(tags, spacing, at_detector):
    radiograph = read(dicom(DEEP, **tags))
    assert (radiograph.spacing, radiograph.at_detector) == (spacing, at_detector)


@pytest.mark.parametrize(("modality", "shown"), [("CR", "CR"), ("DX", "DX"), ("JANE", ""), ("", "")])
def test_the_modality_is_shown_where_it_is_a_code_of_dicoms(modality, shown):
    assert read(dicom(DEEP, Modality=modality)).modality == shown
