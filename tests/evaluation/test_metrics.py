import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import softmax
from sklearn import metrics
from statsmodels.stats.proportion import proportion_confint

from covid_cnn.common.errors import BundleError, DatasetError
from covid_cnn.common.statistics import (
    Interval,
    auroc,
    auroc_interval,
    bootstrap,
    clustered_proportion,
    perfect_auroc,
    warn_of_few_patients,
    wilson,
)
from covid_cnn.evaluation.calibration import (
    assess_calibration,
    choose_threshold,
    choose_threshold_at_specificity,
    conformal_thresholds,
    expected_calibration_error,
    fit_temperature,
    measure_coverage,
    reliability,
)
from covid_cnn.evaluation.metrics import (
    average_precision,
    evaluate_classifier,
    matthews,
    metric_rows,
    predictive_values,
    summarize,
)
from covid_cnn.models.bundle import prediction_sets

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


@pytest.mark.parametrize(("successes", "n"), [(0, 7), (3, 7), (7, 7), (441, 500)])
def test_wilson_agrees_with_statsmodels(successes, n):
    interval = wilson(successes, n)
    assert (interval.low, interval.high) == pytest.approx(proportion_confint(successes, n, method="wilson"), abs=1e-12)


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


def test_the_interval_of_the_bootstrap_is_that_of_scipy():
    labels, probabilities = noisy_set(120, 2)
    scores = probabilities[:, 1]
    found = bootstrap(lambda y, p: auroc(y == 1, p), labels, scores, one_each(120), repeats=3000)
    expected = stats.bootstrap(
        (labels, scores),
        lambda y, p: auroc(y == 1, p),
        paired=True,
        vectorized=False,
        n_resamples=3000,
        method="percentile",
        random_state=1,
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_auroc_and_correlation_are_those_of_scipy():
    labels, probabilities = noisy_set(60, 2)
    scores, predicted = probabilities[:, 1].round(1), probabilities.argmax(axis=1)
    u = stats.mannwhitneyu(scores[labels == 1], scores[labels == 0]).statistic
    assert auroc(labels == 1, scores) == pytest.approx(u / ((labels == 1).sum() * (labels == 0).sum()))
    assert matthews(labels, predicted, 2) == pytest.approx(stats.pearsonr(labels, predicted).statistic)


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
    report = evaluate_classifier(labels, predicted, probabilities, CLASSES, "PNEUMONIA", one_each(60))
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
        "mcc": metrics.matthews_corrcoef(labels, predicted),
        "average_precision": metrics.average_precision_score(labels, scores),
    }
    ratios = metrics.class_likelihood_ratios(labels, predicted)
    expected |= dict(zip(("lr_positive", "lr_negative"), ratios, strict=True))
    assert {key: report[key]["value"] for key in expected} == pytest.approx(expected)
    for key in (*expected, "ece"):
        assert report[key]["low"] <= report[key]["value"] <= report[key]["high"], key
        assert report[key]["low"] < report[key]["high"], key
    assert report["sensitivity"]["n"] == (labels == 1).sum()
    assert report["ppv"]["n"] == (predicted == 1).sum()


def test_tied_scores_count_half_in_the_auroc():
    labels, scores = np.array([0, 0, 1, 1, 1]), np.array([0.2, 0.5, 0.5, 0.5, 0.9])
    probabilities = np.stack([1 - scores, scores], axis=1)
    report = evaluate_classifier(labels, labels, probabilities, CLASSES, "PNEUMONIA", one_each(5))
    assert report["auroc"]["value"] == pytest.approx(metrics.roc_auc_score(labels, scores))


def test_the_positive_class_may_come_first():
    labels, probabilities = noisy_set(60, 2)
    predicted = probabilities.argmax(axis=1)
    one = evaluate_classifier(labels, predicted, probabilities, CLASSES, "PNEUMONIA", one_each(60))
    other = evaluate_classifier(
        1 - labels, 1 - predicted, probabilities[:, ::-1], CLASSES[::-1], "PNEUMONIA", one_each(60)
    )
    for key in ("sensitivity", "specificity", "ppv", "npv", "f1", "auroc"):
        assert one[key] == other[key]


