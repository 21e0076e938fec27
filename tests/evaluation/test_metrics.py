import math

import msgspec
import numpy as np
import pytest
from classifiers import noisy_set, one_each
from msgspec import structs
from sklearn import metrics

from covid_cnn.common.errors import BundleError, DatasetError
from covid_cnn.common.statistics import (
    clustered_proportion,
    measure_once,
    perfect_auroc,
    wilson,
)
from covid_cnn.evaluation.calibration import (
    conformal_thresholds,
    measure_coverage,
)
from covid_cnn.evaluation.metrics import (
    average_precision_of,
    evaluate_classifier,
    matthews_of,
    metric_rows,
    predictive_values,
    summarize,
)
from covid_cnn.models.bundle import prediction_sets
from covid_cnn.models.info import Report

CLASSES = ("NORMAL", "PNEUMONIA")


def test_binary_metrics_are_those_of_scikit_learn():
    labels, probabilities = noisy_set(60, 2)
    scores = probabilities[:, 1]
    predicted = (scores >= 0.6).astype(int)
    report = evaluate_classifier(labels, predicted, probabilities, CLASSES, "PNEUMONIA", one_each(60))
    assert report.confusion == metrics.confusion_matrix(labels, predicted).tolist()
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
    assert {key: getattr(report, key).value for key in expected} == pytest.approx(expected)
    for key in (*expected, "ece"):
        assert getattr(report, key).low <= getattr(report, key).value <= getattr(report, key).high, key
        assert getattr(report, key).low < getattr(report, key).high, key
    assert report.sensitivity.n == (labels == 1).sum()
    assert report.ppv.n == (predicted == 1).sum()


def test_tied_scores_count_half_in_the_auroc():
    labels, scores = np.array([0, 0, 1, 1, 1]), np.array([0.2, 0.5, 0.5, 0.5, 0.9])
    probabilities = np.stack([1 - scores, scores], axis=1)
    report = evaluate_classifier(labels, labels, probabilities, CLASSES, "PNEUMONIA", one_each(5))
    assert report.auroc.value == pytest.approx(metrics.roc_auc_score(labels, scores))


def test_the_positive_class_may_come_first():
    labels, probabilities = noisy_set(60, 2)
    predicted = probabilities.argmax(axis=1)
    one = evaluate_classifier(labels, predicted, probabilities, CLASSES, "PNEUMONIA", one_each(60))
    other = evaluate_classifier(
        1 - labels, 1 - predicted, probabilities[:, ::-1], CLASSES[::-1], "PNEUMONIA", one_each(60)
    )
    for key in ("sensitivity", "specificity", "ppv", "npv", "f1", "auroc"):
        assert getattr(one, key) == getattr(other, key)


def test_multi_class_metrics_are_those_of_scikit_learn():
    labels, probabilities = noisy_set(90, 3)
    predicted = probabilities.argmax(axis=1)
    report = evaluate_classifier(labels, predicted, probabilities, "ABC", None, one_each(90))
    assert report.auroc.value == pytest.approx(metrics.roc_auc_score(labels, probabilities, multi_class="ovr"))
    assert report.brier.value == pytest.approx(metrics.brier_score_loss(labels, probabilities))
    recalls = metrics.recall_score(labels, predicted, average=None)
    assert [entry.value for entry in report.sensitivity_by_class.values()] == pytest.approx(list(recalls))
    for i, name in enumerate("ABC"):
        expected = metrics.roc_auc_score(labels == i, probabilities[:, i])
        assert report.auroc_by_class[name].value == pytest.approx(expected)


def test_three_classes_with_a_positive_one_have_both_readings():
    labels, probabilities = noisy_set(90, 3)
    yes = probabilities[:, 2] >= 0.25
    predicted = np.where(yes, 2, probabilities[:, :2].argmax(axis=1))
    report = evaluate_classifier(labels, predicted, probabilities, "ABC", "C", one_each(90))
    several = evaluate_classifier(labels, predicted, probabilities, "ABC", None, one_each(90))
    both = msgspec.to_builtins(report)
    alone = msgspec.to_builtins(several)
    assert {key: both[key] for key in alone} == alone | {"positive": "C"}
    truth = labels == 2
    expected = {
        "sensitivity": metrics.recall_score(truth, yes),
        "specificity": metrics.recall_score(truth, yes, pos_label=False),
        "ppv": metrics.precision_score(truth, yes),
        "npv": metrics.precision_score(truth, yes, pos_label=False),
        "f1": metrics.f1_score(truth, yes),
        "auroc_positive": metrics.roc_auc_score(truth, probabilities[:, 2]),
    }
    assert {key: getattr(report, key).value for key in expected} == pytest.approx(expected)
    assert report.specificity.n == (~truth).sum() and report.ppv.n == yes.sum()
    titles = [title for title, _ in metric_rows(report)]
    assert titles[:3] == ["Sensitivity (C)", "Specificity", "AUROC (C against the rest)"]
    assert {"AUROC, A", "Sensitivity, B", "Accuracy"} < set(titles) and len(titles) == len(set(titles))
    assert "Sensitivity, C" not in titles  # it stands there as the sensitivity


def test_an_image_of_one_other_class_taken_for_another_is_no_false_alarm():
    report = evaluate_classifier([0, 1, 2, 2], [1, 0, 2, 2], np.eye(3)[[1, 0, 2, 2]], "ABC", "C", list("wxyz"))
    assert report.accuracy.value == 0.5
    assert report.specificity.value == report.ppv.value == report.npv.value == 1
    healthy = evaluate_classifier([0, 1], [1, 0], np.eye(3)[[1, 0]], "ABC", "C", list("wx"))
    assert healthy.specificity.value == 1 and healthy.sensitivity is healthy.npv is None


