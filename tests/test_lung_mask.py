"""Lungs are found in X-rays of any size, and where a person marked them."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from covid_cnn import imaging, lung_mask, synthetic
from covid_cnn.hospitals import COHEN, NOTEBOOK


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    return synthetic.draw(1, opacities=False, size=256)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """The overlap of two masks: twice what both hold over the sum of what each holds."""
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def test_a_drawn_chest_has_two_lungs(drawn):
    found = lung_mask.find(drawn)
    assert found.dtype == bool and found.shape == drawn.shape
    assert 0.05 < found[:, :128].mean() < 0.6 and 0.05 < found[:, 128:].mean() < 0.6
    assert not found[:, 124:132].all(axis=1).any()  # the spine between them
    assert drawn[found].mean() < drawn[~found].mean()  # air is dark


def test_lungs_move_with_the_image(drawn):
    assert dice(lung_mask.find(drawn[:, ::-1]), lung_mask.find(drawn)[:, ::-1]) > 0.9


@pytest.mark.parametrize("size", [(100, 300), (640, 517), (64, 64)])
def test_an_image_of_any_size_and_shape_has_a_mask_of_its_own(drawn, size):
    resized = imaging.prepare(drawn, size)[..., 0]
    found = lung_mask.find(resized)
    assert found.shape == size
    again = imaging.prepare(found.astype(np.float32), drawn.shape)[..., 0] > 0.5
    assert dice(again, lung_mask.find(drawn)) > 0.9


def test_a_blank_image_has_no_lungs():
    assert not lung_mask.find(np.zeros((200, 150), np.float32)).any()


def test_many_threads_may_ask_at_once():
    images = [synthetic.draw(seed, opacities=False, size=96) for seed in range(6)]
    alone = [lung_mask.probability(image) for image in images]
    with ThreadPoolExecutor(6) as threads:
        together = list(threads.map(lung_mask.probability, images * 4))
    for i, probability in enumerate(together):
        np.testing.assert_array_equal(probability, alone[i % 6])


@pytest.mark.real_data
def test_lungs_are_found_where_a_person_marked_them(real_data):
    """On patients of the notebook's test split, of whom the network saw no image."""
    tested = {path.stem.lower() for path in (real_data / NOTEBOOK / "test").rglob("*.*")}
    held_out = [file for file in (real_data / COHEN / "annotations" / "lungVAE-masks").iterdir() if _of(file) in tested]
    images = {path.stem.lower(): path for path in (real_data / COHEN / "images").iterdir()}
    scores = [dice(_marked(file), lung_mask.find(imaging.read(images[_of(file)]).pixels)) for file in held_out]
    assert len(scores) == 5
    assert np.mean(scores) > 0.85


def _of(mask: Path) -> str:
    return mask.stem.removesuffix("_mask").lower()


def _marked(mask: Path) -> np.ndarray:
    return imaging.read(mask).pixels > 0.5
