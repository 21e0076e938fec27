"""Paired and unpaired tests against statsmodels, and against DeLong's formulas as they stand in the paper."""

import numpy as np
import pytest
from sklearn import metrics
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import confint_proportions_2indep

from covid_cnn.common.differences import paired_auroc, paired_share, unpaired_auroc, unpaired_share
from covid_cnn.common.statistics import auroc_of, bootstrap, perfect_auroc


def rivals(n: int = 80, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels and the scores of two classifiers that agree in part, with ties."""
    generator = np.random.default_rng(seed)
    labels = generator.random(n) < 0.4
    common = generator.normal(size=n) + labels
    return labels, (common + generator.normal(size=n)).round(1), (common + 0.5 * generator.normal(size=n)).round(1)


def one_each(n: int) -> list[str]:
    return [str(i) for i in range(n)]


def as_in_the_paper(labels: np.ndarray, *scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """DeLong, DeLong and Clarke-Pearson (1988), equations 2 to 6, pair by pair."""
    v10, v01 = [], []
    for score in scores:
        x, y = score[labels], score[~labels]
        psi = np.array([[1.0 if a > b else 0.5 if a == b else 0.0 for b in y] for a in x])
        v10.append(psi.mean(axis=1))
        v01.append(psi.mean(axis=0))
    m, n = labels.sum(), (~labels).sum()
    v10, v01 = np.array(v10), np.array(v01)
    theta = v10.mean(axis=1)
    s10 = (v10 - theta[:, None]) @ (v10 - theta[:, None]).T / (m - 1)
    s01 = (v01 - theta[:, None]) @ (v01 - theta[:, None]).T / (n - 1)
    return theta, s10 / m + s01 / n


@pytest.mark.parametrize("seed", range(4))
def test_delong_is_that_of_the_paper(seed):
    labels, first, second = rivals(seed=seed)
    theta, covariance = as_in_the_paper(labels, first, second)
    found = paired_auroc(labels, first, second)
    assert theta == pytest.approx([metrics.roc_auc_score(labels, one) for one in (first, second)])
    assert found.interval.value == pytest.approx(theta[0] - theta[1])
    error = np.sqrt(np.array([1, -1]) @ covariance @ np.array([1, -1]))
    assert found.interval.high - found.interval.value == pytest.approx(1.959964 * error, rel=1e-5)
    apart = unpaired_auroc(labels, first, labels, second)
    assert apart.interval.high - apart.interval.value == pytest.approx(
        1.959964 * np.sqrt(np.trace(covariance)), rel=1e-5
    )


def test_delong_agrees_with_the_bootstrap():
    labels, first, second = rivals(300)
    delong = paired_auroc(labels, first, second).interval
    one, other = auroc_of(labels, first), auroc_of(labels, second)
    bootstrapped = bootstrap(lambda weights: one(weights) - other(weights), one_each(300))
    assert delong.value == pytest.approx(bootstrapped.value)
    assert (delong.low, delong.high) == pytest.approx((bootstrapped.low, bootstrapped.high), abs=0.02)


def test_delong_finds_a_difference_about_as_often_by_chance_as_it_says():
    found = [paired_auroc(*_equals(seed)).p < 0.05 for seed in range(300)]
    assert 0.02 <= np.mean(found) <= 0.09


def _equals(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = np.arange(100) < 40
    common = generator.normal(size=100) + labels
    return labels, common + generator.normal(size=100), common + generator.normal(size=100)


def test_delong_where_there_is_nothing_to_tell():
    labels, first, _ = rivals()
    same = paired_auroc(labels, first, first)
    assert (same.interval.value, same.p) == (0, 1)
    assert paired_auroc(np.arange(80) < 1, first, first) is None
    assert unpaired_auroc(labels, first, np.zeros(3, bool), np.zeros(3)) is None


@pytest.mark.parametrize("seed", range(4))
def test_mcnemar_is_that_of_statsmodels(seed):
    generator = np.random.default_rng(seed)
    first, second = generator.random(60) < 0.8, generator.random(60) < 0.6
    table = [[(first & second).sum(), (first & ~second).sum()], [(~first & second).sum(), (~first & ~second).sum()]]
    found = paired_share(first, second, one_each(60))
    assert found.p == pytest.approx(mcnemar(table, exact=True).pvalue)
    assert found.interval.value == pytest.approx(first.mean() - second.mean())
    assert found.interval.low < found.interval.value < found.interval.high


def test_mcnemar_of_equal_answers_and_of_none():
    right = np.array([True, False, True])
    assert paired_share(right, right, one_each(3)).p == 1
    with pytest.raises(ValueError, match="no image"):
        paired_share(np.array([], bool), np.array([], bool), [])


@pytest.mark.parametrize(("first", "second"), [((19, 20), (59, 500)), ((0, 10), (10, 10)), ((56, 70), (48, 80))])
def test_independent_shares_have_the_interval_of_statsmodels(first, second):
    found = unpaired_share(first, second)
    expected = confint_proportions_2indep(*first, *second, method="newcomb", compare="diff")
    assert (found.interval.low, found.interval.high) == pytest.approx(expected, abs=1e-9)
    assert found.interval.low <= found.interval.value <= found.interval.high


def test_newcombes_published_interval():
    # Newcombe (1998), Statistics in Medicine 17:873, table II, example (a), method 10.
    interval = unpaired_share((56, 70), (48, 80)).interval
    assert (interval.value, interval.low, interval.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


def test_a_difference_reads_well():
    assert str(unpaired_share((56, 70), (48, 80))) == "+0.200 (95 % CI +0.052 to +0.334, p = 0.013, n = 150)"


def test_who_is_right_on_the_same_images_may_still_differ():
    right = np.arange(40) < 30
    found = paired_share(right, right, [str(i) for i in range(40)])
    half = 1.959964**2 / (40 + 1.959964**2)
    assert (found.interval.value, found.p) == (0, 1) and "Tango" in found.method
    assert (found.interval.low, found.interval.high) == pytest.approx((-half, half), rel=1e-5)
    few = paired_share(right, right, [str(i // 10) for i in range(40)])
    assert few.interval.high > 0.4, "four patients tell little"


def test_two_perfect_aurocs_may_still_differ():
    labels = np.arange(40) < 20
    found = paired_auroc(labels, labels + 0.0, 2.0 * labels)
    width = 1 - perfect_auroc(20, 20)
    assert (found.interval.low, found.interval.high) == pytest.approx((-width, width)) and found.p == 1
    away = unpaired_auroc(labels, labels + 0.0, labels, np.random.default_rng(0).random(40) + 0.5 * labels)
    assert away.interval.low < away.interval.value < away.interval.high and "Newcombe" in away.method
    same = paired_auroc(labels, np.arange(40) % 7, np.arange(40) % 7)
    assert "not known" in str(same)
