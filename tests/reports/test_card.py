"""The model card says what the model is not for, what it learned from, and how well it did."""

import json
import re
import shlex
from pathlib import Path

import msgspec
import numpy as np
import pytest
from msgspec import structs
from PIL import Image
from typer.testing import CliRunner

from covid_cnn import cli
from covid_cnn.common import statistics
from covid_cnn.common.errors import RunError
from covid_cnn.data import dataset as data_dataset
from covid_cnn.evaluation import calibration, metrics
from covid_cnn.models import bundle
from covid_cnn.models.info import ModelInfo
from covid_cnn.reports import card as reports_card
from covid_cnn.runs import config as runs_config
from covid_cnn.runs import run


@pytest.fixture
def info(tiny_model) -> dict:
    return json.loads((tiny_model.bundle / bundle.INFO_FILE).read_text())


def typed(info: dict) -> ModelInfo:
    return msgspec.convert(info, ModelInfo)


def test_the_card_says_first_what_the_model_is_not_for(info):
    title, warning = reports_card.render_card(typed(info)).split("\n\n")[:2]
    assert title == "# tiny_pooled"
    assert "must not be used to diagnose" in warning


def test_the_card_of_a_bundle_is_made_from_its_info(info, tiny_model):
    assert (tiny_model.bundle / bundle.CARD_FILE).read_text() == reports_card.render_card(typed(info))


def test_the_card_tells_data_metrics_and_limits(info):
    card = reports_card.render_card(typed(info))
    data = info["training_data"]
    assert f"Dataset: drawn ({data['images']['train']} images of {data['patients']['train']} patients to train" in card
    assert "**These images are synthetic**" in card
    assert data["fingerprint"] in card
    for split in ("val", "test"):
        assert metrics.summarize(getattr(typed(info).metrics, split)) in card
    assert f"PNEUMONIA from {info['decision']['threshold']:.3f} on" in card
    assert f"Beyond {info['in_distribution']['limit']:.3g}" in card


def test_real_data_are_not_called_synthetic(info):
    info["training_data"]["synthetic"] = False
    assert "synthetic" not in reports_card.render_card(typed(info))


def test_the_command_of_the_card_makes_the_run_again(info, monkeypatch):
    # A name with a blank, a rate with many digits, and a network that is known here.
    chosen = {"learning_rate": 0.0012345678, "learns": "all", "mixup": 0.2, "schedule": "constant", "patience": 3}
    config = runs_config.TrainConfig.of("my x-rays", "efficientnet_lite0", **chosen)
    info |= {"network": config.network, "recipe": info["recipe"] | vars(config)}
    command = re.search(r"^    python -m covid_cnn (.+)$", reports_card.render_card(typed(info)), re.MULTILINE)
    assert command
    made = {}

    def create(config: runs_config.TrainConfig, name: str) -> None:
        made.update(vars(config), name=name)
        raise RunError("That is far enough.")

    monkeypatch.setattr(run, "create_run", create)
    monkeypatch.setattr(data_dataset.Dataset, "check_trainable", lambda dataset: None)
    monkeypatch.setattr(data_dataset, "open_dataset", lambda name: data_dataset.Dataset(name, Path(), ()))
    CliRunner().invoke(cli.app, shlex.split(command[1]))
    assert made.pop("name") == "tiny_pooled"
    assert made == {key: info["recipe"][key] for key in made} and made


def test_results_on_other_data_come_before_the_own_test(info):
    report = info["metrics"]["test"] | {"notes": ["A note on them."], "dataset": "nih"}
    info["metrics"]["other"] = {"Adults": report}
    card = reports_card.render_card(typed(info))
    assert card.index("## Adults") < card.index("A note on them.") < card.index("## Test")


def test_more_than_two_classes_have_no_threshold(info):
    info["decision"] = {"positive": None, "threshold": None, "chosen": "the most probable class"}
    info["metrics"] = {}
    assert "Decision: the most probable class." in reports_card.render_card(typed(info))


def test_headlines_warn_of_synthetic_data_and_of_missing_tests(info):
    sentences = reports_card.headlines(typed(info))
    assert sentences[0] == "It was never tested on the images of another hospital."
    assert "test images its accuracy is" in sentences[1] and "95 % CI" in sentences[1]
    assert sentences[2] == "It learned from 16 synthetic images of drawn."
    assert "knows nothing of people" in sentences[3]


def test_headlines_begin_with_the_worst_that_is_known(info):
    report = info["metrics"]["test"]
    good, bad = (report | {"accuracy": msgspec.to_builtins(statistics.wilson(right, 8))} for right in (7, 2))
    bad |= {"confusion": [[1, 3], [2, 2]]}
    info["metrics"]["other"] = {"Friends": good, "Adults": bad}
    first, second, *rest = reports_card.headlines(typed(info))
    assert first.startswith(f"Adults: accuracy {statistics.wilson(2, 8)}.")
    assert "Of 4 images of NORMAL it calls 3 PNEUMONIA. Of 4 images of PNEUMONIA it misses 2." in first
    assert second.startswith("Friends: ")
    assert not any("never tested" in sentence for sentence in rest)
    info["evidence"] = [{"title": "Silent"}, {"title": "Sources", "headline": "At another source its AUROC is 0.7."}]
    assert reports_card.headlines(typed(info))[:2] == ["At another source its AUROC is 0.7.", first]