def test_multi_class_metrics_are_those_of_scikit_learn():
    labels, probabilities = noisy_set(90, 3)
    predicted = probabilities.argmax(axis=1)
    report = evaluate_classifier(labels, predicted, probabilities, "ABC", None, one_each(90))
    assert report["auroc"]["value"] == pytest.approx(metrics.roc_auc_score(labels, probabilities, multi_class="ovr"))
    assert report["brier"]["value"] == pytest.approx(metrics.brier_score_loss(labels, probabilities))
    recalls = metrics.recall_score(labels, predicted, average=None)
    assert [entry["value"] for entry in report["sensitivity_by_class"].values()] == pytest.approx(list(recalls))
    for i, name in enumerate("ABC"):
        expected = metrics.roc_auc_score(labels == i, probabilities[:, i])
        assert report["auroc_by_class"][name]["value"] == pytest.approx(expected)


def test_three_classes_with_a_positive_one_have_both_readings():
    labels, probabilities = noisy_set(90, 3)
    yes = probabilities[:, 2] >= 0.25
    predicted = np.where(yes, 2, probabilities[:, :2].argmax(axis=1))
    report = evaluate_classifier(labels, predicted, probabilities, "ABC", "C", one_each(90))
    several = evaluate_classifier(labels, predicted, probabilities, "ABC", None, one_each(90))
    assert {key: report[key] for key in several} == several | {"positive": "C"}
    truth = labels == 2
    expected = {
        "sensitivity": metrics.recall_score(truth, yes),
        "specificity": metrics.recall_score(truth, yes, pos_label=False),
        "ppv": metrics.precision_score(truth, yes),
        "npv": metrics.precision_score(truth, yes, pos_label=False),
        "f1": metrics.f1_score(truth, yes),
        "auroc_positive": metrics.roc_auc_score(truth, probabilities[:, 2]),
    }
    assert {key: report[key]["value"] for key in expected} == pytest.approx(expected)
    assert report["specificity"]["n"] == (~truth).sum() and report["ppv"]["n"] == yes.sum()
    titles = [title for title, _ in metric_rows(report)]
    assert titles[:3] == ["Sensitivity (C)", "Specificity", "AUROC (C against the rest)"]
    assert {"AUROC, A", "Sensitivity, B", "Accuracy"} < set(titles) and len(titles) == len(set(titles))
    assert "Sensitivity, C" not in titles  # it stands there as the sensitivity


def test_an_image_of_one_other_class_taken_for_another_is_no_false_alarm():
    report = evaluate_classifier([0, 1, 2, 2], [1, 0, 2, 2], np.eye(3)[[1, 0, 2, 2]], "ABC", "C", list("wxyz"))
    assert report["accuracy"]["value"] == 0.5
    assert report["specificity"]["value"] == report["ppv"]["value"] == report["npv"]["value"] == 1
    healthy = evaluate_classifier([0, 1], [1, 0], np.eye(3)[[1, 0]], "ABC", "C", list("wx"))
    assert healthy["specificity"]["value"] == 1 and healthy["sensitivity"] is healthy["npv"] is None


def test_what_a_test_set_of_healthy_people_cannot_tell_is_none():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    report = evaluate_classifier([0, 0, 0], [0, 0, 1], probabilities, CLASSES, "PNEUMONIA", ["a", "b", "c"])
    for key in ("sensitivity", "ppv", "npv", "f1", "auroc", "balanced_accuracy"):
        assert report[key] is None, key
    assert report["specificity"]["value"] == report["accuracy"]["value"] == pytest.approx(2 / 3)
    json.dumps(report, allow_nan=False)
    assert dict(metric_rows(report))["AUROC"] is None
    assert "undefined" in summarize(report) and "nan" not in summarize(report)


def test_a_class_without_test_images_leaves_the_others_their_metrics():
    labels, probabilities = noisy_set(40, 2)
    probabilities = np.column_stack([0.9 * probabilities, np.full(40, 0.1)])
    report = evaluate_classifier(labels, probabilities.argmax(axis=1), probabilities, "ABC", None, one_each(40))
    assert report["auroc"] is None and report["auroc_by_class"]["C"] is None
    assert report["sensitivity_by_class"]["C"] is None
    assert report["auroc_by_class"]["A"]["value"] > 0.5
    json.dumps(report, allow_nan=False)


