"""covid_cnn.models.info: whatever is wrong with a model.json is found at once, or nothing stumbles over it later."""

import copy
import json
import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from covid_cnn.common.errors import BundleError
from covid_cnn.data import synthetic
from covid_cnn.evaluation import metrics as evaluation_metrics
from covid_cnn.images.radiograph import Radiograph
from covid_cnn.models import bundle
from covid_cnn.models.bundle import Bundle
from covid_cnn.models.info import ModelInfo, decode_info
from covid_cnn.reports import card, figures, wording
from covid_cnn.reports import prediction as reports_prediction

WRONG = (None, True, -1, 0, 0.5, 10**400, float("nan"), "", "x", [], {}, [1], ["x"], [[]], {"x": 1}, {"value": 1})
REMOVED = object()


def places(value, place=()) -> Iterator[tuple]:
    """Where values lie in a model.json; of long lists the first few."""
    yield place
    parts = list(value.items()) if isinstance(value, dict) else list(enumerate(value))[:2]
    for key, inner in parts:
        yield from places(inner, (*place, key)) if isinstance(inner, (dict, list)) else [(*place, key)]


def changed(info: dict, place: tuple, value: object) -> dict:
    info = copy.deepcopy(info)
    *way, last = place
    inner = info
    for key in way:
        inner = inner[key]
    if value is REMOVED:
        del inner[last]
    else:
        inner[last] = value
    return info


def decode(info: dict) -> ModelInfo:
    return decode_info(json.dumps(info).encode())


def read_all(info: ModelInfo) -> None:
    """Whatever pages, cards and reports read of a model.json, but for what needs the graph."""
    assert all(isinstance(sentence, str) for sentence in card.headlines(info))
    card.render_card(info)
    for one in (info.metrics.val, info.metrics.test, *info.metrics.other.values()):
        if one is not None:
            evaluation_metrics.summarize(one)
            wording.describe_report(one)


@pytest.fixture(scope="module")
def sound() -> list[dict]:
    """The model.json of all shipped models: between them they have all that one may have."""
    models = Path(__file__).parents[2] / "models"
    infos = [json.loads((folder / bundle.INFO_FILE).read_text()) for folder in sorted(models.iterdir())]
    told = set().union(*(set(info) | set(info["metrics"]) for info in infos))
    assert told >= {"calibration", "evidence", "prediction_sets", "other", "test", "val"}
    return infos


def test_what_is_wrong_is_found_or_does_no_harm(sound):
    draw, found, harmless = random.Random(0), 0, 0
    for info in sound:
        read_all(decode(info))
        every = [place for place in places(info) if place]
        outer = [place for place in every if len(place) < 3]
        for place in outer + draw.sample(every, 250):
            for value in (REMOVED, *draw.sample(WRONG, 4)):
                damaged = changed(info, place, value)
                try:
                    sane = decode(damaged)
                except ValueError:
                    found += 1
                    continue
                read_all(sane)
                harmless += 1
    assert found > harmless > 100


def test_the_place_of_a_flaw_is_told(sound):
    info = next(info for info in sound if "evidence" in info)
    for place, told in (
        (("metrics", "test", "accuracy", "low"), "metrics.test.accuracy"),
        (("training_data", "images", "train"), "training_data.images.train"),
        (("evidence", 0, "title"), "evidence.title"),
    ):
        with pytest.raises(ValueError, match=f"^lacks a usable {re.escape(told)}$"):
            decode(changed(info, place, None))


def test_a_mutated_bundle_is_refused_or_answers(tiny_model, tmp_path):
    """Through the front door: read, loaded, asked, and written into a card and a report."""
    info = json.loads((tiny_model.bundle / bundle.INFO_FILE).read_text())
    (tmp_path / bundle.GRAPH_FILE).write_bytes((tiny_model.bundle / bundle.GRAPH_FILE).read_bytes())
    pixels, draw, answered = synthetic.draw_radiograph(1, opacities=True, size=64), random.Random(1), 0
    few = [
        ("decision", "threshold"),
        ("in_distribution", "limit"),
        ("calibration", "n"),
        ("prediction_sets",),
        ("more",),
    ]
    for place in few:
        for value in draw.sample(WRONG, 6):
            (tmp_path / bundle.INFO_FILE).write_text(json.dumps(changed(info, place, value)))
            try:
                model = Bundle(tmp_path)
            except BundleError as error:
                assert str(error).endswith(".") and "\n" not in str(error)
                continue
            answered += 1
            prediction = model.predict(pixels)
            assert np.isfinite(prediction.probabilities).all()
            reports_prediction.summarize_prediction(
                Radiograph(pixels, "x", "PNG"), prediction, model.info, "1", datetime.now(UTC)
            )
            card.write_card(tmp_path, model.info)
    assert answered > 5


def test_the_diagrams_of_a_sound_model_json_can_be_drawn(sound):
    for info in sound:
        info = decode(info)
        if info.calibration:
            figures.draw_reliability(info.calibration.before.reliability, info.calibration.after.reliability)
        for report in (info.metrics.val, info.metrics.test):
            figures.draw_confusion_matrix(report.confusion, info.classes)
