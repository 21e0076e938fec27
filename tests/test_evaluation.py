import json
import math

import numpy as np
import pytest
from scipy.special import softmax
from sklearn import metrics

from covid_cnn.errors import BundleError, DatasetError
from covid_cnn.evaluation import (
    Interval,
    bootstrap,
    choose_threshold,
    evaluate,
    expected_calibration_error,
    fit_temperature,
    rows,
    summary,
    wilson,
)

CLASSES = ("NORMAL", "PNEUMONIA")


def noisy_set(n: int, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and probabilities that mostly, but not always, agree with them."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(k, size=n)
    return labels, softmax(generator.normal(size=(n, k)) + 1.5 * np.eye(k)[labels], axis=1)


def one_each(n: int) -> list[str]:
    return [f"patient {i}" for i in range(n)]


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Newcombe (1998), table I, method 3, and 38 of 40.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (38, 40, 0.835, 0.986),
    ],
)
def test_wilson_gives_the_published_intervals(successes, n, low, high):
    interval = wilson(successes, n)
    assert interval.value == successes / n
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-4)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_wilson_refuses_what_is_no_proportion(successes, n):
    with pytest.raises(ValueError, match="not a proportion"):
        wilson(successes, n)


def test_an_interval_reads_well_and_survives_json():
    interval = wilson(38, 40)
    assert str(interval) == "0.950 (95 % CI 0.835 to 0.986, n = 40)"
    assert Interval(**json.loads(json.dumps(interval.to_dict()))) == interval


def mean_score(labels: np.ndarray, scores: np.ndarray) -> float:
    return float(scores.mean())


def test_bootstrap_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(1)
    covered = 0
    for trial in range(100):
        scores = generator.normal(size=50)
        interval = bootstrap(mean_score, np.zeros(50, int), scores, one_each(50), seed=trial, repeats=200)
        covered += interval.low <= 0 <= interval.high
    assert 86 <= covered <= 100


def test_bootstrap_resamples_patients_and_not_images():
    scores = np.repeat(np.random.default_rng(2).normal(size=20), 10)
    labels = np.zeros(200, int)
    images = bootstrap(mean_score, labels, scores, one_each(200))
    patients = bootstrap(mean_score, labels, scores, np.repeat(one_each(20), 10))
    # Ten equal images a patient hold the information of one: the interval is about sqrt(10) times as wide.
    assert 2.4 < (patients.high - patients.low) / (images.high - images.low) < 4


def test_bootstrap_is_reproducible_and_skips_undefined_resamples():
    labels = np.array([1, 0, 0])

    def share_where_a_positive_is(labels, scores):
        return scores.mean() if labels.any() else math.nan

    first, second = (
        bootstrap(share_where_a_positive_is, labels, np.array([0.2, 0.4, 0.9]), list("abc")) for _ in range(2)
    )
    assert first == second
    assert not math.isnan(first.low) and not math.isnan(first.high)
    assert bootstrap(share_where_a_positive_is, np.zeros(3, int), np.ones(3), list("abc")) is None


def test_binary_metrics_are_those_of_scikit_learn():
    labels, probabilities = noisy_set(60, 2)
    scores = probabilities[:, 1]
    predicted = (scores >= 0.6).astype(int)
    report = evaluate(labels, predicted, probabilities, CLASSES, "PNEUMONIA", one_each(60))
    assert report["confusion"] == metrics.confusion_matrix(labels, predicted).tolist()
    expected = {
        "accuracy": metrics.accuracy_score(labels, predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, predicted),
        "sensitivity": metrics.recall_score(labels, predicted),
        "specificity": metrics.recall_score(labels, predicted, pos_label=0),
        "ppv": metrics.precision_score(labels, predicted),
        "npv": metrics.precision_score(labels, predicted, pos_label=0),
        "f1": metrics.f1_score(labels, predicted),
        "auroc": metrics.roc_auc_score(labels, scores),
        "brier": metrics.brier_score_loss(labels, scores),
    }
    assert {key: report[key]["value"] for key in expected} == pytest.approx(expected)
    for key in (*expected, "ece"):
        assert report[key]["low"] <= report[key]["value"] <= report[key]["high"], key
        assert report[key]["low"] < report[key]["high"], key
    assert report["sensitivity"]["n"] == (labels == 1).sum()
    assert report["ppv"]["n"] == (predicted == 1).sum()


