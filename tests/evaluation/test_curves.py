"""ROC and precision-recall curves: the points are scikit-learn's, the bands cover what they should."""

import numpy as np
import pytest
from sklearn import metrics

from covid_cnn.evaluation import curves


def noisy(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and scores that mostly agree with them, with ties."""
    generator = np.random.default_rng(seed)
    labels = generator.random(n) < 0.4
    return labels, (generator.normal(size=n) + labels).round(1)


def names(n: int, images_each: int = 1) -> list[str]:
    return [f"patient {i // images_each}" for i in range(n)]


def test_roc_points_are_those_of_scikit_learn():
    labels, scores = noisy(60)
    curve = curves.roc_curve(labels, scores, names(60), repeats=10)
    false, true, thresholds = metrics.roc_curve(labels, scores, drop_intermediate=False)
    assert curve.x == pytest.approx(false)
    assert curve.y == pytest.approx(true)
    assert curve.thresholds == pytest.approx(thresholds)


def test_precision_recall_points_are_those_of_scikit_learn():
    labels, scores = noisy(60)
    curve = curves.precision_recall_curve(labels, scores, names(60), repeats=10)
    precision, recall, thresholds = metrics.precision_recall_curve(labels, scores)
    # scikit-learn begins with the laxest threshold, and ends with a point that belongs to none.
    assert curve.thresholds == pytest.approx(thresholds[::-1])
    assert curve.x == pytest.approx(recall[-2::-1])
    assert curve.y == pytest.approx(precision[-2::-1])


@pytest.mark.parametrize("make", [curves.roc_curve, curves.precision_recall_curve])
def test_the_band_holds_the_curve_and_widens_with_fewer_patients(make):
    labels, scores = (np.repeat(values, 10) for values in noisy(20))
    alone, together = (make(labels, scores, names(200, images), repeats=300) for images in (1, 10))
    assert (alone.low <= alone.high).all() and (alone.low >= 0).all() and (alone.high <= 1).all()
    middle = slice(20, 80)
    assert (together.high - together.low)[middle].mean() > (alone.high - alone.low)[middle].mean()


def test_the_roc_band_covers_the_true_curve_about_as_often_as_it_says():
    # Of two uniform scores, one the square root of the other, the true curve is sensitivity = 1 - (1 - x)^2.
    generator = np.random.default_rng(0)
    labels = np.arange(120) < 60
    covered = []
    for trial in range(60):
        scores = np.append(np.sqrt(generator.random(60)), generator.random(60))
        curve = curves.roc_curve(labels, scores, names(120), seed=trial, repeats=200)
        covered.append(curve.low[30] <= 1 - 0.7**2 <= curve.high[30])
    assert 0.85 <= np.mean(covered) <= 1


def test_one_class_alone_has_no_curve():
    for labels in (np.zeros(5, bool), np.ones(5, bool)):
        assert curves.roc_curve(labels, np.arange(5.0), names(5)) is None
        assert curves.precision_recall_curve(labels, np.arange(5.0), names(5)) is None
