"""Checkpoints of PyTorch's old format: the real one is read, and a hostile or damaged one is refused."""

import pickle
import struct

import numpy as np
import pytest

from covid_cnn.training import networks, torch_checkpoint


def tensor(key: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], kind: str = "Float") -> bytes:
    """The opcodes by which a pickle describes a view of a storage (see pickletools)."""

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(b"I%d\n" % value for value in values) + b"t"

    storage = b"(S'storage'\nctorch\n%sStorage\nS'%s'\nS'cpu'\nI0\nNtQ" % (kind.encode(), key.encode())
    rest = b"I%d\n" % offset + numbers(shape) + numbers(strides) + b"tR"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + rest


def checkpoint(tensors: dict[str, bytes], storages: dict[str, np.ndarray]) -> bytes:
    head = [torch_checkpoint.MAGIC, torch_checkpoint.PROTOCOL, {"little_endian": True}]
    state = b"".join(b"S'%s'\n%ss" % (name.encode(), opcodes) for name, opcodes in tensors.items())
    parts = [*(pickle.dumps(part, 2) for part in head), b"}" + state + b".", pickle.dumps(list(storages), 2)]
    return b"".join(parts) + b"".join(struct.pack("<q", array.size) + array.tobytes() for array in storages.values())


@pytest.fixture
def read(tmp_path):
    def read(data: bytes) -> dict[str, np.ndarray]:
        (tmp_path / "file.pth").write_bytes(data)
        return torch_checkpoint.read_checkpoint(tmp_path / "file.pth")

    return read


def test_the_real_weights_are_read():
    tensors = torch_checkpoint.read_checkpoint(networks.lite0_weights_path())
    assert tensors["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert tensors["_fc.weight"].shape == (1000, 1280)
    assert {array.dtype.name for array in tensors.values()} == {"float32", "int64"}
    assert all(np.isfinite(array).all() for array in tensors.values())
    assert (tensors["_bn0.running_var"] >= 0).all()


def test_views_are_read_in_their_own_shape(read):
    values = np.arange(12, dtype="<f4")
    tensors = read(
        checkpoint(
            {
                "plain": tensor("0", 0, (3, 4), (4, 1)),
                "transposed": tensor("0", 0, (4, 3), (1, 4)),
                "end": tensor("0", 10, (2,), (1,)),
                "scalar": tensor("0", 5, (), ()),
                "count": tensor("1", 0, (), (), "Long"),
            },
            {"0": values, "1": np.array([7], "<i8")},
        )
    )
    np.testing.assert_array_equal(tensors["plain"], values.reshape(3, 4))
    np.testing.assert_array_equal(tensors["transposed"], values.reshape(3, 4).T)
    np.testing.assert_array_equal(tensors["end"], [10, 11])
    assert tensors["scalar"] == 5
    assert tensors["count"] == 7 and tensors["count"].dtype == np.int64


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(0, (13,), (1,)), (12, (1,), (1,)), (0, (2, 2), (1, 100)), (-1, (2,), (1,)), (11, (2,), (-1,)), (10**9, (), ())],
)
def test_a_tensor_outside_its_storage_is_refused(read, offset, shape, strides):
    data = checkpoint({"view": tensor("0", offset, shape, strides)}, {"0": np.arange(12, dtype="<f4")})
    with pytest.raises(pickle.UnpicklingError, match="outside its storage"):
        read(data)


@pytest.mark.parametrize("place", ["at the start", "in the state"])
def test_a_pickle_that_calls_a_command_is_refused_and_not_run(read, tmp_path, place):
    command = b"cos\nsystem\n(S'touch %s'\ntR" % str(tmp_path / "ran").encode()
    data = command + b"." if place == "at the start" else checkpoint({"weight": command}, {})
    with pytest.raises(pickle.UnpicklingError, match=r"names os\.system"):
        read(data)
    assert not (tmp_path / "ran").exists()


def test_a_file_cut_off_anywhere_is_refused(read):
    whole = checkpoint({"a": tensor("0", 0, (3, 4), (4, 1))}, {"0": np.arange(12, dtype="<f4")})
    assert read(whole)["a"].shape == (3, 4)
    for length in range(len(whole)):
        with pytest.raises(pickle.UnpicklingError):
            read(whole[:length])


@pytest.mark.parametrize(
    "data",
    [
        b"PK\x03\x04 a checkpoint of the new format",
        b"GIF89a",
        pickle.dumps(42),
        pickle.dumps(torch_checkpoint.MAGIC, 2) + pickle.dumps(1002, 2),
        checkpoint({"a": b"I5\n"}, {}),
        checkpoint({"a": tensor("0", 0, (2, 2), (1,))}, {"0": np.zeros(4, "<f4")}),
        checkpoint({"a": tensor("gone", 0, (2,), (1,))}, {"0": np.zeros(4, "<f4")}),
    ],
    ids=["new format", "no pickle", "no checkpoint", "protocol", "no tensor", "strides", "no storage"],
)
def test_what_is_no_checkpoint_is_refused(read, data):
    with pytest.raises(pickle.UnpicklingError):
        read(data)


def test_a_missing_file_is_no_damaged_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        torch_checkpoint.read_checkpoint(tmp_path / "none.pth")
