"""Files made to cost a decoder time or memory are refused by their headers; damaged ones are read or refused."""

import io
import os
import struct
import subprocess
import sys
import time
import tomllib
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from typer.testing import CliRunner
from uploads import DEEP, RAMP, dicom, encode, refusal

from benchmarks import mutated_uploads
from covid_cnn import cli
from covid_cnn.common.errors import ImageError
from covid_cnn.images import limits
from covid_cnn.images.reader import read

SOUND = mutated_uploads.seeds()


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def png_of_many_chunks() -> bytes:
    header = encode(RAMP, "PNG")
    chunk = struct.pack(">I", 0) + b"teSt" + struct.pack(">I", zlib.crc32(b"teSt"))
    return header[:33] + chunk * (limits.MAX_SEGMENTS + 1) + header[33:]


def jpeg_of_many_segments() -> bytes:
    data = encode(RAMP, "JPEG")
    return data[:2] + b"\xff\xfe\0\2" * (limits.MAX_SEGMENTS + 1) + data[2:]


def jpeg_of_many_scans() -> bytes:
    data = encode(RAMP, "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * limits.MAX_SCANS + data[-2:]


def tiff(entries: list[tuple[int, int, int, int]], following: int = 0) -> bytes:
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + packed + struct.pack("<I", following)


def bmp_of_runs() -> bytes:
    data = bytearray(encode(RAMP, "BMP"))
    data[30] = 1
    return bytes(data)


def dicom_of_many_elements() -> bytes:
    data = dicom(DEEP)
    pixels = data.index(b"\xe0\x7f\x10\x00")
    return data[:pixels] + b"\x29\0\x10\x10LO\0\0" * limits.MAX_READS + data[pixels:]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (png_of_many_chunks, "more than 20000 parts"),
        (jpeg_of_many_segments, "more than 20000 parts"),
        (jpeg_of_many_scans, "scans, more than 64"),
        (lambda: tiff([(700, 7, 10**6, 8)] * 100), "has tags of"),
        (lambda: tiff([(256, 3, 1, 90)], following=8), "more than 1000 pages"),
        (bmp_of_runs, "compressed BMP"),
        (dicom_of_many_elements, "DICOM"),
        (lambda: dicom(DEEP, BitsAllocated=64, Rows=4000, Columns=4000), "more than 20 million"),
        (lambda: dicom(DEEP, NumberOfFrames=limits.MAX_FRAMES + 1), "more than 1000"),
    ],
)
def test_what_would_cost_much_is_refused_at_once(make, words):
    data = make()
    began = time.process_time()
    assert words in refusal(data, "odd.dcm" if data[128:132] == b"DICM" else "odd.bin")
    assert time.process_time() - began < 2


def test_a_camera_s_overgrown_notes_are_left_out():
    exif = b"Exif\0\0" + tiff([(700, 7, 10**6, 8)] * 100)
    assert read(encode(RAMP, "PNG", exif=exif)).pixels.shape == RAMP.shape


def test_windows_beyond_number_are_left_out():
    many = limits.MAX_WINDOWS + 9
    data = dicom(DEEP, WindowCenter=list(range(1, many)), WindowWidth=[99] * (many - 1))
    assert len(read(data).windows) == limits.MAX_WINDOWS + 1  # and the full range
    too_many = dicom(DEEP, WindowCenter=[1] * limits.MAX_ELEMENT_BYTES, WindowWidth=9)
    assert len(read(too_many).windows) == 1


def test_a_frame_larger_than_its_file_says_is_refused():
    from pydicom.encaps import encapsulate

    dataset = pydicom.dcmread(io.BytesIO(dicom(RAMP)))
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
    dataset.PixelData = encapsulate([encode(Image.new("L", (3000, 3000)), "JPEG")])
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    assert "contradicts itself" in refusal(buffer.getvalue(), "a.dcm")


def test_the_browser_is_told_the_same_limit():
    config = tomllib.loads((Path(__file__).parents[2] / ".streamlit" / "config.toml").read_text())
    assert config["server"]["maxUploadSize"] * 2**20 == limits.MAX_UPLOAD_BYTES >= limits.MAX_FILE_BYTES
    assert config["server"]["enableXsrfProtection"] is config["server"]["enableCORS"] is True
    assert config["browser"]["gatherUsageStats"] is False


@pytest.mark.parametrize("variable", [None, "0.0.0.0"])
def test_streamlit_itself_is_bound_to_this_computer_unless_asked_otherwise(variable):
    environment = {key: value for key, value in os.environ.items() if key != "STREAMLIT_SERVER_ADDRESS"}
    environment |= {"STREAMLIT_SERVER_ADDRESS": variable} if variable else {}
    command, root = [sys.executable, "-m", "streamlit", "config", "show"], Path(__file__).parents[2]
    shown = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
    assert f'\naddress = "{variable or "localhost"}"' in shown.stdout


@pytest.mark.parametrize(("asked", "bound"), [([], "localhost"), (["--address", "0.0.0.0"], "0.0.0.0")])
def test_the_app_is_bound_to_this_computer_unless_asked_otherwise(monkeypatch, asked, bound):
    monkeypatch.delenv("STREAMLIT_SERVER_ADDRESS", raising=False)
    started = []
    monkeypatch.setattr(subprocess, "call", lambda command, **_: started.append(command) or 0)
    assert CliRunner().invoke(cli.app, ["app", *asked]).exit_code == 0
    assert started[0][-1] == f"--server.address={bound}"