def test_tied_scores_count_half_in_the_auroc():
    labels, scores = np.array([0, 0, 1, 1, 1]), np.array([0.2, 0.5, 0.5, 0.5, 0.9])
    probabilities = np.stack([1 - scores, scores], axis=1)
    report = evaluate(labels, labels, probabilities, CLASSES, "PNEUMONIA", one_each(5))
    assert report["auroc"]["value"] == pytest.approx(metrics.roc_auc_score(labels, scores))


def test_the_positive_class_may_come_first():
    labels, probabilities = noisy_set(60, 2)
    predicted = probabilities.argmax(axis=1)
    one = evaluate(labels, predicted, probabilities, CLASSES, "PNEUMONIA", one_each(60))
    other = evaluate(1 - labels, 1 - predicted, probabilities[:, ::-1], CLASSES[::-1], "PNEUMONIA", one_each(60))
    for key in ("sensitivity", "specificity", "ppv", "npv", "f1", "auroc"):
        assert one[key] == other[key]


def test_multi_class_metrics_are_those_of_scikit_learn():
    labels, probabilities = noisy_set(90, 3)
    predicted = probabilities.argmax(axis=1)
    report = evaluate(labels, predicted, probabilities, "ABC", None, one_each(90))
    assert report["auroc"]["value"] == pytest.approx(metrics.roc_auc_score(labels, probabilities, multi_class="ovr"))
    assert report["brier"]["value"] == pytest.approx(metrics.brier_score_loss(labels, probabilities))
    recalls = metrics.recall_score(labels, predicted, average=None)
    assert [entry["value"] for entry in report["sensitivity_by_class"].values()] == pytest.approx(list(recalls))
    for i, name in enumerate("ABC"):
        expected = metrics.roc_auc_score(labels == i, probabilities[:, i])
        assert report["auroc_by_class"][name]["value"] == pytest.approx(expected)


def test_what_a_test_set_of_healthy_people_cannot_tell_is_none():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    report = evaluate([0, 0, 0], [0, 0, 1], probabilities, CLASSES, "PNEUMONIA", ["a", "b", "c"])
    for key in ("sensitivity", "ppv", "npv", "f1", "auroc", "balanced_accuracy"):
        assert report[key] is None, key
    assert report["specificity"]["value"] == report["accuracy"]["value"] == pytest.approx(2 / 3)
    json.dumps(report, allow_nan=False)
    assert dict(rows(report))["AUROC"] is None
    assert "undefined" in summary(report) and "nan" not in summary(report)


def test_a_class_without_test_images_leaves_the_others_their_metrics():
    labels, probabilities = noisy_set(40, 2)
    probabilities = np.column_stack([0.9 * probabilities, np.full(40, 0.1)])
    report = evaluate(labels, probabilities.argmax(axis=1), probabilities, "ABC", None, one_each(40))
    assert report["auroc"] is None and report["auroc_by_class"]["C"] is None
    assert report["sensitivity_by_class"]["C"] is None
    assert report["auroc_by_class"]["A"]["value"] > 0.5
    json.dumps(report, allow_nan=False)


@pytest.mark.parametrize(("k", "positive"), [(2, "PNEUMONIA"), (3, None)])
def test_the_summary_is_a_table_of_all_metrics(k, positive):
    labels, probabilities = noisy_set(40, k)
    classes = (*CLASSES, "OTHER")[:k]
    report = evaluate(labels, probabilities.argmax(axis=1), probabilities, classes, positive, ["a", "b"] * 20)
    text = summary(json.loads(json.dumps(report)))
    assert text.startswith("40 images of 2 patients.")
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == len(rows(report)) + 2
    assert len({line.count("|") for line in table}) == 1 and len({len(line) for line in table}) == 1
    accuracy = wilson(round(report["accuracy"]["value"] * 40), 40)
    assert f"{accuracy.low:.3f} to {accuracy.high:.3f}" in text


def test_evaluate_refuses_what_it_cannot_judge():
    probabilities = np.full((2, 2), 0.5)
    with pytest.raises(DatasetError, match="no image"):
        evaluate([], [], np.empty((0, 2)), CLASSES, "PNEUMONIA", [])
    with pytest.raises(BundleError, match="not numbers"):
        evaluate([0, 1], [0, 1], probabilities * np.nan, CLASSES, "PNEUMONIA", ["a", "b"])
    with pytest.raises(ValueError, match="one length"):
        evaluate([0, 1], [0, 1], probabilities, CLASSES, "PNEUMONIA", ["a"])
    with pytest.raises(ValueError, match="two classes"):
        evaluate([0, 1], [0, 1], probabilities, CLASSES, "COVID-19", ["a", "b"])


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
