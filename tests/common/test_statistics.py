import math

import msgspec
import numpy as np
import pytest
from classifiers import noisy_set, one_each
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from covid_cnn.common.statistics import (
    Interval,
    auroc,
    auroc_interval,
    auroc_of,
    bootstrap,
    clustered_proportion,
    mean_of,
    measure_once,
    perfect_auroc,
    resample_patients,
    warn_of_few_patients,
    wilson,
)
from covid_cnn.evaluation.metrics import (
    matthews_of,
)


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
    assert msgspec.json.decode(msgspec.json.encode(interval), type=Interval) == interval


def test_bootstrap_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(1)
    covered = 0
    for trial in range(100):
        scores = generator.normal(size=50)
        interval = bootstrap(mean_of(scores), one_each(50), seed=trial, repeats=200)
        covered += interval.low <= 0 <= interval.high
    assert 86 <= covered <= 100


def test_bootstrap_resamples_patients_and_not_images():
    scores = np.repeat(np.random.default_rng(2).normal(size=20), 10)
    images = bootstrap(mean_of(scores), one_each(200))
    patients = bootstrap(mean_of(scores), np.repeat(one_each(20), 10))
    # Ten equal images a patient hold the information of one: the interval is about sqrt(10) times as wide.
    assert 2.4 < (patients.high - patients.low) / (images.high - images.low) < 4


def test_the_interval_of_the_bootstrap_is_that_of_scipy():
    labels, probabilities = noisy_set(120, 2)
    scores = probabilities[:, 1]
    found = bootstrap(auroc_of(labels == 1, scores), one_each(120), repeats=3000)
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
    assert measure_once(matthews_of(labels, predicted, 2), 60) == pytest.approx(
        stats.pearsonr(labels, predicted).statistic
    )


def test_bootstrap_is_reproducible_and_skips_undefined_resamples():
    labels = np.array([True, False, False])

    def share_where_a_positive_is(weights):
        return np.where(weights[:, 0] > 0, mean_of(np.array([0.2, 0.4, 0.9]))(weights), np.nan)

    first, second = (bootstrap(share_where_a_positive_is, list("abc")) for _ in range(2))
    assert first == second
    assert not math.isnan(first.low) and not math.isnan(first.high)
    assert bootstrap(auroc_of(~labels & labels, np.arange(3.0)), list("abc")) is None


def test_resamples_are_of_whole_patients_and_as_many_as_there_are():
    weights = np.concatenate(list(resample_patients(["a", "b", "a", "c"], repeats=300)))
    assert weights.shape == (300, 4) and (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all() and weights.mean() == pytest.approx(1, abs=0.1)


def test_an_interval_without_width_counts_as_not_known():
    sure = Interval(1.0, 1.0, 1.0, 12)
    assert str(sure) == "1.000 (95 % CI not known, n = 12)"
    assert msgspec.to_builtins(sure) == {"value": 1.0, "low": None, "high": None, "n": 12}
    assert msgspec.json.decode(msgspec.json.encode(sure), type=Interval) == sure
    assert (sure.low, sure.high) == (1, 1)
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