def three_classes(info: dict) -> dict:
    """The same model with three classes, and all that may be told of it."""
    classes = ("normal", "other pneumonia", "COVID-19")
    generator = np.random.default_rng(0)
    labels = np.arange(30) % 3
    scores = generator.normal(size=(30, 3)) + np.eye(3)[labels]
    patients = [str(i) for i in range(30)]
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    report = metrics.evaluate_classifier(
        labels, probabilities.argmax(axis=1), probabilities, classes, "COVID-19", patients
    )
    thresholds = calibration.conformal_thresholds(labels, probabilities)
    sets = calibration.measure_coverage(labels, bundle.prediction_sets(probabilities, thresholds), 0.9, patients)
    flagged = statistics.wilson(1, 30)
    report = structs.replace(report, prediction_sets=sets, dataset="drawn", out_of_distribution=flagged)
    return info | {
        "classes": list(classes),
        "decision": {"positive": "COVID-19", "threshold": 0.25, "chosen": "by hand"},
        "metrics": {"test": report, "other": {"Elsewhere": report}},
        "calibration": calibration.assess_calibration(labels, scores, 1.5, patients),
        "prediction_sets": {
            "method": "split conformal",
            "level": 0.9,
            "thresholds": thresholds.tolist(),
            "chosen": "30 validation images",
        },
        "evidence": [
            {"title": "Sources", "text": "One left out.", "table": {"columns": ["Source", "n"], "rows": [["a|b", 5]]}}
        ],
    }


def test_the_card_of_three_classes_holds_all_that_is_told(info):
    info = three_classes(info)
    card = reports_card.render_card(typed(info))
    counts = np.array(typed(info).metrics.test.confusion)[:, 2]
    alarms = (
        f"Of 10 images of normal it calls {counts[0]} COVID-19, of 10 images of other pneumonia it calls {counts[1]}"
    )
    assert alarms in card and alarms in reports_card.headlines(typed(info))[0]
    assert "COVID-19 from 0.250 on; by hand." in card
    assert "Coverage of the 90 % prediction sets" in card and "split conformal, at a level of 90 %" in card
    assert "## Sources\n\nOne left out.\n\n| Source | n |\n| --- | --- |\n| a\\|b | 5 |" in card
    for side in (info["calibration"].before, info["calibration"].after):
        assert f"| {side.ece.value:.3f} | {side.ece.bounds} | 30 |" in card
    assert "30 validation images, which the temperature was fitted on" in card
    order = [card.index(part) for part in ("## Elsewhere", "## Test", "## Sources", "## Calibration", "## When it")]
    assert order == sorted(order)


def test_the_diagram_lies_beside_the_card_that_shows_it(info, tmp_path):
    del info["calibration"]
    reports_card.write_card(tmp_path, typed(info))
    assert not (tmp_path / reports_card.DIAGRAM).exists() and reports_card.DIAGRAM not in reports_card.render_card(
        typed(info)
    )
    reports_card.write_card(tmp_path, typed(three_classes(info)))
    assert f"]({reports_card.DIAGRAM})" in (tmp_path / bundle.CARD_FILE).read_text()
    first = (tmp_path / reports_card.DIAGRAM).read_bytes()
    with Image.open(tmp_path / reports_card.DIAGRAM) as picture:
        assert picture.width > picture.height > 300
    reports_card.write_card(tmp_path, typed(three_classes(info)))
    assert (tmp_path / reports_card.DIAGRAM).read_bytes() == first


def test_how_far_to_trust_a_model_is_said_in_people_and_without_terms(info):
    report = info["metrics"]["test"]
    info["training_data"]["synthetic"] = False
    good, bad = (report | {"accuracy": msgspec.to_builtins(statistics.wilson(right, 8))} for right in (7, 2))
    low, high = (round(100 * bad["accuracy"][edge]) for edge in ("low", "high"))
    info["metrics"]["other"] = {"Friends": good, "Adults": bad}
    assert reports_card.trust_sentence(typed(info)) == f"At another hospital 25 of 100 were right ({low} to {high})."
    del info["metrics"]["other"]
    assert "at your hospital expect fewer" in reports_card.trust_sentence(typed(info))
    info["metrics"] = {}
    assert "never tested" in reports_card.trust_sentence(typed(info))
    info["training_data"]["synthetic"] = True
    assert "drawings" in reports_card.trust_sentence(typed(info))
