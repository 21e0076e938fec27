"""The model card says what the model is not for, what it learned from, and how well it did."""

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from covid_cnn import bundle, cards, cli, datasets, evaluation, runs
from covid_cnn.errors import RunError


@pytest.fixture
def info(tiny_model) -> dict:
    return json.loads((tiny_model.bundle / bundle.INFO).read_text())


def test_the_card_says_first_what_the_model_is_not_for(info):
    title, warning = cards.render(info).split("\n\n")[:2]
    assert title == "# tiny_pooled"
    assert "must not be used to diagnose" in warning


def test_the_card_of_a_bundle_is_made_from_its_info(info, tiny_model):
    assert (tiny_model.bundle / bundle.CARD).read_text() == cards.render(info)


def test_the_card_tells_data_metrics_and_limits(info):
    card = cards.render(info)
    data = info["training_data"]
    assert f"Dataset: drawn ({data['images']['train']} images of {data['patients']['train']} patients to train" in card
    assert "**These images are synthetic**" in card
    assert data["fingerprint"] in card
    for split in ("val", "test"):
        assert evaluation.summary(info["metrics"][split]) in card
    assert f"PNEUMONIA from {info['decision']['threshold']:.3f} on" in card
    assert f"Beyond {info['in_distribution']['limit']:.3g}" in card


def test_real_data_are_not_called_synthetic(info):
    info["training_data"]["synthetic"] = False
    assert "synthetic" not in cards.render(info)


def test_the_command_of_the_card_makes_the_run_again(info, monkeypatch):
    # A name with a blank, a rate with many digits, and a network that is known here.
    info["recipe"] |= {"data": "my x-rays", "learning_rate": 0.0012345678, "network": "notebook_cnn"}
    command = re.search(r"^    python -m covid_cnn (.+)$", cards.render(info), re.MULTILINE)
    assert command
    made = {}

    def create(config: runs.TrainConfig, name: str) -> None:
        made.update(vars(config), name=name)
        raise RunError("That is far enough.")

    monkeypatch.setattr(runs, "create", create)
    monkeypatch.setattr(datasets.Dataset, "check_trainable", lambda dataset: None)
    monkeypatch.setattr(datasets, "open", lambda name: datasets.Dataset(name, Path(), ()))
    CliRunner().invoke(cli.app, shlex.split(command[1]))
    assert made.pop("name") == "tiny_pooled"
    assert made == {key: info["recipe"][key] for key in made} and made


def test_results_on_other_data_come_before_the_own_test(info):
    report = info["metrics"]["test"] | {"notes": ["A note on them."], "dataset": "nih"}
    info["metrics"]["other"] = {"Adults": report}
    card = cards.render(info)
    assert card.index("## Adults") < card.index("A note on them.") < card.index("## Test")


def test_more_than_two_classes_have_no_threshold(info):
    info["decision"] = {"positive": None, "threshold": None, "chosen": "the most probable class"}
    info["metrics"] = {}
    assert "Decision: the most probable class." in cards.render(info)


def test_headlines_warn_of_synthetic_data_and_of_missing_tests(info):
    sentences = cards.headlines(info)
    assert sentences[0] == "It learned from 16 synthetic images of drawn."
    assert any("knows nothing of people" in sentence for sentence in sentences)
    assert any("test images its accuracy is" in sentence and "95 % CI" in sentence for sentence in sentences)
    assert sentences[-1] == "It was never tested on the images of another hospital."


def test_headlines_count_the_false_alarms_on_other_data(info):
    report = info["metrics"]["test"] | {"confusion": [[1, 3], [0, 4]]}
    info["metrics"]["other"] = {"Adults": report}
    assert "Of 4 images of NORMAL it calls 3 PNEUMONIA." in cards.headlines(info)[-1]
