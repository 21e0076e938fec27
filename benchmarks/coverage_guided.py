"""Coverage-guided fuzzing of `reader.read` and `archives` by atheris (libFuzzer): what reaches new code is mutated on.

It needs `pip install atheris`, which is not among the requirements. Its seeds are those of `mutated_uploads`, and a
.zip of some of them. The Python code that looks at a file before a codec does, pydicom's with it, is instrumented;
codecs' own processes are left out, for they take most of a second each and tell nothing of coverage.

    python -m benchmarks.coverage_guided [FOLDER] [options of libFuzzer, such as -max_total_time=600]

FOLDER keeps what reached new code, from where another call goes on. A file that raises what is no error of ours, gives
no radiograph, or takes over 2 s or 512 MiB more than the rest is written as crash-…, timeout-… or oom-… where it runs.
"""

import contextlib
import io
import sys
import tempfile
import zipfile
from pathlib import Path

import atheris
import numpy as np

with atheris.instrument_imports(include=["covid_cnn", "pydicom"]):
    import pydicom.pixels.decoders.rle

    from covid_cnn.images import dicom_frames, headers, reader, sources
from benchmarks import mutated_uploads
from covid_cnn.common.errors import ArchiveError, ImageError
from covid_cnn.images.radiograph import Radiograph

MAX_SECONDS, MAX_MIB, LARGEST = 2, 1024, 16 * 2**10


def seeds() -> dict[str, bytes]:
    """Small sound files by a name each."""
    kinds = mutated_uploads.seeds()
    files = {f"{n} {kind}".replace(" ", "_"): data for kind, sound in kinds.items() for n, data in enumerate(sound)}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/one.png", kinds["PNG"][0])
        archive.writestr("IM1", kinds["DICOM, uncompressed"][0])
    return files | {"zip": buffer.getvalue()}


def read_all(data: bytes) -> None:
    """Read a file as an upload is: each member of a .zip, and of another its last frame and its last window as well."""
    if headers.is_zip(data):
        with contextlib.suppress(ArchiveError), sources.Archive(data) as archive:
            for member in archive.members[:3]:
                with contextlib.suppress(ArchiveError):
                    read(archive.read(member), 0, None)
        return
    first = read(data, 0, None)
    if first is not None:
        read(data, first.frames - 1, len(first.windows) - 1 if first.windows else None)


def read(data: bytes, frame: int, window: int | None) -> Radiograph | None:
    """The radiograph, its pixels looked at, or None where it is refused."""
    try:
        radiograph = reader.read(data, "a.dcm", frame=frame, window=window)
    except ImageError:
        return None
    pixels = radiograph.pixels
    assert pixels.dtype == np.float32 and pixels.ndim == 2 and 0 <= pixels.min() <= pixels.max() <= 1
    return radiograph


def main() -> None:
    """Fuzz until told to stop, from the seeds on."""
    dicom_frames._unpack_apart = _no_codec
    with tempfile.TemporaryDirectory() as folder:
        for name, data in seeds().items():
            (Path(folder) / name).write_bytes(data)
        kept = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
        options = [argument for argument in sys.argv[1:] if argument.startswith("-")]
        limits = [f"-max_len={LARGEST}", f"-timeout={MAX_SECONDS}", f"-rss_limit_mb={MAX_MIB}", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], *kept, folder, *limits, *options], read_all)
        atheris.Fuzz()


def _no_codec(alone: pydicom.Dataset, plugins: list[str]) -> np.ndarray:
    raise ValueError("left out")


if __name__ == "__main__":
    main()
