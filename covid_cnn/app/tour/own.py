"""The slides about a visitor's own images and model, of which nothing can be made beforehand.

The images are looked at in the background, in the same way as on the Dataset page and with the same result: what was
looked at there is here at once.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import streamlit as st

from covid_cnn.app.dataset import audit, overview
from covid_cnn.app.shared import library
from covid_cnn.app.tour.slides import OLDER, Slide, describe_bar, describe_picture
from covid_cnn.common.jobs import Job
from covid_cnn.data.dataset import Dataset
from covid_cnn.data.overview import colour_scale, difference_image, warn_of_few_images
from covid_cnn.models import bundle
from covid_cnn.models.info import ModelInfo
from covid_cnn.reports import card

SHIPPED = {*OLDER, bundle.DEFAULT_MODEL}
SHORTCUTS = 4  # that are told, the most telling
WAITING = "Your images are being looked at: the line at the top tells how far. This slide fills itself in."


def _dataset() -> Dataset | None:
    """A dataset of one's own: the one that the Dataset page shows, or the first that the program did not draw."""
    own = [dataset for dataset in library.all_datasets()[0] if not dataset.synthetic]
    shown = st.session_state.get("dataset_name")
    return next((dataset for dataset in own if dataset.name == shown), own[0] if own else None)


def describe_images() -> tuple[list[Slide], list[Job[Any]]]:
    """A slide of the mean images of a dataset of one's own and one of its audit, and the work that they wait for."""
    dataset = _dataset()
    if dataset is None:
        return [], []
    looked = overview.ensure_look(dataset)
    audited = audit.ensure_audit(dataset)
    return [_means(dataset, looked), _audit(dataset, audited)], [looked, audited]


def _means(dataset: Dataset, looked: Job[overview.Looked]) -> Slide:
    slide = {
        "title": f"Your images: the average of {dataset.name}",
        "link": {"page": "dataset", "words": "All that these images have in common"},
    }
    if looked.result is None:
        return slide | {"message": looked.problem or WAITING}
    means = looked.result.means
    most = sorted(means, key=lambda label: -means[label].images)[:2]
    pictures = [(f"{label}, n = {means[label].images}", means[label].pixels) for label in most]
    notes = [warn_of_few_images({label: means[label] for label in most})]
    if len(most) == 2:
        one, other = (means[label].pixels for label in most)
        difference, scale = difference_image(one, other)
        pictures.append((f"Difference: red where {most[0]} is brighter", difference))
        notes.append(colour_scale(scale))
    return slide | {
        "message": "What stays sharp is at one place in most images of a class: letters, frames, the crop.",
        "pictures": [describe_picture(pixels, words, f"Mean image. {words}") for words, pixels in pictures],
        "note": " ".join(filter(None, notes)),
    }


def _audit(dataset: Dataset, audited: Job[Any]) -> Slide:
    slide = {
        "title": f"Your images: the audit of {dataset.name}",
        "link": {"page": "dataset", "words": "The whole audit"},
    }
    if audited.result is None:
        return slide | {"message": audited.problem or WAITING}
    report = audited.result
    worst = report.findings[0].sentence if report.findings else f"It found nothing amiss in {report.images} images."
    shortcuts = sorted(report.shortcuts, key=lambda one: -one.auroc.value)[:SHORTCUTS]
    bars = [{"name": one.what, **describe_bar(one.auroc, f"{one.auroc.value:.2f}")} for one in shortcuts]
    picture = {"bars": bars} if bars else {"number": str(len(report.findings))}
    note = "How well each tells the classes, and should not: AUROC with its 95 % interval; 0.5 is chance."
    return slide | picture | {"message": worst, "note": note if bars else "Findings: reasons to look, not verdicts."}


def describe_models(models: Mapping[str, ModelInfo]) -> Iterator[Slide]:
    """A slide of the tests of a model of one's own: the one that the Predict page asks, else the first that has any."""
    own = {name: info for name, info in models.items() if name not in SHIPPED}
    if not own:
        return
    first = next((info for info in own.values() if info.metrics.test), next(iter(own.values())))
    info = own.get(str(st.session_state.get("predict_model")), first)
    tests = {"Right at home": info.metrics.test}
    tests |= {f"Right on {where}": report for where, report in info.metrics.other.items()}
    bars = [{"name": words, **describe_bar(one.accuracy)} for words, one in tests.items() if one]
    yield {
        "title": f"Your model: {info.name}",
        "message": card.trust_sentence(info),
        **({"bars": bars, "note": "With 95 % intervals."} if bars else {}),
        "link": {"page": "evaluate", "words": "Ask it about another hospital's images"},
    }
