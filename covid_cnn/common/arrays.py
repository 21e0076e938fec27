"""Load NumPy arrays from a file of unknown origin: its declared sizes are added up before anything is unpacked."""

import io
import zipfile

import numpy as np


def load_arrays(content: bytes, most_bytes: int) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file by their names.

    Parameters
    ----------
    content : the whole file.
    most_bytes : what all its arrays together may take.

    Raises
    ------
    ValueError
        It is no such file, holds objects, or declares more than ``most_bytes``.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            declared = sum(_declared_bytes(archive, member) for member in archive.infolist())
        if declared > most_bytes:
            raise ValueError(f"arrays of {declared} bytes")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (KeyError, OSError, EOFError, MemoryError, zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(str(error)) from error


def _declared_bytes(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """The bytes that an array of an ``.npz`` needs, by its header or by the archive, whichever is more."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, _, dtype = read[version](file)
    size = dtype.itemsize
    for side in shape:
        size *= side
    return max(size, member.file_size)
