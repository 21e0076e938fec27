"""Arrays of strangers: what they declare counts before anything is unpacked."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from covid_cnn.common.storage import load_arrays


def packed(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def member(header: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("hashes.npy", header)
    return file.getvalue()


def declaring(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return member(file.getvalue())


def test_arrays_come_as_they_were():
    told = load_arrays(packed(a=np.arange(9), b=np.array(True)), 2**10)
    assert (told["a"] == np.arange(9)).all() and told["b"]


@pytest.mark.parametrize(
    "content",
    [
        packed(a=np.zeros(2**20, np.uint8)),
        declaring((8 * 2**30,)),
        declaring((2**40, 2**40)),
        packed(a=np.array([{}], dtype=object)),
        member(b"no header"),
        b"no archive",
        packed(a=np.zeros(9))[:-30],
    ],
    ids=["large", "8 GiB", "endless", "objects", "no header", "no archive", "cut off"],
)
def test_what_declares_too_much_or_is_none_is_refused_before_it_is_unpacked(content):
    tracemalloc.start()
    with pytest.raises(ValueError):
        load_arrays(content, 2**19)
    assert tracemalloc.get_traced_memory()[1] < 2**19
    tracemalloc.stop()
