"""A script, not a module: unpacks the one frame of the DICOM file on stdin into an .npy file on stdout.

Its arguments: the seconds of processor time and the bytes of memory that it may take, and the decoders to try, in
order: pydicom's plugins, or "JPEG of 12 bits". Codecs abort their whole process, or never end, at some damaged frames,
so `covid_cnn.images.dicom` runs them in a process of their own.
"""

import io
import signal
import sys

import numpy as np

sys.modules["requests"] = None  # type: ignore[assignment]  # pydicom downloads nothing here, and starts sooner without
if "pylibjpeg" not in sys.argv:
    sys.modules["pylibjpeg"] = None  # type: ignore[assignment]

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


def unpack(dataset: pydicom.Dataset, decoder: str) -> np.ndarray:
    """The frame as stored, by a decoder named as above."""
    if decoder == "JPEG of 12 bits":
        return jpeg_of_12_bits(dataset)
    return pixel_array(dataset, index=0, decoding_plugin=decoder)


def jpeg_of_12_bits(dataset: pydicom.Dataset) -> np.ndarray:
    """Unpack grayscale lossy JPEG of 12 bits by GDCM: pydicom's plugin, mindful of old versions, does not let it."""
    import gdcm

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(pydicom.encaps.get_frame(dataset.PixelData, 0, number_of_frames=1))
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((dataset.Columns, dataset.Rows, 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, 12, 11, 0))
    values = image.GetBuffer().encode("utf-8", "surrogateescape")  # GDCM gives bytes as text
    return np.frombuffer(values, "<u2").reshape(dataset.Rows, dataset.Columns)


if __name__ == "__main__":
    limit(float(sys.argv[1]), int(sys.argv[2]))
    with io.BytesIO(sys.stdin.buffer.read()) as file:  # closed at once, for the dataset would keep it
        dataset = pydicom.dcmread(file, force=True)
    *first, last = sys.argv[3:]
    for decoder in first:
        try:
            pixels = unpack(dataset, decoder)
            break
        except Exception:  # another may yet read it
            continue
    else:
        pixels = unpack(dataset, last)
    np.save(sys.stdout.buffer, pixels, allow_pickle=False)
