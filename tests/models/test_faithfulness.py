"""Occlusion maps of models of which it is known what they look at."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
from classifiers import Looker, two_spots

from covid_cnn.models import faithfulness
from covid_cnn.models.faithfulness import CELLS, PATCH


class CountingLooker(Looker):
    """One that counts how often it is asked, slowly, or all would be answered before anyone can stop it."""

    asked = 0

    def predict(self, pixels: np.ndarray, crowd: bool = False, explained: bool = True) -> SimpleNamespace:
        self.asked += 1
        time.sleep(0.001)
        return super().predict(pixels, crowd)


@pytest.fixture
def looker() -> CountingLooker:
    return CountingLooker()


@pytest.fixture
def spot() -> np.ndarray:
    return two_spots()


def test_the_occlusion_map_is_hot_where_the_model_looks(looker, spot):
    drops = faithfulness.occlusion(looker, spot)
    assert drops.shape == (CELLS, CELLS, 2)
    np.testing.assert_allclose(drops[..., 0], -drops[..., 1], atol=1e-6)
    assert drops[2, 8, 1] == pytest.approx(1 - spot.mean(), abs=1e-5) == drops.max()
    near = np.zeros((CELLS, CELLS), bool)
    near[2 - PATCH + 1 : 2 + PATCH, 8 - PATCH + 1 : 8 + PATCH] = True
    np.testing.assert_allclose(drops[~near], 0, atol=1e-6)


def test_an_occlusion_map_becomes_a_heatmap():
    drops = np.float32([[0.2, -0.4], [0.1, 0]])
    np.testing.assert_allclose(faithfulness.heat_of(drops), [[1, 0], [0.5, 0]])
    assert not faithfulness.heat_of(-np.abs(drops)).any()


def test_pixels_are_ranked_from_the_hottest_and_equal_ones_anyhow():
    assert faithfulness.rank_pixels(np.float32([[0.2, 0.9], [0.5, 0]])).tolist() == [[2, 0], [1, 3]]
    even = faithfulness.rank_pixels(np.zeros((20, 20)))
    assert sorted(even.ravel()) == list(range(400))
    assert abs(even[:10].mean() - even[10:].mean()) < 40  # not row by row


def test_progress_is_told_and_can_end_the_work(looker, spot):
    told: list[float] = []
    faithfulness.occlusion(looker, spot, told.append)
    assert told == sorted(told) and told[-1] == 1
    whole, looker.asked = looker.asked, 0

    class Stopped(Exception):
        pass

    def stop(done: float) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        faithfulness.occlusion(looker, spot, stop)
    assert looker.asked < whole


def test_maps_that_mark_one_place_agree_and_those_that_mark_two_do_not():
    left, right = np.zeros((7, 7), np.float32), np.zeros((12, 12), np.float32)
    left[2:5, 0:2], right[3:8, 9:12] = 1, 1
    assert faithfulness.hottest_overlap(left, left) == 1 and faithfulness.maps_agree(left, left)
    assert faithfulness.hottest_overlap(left, right) < 0.1 and not faithfulness.maps_agree(left, right)
    assert not faithfulness.maps_agree(left, np.zeros_like(right))  # nothing speaks for the class


def test_maps_of_chance_share_a_tenth_of_their_hottest_tenth():
    maps = [np.random.default_rng(seed).random((7, 7), np.float32) for seed in range(40)]
    shares = [faithfulness.hottest_overlap(*pair) for pair in zip(maps[::2], maps[1::2], strict=True)]
    assert 0.03 < np.mean(shares) < 0.2
