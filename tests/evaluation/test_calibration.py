import msgspec
import numpy as np
import pytest
from classifiers import noisy_set, one_each
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn import metrics

from covid_cnn.common.statistics import (
    measure_once,
    wilson,
)
from covid_cnn.evaluation.calibration import (
    assess_calibration,
    calibration_error_of,
    choose_threshold,
    choose_threshold_at_specificity,
    conformal_thresholds,
    fit_temperature,
    measure_coverage,
    reliability,
)
from covid_cnn.models.bundle import prediction_sets
from covid_cnn.models.info import Calibration


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray, **options: int) -> float:
    return measure_once(calibration_error_of(labels, probabilities, **options), len(labels))


def test_calibration_error_of_hand_made_cases():
    sure = np.array([[1.0, 0.0]] * 4)
    assert expected_calibration_error(np.array([0, 0, 0, 0]), sure) == 0
    assert expected_calibration_error(np.array([0, 0, 1, 1]), sure) == pytest.approx(0.5)
    # Two bins: confidence 0.7 with accuracy 1, and confidence 0.9 with accuracy 0.5; gaps of opposite sign add up.
    mixed = np.array([[0.7, 0.3], [0.7, 0.3], [0.9, 0.1], [0.9, 0.1]])
    assert expected_calibration_error(np.array([0, 0, 0, 1]), mixed) == pytest.approx(0.5 * 0.3 + 0.5 * 0.4)


def test_temperature_is_recovered_and_improves_calibration():
    generator = np.random.default_rng(3)
    logits = generator.normal(scale=2, size=(4000, 3))
    labels = np.array([generator.choice(3, p=p) for p in softmax(logits, axis=1)])
    assert fit_temperature(3 * logits, labels) == pytest.approx(3, rel=0.1)
    assert fit_temperature(logits - logits.max(), labels) == pytest.approx(1, rel=0.1)
    overconfident = softmax(3 * logits, axis=1)
    tempered = softmax(3 * logits / fit_temperature(3 * logits, labels), axis=1)
    assert expected_calibration_error(labels, tempered) < 0.3 * expected_calibration_error(labels, overconfident)


def test_temperature_of_a_separable_set_stays_finite():
    temperature = fit_temperature(np.array([[5.0, -5.0], [-5.0, 5.0]]), np.array([0, 1]))
    assert 0.05 <= temperature <= 20


def balanced_accuracy_at(threshold: float, labels: np.ndarray, scores: np.ndarray) -> float:
    return metrics.balanced_accuracy_score(labels, scores >= threshold)


@pytest.mark.parametrize("seed", range(5))
def test_no_threshold_is_better_than_the_chosen_one(seed):
    generator = np.random.default_rng(seed)
    labels = generator.integers(2, size=50)
    scores = np.round(np.clip(0.3 + 0.2 * labels + 0.2 * generator.normal(size=50), 0, 1), 2)  # with ties
    chosen = balanced_accuracy_at(choose_threshold(labels, scores), labels, scores)
    assert chosen == pytest.approx(max(balanced_accuracy_at(t, labels, scores) for t in np.arange(-0.005, 1.02, 0.01)))


@pytest.mark.parametrize(
    ("labels", "scores", "threshold"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.9, 0.95], 0.5),  # separable, and 0.5 separates
        ([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], 0.25),  # separable elsewhere
        ([0, 1, 1], [0.6, 0.8, 0.9], 0.7),
        ([0, 1], [0.3, 0.3], 0.5),  # nothing to tell them by
        ([1, 1], [0.1, 0.9], 0.5),  # one class alone
    ],
)
def test_thresholds_of_small_sets(labels, scores, threshold):
    assert choose_threshold(np.array(labels), np.array(scores)) == pytest.approx(threshold)


def answered(threshold: float, labels: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """Specificity and sensitivity at a threshold."""
    positive = scores >= threshold
    return float((~positive[~labels]).mean()), float(positive[labels].mean())


SCORES = st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=2, max_size=60).filter(
    lambda pairs: len({positive for positive, _ in pairs}) == 2
)


@given(SCORES, st.sampled_from([0.05, 0.5, 0.9, 0.95, 0.99, 1.0]))
def test_the_threshold_at_a_specificity_is_the_smallest(pairs, specificity):
    labels, scores = np.array([one for one, _ in pairs]), np.array([score / 20 for _, score in pairs])
    reached, sensitivity = answered(choose_threshold_at_specificity(labels, scores, specificity), labels, scores)
    assert reached >= specificity - 1e-12
    # One threshold for each way to divide the images; those that reach the specificity find no more positives.
    for threshold in np.append(np.unique(scores), 2):
        other, found = answered(threshold, labels, scores)
        assert other < specificity - 1e-12 or found <= sensitivity


@pytest.mark.parametrize(
    ("labels", "scores", "specificity", "threshold"),
    [
        ([0] * 20 + [1], [*np.arange(20) / 100, 0.99], 0.95, 0.185),  # 19 of 20 stay below, and not all
        ([0] * 20 + [1], [*np.arange(20) / 100, 0.99], 0.951, (0.19 + 0.99) / 2),
        ([0, 0, 1], [0.3, 0.3, 0.3], 0.95, 0.65),  # all equal: no one reaches it
        ([0, 1], [1.0, 1.0], 0.95, 1.5),  # nothing is positive
        ([1, 1], [0.2, 0.9], 0.95, 0.5),  # no negative to choose by
    ],
)
def test_thresholds_at_a_specificity_of_small_sets(labels, scores, specificity, threshold):
    chosen = choose_threshold_at_specificity(np.array(labels), np.array(scores), specificity)
    assert chosen == pytest.approx(threshold)