@pytest.mark.parametrize(("k", "positive"), [(2, "PNEUMONIA"), (3, None), (3, "OTHER")])
def test_the_summary_is_a_table_of_all_metrics(k, positive):
    labels, probabilities = noisy_set(40, k)
    classes = (*CLASSES, "OTHER")[:k]
    report = evaluate_classifier(
        labels, probabilities.argmax(axis=1), probabilities, classes, positive, ["a", "b"] * 20
    )
    text = summarize(json.loads(json.dumps(report)))
    assert text.startswith(f"40 images of 2 patients (2 {classes[0]}, ")
    assert f"{classes[0]}: {np.sum(labels == 0)} images of only 2 patients" in text
    clustered = [line.split("|")[4].strip() for line in text.splitlines() if line.startswith("| Accuracy ")]
    assert clustered == [Interval(**report["by_patient"]["Accuracy"]).bounds]
    titles = {title for title, _ in metric_rows(report)}
    assert (
        len(report["by_patient"]) == (5 if k == 2 else 4 if positive is None else 7)
        and set(report["by_patient"]) <= titles
    )
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == len(metric_rows(report)) + 2
    assert len({line.count("|") for line in table}) == 1 and len({len(line) for line in table}) == 1
    accuracy = wilson(round(report["accuracy"]["value"] * 40), 40)
    assert f"{accuracy.low:.3f} to {accuracy.high:.3f}" in text


def test_evaluate_refuses_what_it_cannot_judge():
    probabilities = np.full((2, 2), 0.5)
    with pytest.raises(DatasetError, match="no image"):
        evaluate_classifier([], [], np.empty((0, 2)), CLASSES, "PNEUMONIA", [])
    with pytest.raises(BundleError, match="not numbers"):
        evaluate_classifier([0, 1], [0, 1], probabilities * np.nan, CLASSES, "PNEUMONIA", ["a", "b"])
    with pytest.raises(ValueError, match="one length"):
        evaluate_classifier([0, 1], [0, 1], probabilities, CLASSES, "PNEUMONIA", ["a"])
    with pytest.raises(ValueError, match="is not one of the classes"):
        evaluate_classifier([0, 1], [0, 1], probabilities, CLASSES, "COVID-19", ["a", "b"])


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
    report = measure_coverage(np.array([0, 1, 1, 0]), sets)
    assert Interval(**report["coverage"]) == wilson(3, 4)
    assert [entry and entry["value"] for entry in report["coverage_by_class"]] == [1, 0.5, None]
    assert Interval(**report["single"]) == wilson(2, 4)
    assert report["mean_size"]["value"] == 1.5 and report["mean_size"]["n"] == 4
    one_patient = measure_coverage(np.array([0, 1, 1, 0]), sets, ["a"] * 4)
    assert one_patient["mean_size"]["low"] is one_patient["mean_size"]["high"] is None
    assert not Interval(**one_patient["mean_size"]).known


def test_coverage_is_told_in_the_summary():
    labels, probabilities = noisy_set(40, 3)
    report = evaluate_classifier(labels, probabilities.argmax(axis=1), probabilities, "ABC", None, one_each(40))
    sets = prediction_sets(probabilities, conformal_thresholds(labels, probabilities, 0.8))
    text = summarize(report | {"prediction_sets": {"level": 0.8} | measure_coverage(labels, sets)})
    assert "Coverage of the 80 % prediction sets" in text and "Coverage, B" in text and "Sets of one class" in text


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(2, 4), st.integers(1, 60))
def test_the_reliability_bins_hold_every_image_once(seed, k, n):
    labels, probabilities = noisy_set(n, k, seed)
    bins = reliability(labels, probabilities)
    assert sum(one["n"] for one in bins) == n
    assert all(one["accuracy"]["n"] == one["n"] for one in bins)
    assert [one["confidence"] for one in bins] == sorted(one["confidence"] for one in bins)
    # Over the same bins, the gaps between the diagram and its diagonal are the calibration error.
    gaps = sum(one["n"] * abs(one["accuracy"]["value"] - one["confidence"]) for one in bins) / n
    assert gaps == pytest.approx(expected_calibration_error(labels, probabilities, bins=10))


def test_the_calibration_tells_before_and_after():
    generator = np.random.default_rng(3)
    logits = generator.normal(scale=2, size=(500, 3))
    labels = np.array([generator.choice(3, p=p) for p in softmax(logits, axis=1)])
    told = assess_calibration(labels, 4 * logits, 4.0, one_each(500), "test")
    assert (told["temperature"], told["n"], told["split"]) == (4.0, 500, "test")
    assert told["after"]["ece"]["high"] < told["before"]["ece"]["low"]
    assert told["after"]["reliability"] == reliability(labels, softmax(logits, axis=1))
    json.dumps(told, allow_nan=False)


