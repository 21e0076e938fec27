"""How a model of the three classes reads the held-out patients of the three collections, group by group."""

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import collections, measure, tables
from covid_cnn.common.errors import CovidCnnError
from covid_cnn.common.statistics import wilson
from covid_cnn.data import classes, dataset
from covid_cnn.data.dataset import Item
from covid_cnn.evaluation import predictions
from covid_cnn.evaluation.predictions import DatasetPredictions
from covid_cnn.models import bundle
from covid_cnn.models.bundle import Bundle

Group = Callable[[Item], bool]


def _all_from(collection: str, label: str) -> Group:
    return lambda i: i.path.name.startswith(collection) and i.label == label and i.source != collections.NOTEBOOK_TEST


def _notebook(finding: str) -> Group:
    return lambda i: i.source == collections.NOTEBOOK_TEST and i.facts.get("finding", "").lower() == finding


NIH_NORMAL, COVID, NOTEBOOK = "Healthy adults (NIH)", "COVID-19 (all sources)", "Notebook's test split"
GROUPS: dict[str, Group] = {
    NIH_NORMAL: _all_from(collections.NIH, classes.NORMAL),
    "Pneumonia or infiltrate (NIH)": _all_from(collections.NIH, classes.OTHER),
    COVID: lambda i: i.label == classes.COVID,
    "Other pneumonia (cases, journals)": _all_from(collections.COHEN, classes.OTHER),
    "Healthy children (Guangzhou)": _all_from(collections.NOTEBOOK, classes.NORMAL),
    f"{NOTEBOOK}: healthy children": _notebook("normal"),
    f"{NOTEBOOK}: COVID-19": _notebook("covid-19"),
    f"{NOTEBOOK}: SARS": _notebook("sars"),
    f"{NOTEBOOK}: Streptococcus": _notebook("streptococcus"),
}


def main(data: str, model: str = bundle.DEFAULT_MODEL) -> None:
    """Print how a model reads the test split of DATA, which ``benchmarks.collections`` made."""
    for found in reports(bundle.load_bundle(model), dataset.open_dataset(data).subset("test")):
        print(tables.markdown(found))


def reports(model: Bundle, items: Sequence[Item]) -> list[dict[str, Any]]:
    """The tables: what each group is read as, and the figures that the model was made for."""
    if set(model.classes) != set(classes.CLASSES):
        raise CovidCnnError(f"Model {model.name} does not know the classes {', '.join(classes.CLASSES)}.")
    answers = predictions.predict_known(model, items)
    return [_figures(model, answers), _groups(model, answers)]


def _groups(model: Bundle, answers: DatasetPredictions) -> dict[str, Any]:
    rows = []
    for title, belongs in GROUPS.items():
        group = answers.of([belongs(item) for item in answers.items])
        if n := len(group.items):
            counts = [int((group.predicted == k).sum()) for k in range(len(model.classes))]
            positive = wilson(counts[model.classes.index(classes.COVID)], n)
            patients = len(set(group.patients))
            rows.append([title, f"{n} ({patients})", *map(str, counts), *tables.percent(positive)])
    return tables.finding(
        "Held-out patients, group by group",
        "No image of these patients was trained or tuned on. The counts say what each group was read as.",
        ["Group", "Images (patients)", *(f"read as {name}" for name in model.classes), "COVID-19", "95 % interval"],
        rows,
    )


def _figures(model: Bundle, answers: DatasetPredictions) -> dict[str, Any]:
    covid, normal = model.classes.index(classes.COVID), model.classes.index(classes.NORMAL)
    healthy = answers.of([GROUPS[NIH_NORMAL](item) for item in answers.items])
    ill = answers.of([GROUPS[COVID](item) for item in answers.items])
    notebook = answers.of([item.source == collections.NOTEBOOK_TEST for item in answers.items])
    specificity = wilson(int((healthy.predicted != covid).sum()), len(healthy.items))
    sensitivity = wilson(int((ill.predicted == covid).sum()), len(ill.items))
    right = wilson(int(((notebook.predicted == normal) == (notebook.labels == normal)).sum()), len(notebook.items))
    called_sick = wilson(int((healthy.predicted != normal).sum()), len(healthy.items))
    rows = [
        ["Healthy adults (NIH) not called COVID-19", *tables.percent(specificity), str(specificity.n), "95 %"],
        ["COVID-19 called COVID-19", *tables.percent(sensitivity), str(sensitivity.n), "90 %"],
        ["Notebook's test split, healthy or not", *tables.percent(right), str(right.n), "95 %"],
        ["Healthy adults (NIH) called sick at all", *tables.percent(called_sick), str(called_sick.n), ""],
    ]
    found = tables.finding(
        "Held-out patients",
        f"COVID-19 is called from a probability of {model.threshold:.3f} on: {model.info['decision']['chosen']}.",
        ["Figure", "Value", "95 % interval", "n", "Goal"],
        rows,
    )
    headline = f"Of {specificity.n} healthy adults of the NIH it calls {sum(healthy.predicted == covid)} COVID-19"
    headline += f" and {sum((healthy.predicted != covid) & (healthy.predicted != normal))} sick with something else."
    return found | {"headline": headline}


if __name__ == "__main__":
    measure.run(main)