@pytest.mark.parametrize("specificity", [0, -1, 1.01])
def test_a_specificity_out_of_range_is_refused(specificity):
    with pytest.raises(ValueError, match="specificity"):
        choose_threshold_at_specificity(np.array([0, 1]), np.array([0.1, 0.9]), specificity)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=80), st.sampled_from([0.5, 0.8, 0.9, 0.95]))
def test_of_exchangeable_images_at_least_the_level_is_covered(given_to_truth, level):
    """The guarantee itself: each image of a class in turn is the new one, the others calibrate."""
    p = np.array(given_to_truth) / 30
    probabilities = np.stack([p, 1 - p], axis=1)
    labels = np.zeros(len(p), int)
    covered = [
        p[i] >= conformal_thresholds(np.delete(labels, i), np.delete(probabilities, i, axis=0), level)[0]
        for i in range(len(p))
    ]
    assert np.mean(covered) >= level - 1e-12


def test_every_class_is_covered_and_not_much_more_than_asked():
    generator = np.random.default_rng(5)
    covered: list[list[float]] = [[], [], []]
    for _ in range(200):
        # A poor classifier, on a rare class too.
        labels = generator.choice(3, size=600, p=[0.7, 0.25, 0.05])
        probabilities = softmax(generator.normal(size=(600, 3)) + np.eye(3)[labels], axis=1)
        thresholds = conformal_thresholds(labels[:300], probabilities[:300], 0.9)
        sets = prediction_sets(probabilities[300:], thresholds)
        for k in range(3):
            own = sets[labels[300:] == k, k]
            covered[k] += own.tolist()
    for k, tolerance in enumerate([0.01, 0.01, 0.02]):
        assert 0.9 - tolerance <= np.mean(covered[k]) <= 0.9 + 1 / 20 + tolerance
    assert np.mean(covered[0]) < 0.92  # with many images the level is met, and not passed


def test_a_class_with_too_few_images_is_in_every_set():
    labels = np.array([0] * 9 + [1] * 8)
    probabilities = np.stack([np.linspace(0.2, 0.9, 17), 1 - np.linspace(0.2, 0.9, 17)], axis=1)
    thresholds = conformal_thresholds(labels, probabilities, 0.9)
    assert thresholds.tolist() == [pytest.approx(0.2), 0]
    assert prediction_sets(np.array([[1.0, 0.0]]), thresholds).tolist() == [[True, True]]
    for level in (0, 1):
        with pytest.raises(ValueError, match="level"):
            conformal_thresholds(labels, probabilities, level)


def test_a_set_is_never_empty():
    sets = prediction_sets(np.array([[0.4, 0.35, 0.25], [0.1, 0.1, 0.8]]), np.array([0.6, 0.5, 0.7]))
    assert sets.tolist() == [[True, False, False], [False, False, True]]


def test_coverage_of_a_hand_made_case():
    sets = np.array([[1, 1, 0], [0, 1, 0], [1, 0, 0], [1, 1, 0]], bool)
    report = measure_coverage(np.array([0, 1, 1, 0]), sets, 0.9)
    assert report.coverage == wilson(3, 4)
    assert [entry and entry.value for entry in report.coverage_by_class] == [1, 0.5, None]
    assert report.single == wilson(2, 4)
    assert report.mean_size.value == 1.5 and report.mean_size.n == 4
    one_patient = measure_coverage(np.array([0, 1, 1, 0]), sets, 0.9, ["a"] * 4)
    assert not one_patient.mean_size.known


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(2, 4), st.integers(1, 60))
def test_the_reliability_bins_hold_every_image_once(seed, k, n):
    labels, probabilities = noisy_set(n, k, seed)
    bins = reliability(labels, probabilities)
    assert sum(one.n for one in bins) == n
    assert all(one.accuracy.n == one.n for one in bins)
    assert [one.confidence for one in bins] == sorted(one.confidence for one in bins)
    # Over the same bins, the gaps between the diagram and its diagonal are the calibration error.
    gaps = sum(one.n * abs(one.accuracy.value - one.confidence) for one in bins) / n
    assert gaps == pytest.approx(expected_calibration_error(labels, probabilities, bins=10))


def test_the_calibration_tells_before_and_after():
    generator = np.random.default_rng(3)
    logits = generator.normal(scale=2, size=(500, 3))
    labels = np.array([generator.choice(3, p=p) for p in softmax(logits, axis=1)])
    told = assess_calibration(labels, 4 * logits, 4.0, one_each(500), "test")
    assert (told.temperature, told.n, told.split) == (4.0, 500, "test")
    assert told.after.ece.high < told.before.ece.low
    assert told.after.reliability == reliability(labels, softmax(logits, axis=1))
    assert msgspec.json.decode(msgspec.json.encode(told), type=Calibration) == told