@pytest.mark.parametrize("seed", range(5))
def test_correlation_and_average_precision_are_those_of_scikit_learn(seed):
    labels, probabilities = noisy_set(40, 3, seed)
    predicted = probabilities.argmax(axis=1)
    assert matthews(labels, predicted, 3) == pytest.approx(metrics.matthews_corrcoef(labels, predicted))
    assert matthews(labels, np.zeros(40, int), 3) == 0
    assert math.isnan(matthews(np.zeros(40, int), predicted, 3))
    scores = probabilities[:, 1].round(1)  # with ties
    expected = metrics.average_precision_score(labels == 1, scores)
    assert average_precision(labels == 1, scores) == pytest.approx(expected)
    assert math.isnan(average_precision(np.zeros(4, bool), scores[:4]))


def test_a_likelihood_ratio_without_a_false_alarm_has_no_value():
    labels, predicted = np.array([1, 1, 0, 0, 0]), np.array([1, 0, 0, 0, 0])
    probabilities = np.eye(2)[predicted]
    report = evaluate_classifier(labels, predicted, probabilities, CLASSES, "PNEUMONIA", one_each(5))
    assert report["lr_positive"] is None
    assert report["lr_negative"]["value"] == 0.5
    assert all(math.isfinite(report["lr_negative"][key]) for key in ("low", "high"))


def test_a_positive_answer_is_worth_little_where_few_are_ill():
    # Sensitivity 95 %, specificity 90 %: at a prevalence of 1 % of 10,000 people, 95 hits beside 990 false alarms.
    positive, negative = predictive_values(95, 100, 90, 100, 0.01)
    assert positive.value == pytest.approx(95 / (95 + 990))
    assert negative.value == pytest.approx(8910 / (8910 + 5))
    assert positive.low < positive.value < positive.high < 0.2


def test_predictive_values_at_the_prevalence_of_the_test_set_are_the_plain_ones():
    labels, probabilities = noisy_set(80, 2)
    predicted = probabilities.argmax(axis=1)
    report = evaluate_classifier(labels, predicted, probabilities, CLASSES, "PNEUMONIA", one_each(80))
    (rejections, _), (_, hits) = report["confusion"]
    positives = int(labels.sum())
    values = predictive_values(hits, positives, rejections, 80 - positives, positives / 80)
    assert [value.value for value in values] == pytest.approx([report["ppv"]["value"], report["npv"]["value"]])


def test_the_interval_of_a_predictive_value_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    sensitivity, specificity, prevalence = 0.9, 0.95, 0.1
    truth = sensitivity * prevalence / (sensitivity * prevalence + (1 - specificity) * (1 - prevalence))
    hits, rejections = generator.binomial(50, sensitivity, 400), generator.binomial(80, specificity, 400)
    found = [predictive_values(h, 50, r, 80, prevalence)[0] for h, r in zip(hits, rejections, strict=True)]
    assert 0.91 <= np.mean([interval.low <= truth <= interval.high for interval in found]) <= 0.995


def test_predictive_values_at_the_edges():
    positive, negative = predictive_values(0, 10, 10, 10, 0.5)
    assert positive is None  # nobody is called positive
    assert negative.value == 0.5
    sure, _ = predictive_values(10, 10, 10, 10, 0.5)
    assert sure.value == sure.high == 1 and sure.low < 0.95
    for arguments in ((1, 0, 1, 1, 0.5), (1, 1, 1, 1, 0.0), (2, 1, 1, 1, 0.5)):
        with pytest.raises(ValueError, match="need positives"):
            predictive_values(*arguments)


# without an error


def test_an_interval_without_width_counts_as_not_known():
    sure = Interval(1.0, 1.0, 1.0, 12)
    assert str(sure) == "1.000 (95 % CI not known, n = 12)"
    assert sure.to_dict() == {"value": 1.0, "low": None, "high": None, "n": 12}
    assert Interval(**json.loads(json.dumps(sure.to_dict()))) == sure
    assert Interval(0.5, 0.4, 0.6, 12).bounds == "0.400 to 0.600"


