"""Deletion and insertion curves of models of which it is known what they look at."""

import numpy as np
import pytest
from classifiers import Looker, heat_in, two_spots

from benchmarks.perturbation_curves import PerturbationCurve, compare_maps
from covid_cnn.data import synthetic
from covid_cnn.models import bundle


@pytest.fixture
def looker() -> Looker:
    return Looker()


@pytest.fixture
def spot() -> np.ndarray:
    return two_spots()


def test_a_right_heatmap_beats_chance_and_a_wrong_one_does_not(looker, spot):
    verdict = compare_maps(looker, spot, "bright", {"right": heat_in(2, 8), "wrong": 1 - heat_in(2, 8)})
    assert verdict.better("right") == (True, True)
    assert verdict.better("wrong") == (False, False)
    right, chance = verdict.orders["right"], verdict.mean_chance()
    assert right.deletion.area < chance.deletion.area < verdict.orders["wrong"].deletion.area
    assert right.insertion.area > chance.insertion.area > verdict.orders["wrong"].insertion.area


def test_curves_begin_and_end_where_they_must(looker, spot):
    verdict = compare_maps(looker, spot, "bright", {"heat": heat_in(2, 8)}, steps=4, seeds=2)
    assert len(verdict.chance) == 2
    for trial in (verdict.orders["heat"], *verdict.chance, verdict.mean_chance()):
        np.testing.assert_allclose(trial.deletion.shares, [0, 0.25, 0.5, 0.75, 1])
        assert trial.deletion.probabilities[[0, -1]] == pytest.approx([1, spot.mean()], abs=1e-5)
        assert trial.insertion.probabilities[-1] == pytest.approx(1)
        assert 0 < trial.insertion.probabilities[0] < 1  # blurred


def test_the_area_is_that_of_the_trapezoids():
    assert PerturbationCurve(np.array([0, 0.5, 1]), np.array([1, 0.5, 0.5])).area == pytest.approx(0.625)


def test_a_shipped_model_is_asked(shipped_models):
    model = bundle.Bundle(next(folder for folder in shipped_models if folder.name == "efficientnet_lite0"))
    pixels = synthetic.draw_radiograph(31, opacities=True, size=300)
    prediction = model.predict(pixels)
    heatmap = prediction.heatmaps[..., prediction.classes.index(prediction.label)]
    verdict = compare_maps(model, pixels, prediction.label, {"heatmap": heatmap}, steps=2, seeds=1)
    first = verdict.orders["heatmap"].deletion.probabilities[0]
    assert first == pytest.approx(prediction.by_class()[prediction.label], abs=0.01)
