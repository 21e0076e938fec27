"""Uploads made in memory, and what holds of whatever is read from one: for tests of imaging and dicom."""

import io
from pathlib import Path

import data_store
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from covid_cnn.common.errors import ImageError
from covid_cnn.images.radiograph import Radiograph
from covid_cnn.images.reader import read

DICOM = Path(data_store.__file__).parent / "data"  # the package pydicom-data
CHEST, LEG = DICOM / "RG1_UNCR.dcm", DICOM / "RG3_UNCR.dcm"

# A gradient, darkest at the top left, of other height than width so that a transposition shows.
RAMP = np.linspace(0, 255, 70 * 90).reshape(70, 90).astype(np.uint8)
DEEP = np.linspace(100, 4095, 70 * 90).reshape(70, 90).astype(np.uint16)


def encode(picture: Image.Image | np.ndarray, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    (Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture).save(buffer, kind, **options)
    return buffer.getvalue()


def dicom(values: np.ndarray, **tags: object) -> bytes:
    """A DICOM file of these stored values, with whatever tags besides or instead."""
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2.3"
    dataset.Rows, dataset.Columns = values.shape[:2]
    dataset.BitsAllocated = dataset.BitsStored = values.dtype.itemsize * 8
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, int(values.dtype.kind == "i")
    dataset.SamplesPerPixel = 1 if values.ndim == 2 else 3
    dataset.PhotometricInterpretation = "MONOCHROME2" if values.ndim == 2 else "RGB"
    dataset.PixelData = values.tobytes()
    if values.ndim == 3:
        dataset.PlanarConfiguration = 0
    for tag, value in tags.items():
        setattr(dataset, tag, value)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def refusal(source: bytes | Path, name: str = "") -> str:
    """The sentence with which the source is refused, checked to be one that names the file and no folder."""
    with pytest.raises(ImageError) as caught:
        read(source, name)
    sentence = str(caught.value)
    shown = name or (source.name if isinstance(source, Path) else "image")
    assert sentence.startswith(shown)
    rest = sentence.removeprefix(shown)
    assert rest.endswith(".") and ". " not in rest and "\n" not in rest
    assert not isinstance(source, Path) or str(source.parent) not in rest
    return sentence


def check(radiograph: Radiograph) -> Radiograph:
    """What holds of every radiograph."""
    pixels = radiograph.pixels
    assert pixels.dtype == np.float32 and pixels.ndim == 2 and np.isfinite(pixels).all()
    assert pixels.min() >= 0 and pixels.max() <= 1
    assert all(warning.endswith(".") for warning in radiograph.warnings)
    return radiograph
