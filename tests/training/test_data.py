"""Images kept in memory or on disk alike; batches in order, made ahead, honest about waiting, gone with the epoch."""

import threading
import time

import numpy as np
import pytest

from covid_cnn.images.augment import AUGMENTATIONS, augment_batch
from covid_cnn.training import data
from covid_cnn.training.data import AHEAD, Feed, gather_images


def test_batches_come_in_order():
    with Feed(range(20), lambda part: part * part) as feed:
        assert list(feed) == [part * part for part in range(20)]


def test_batches_are_made_while_one_is_used():
    made = threading.Semaphore(0)
    with Feed(range(20), lambda part: made.release() or part) as feed:
        assert next(iter(feed)) == 0
        assert all(made.acquire(timeout=5) for _ in range(AHEAD + 1))  # without any other being asked for
        assert not made.acquire(timeout=0.05)


def test_waiting_is_what_it_took_to_get_a_batch():
    ready = threading.Event()
    with Feed(range(1), lambda part: ready.wait(5)) as feed:
        threading.Timer(0.1, ready.set).start()
        assert list(feed) == [True]
        assert 0.09 < feed.waited < 4


def test_using_a_batch_is_no_waiting():
    with Feed(range(3), lambda part: part) as feed:
        for _ in feed:
            time.sleep(0.05)
        assert feed.waited < 0.1


def test_an_interrupt_ends_the_threads_and_drops_what_has_not_begun():
    before, begun = threading.active_count(), []

    def make(part: int) -> int:
        begun.append(part)
        return part

    with pytest.raises(KeyboardInterrupt), Feed(range(1000), make) as feed:
        for _ in feed:
            raise KeyboardInterrupt
    assert threading.active_count() == before
    assert len(begun) <= AHEAD + 1


def test_what_cannot_be_made_is_told_where_it_is_wanted():
    def make(part: int) -> int:
        if part == 2:
            raise MemoryError
        return part

    got = []
    with pytest.raises(MemoryError), Feed(range(5), make) as feed:
        for batch in feed:
            got.append(batch)
    assert got == [0, 1]


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
