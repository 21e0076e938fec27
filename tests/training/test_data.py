"""Images kept in memory or on disk alike; batches that hang on seed, epoch and index alone."""

import time

import numpy as np
import pytest

from covid_cnn.images.augment import AUGMENTATIONS, augment_batch
from covid_cnn.runs.config import TrainConfig
from covid_cnn.training import data
from covid_cnn.training.data import ArrayBatches, TrainingBatches, gather_images

LABELS = np.array([0, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1])


def batches(devices: int = 1, **chosen) -> TrainingBatches:
    """Batches of four whose inputs tell the epoch and which images they are."""
    config = TrainConfig.of("data", "notebook_cnn", batch_size=4, **chosen)

    def inputs(epoch: int, indices: np.ndarray) -> np.ndarray:
        return np.stack([np.full(len(indices), epoch), indices], axis=1).astype(np.float32)

    return TrainingBatches(inputs, LABELS, 2, config, devices)


def test_an_epoch_has_every_image_once_in_batches():
    made = batches()
    assert len(made) == 3 and [made.images_in(index) for index in range(3)] == [4, 4, 3]
    inputs, targets, weights = (np.concatenate(part) for part in zip(*made, strict=True))
    assert sorted(inputs[:, 1]) == list(range(11)) and set(inputs[:, 0]) == {1}
    np.testing.assert_array_equal(targets[:, 0], LABELS[inputs[:, 1].astype(int)])
    assert targets.shape == (11, 1) and weights.tolist() == [1] * 11


@pytest.mark.parametrize("chosen", [{}, {"mixup": 0.4}, {"balance": "sampling"}, {"balance": "weights"}])
def test_a_batch_hangs_on_seed_epoch_and_index_alone(chosen):
    def made(batches: TrainingBatches, epoch: int, indices: list[int]) -> dict[int, list]:
        batches.set_epoch(epoch)
        return {index: [part.tolist() for part in batches[index]] for index in indices}

    first = batches(seed=3, **chosen)
    expected = {epoch: made(first, epoch, [0, 1, 2]) for epoch in (1, 2)}
    resumed = batches(seed=3, **chosen)
    assert made(resumed, 2, [2, 0, 1, 0]) == expected[2]  # in whatever order Keras asks for them, and how often
    assert made(resumed, 1, [0, 1, 2]) == expected[1]
    assert expected[1][0] != expected[2][0]
    assert made(batches(seed=4, **chosen), 1, [0, 1, 2]) != expected[1]


def test_it_is_known_when_a_batch_was_made():
    made, before = batches(), time.perf_counter()
    assert made.ready == {}
    made[1]
    assert set(made.ready) == {1} and before < made.ready[1] < time.perf_counter()
    made.set_epoch(2)
    assert made.ready == {}


def test_every_batch_is_filled_up_for_the_devices():
    assert [len(inputs) for inputs, _, _ in batches(devices=4)] == [4, 4, 4]
    assert batches(devices=4).images_in(2) == 3


def test_images_are_varied_alike_however_many_threads_do_it(monkeypatch):
    images = np.random.default_rng(0).random((7, 16, 12, 1), np.float32)
    config = TrainConfig.of("data", "notebook_cnn", augmentation="hospitals", seed=3)
    indices = np.array([5, 0, 6])
    expected = augment_batch(list(images[indices]), indices, AUGMENTATIONS["hospitals"], 3, 2)
    for cores in (1, 2, 8):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        np.testing.assert_array_equal(data.augmented(images, config)(2, indices), expected)


def test_arrays_in_batches_are_the_arrays():
    one, other = np.arange(70), np.arange(70) * 2
    parts = list(ArrayBatches(one, other))
    assert [len(part) for part, _ in parts] == [32, 32, 6]
    np.testing.assert_array_equal(np.concatenate([part for part, _ in parts]), one)
    np.testing.assert_array_equal(np.concatenate([part for _, part in parts]), other)


def test_images_on_disk_make_the_same_batches_and_leave_no_file(tmp_path, monkeypatch):
    images = np.random.default_rng(0).random((7, 16, 12, 1), np.float32)
    in_memory = gather_images(iter(images), (9, 16, 12, 1), tmp_path)  # two could not be read
    monkeypatch.setattr(data, "IN_MEMORY", images.nbytes)
    on_disk = gather_images(iter(images), (9, 16, 12, 1), tmp_path)
    assert isinstance(on_disk.base, np.memmap) and not isinstance(in_memory.base, np.memmap)
    np.testing.assert_array_equal(in_memory, images)
    np.testing.assert_array_equal(on_disk, images)
    indices = np.array([5, 0, 6])
    of_memory, of_disk = (
        augment_batch([kept[i] for i in indices], indices, AUGMENTATIONS["hospitals"], 3, 2)
        for kept in (in_memory, on_disk)
    )
    np.testing.assert_array_equal(of_memory, of_disk)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("limit", [0, 2**30])
def test_no_readable_image_is_no_error(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(data, "IN_MEMORY", limit)
    assert gather_images(iter([]), (3, 8, 8, 1), tmp_path).shape == (0, 8, 8, 1)
