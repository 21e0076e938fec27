from pathlib import Path

import numpy as np
import pytest

from benchmarks.where_it_looks import _stem, share_inside


def test_even_heat_lies_in_the_mask_by_its_area():
    mask = np.zeros((40, 60), bool)
    mask[:10] = True
    assert share_inside(np.ones((5, 5)), mask) == pytest.approx(0.25)


def test_heat_is_laid_over_the_whole_image():
    heatmap = np.zeros((4, 4))
    heatmap[0, 3] = 1
    mask = np.zeros((80, 40), bool)
    mask[:40, 20:] = True
    assert share_inside(heatmap, mask) > 0.95
    assert share_inside(heatmap, ~mask) < 0.05


def test_no_heat_lies_nowhere():
    assert np.isnan(share_inside(np.zeros((4, 4)), np.ones((8, 8), bool)))


def test_an_image_and_its_mask_have_one_stem():
    assert _stem(Path("A-1.JPG")) == _stem(Path("a-1.jpg")) == "a-1"
