"""Read the tensors of a PyTorch checkpoint without PyTorch.

Knows the format that ``torch.save`` wrote before version 1.6: three short pickles (magic number, protocol,
system), a pickle of the state dict whose tensors point at storages by key, a pickled list of the keys, then
each storage as an int64 element count and its raw little-endian bytes.

A pickle may call anything it names, so ours may name only what a state dict of float tensors needs.
"""

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


class _Tensor(NamedTuple):
    """A tensor as the pickle describes it: a strided view of a storage that comes later in the file."""

    storage: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


_ADMITTED = {
    "collections.OrderedDict": OrderedDict,
    "torch._utils._rebuild_tensor_v2": lambda *described: _Tensor(*described[:4]),
    "torch.FloatStorage": np.dtype("<f4"),
    "torch.LongStorage": np.dtype("<i8"),
}


class _TensorUnpickler(pickle.Unpickler):
    """Admits tensors and ordered dicts, and nothing else."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.dtypes: dict[str, np.dtype] = {}

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" in _ADMITTED:
            return _ADMITTED[f"{module}.{name}"]
        raise pickle.UnpicklingError(f"The checkpoint names {module}.{name}, which is no part of a state dict.")

    def persistent_load(self, pid: Any) -> str:
        _, dtype, key = pid[:3]
        self.dtypes[key] = dtype
        return key


def read_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """The tensors of the checkpoint at ``path`` by name, each float32 or int64 in its own shape.

    Raises pickle.UnpicklingError where it is of another format, damaged, or its pickle names anything but tensors.
    """
    try:
        with path.open("rb") as file:
            return _read(file, path.name)
    except (OSError, pickle.UnpicklingError):
        raise
    except Exception as error:  # a pickle that ends early or makes no sense raises whatever it comes to
        raise pickle.UnpicklingError(f"{path.name} is damaged or no PyTorch checkpoint.") from error


def _read(file: BinaryIO, name: str) -> dict[str, np.ndarray]:
    if _TensorUnpickler(file).load() != MAGIC or _TensorUnpickler(file).load() != PROTOCOL:
        raise pickle.UnpicklingError(f"{name} is not a PyTorch checkpoint in the format used before 1.6.")
    if not _TensorUnpickler(file).load()["little_endian"]:
        raise pickle.UnpicklingError(f"{name} was written on a big-endian machine.")
    unpickler = _TensorUnpickler(file)
    tensors: dict[str, _Tensor] = unpickler.load()
    storages = {}
    for key in _TensorUnpickler(file).load():
        count = int(np.frombuffer(file.read(8), "<i8")[0])
        dtype = unpickler.dtypes[key]
        storages[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype)
    return {name: _view(storages[t.storage], t) for name, t in tensors.items()}


def _view(storage: np.ndarray, tensor: _Tensor) -> np.ndarray:
    # as_strided does not check bounds, so a hostile offset or stride would read foreign memory.
    last = tensor.offset + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True))
    if min((tensor.offset, *tensor.shape, *tensor.strides)) < 0 or last >= storage.size:
        raise pickle.UnpicklingError("A tensor of the checkpoint lies outside its storage.")
    strides = tuple(s * storage.itemsize for s in tensor.strides)
    return np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides, writeable=False).copy()
