"""How well a model does in each group of the images: by source, view, sex, age and finding."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import compress

from covid_cnn.common.statistics import Interval, clustered_proportion, warn_of_few_patients
from covid_cnn.data.dataset import Item
from covid_cnn.evaluation.binary import BinaryPredictions

FEWEST = 5  # images of a group that is worth a line
AGES = ((0, 17), (18, 39), (40, 59), (60, None))
COLUMNS = ("Images", "Patients", "Sensitivity", "Specificity")


@dataclass(frozen=True)
class Shares:
    """Sensitivity, specificity and perhaps AUROC on some images, None where these cannot tell it, with their name.

    `patients_by_answer` counts the patients of the two answers, yes and no.
    """

    name: str
    images: int
    patients: int
    patients_by_answer: Mapping[str, int]
    sensitivity: Interval | None
    specificity: Interval | None
    auroc: Interval | None = None

    def cells(self) -> tuple[str | int, ...]:
        """What a table shows of it, its first cell the name and the others as in `COLUMNS`."""
        patients = ", ".join(f"{count} {answer}" for answer, count in self.patients_by_answer.items() if count)
        shares = [str(interval) if interval else "" for interval in (self.sensitivity, self.specificity)]
        return self.name, self.images, patients, *shares

    @property
    def cautions(self) -> list[str]:
        """A sentence for each of the two answers that there are too few patients of."""
        sides = zip((self.sensitivity, self.specificity), self.patients_by_answer.items(), strict=True)
        return warn_of_few_patients({f"{self.name}, {answer}": (one.n, count) for one, (answer, count) in sides if one})


def shares_of(name: str, answers: BinaryPredictions) -> Shares:
    """Sensitivity and specificity at the threshold."""
    sides = ((answers.yes, answers.labels), (answers.no, ~answers.labels))
    sensitivity, specificity = (
        clustered_proportion(answers.right[of], list(compress(answers.patients, of))) for _, of in sides
    )
    by_answer = {answer: len(set(compress(answers.patients, of))) for answer, of in sides}
    return Shares(name, len(answers.items), len(set(answers.patients)), by_answer, sensitivity, specificity)


def find_cohorts(answers: BinaryPredictions) -> list[Shares]:
    """A line for each group of at least `FEWEST` images, wherever the metadata part the images in two or more."""
    return [
        line
        for what, group_of in (
            ("Source", lambda item: item.source),
            ("View", lambda item: item.facts.get("view", "")),
            ("Sex", lambda item: item.facts.get("sex", "")),
            ("Age", _age),
            ("Finding", lambda item: item.facts.get("finding", item.label)),
        )
        for line in _groups(answers, what, group_of)
    ]


def _groups(answers: BinaryPredictions, what: str, group_of: Callable[[Item], str]) -> Iterator[Shares]:
    names = [group_of(item) for item in answers.items]
    distinct = sorted(set(names) - {""})
    for name in distinct if len(distinct) > 1 else []:
        group = answers.of([other == name for other in names])
        if len(group.items) >= FEWEST:
            yield shares_of(f"{what}: {name}", group)


def _age(item: Item) -> str:
    try:
        age = float(item.facts.get("age", ""))
    except ValueError:
        return ""
    for low, high in AGES:
        if low <= age and (high is None or age < high + 1):
            return f"{low} and over" if high is None else f"{low} to {high}"
    return ""