# In a process of its own, because an audit hook stays for good. Arguments: the uploads, each of a kind.
WATCHED = """
import sys
written, watching = [], False
def hook(event, arguments):
    if watching and event == "open" and (arguments[2] or 0) & 3:  # os.O_WRONLY, os.O_RDWR
        if not isinstance(arguments[0], int):  # an int is open already: a pipe to a codec's process
            written.append(str(arguments[0]))
    elif watching and event in ("os.rename", "os.mkdir", "tempfile.mkstemp", "tempfile.mkdtemp"):
        written.append(event)
sys.addaudithook(hook)
from datetime import UTC, datetime
from pathlib import Path
from covid_cnn.images import reader
from covid_cnn.models import bundle
from covid_cnn.reports import pdf
from covid_cnn.images.sources import Archive
model = bundle.load_bundle()
def upload(data, name):
    if name.endswith(".zip"):
        archive = Archive(data, name)
        (member,) = archive.members
        data = archive.read(member)
    radiograph = reader.read(data, name)
    answer = model.predict(radiograph.pixels)
    pdf.render_report(radiograph, answer, model.info, model.classes[0], "1", datetime.now(UTC))
uploads = [(Path(path).read_bytes(), Path(path).suffix) for path in sys.argv[1:]]
for data, suffix in uploads:
    upload(data, "warm" + suffix)
# What libraries keep of themselves is written by now.
watching = True
for data, suffix in uploads:
    upload(data, "SECRET" + suffix)
    assert not written, (suffix, written)
Path(sys.argv[1]).with_name("control").write_text("")
assert len(written) == 1  # so the watch does see what is written
print("watched")
"""


def test_an_upload_and_its_report_write_nothing(tmp_path):
    """Of a picture, a .zip of one, and a DICOM file that a codec unpacks in its own process."""
    compressed = SOUND["DICOM, JPEG lossless"][0]
    files = {"x.png": encode(np.tile(RAMP, (4, 4)), "PNG"), "x.dcm": compressed, "x.zip": zipped({"a": compressed})}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = os.environ | {"TMPDIR": str(scratch)}  # the codec's process, which no hook watches, would write here
    command, root = (
        [sys.executable, "-c", WATCHED, *(str(tmp_path / name) for name in files)],
        Path(__file__).parents[2],
    )
    before = set(root.iterdir())
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == "watched", done.stdout + done.stderr
    assert "SECRET" not in done.stdout + done.stderr
    assert not list(scratch.iterdir()) and set(root.iterdir()) == before


# Python runs it at the start of every process that has its folder in PYTHONPATH, a codec's too.
DENYING = """
import os, sys
def hook(event, arguments):
    if event == "open" and (arguments[2] or 0) & 3 and not isinstance(arguments[0], int):  # an int is a pipe, open
        raise PermissionError(arguments[0])
sys.addaudithook(hook)
if "codec.py" in str(sys.orig_argv) and os.environ.get("NO_CODEC"):
    os._exit(3)
"""


@pytest.mark.parametrize(("denied", "told"), [("", "read"), ("yes", "refused")])
def test_a_codec_s_process_writes_nothing(tmp_path, denied, told):
    """It works where no process may write; and where its own may not even start, which shows that it is denied it."""
    (tmp_path / "sitecustomize.py").write_text(DENYING)
    (tmp_path / "x.dcm").write_bytes(SOUND["DICOM, JPEG lossless"][0])
    script = (
        "import sys; from pathlib import Path\n"
        "from covid_cnn.common import errors; from covid_cnn.images import reader\n"
        "try: reader.read(Path(sys.argv[1])); print('read')\n"
        "except errors.ImageError: print('refused')\n"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "NO_CODEC": denied, "PYTHONDONTWRITEBYTECODE": "1"}
    command, root = [sys.executable, "-c", script, str(tmp_path / "x.dcm")], Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == told, done.stderr


@pytest.mark.parametrize("kind", SOUND)
@pytest.mark.filterwarnings("ignore")  # what decoders say about damage
def test_mutated_uploads_are_read_or_refused(kind):
    apart = kind in ("DICOM, JPEG of 12 bits", "DICOM, JPEG lossless", "DICOM, JPEG-LS", "DICOM, JPEG 2000")
    for data in SOUND[kind][-1:] if apart else SOUND[kind]:  # a codec's process takes most of a second
        mutated_uploads.read(kind, data)
    for number in range(3 if apart else 50):
        data = mutated_uploads.mutant(kind, number, 7, SOUND[kind])
        try:
            mutated_uploads.read(kind, data)
        except ImageError as error:
            assert str(error).startswith("a.") and str(error).endswith(".")


def test_seeds_of_several_frames_keep_them():
    for kind, frames in (("uncompressed", 3), ("RLE", 10), ("JPEG-LS", 10), ("JPEG 2000", 10)):
        assert pydicom.dcmread(io.BytesIO(SOUND[f"DICOM, {kind}"][-1])).NumberOfFrames == frames
