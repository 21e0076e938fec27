"""covid_cnn.model_info: whatever is wrong with a model.json is found at once, or nothing stumbles over it later."""

import copy
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from covid_cnn import bundle, cards, evaluation, figures, model_info, report, synthetic
from covid_cnn.bundle import Bundle
from covid_cnn.errors import BundleError
from covid_cnn.imaging import Radiograph

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


def read_all(info: dict) -> None:
    """Whatever pages, cards and reports read of a model.json, but for what needs the graph."""
    assert all(isinstance(sentence, str) for sentence in cards.headlines(info))
    cards.render(info)
    ", ".join(info["classes"])
    metrics = info["metrics"]
    for one in (metrics.get("val"), metrics.get("test"), *metrics.get("other", {}).values()):
        if one is not None:
            evaluation.rows(one)
            sum(map(sum, one["confusion"]))
    tests = {"own": metrics.get("test")} | metrics.get("other", {})
    [{"where": where} | (one.get("specificity") or {}) for where, one in tests.items() if one]
    int(info["recipe"]["seed"])


@pytest.fixture(scope="module")
def sound() -> list[dict]:
    """The model.json of all shipped models: between them they have all that one may have."""
    models = Path(__file__).parents[1] / "models"
    infos = [bundle.read_info(folder) for folder in sorted(models.iterdir())]
    told = set().union(*(set(info) | set(info["metrics"]) for info in infos))
    assert told >= {"calibration", "evidence", "prediction_sets", "other", "test", "val"}
    return infos


def test_what_is_wrong_is_found_or_does_no_harm(sound):
    draw, found, harmless = random.Random(0), 0, 0
    for info in sound:
        read_all(info)
        every = [place for place in places(info) if place]
        outer = [place for place in every if len(place) < 3]
        for place in outer + draw.sample(every, 250):
            for value in (REMOVED, *draw.sample(WRONG, 4)):
                damaged = changed(info, place, value)
                if not model_info.flaw(damaged) and bundle._makes_sense(damaged):
                    read_all(damaged)
                    harmless += 1
                else:
                    found += 1
    assert found > harmless > 100


def test_the_place_of_a_flaw_is_told(sound):
    info = next(info for info in sound if "evidence" in info)
    for place, told in (
        (("metrics", "test", "accuracy", "low"), "metrics.test.accuracy"),
        (("training_data", "images", "train"), "training_data.images.train"),
        (("evidence", 0, "title"), "evidence.title"),
    ):
        assert model_info.flaw(changed(info, place, None)) == told


def test_a_mutated_bundle_is_refused_or_answers(tiny_model, tmp_path):
    """Through the front door: read, loaded, asked, and written into a card and a report."""
    info = json.loads((tiny_model.bundle / bundle.INFO).read_text())
    (tmp_path / bundle.GRAPH).write_bytes((tiny_model.bundle / bundle.GRAPH).read_bytes())
    pixels, draw, answered = synthetic.draw(1, opacities=True, size=64), random.Random(1), 0
    few = [
        ("decision", "threshold"),
        ("in_distribution", "limit"),
        ("calibration", "n"),
        ("prediction_sets",),
        ("more",),
    ]
    for place in few:
        for value in draw.sample(WRONG, 6):
            (tmp_path / bundle.INFO).write_text(json.dumps(changed(info, place, value)))
            try:
                model = Bundle(tmp_path)
            except BundleError as error:
                assert str(error).endswith(".") and "\n" not in str(error)
                continue
            answered += 1
            prediction = model.predict(pixels)
            assert np.isfinite(prediction.probabilities).all()
            report.summary(Radiograph(pixels, "x", "PNG"), prediction, model.info, "1", datetime.now(UTC))
            cards.write(tmp_path, model.info)
    assert answered > 5


def test_the_diagrams_of_a_sound_model_json_can_be_drawn(sound):
    for info in sound:
        if told := info.get("calibration"):
            figures.reliability_diagram(told["before"]["reliability"], told["after"]["reliability"])
        for split in ("val", "test"):
            figures.confusion_matrix(info["metrics"][split]["confusion"], info["classes"])
