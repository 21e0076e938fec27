"""Several models on the same images, and one model on several: what differs, and by how much."""

from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from covid_cnn.common import differences, statistics
from covid_cnn.common.differences import Difference
from covid_cnn.data import synthetic
from covid_cnn.data.classes import matching_class
from covid_cnn.data.dataset import Dataset
from covid_cnn.evaluation import binary, cohorts
from covid_cnn.evaluation.binary import BinaryPredictions
from covid_cnn.evaluation.cohorts import Shares

ModelsOnDatasets = Mapping[tuple[str, str], BinaryPredictions]  # by the names of the model and of the images
COLUMNS = ("Model and images", *cohorts.COLUMNS, "AUROC")
DIFFERENCES = ("What", "Metric", "Difference", "Method")


class DifferenceRow(NamedTuple):
    """A difference: what minus what, in which metric, and how much."""

    what: str
    metric: str
    difference: Difference

    def cells(self) -> tuple[str, ...]:
        """What a table shows of it, under `DIFFERENCES`."""
        return self.what, self.metric, str(self.difference), self.difference.method

    def to_dict(self) -> dict[str, Any]:
        """The line for JSON."""
        one = self.difference
        return {"what": self.what, "metric": self.metric, "difference": one.interval, "p": one.p, "method": one.method}


def summary_row(model: str, where: str, verdicts: BinaryPredictions, known: Sized | None, left_out: bool) -> Shares:
    """How well a model did on some images; the row's name says what of them the model had learned from.

    These are the ``known``, None where that cannot be told; more were ``left_out``, and are not among the verdicts.
    """
    if known is None:
        aside = " (may have learned from some)"
    elif len(known):
        aside = " (has learned from them)"
    else:
        aside = f" ({len(verdicts.items)} it never saw)" if left_out else ""
    auroc = statistics.auroc_interval(verdicts.labels, verdicts.scores, verdicts.patients)
    return replace(cohorts.shares_of(f"{model} on {where}{aside}", verdicts), auroc=auroc)


def summary_tables(rows: Sequence[Shares], differences: Sequence[DifferenceRow]) -> dict[str, list[tuple[object, ...]]]:
    """The rows, and the differences where there are any, as tables by their titles, the head of each first."""
    tables: dict[str, list[tuple[object, ...]]] = {
        "Models and images": [COLUMNS, *((*row.cells(), str(row.auroc or "")) for row in rows)]
    }
    if differences:
        tables["Differences"] = [DIFFERENCES, *(line.cells() for line in differences)]
    return tables


def compare_all(by_pair: ModelsOnDatasets) -> list[DifferenceRow]:
    """All differences between models on the same images, and of models between images."""
    return [*compare_models(by_pair), *compare_hospitals(by_pair)]


def is_external(home: Dataset, others: Sequence[Dataset]) -> Dataset | None:
    """The dataset that says most about false alarms away from home: with no source in common, and most healthy people.

    None where no dataset has healthy people and only other sources. What is drawn counts only for a drawn home, as the
    other hospital that `data.synthetic` draws.
    """
    sources = {item.source for item in home.items}

    def healthy(one: Dataset) -> int:
        return sum(matching_class(item.label, ["normal"]) is not None for item in one.items)

    apart = [
        one
        for one in others
        if (not one.synthetic or (home.synthetic and one.name == synthetic.ELSEWHERE))
        and sources.isdisjoint(item.source for item in one.items)
    ]
    best = max(apart, key=healthy, default=None)
    return best if best and healthy(best) else None


def compare_models(by_pair: ModelsOnDatasets) -> Iterator[DifferenceRow]:
    """Each model against the first on the same images, by paired tests, on the images that both have answered."""
    for where in dict.fromkeys(where for _, where in by_pair):
        (first, one), *others = [(name, answers) for (name, place), answers in by_pair.items() if place == where]
        for second, other in others:
            common = {item.path for item in one.items} & {item.path for item in other.items}
            a, b = (answers.of([item.path in common for item in answers.items]) for answers in (one, other))
            what = f"{where}: {first} - {second}"
            for metric, chosen in (
                ("Accuracy", np.ones(len(a.labels), bool)),
                ("Sensitivity", a.labels),
                ("Specificity", ~a.labels),
            ):
                if chosen.any():
                    difference = differences.paired_share(a.right[chosen], b.right[chosen], a.of(chosen).patients)
                    yield from _line(what, metric, difference)
            yield from _line(what, "AUROC", differences.paired_auroc(a.labels, a.scores, b.scores))


def compare_hospitals(by_pair: ModelsOnDatasets) -> Iterator[DifferenceRow]:
    """Each model on the first images against the same on others that share none, by unpaired tests."""
    for name in dict.fromkeys(name for name, _ in by_pair):
        (home, one), *others = [(where, answers) for (model, where), answers in by_pair.items() if model == name]
        for away, other in others:
            if {item.path for item in one.items} & {item.path for item in other.items}:
                continue  # a part and its whole are not independent
            what = f"{name}: {home} - {away}"
            a, b = binary.count_outcomes(one), binary.count_outcomes(other)
            for metric, right, wrong in (
                ("Sensitivity", "hits", "misses"),
                ("Specificity", "rejections", "false_alarms"),
            ):
                (k, n), (j, m) = ((of[right], of[right] + of[wrong]) for of in (a, b))
                if n and m:
                    yield from _line(what, metric, differences.unpaired_share((k, n), (j, m)))
            difference = differences.unpaired_auroc(one.labels, one.scores, other.labels, other.scores)
            yield from _line(what, "AUROC", difference)


def _line(what: str, metric: str, difference: Difference | None) -> Iterator[DifferenceRow]:
    if difference:
        yield DifferenceRow(what, metric, difference)
