"""The tables of the protocol: what the model does at hospitals that it never saw, at its own, and by which recipe.

A figure comes with its number of images and a 95 % interval over patients. "Never saw" is meant: those figures are of
trainings without the hospital, with the thresholds of the bundle, which other hospitals have set.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks import tables
from benchmarks.default_model.calibration import Calibration
from benchmarks.default_model.hospitals import ASIDE, CLASSES, MONTGOMERY, NIH, NOTEBOOK, SPAIN
from benchmarks.default_model.protocol import EXTERNAL, HEALTHY, SOURCES, Images
from covid_cnn.common import statistics
from covid_cnn.common.statistics import Interval, auroc_interval, clustered_proportion
from covid_cnn.data.classes import COVID, NORMAL, OTHER
from covid_cnn.evaluation import predictions
from covid_cnn.evaluation.calibration import calibration_error_of
from covid_cnn.models import bundle
from covid_cnn.models.bundle import Bundle

COVID_AT, NORMAL_AT, OTHER_AT = (CLASSES.index(name) for name in (COVID, NORMAL, OTHER))
Said = Mapping[str, np.ndarray]  # the logits ``[N, 3]`` of each trial for all images
AT_ANOTHER = "At hospitals that it never saw"


def external(images: Images, said: Said, calibration: Calibration) -> dict[str, Any]:
    """Healthy people of Montgomery and COVID-19 of ChestImaging, by the trainings that saw neither."""
    healthy, ill = images.healthy(MONTGOMERY), _of(images, SPAIN)
    tuberculosis = (images.collections == MONTGOMERY) & ~healthy
    clear = (images.collections == SPAIN) & (images.splits == ASIDE)
    rows, values = [], []
    for trial in EXTERNAL:
        told = calibration.probabilities(said[trial.name])
        answer = calibration.decided(told)
        found = {
            "healthy called COVID-19": _share(images, healthy, answer == COVID_AT),
            "healthy called sick": _share(images, healthy, answer != NORMAL_AT),
            "COVID-19 called COVID-19": _share(images, ill, answer == COVID_AT),
            "COVID-19 called sick": _share(images, ill, answer != NORMAL_AT),
            "AUROC, healthy against COVID-19": _auroc(images, healthy | ill, ill, told[:, COVID_AT]),
            "AUROC, healthy against COVID-19, by being ill": _auroc(images, healthy | ill, ill, 1 - told[:, NORMAL_AT]),
            "tuberculosis called COVID-19": _share(images, tuberculosis, answer == COVID_AT),
            "tuberculosis called sick": _share(images, tuberculosis, answer != NORMAL_AT),
            "AUROC, healthy against tuberculosis, by being ill": _auroc(
                images, healthy | tuberculosis, tuberculosis, 1 - told[:, NORMAL_AT]
            ),
            "COVID-19 with a clear film called COVID-19": _share(images, clear, answer == COVID_AT),
        }
        values.append(found)
    for name in values[0]:
        each = [found[name] for found in values]
        rows.append([name, str(each[0].n), *[f"{one.value:.3f}" for one in each], *_mean(each), each[0].bounds])
    columns = ["Figure", "n", *(f"seed {trial.seed}" for trial in EXTERNAL), "mean", "spread", "95 % interval, seed 0"]
    section = tables.finding(
        f"{AT_ANOTHER}: healthy people of Montgomery County, COVID-19 of one Spanish hospital",
        "Trainings without both hospitals, of several seeds, at the threshold of the bundle. Three recipes were "
        "compared by the areas under the curve and the counts of this table, among others. The threshold, the "
        "temperature, the prior of the classes and the sets are fitted to images of other hospitals; but which of "
        "those to take, and the prior, were decided after a look at this table too, so it flatters.",
        columns,
        rows,
    )
    first = [values[0][name] for name in list(values[0])[:3]]
    alarms, sick, caught = (round(one.value * one.n) for one in first)
    headline = (
        f"At hospitals that it never saw it calls {sick} of {healthy.sum()} healthy adults sick, {alarms} of them with "
        f"COVID-19, and finds {caught} of {ill.sum()} images of COVID-19."
    )
    return section | {"headline": headline}


def left_out(images: Images, said: Said, calibration: Calibration) -> list[dict[str, Any]]:
    """The healthy of a collection without them, and COVID-19 against other pneumonia on a source that was left out."""
    rows = []
    for source, trial in SOURCES.items():
        chosen = (images.sources == source) & (images.labels != NORMAL_AT) & (images.splits != ASIDE)
        logits = said[trial.name]
        area = _auroc(images, chosen, images.labels == COVID_AT, logits[:, COVID_AT] - logits[:, OTHER_AT])
        counts = [str(int((images.labels[chosen] == k).sum())) for k in (COVID_AT, OTHER_AT)]
        rows.append([source, *counts, *tables.number(area)])
    first = tables.finding(
        f"{AT_ANOTHER}: COVID-19 against other pneumonia on a source left out",
        "AUROC of COVID-19 against other pneumonia, by a training that saw no image of the source nor of its patients; "
        "0.5 is chance. A source that holds both kinds gives no answer away by being recognised.",
        ["Left out", "COVID-19", "Other", "AUROC", "95 % interval"],
        rows,
    )
    rows, sentences = [], []
    for name, trial in HEALTHY.items():
        chosen = images.healthy(name)
        answer = calibration.decided(calibration.probabilities(said[trial.name]))
        alarms = clustered_proportion((answer == COVID_AT)[chosen], images.patients[chosen].tolist())
        sick = clustered_proportion((answer != NORMAL_AT)[chosen], images.patients[chosen].tolist())
        rows.append([_WHO[name], str(int(chosen.sum())), *tables.percent(alarms), *tables.percent(sick)])
        sentences.append(
            f"A training that never saw {chosen.sum()} {_WHO[name][0].lower()}{_WHO[name][1:]}, but the ill of the "
            f"same collection, calls {(answer != NORMAL_AT)[chosen].sum()} of them sick, "
            f"{(answer == COVID_AT)[chosen].sum()} with COVID-19."
        )
    second = tables.finding(
        f"{AT_ANOTHER}: the healthy of a collection left out",
        "A training without these healthy people, but with the ill of the same collection where it has any: whoever "
        "knows the collection by its looks must call all of them ill.",
        ["Left out", "n", "called COVID-19", "95 % interval", "called sick", "95 % interval"],
        rows,
    )
    return [second | {"headline": sentences[0]}, first]


_WHO = {NIH: "Healthy adults (NIH)", NOTEBOOK: "Healthy children (Guangzhou)"}


def trust(images: Images, said: Said, model: Bundle, calibration: Calibration) -> dict[str, Any]:
    """Calibration and prediction sets where the network is at home, and where it is not."""
    away = calibration.probabilities(said[EXTERNAL[0].name])
    known = images.splits == "test"
    home = np.full_like(away, np.nan)
    home[known] = predictions.predict_known(model, images.of_split("test")).probabilities
    groups = {
        "held-out patients of its hospitals": (home, known),
        "Montgomery: healthy": (away, images.healthy(MONTGOMERY)),
        "ChestImaging: COVID-19": (away, _of(images, SPAIN)),
        "Montgomery's healthy and ChestImaging": (away, images.healthy(MONTGOMERY) | _of(images, SPAIN)),
    }
    rows = []
    for name, (probabilities, chosen) in groups.items():
        labels, told = images.labels[chosen], probabilities[chosen]
        patients = images.patients[chosen].tolist()
        error = statistics.bootstrap(calibration_error_of(labels, told), patients)
        sets = bundle.prediction_sets(told, calibration.sets)
        covered = clustered_proportion(sets[np.arange(len(labels)), labels], patients)
        size = f"{sets.sum(axis=1).mean():.2f}"
        rows.append([name, str(len(labels)), *tables.number(error), *tables.percent(covered), size])
    return tables.finding(
        "How far its probabilities hold",
        "Expected calibration error, and how often the true class is in the prediction set, which aims at 90 %. The "
        "rows of Montgomery and ChestImaging are of a training that saw neither hospital.",
        ["Images", "n", "Calibration error", "95 % interval", "In the set", "95 % interval", "Classes a set"],
        rows,
    )


def _of(images: Images, collection: str) -> np.ndarray:
    return (images.collections == collection) & (images.splits != ASIDE)


def _share(images: Images, chosen: np.ndarray, right: np.ndarray) -> Interval:
    found = clustered_proportion(right[chosen], images.patients[chosen].tolist())
    return found or statistics.wilson(int(right[chosen].sum()), int(chosen.sum()))


def _auroc(images: Images, chosen: np.ndarray, positive: np.ndarray, scores: np.ndarray) -> Interval:
    found = auroc_interval(positive[chosen], scores[chosen], images.patients[chosen].tolist())
    assert found is not None
    return found


def _mean(each: Sequence[Interval]) -> list[str]:
    values = [one.value for one in each]
    return [f"{np.mean(values):.3f}", f"{min(values):.3f} to {max(values):.3f}"]