def test_what_a_test_set_of_healthy_people_cannot_tell_is_none():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    report = evaluate_classifier([0, 0, 0], [0, 0, 1], probabilities, CLASSES, "PNEUMONIA", ["a", "b", "c"])
    for key in ("sensitivity", "ppv", "npv", "f1", "auroc", "balanced_accuracy"):
        assert getattr(report, key) is None, key
    assert report.specificity.value == report.accuracy.value == pytest.approx(2 / 3)
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report  # which NaN would not survive
    assert dict(metric_rows(report))["AUROC"] is None
    assert "undefined" in summarize(report) and "nan" not in summarize(report)


def test_a_class_without_test_images_leaves_the_others_their_metrics():
    labels, probabilities = noisy_set(40, 2)
    probabilities = np.column_stack([0.9 * probabilities, np.full(40, 0.1)])
    report = evaluate_classifier(labels, probabilities.argmax(axis=1), probabilities, "ABC", None, one_each(40))
    assert report.auroc is None and report.auroc_by_class["C"] is None
    assert report.sensitivity_by_class["C"] is None
    assert report.auroc_by_class["A"].value > 0.5
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report  # which NaN would not survive


@pytest.mark.parametrize(("k", "positive"), [(2, "PNEUMONIA"), (3, None), (3, "OTHER")])
def test_the_summary_is_a_table_of_all_metrics(k, positive):
    labels, probabilities = noisy_set(40, k)
    classes = (*CLASSES, "OTHER")[:k]
    report = evaluate_classifier(
        labels, probabilities.argmax(axis=1), probabilities, classes, positive, ["a", "b"] * 20
    )
    text = summarize(msgspec.json.decode(msgspec.json.encode(report), type=Report))
    assert text.startswith(f"40 images of 2 patients (2 {classes[0]}, ")
    assert f"{classes[0]}: {np.sum(labels == 0)} images of only 2 patients" in text
    (bounds,) = (line.split("|")[3].strip() for line in text.splitlines() if line.startswith("| Accuracy "))
    right = probabilities.argmax(axis=1) == labels
    assert bounds == report.accuracy.bounds == clustered_proportion(right, ["a", "b"] * 20).bounds
    assert set(text.splitlines()[2].split()) >= {"Metric", "Value", "95", "%", "interval", "n"}
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == len(metric_rows(report)) + 2
    assert len({line.count("|") for line in table}) == 1 and len({len(line) for line in table}) == 1


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


def test_coverage_is_told_in_the_summary():
    labels, probabilities = noisy_set(40, 3)
    report = evaluate_classifier(labels, probabilities.argmax(axis=1), probabilities, "ABC", None, one_each(40))
    sets = prediction_sets(probabilities, conformal_thresholds(labels, probabilities, 0.8))
    text = summarize(structs.replace(report, prediction_sets=measure_coverage(labels, sets, 0.8)))
    assert "Coverage of the 80 % prediction sets" in text and "Coverage, B" in text and "Sets of one class" in text


@pytest.mark.parametrize("seed", range(5))
def test_correlation_and_average_precision_are_those_of_scikit_learn(seed):
    labels, probabilities = noisy_set(40, 3, seed)
    predicted = probabilities.argmax(axis=1)
    assert measure_once(matthews_of(labels, predicted, 3), 40) == pytest.approx(
        metrics.matthews_corrcoef(labels, predicted)
    )
    assert measure_once(matthews_of(labels, np.zeros(40, int), 3), 40) == 0
    assert math.isnan(measure_once(matthews_of(np.zeros(40, int), predicted, 3), 40))
    scores = probabilities[:, 1].round(1)  # with ties
    expected = metrics.average_precision_score(labels == 1, scores)
    assert measure_once(average_precision_of(labels == 1, scores), 40) == pytest.approx(expected)
    assert math.isnan(measure_once(average_precision_of(np.zeros(4, bool), scores[:4]), 4))


def test_a_likelihood_ratio_without_a_false_alarm_has_no_value():
    labels, predicted = np.array([1, 1, 0, 0, 0]), np.array([1, 0, 0, 0, 0])
    probabilities = np.eye(2)[predicted]
    report = evaluate_classifier(labels, predicted, probabilities, CLASSES, "PNEUMONIA", one_each(5))
    assert report.lr_positive is None
    assert report.lr_negative.value == 0.5
    assert math.isfinite(report.lr_negative.low) and math.isfinite(report.lr_negative.high)


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
    (rejections, _), (_, hits) = report.confusion
    positives = int(labels.sum())
    values = predictive_values(hits, positives, rejections, 80 - positives, positives / 80)
    assert [value.value for value in values] == pytest.approx([report.ppv.value, report.npv.value])


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


def test_balanced_accuracy_without_an_error_has_an_interval_and_what_has_none_says_so():
    labels = np.repeat([0, 1], 20)
    report = evaluate_classifier(labels, labels, np.eye(2)[labels], CLASSES, "PNEUMONIA", one_each(40))
    balanced = report.balanced_accuracy
    below = 1 - wilson(20, 20).low
    assert (balanced.value, balanced.high) == (1, 1) and balanced.low == pytest.approx(1 - math.hypot(below, below) / 2)
    assert not report.f1.known and not report.mcc.known
    assert str(dict(metric_rows(report))["F1 score"]) == "1.000 (95 % CI not known, n = 40)"
    assert "1.000 to 1.000" not in summarize(report)
    assert report.auroc.low == pytest.approx(perfect_auroc(20, 20))
