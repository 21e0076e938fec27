"""A script, not a module: unpacks the one frame of the DICOM file on stdin into an .npy file on stdout.

Its arguments: the seconds of processor time and the bytes of memory that it may take, and pydicom's decoding plugins
to try, in order. Codecs abort their whole process, or never end, at some damaged frames, so `covid_cnn.dicom` runs
them in a process of their own.
"""

import io
import signal
import sys

import numpy as np

sys.modules["requests"] = None  # type: ignore[assignment]  # pydicom downloads nothing here, and starts sooner without

import pydicom  # noqa: E402
from pydicom.pixels import pixel_array  # noqa: E402


def limit(seconds: float, memory: int) -> None:
    """Let the system end this process after so much processor time, and refuse it memory beyond so many bytes."""
    try:
        import resource
    except ImportError:  # Windows has no such limits; there the caller's patience is the only one
        return
    signal.setitimer(signal.ITIMER_PROF, seconds)
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))


if __name__ == "__main__":
    limit(float(sys.argv[1]), int(sys.argv[2]))
    with io.BytesIO(sys.stdin.buffer.read()) as file:  # closed at once, for the dataset would keep it
        dataset = pydicom.dcmread(file, force=True)
    *first, last = sys.argv[3:]
    for plugin in first:
        try:
            pixels = pixel_array(dataset, index=0, decoding_plugin=plugin)
            break
        except Exception:  # another may yet read it
            continue
    else:
        pixels = pixel_array(dataset, index=0, decoding_plugin=last)
    np.save(sys.stdout.buffer, pixels, allow_pickle=False)