def test_a_perfect_auroc_is_not_certain():
    labels, patients = np.arange(40) < 20, one_each(40)
    found = auroc_interval(labels, labels + 0.0, patients)
    assert (found.value, found.high, found.n) == (1, 1, 40) and 0.85 < found.low < 0.95
    worst = auroc_interval(labels, -1.0 * labels, patients)
    assert (worst.value, worst.low, worst.high) == pytest.approx((0, 0, 1 - found.low))
    # Twenty images of four patients tell as little as four images do.
    four = auroc_interval(labels, labels + 0.0, [str(i // 5) if i < 20 else str(i) for i in range(40)])
    assert four.low == perfect_auroc(4, 20) < found.low
    assert auroc_interval(labels | True, labels + 0.0, patients) is None


@pytest.mark.parametrize(("m", "n"), [(4, 20), (20, 20), (5, 200)])
def test_the_bound_of_a_perfect_auroc_is_newcombes(m, n):
    low = perfect_auroc(m, n)
    hanley = low * (1 - low) + ((m + n) / 2 - 1) * ((low / (2 - low) - low**2) + (2 * low**2 / (1 + low) - low**2))
    assert 1 - low == pytest.approx(1.959964 * math.sqrt(hanley / (m * n)), rel=1e-5)


@pytest.mark.parametrize(("truth", "m", "n"), [(0.8, 5, 8), (0.9, 10, 10), (0.95, 12, 30)])
def test_the_interval_of_an_auroc_that_may_be_perfect_covers_the_truth(truth, m, n):
    """Of two normal distributions; of samples that come out perfect, as good as all must leave the truth in."""
    rng, apart = np.random.default_rng(0), math.sqrt(2) * stats.norm.ppf(truth)
    labels = np.arange(m + n) < m
    scores = rng.normal(size=(2000, m + n)) + apart * labels
    perfect = scores[:, labels].min(axis=1) > scores[:, ~labels].max(axis=1)
    missed = perfect.mean() if perfect_auroc(m, n) > truth else 0.0
    assert perfect.any() and missed <= 0.025


def test_balanced_accuracy_without_an_error_has_an_interval_and_what_has_none_says_so():
    labels = np.repeat([0, 1], 20)
    report = evaluate_classifier(labels, labels, np.eye(2)[labels], CLASSES, "PNEUMONIA", one_each(40))
    balanced = Interval(**report["balanced_accuracy"])
    below = 1 - wilson(20, 20).low
    assert (balanced.value, balanced.high) == (1, 1) and balanced.low == pytest.approx(1 - math.hypot(below, below) / 2)
    assert report["f1"]["low"] is None and report["mcc"]["low"] is None
    assert str(dict(metric_rows(report))["F1 score"]) == "1.000 (95 % CI not known, n = 40)"
    assert "1.000 to 1.000" not in summarize(report)
    assert report["auroc"]["low"] == pytest.approx(perfect_auroc(20, 20))


# by patient


def test_a_share_by_patient_is_wilsons_where_each_has_one_image():
    right = np.arange(50) < 37
    found, expected = clustered_proportion(right, one_each(50)), wilson(37, 50)
    assert found.value == expected.value
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.003)
    assert clustered_proportion(right[:0], []) is None


def test_images_of_one_patient_that_go_together_count_as_one():
    right = np.repeat([True, False, True, True, False, True], 10)
    found, of_patients = clustered_proportion(right, np.repeat(one_each(6), 10)), wilson(4, 6)
    assert found.n == 60 and found.value == pytest.approx(4 / 6)
    assert found.low < wilson(40, 60).low - 0.1 and found.low == pytest.approx(of_patients.low, abs=0.05)
    # Without an error the images are worth as many as there are patients.
    sure = clustered_proportion(np.ones(20, bool), np.repeat(one_each(4), 5))
    assert (sure.low, sure.high) == pytest.approx((wilson(4, 4).low, 1.0))
    assert clustered_proportion(np.array([True, False]), ["a", "a"]).low < 0.1


def test_the_interval_by_patient_covers_the_truth():
    rng, covered, naive = np.random.default_rng(0), [], []
    for _ in range(400):
        images = rng.integers(1, 9, 40)
        chance = rng.beta(4, 1, 40)  # 0.8 on average, and each patient's own
        right = rng.random(images.sum()) < np.repeat(chance, images)
        found = clustered_proportion(right, np.repeat(one_each(40), images))
        covered.append(found.low <= 0.8 <= found.high)
        plain = wilson(int(right.sum()), len(right))
        naive.append(plain.low <= 0.8 <= plain.high)
    assert 0.91 <= np.mean(covered) <= 0.99 and np.mean(naive) < np.mean(covered)


def test_classes_of_few_patients_are_told():
    assert warn_of_few_patients({"A": (20, 4), "B": (30, 10), "C": (0, 0)}) == [
        "A: 20 images of only 4 patients, as far as names and metadata tell them apart (all figures of one paper count "
        "as one): too few to tell much of."
    ]
