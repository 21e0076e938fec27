"""Models on the same images by paired tests, images of several hospitals by unpaired ones, and groups of images."""

from pathlib import Path

import numpy as np
import pytest

from covid_cnn.common import differences
from covid_cnn.common.statistics import wilson
from covid_cnn.data import synthetic
from covid_cnn.data.dataset import Dataset, Item
from covid_cnn.evaluation import cohorts
from covid_cnn.evaluation.binary import BinaryPredictions
from covid_cnn.evaluation.external import compare_hospitals, compare_models, is_external, summary_row, summary_tables


def items(place: str, count: int, **facts: str) -> list[Item]:
    return [Item(Path(place, str(i)), "", "", f"{place} {i // 2}", place, dict(facts)) for i in range(count)]


def verdicts(place: str, labels: list[int], scores: list[float], **facts: str) -> BinaryPredictions:
    of = items(place, len(labels), **facts)
    flagged = np.zeros(len(labels), bool)
    return BinaryPredictions("ill", "healthy", of, np.array(labels, bool), np.array(scores), 0.5, flagged, [])


LABELS = [1, 1, 1, 1, 0, 0, 0, 0]
GOOD = verdicts("home", LABELS, [0.9, 0.8, 0.7, 0.6, 0.1, 0.2, 0.3, 0.4])
POOR = verdicts("home", LABELS, [0.9, 0.05, 0.7, 0.15, 0.8, 0.6, 0.3, 0.9])
AWAY = verdicts("away", LABELS, [0.9, 0.8, 0.7, 0.6, 0.8, 0.9, 0.7, 0.4])


def test_rivals_are_compared_on_the_same_images():
    lines = list(compare_models({("good", "home"): GOOD, ("poor", "home"): POOR}))
    assert [line.metric for line in lines] == ["Accuracy", "Sensitivity", "Specificity", "AUROC"]
    assert {line.what for line in lines} == {"home: good - poor"}
    accuracy = differences.paired_share(GOOD.right, POOR.right, GOOD.patients)
    assert lines[0].difference == accuracy and accuracy.interval.value == pytest.approx(5 / 8)
    assert lines[3].difference == differences.paired_auroc(GOOD.labels, GOOD.scores, POOR.scores)


def test_rivals_are_compared_on_what_both_have_answered():
    part = POOR.of([True, True, False, True, True, True, True, False])
    lines = list(compare_models({("good", "home"): GOOD, ("poor", "home"): part}))
    assert lines[0].difference.interval.n == 6
    assert list(compare_models({("good", "home"): GOOD, ("poor", "home"): POOR.of([False] * 8)})) == []


def test_one_model_at_home_is_compared_with_itself_away():
    lines = list(compare_hospitals({("good", "home"): GOOD, ("good", "away"): AWAY}))
    assert [line.metric for line in lines] == ["Sensitivity", "Specificity", "AUROC"]
    assert lines[1].difference == differences.unpaired_share((4, 4), (1, 4))
    assert list(compare_hospitals({("good", "home"): GOOD, ("good", "a part"): GOOD.of([True] * 7 + [False])})) == []


def test_another_hospital_has_healthy_people_and_no_source_in_common():
    def dataset(name: str, source: str, *labels: str) -> Dataset:
        of = tuple(Item(Path(name, str(i)), "", label, str(i), source) for i, label in enumerate(labels))
        return Dataset(name, Path(name), of, synthetic=source.startswith("drawn"))

    home = dataset("home", "Kermany", "NORMAL", "PNEUMONIA")
    same = dataset("again", "Kermany", "NORMAL", "NORMAL", "NORMAL")
    ill = dataset("ill", "elsewhere", "PNEUMONIA")
    few, many = dataset("few", "there", "healthy"), dataset("many", "nih", "No_findings", "No_findings")
    drawn = dataset("drawn", "drawn", *["NORMAL"] * 9)
    assert is_external(home, [same, ill, few, many, drawn]) is many
    assert is_external(home, [same, ill, drawn]) is None
    assert is_external(home, []) is None
    elsewhere = dataset(synthetic.ELSEWHERE, "drawn elsewhere", "NORMAL")
    assert is_external(home, [elsewhere]) is None
    practice = dataset("practice", "drawn here", "NORMAL", "PNEUMONIA")
    assert is_external(practice, [drawn, elsewhere]) is elsewhere


def test_subgroups_part_the_images_by_what_the_metadata_tell():
    facts = [{"sex": "FM"[i % 2], "age": str(20 * (i % 3)), "view": "PA"} for i in range(24)]
    of = [Item(Path(str(i)), "", "ill", str(i), "one", one) for i, one in enumerate(facts)]
    labels, scores = np.arange(24) < 12, np.where(np.arange(24) % 2, 0.9, 0.1)
    told = {
        line.name: line
        for line in cohorts.find_cohorts(
            BinaryPredictions("ill", "healthy", of, labels, scores, 0.5, np.zeros(24, bool), [])
        )
    }
    # All are of one source and view, and there is nothing to part by.
    assert list(told) == ["Sex: F", "Sex: M", "Age: 0 to 17", "Age: 18 to 39", "Age: 40 to 59"]
    assert (told["Sex: F"].images, told["Sex: F"].patients) == (12, 12)
    assert told["Sex: F"].sensitivity == wilson(0, 6) and told["Sex: F"].specificity == wilson(6, 6)
    assert told["Sex: M"].sensitivity == wilson(6, 6) and told["Sex: M"].specificity == wilson(0, 6)


@pytest.mark.parametrize(
    ("age", "group"),
    [("17.9", "0 to 17"), ("18", "18 to 39"), ("60", "60 and over"), ("-1", ""), ("unknown", ""), ("nan", "")],
)
def test_ages_fall_into_their_group(age, group):
    assert cohorts._age(Item(Path("x"), "", "", "", "", {"age": age})) == group


def test_a_group_without_ill_people_has_no_sensitivity():
    line = cohorts.shares_of("healthy", GOOD.of(~GOOD.labels))
    assert line.sensitivity is None and line.specificity.n == 4
    assert line.specificity.low == wilson(2, 2).low  # of two patients
    assert line.cells() == ("healthy", 4, "2 healthy", "", str(line.specificity))
    assert (
        line.cautions == [one for one in line.cautions if one.startswith("healthy, healthy: 4 images of only 2")] != []
    )


def test_the_worst_errors_come_first():
    # Of the misses and the false alarms, the one that the model was surest of.
    assert POOR.worst().tolist() == [1, 7, 3, 4, 5]
    assert GOOD.worst().tolist() == []


def test_a_row_says_what_the_model_had_seen_of_the_images():
    def name(known, left_out=False):
        return summary_row("good", "home", GOOD, known, left_out).name

    assert name([]) == "good on home"
    assert name([], left_out=True) == "good on home (8 it never saw)"
    assert name(["x"]) == "good on home (has learned from them)"
    assert name(None) == "good on home (may have learned from some)"
    alone = summary_row("good", "ill", GOOD.of(GOOD.labels), [], False)
    assert summary_tables([alone], [])["Models and images"][1][-1] == "", "no curve without healthy people"
