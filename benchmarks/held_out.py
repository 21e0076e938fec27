"""How a model of the three classes reads the held-out patients of its own collections, group by group."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks import tables
from benchmarks.default_model import hospitals
from covid_cnn.common.errors import CovidCnnError
from covid_cnn.common.statistics import Interval, clustered_proportion
from covid_cnn.data.classes import COVID, NORMAL, OTHER
from covid_cnn.data.dataset import Item
from covid_cnn.evaluation import predictions
from covid_cnn.evaluation.predictions import DatasetPredictions
from covid_cnn.models.bundle import Bundle

Group = Callable[[Item], bool]


def _all_from(collection: str, label: str) -> Group:
    return lambda i: hospitals.collection(i) == collection and i.label == label and i.source != hospitals.NOTEBOOK_TEST


def _notebook(finding: str) -> Group:
    return lambda i: i.source == hospitals.NOTEBOOK_TEST and i.facts.get("finding", "").lower() == finding


NIH_NORMAL, ALL_COVID, NOTEBOOK = "Healthy adults (NIH)", "COVID-19 (all sources)", "Notebook's test split"
GROUPS: dict[str, Group] = {
    NIH_NORMAL: _all_from(hospitals.NIH, NORMAL),
    "Pneumonia or infiltrate (NIH)": _all_from(hospitals.NIH, OTHER),
    ALL_COVID: lambda i: i.label == COVID,
    "Other pneumonia (cases, journals)": _all_from(hospitals.COHEN, OTHER),
    "Healthy children (Guangzhou)": _all_from(hospitals.NOTEBOOK, NORMAL),
    f"{NOTEBOOK}: healthy children": _notebook("normal"),
    f"{NOTEBOOK}: COVID-19": _notebook("covid-19"),
    f"{NOTEBOOK}: SARS": _notebook("sars"),
    f"{NOTEBOOK}: Streptococcus": _notebook("streptococcus"),
}


def reports(model: Bundle, items: Sequence[Item]) -> list[dict[str, Any]]:
    """The tables: what each group is read as, and the figures that the model was made for."""
    if set(model.classes) != set(hospitals.CLASSES):
        raise CovidCnnError(f"Model {model.name} does not know the classes {', '.join(hospitals.CLASSES)}.")
    answers = predictions.predict_known(model, items)
    return [_figures(model, answers), _groups(model, answers)]


def _groups(model: Bundle, answers: DatasetPredictions) -> dict[str, Any]:
    rows = []
    for title, belongs in GROUPS.items():
        group = answers.of([belongs(item) for item in answers.items])
        if n := len(group.items):
            counts = [int((group.predicted == k).sum()) for k in range(len(model.classes))]
            positive = _share(group, group.predicted == model.classes.index(COVID))
            patients = len(set(group.patients))
            rows.append([title, f"{n} ({patients})", *map(str, counts), *tables.percent(positive)])
    return tables.finding(
        "Held-out patients, group by group",
        "No image of these patients was trained or tuned on. The counts say what each group was read as.",
        ["Group", "Images (patients)", *(f"read as {name}" for name in model.classes), "COVID-19", "95 % interval"],
        rows,
    )


def _figures(model: Bundle, answers: DatasetPredictions) -> dict[str, Any]:
    covid, normal = model.classes.index(COVID), model.classes.index(NORMAL)
    healthy = answers.of([GROUPS[NIH_NORMAL](item) for item in answers.items])
    ill = answers.of([GROUPS[ALL_COVID](item) for item in answers.items])
    notebook = answers.of([item.source == hospitals.NOTEBOOK_TEST for item in answers.items])
    alarms = _share(healthy, healthy.predicted == covid)
    called_sick = _share(healthy, healthy.predicted != normal)
    sensitivity = _share(ill, ill.predicted == covid)
    right = _share(notebook, (notebook.predicted == normal) == (notebook.labels == normal))
    rows = [
        ["Healthy adults (NIH) called COVID-19", *tables.percent(alarms), str(alarms.n), "at most 3 %"],
        ["Healthy adults (NIH) called sick at all", *tables.percent(called_sick), str(called_sick.n), "at most 15 %"],
        ["COVID-19 called COVID-19", *tables.percent(sensitivity), str(sensitivity.n), "at least 90 %"],
        ["Notebook's test split, healthy or not", *tables.percent(right), str(right.n), "at least 97.5 %"],
    ]
    found = tables.finding(
        "Held-out patients",
        f"COVID-19 is called from a probability of {model.threshold:.3f} on: {model.info.decision.chosen}.",
        ["Figure", "Value", "95 % interval", "n", "Goal"],
        rows,
    )
    headline = f"Of {alarms.n} held-out healthy adults of the NIH it calls {sum(healthy.predicted == covid)} COVID-19"
    headline += f" and {sum((healthy.predicted != covid) & (healthy.predicted != normal))} sick with something else."
    return found | {"headline": headline}


def _share(answers: DatasetPredictions, right: np.ndarray) -> Interval:
    found = clustered_proportion(right, answers.patients)
    assert found is not None
    return found
