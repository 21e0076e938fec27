"""Lungs are found in X-rays of any size, and where a person marked them."""

import csv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from benchmarks.collections import COHEN, NOTEBOOK
from covid_cnn.data import synthetic
from covid_cnn.data.samples import SAMPLES
from covid_cnn.images import greys, lungs, ops, reader


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    return synthetic.draw_radiograph(1, opacities=False, size=256)


def segment_lungs(pixels: np.ndarray) -> np.ndarray:
    """What the network marks, whether it looks like lungs or not."""
    return ops.upsample(lungs.lung_probability(pixels), pixels.shape) > 0.5


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """The overlap of two masks: twice what both hold over the sum of what each holds."""
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def test_a_drawn_chest_has_two_lungs(drawn):
    found = segment_lungs(drawn)
    assert found.dtype == bool and found.shape == drawn.shape
    assert 0.05 < found[:, :128].mean() < 0.6 and 0.05 < found[:, 128:].mean() < 0.6
    assert not found[:, 124:132].all(axis=1).any()  # the spine between them
    assert drawn[found].mean() < drawn[~found].mean()  # air is dark


def test_lungs_move_with_the_image(drawn):
    assert dice(segment_lungs(drawn[:, ::-1]), segment_lungs(drawn)[:, ::-1]) > 0.9


@pytest.mark.parametrize("size", [(100, 300), (640, 517), (64, 64)])
def test_an_image_of_any_size_and_shape_has_a_mask_of_its_own(drawn, size):
    resized = ops.prepare(drawn, size)[..., 0]
    found = segment_lungs(resized)
    assert found.shape == size
    again = ops.prepare(found.astype(np.float32), drawn.shape)[..., 0] > 0.5
    assert dice(again, segment_lungs(drawn)) > 0.9


def test_a_blank_image_has_no_lungs():
    assert not segment_lungs(np.zeros((200, 150), np.float32)).any()


def test_only_what_looks_like_two_lungs_is_taken_for_lungs(drawn):
    np.testing.assert_array_equal(lungs.segment_both_lungs(drawn), segment_lungs(drawn))
    noise = np.random.default_rng(0).random((256, 256), np.float32)
    blobs = [greys.stretch(gaussian_filter(noise, sigma)) for sigma in (2, 4, 8, 16, 32)]
    leg = SAMPLES["leg"].read().pixels
    assert segment_lungs(leg).mean() > 0.1  # which is why a mask alone proves nothing
    assert [lungs.segment_both_lungs(image) for image in (leg, noise, *blobs)] == [None] * 7


@pytest.mark.parametrize("parts", [0, 1, 2])
def test_two_large_and_certain_parts_are_lungs(parts):
    lung = np.zeros((100, 100), np.float32)
    for n in range(parts):
        lung[20:80, 50 * n + 10 : 50 * n + 40] = 0.97
    assert lungs.is_plausible(lung) == (parts == 2)
    assert not lungs.is_plausible(lung * np.float32(0.8))  # unsure
    lung[0:80:4] = 0.97
    assert not lungs.is_plausible(lung)  # scraps all over


def test_many_threads_may_ask_at_once():
    images = [synthetic.draw_radiograph(seed, opacities=False, size=96) for seed in range(6)]
    alone = [lungs.lung_probability(image) for image in images]
    with ThreadPoolExecutor(6) as threads:
        together = list(threads.map(lungs.lung_probability, images * 4))
    for i, probability in enumerate(together):
        np.testing.assert_array_equal(probability, alone[i % 6])


@pytest.mark.real_data
def test_lungs_are_told_from_what_is_no_frontal_chest(real_data):
    with (real_data / COHEN / "metadata.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    views = {row["filename"]: "CT" if row["modality"] == "CT" else row["view"] for row in rows}
    files = {view: [name for name, its in views.items() if its == view] for view in ("PA", "L", "CT")}
    nih = sorted((real_data / "nih-chestxray8-subset").rglob("*.jpg"))[::20]
    taken = {view: [_taken(real_data / COHEN / "images" / name) for name in files[view]] for view in ("L", "CT")}
    frontal = [_taken(path) for path in nih]
    frontal += [_taken(real_data / COHEN / "images" / name) for name in files["PA"][::3]]
    assert np.mean(frontal) >= 0.96
    assert sum(taken["L"]) == 0 and len(taken["L"]) == 44
    assert np.mean(taken["CT"]) < 0.3  # axial slices do show two lungs


def _taken(path: Path) -> bool:
    return lungs.is_plausible(lungs.lung_probability(reader.read(path).pixels))


@pytest.mark.real_data
def test_lungs_are_found_where_a_person_marked_them(real_data):
    """On patients of the notebook's test split, of whom the network saw no image."""
    tested = {path.stem.lower() for path in (real_data / NOTEBOOK / "test").rglob("*.*")}
    held_out = [file for file in (real_data / COHEN / "annotations" / "lungVAE-masks").iterdir() if _of(file) in tested]
    images = {path.stem.lower(): path for path in (real_data / COHEN / "images").iterdir()}
    scores = [dice(_marked(file), segment_lungs(reader.read(images[_of(file)]).pixels)) for file in held_out]
    assert len(scores) == 5
    assert np.mean(scores) > 0.85


def _of(mask: Path) -> str:
    return mask.stem.removesuffix("_mask").lower()


def _marked(mask: Path) -> np.ndarray:
    return reader.read(mask).pixels > 0.5
