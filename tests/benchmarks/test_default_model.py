"""The model that opens by default: what ships is what its card says."""

from itertools import pairwise

import numpy as np
import pytest

from benchmarks import collections, held_out
from covid_cnn.data import classes, dataset
from covid_cnn.data.samples import SAMPLES
from covid_cnn.models import bundle
from covid_cnn.models.bundle import Bundle
from covid_cnn.reports import card as reports_card


@pytest.fixture(scope="module")
def model(default_model) -> Bundle:
    return Bundle(default_model)


def test_it_is_the_one_that_opens_and_knows_the_three_classes(model):
    assert bundle.load_bundle().name == model.name == bundle.DEFAULT_MODEL
    assert set(model.classes) == set(classes.CLASSES)
    assert model.positive == classes.COVID and 0 < model.threshold < 1
    assert (model.folder / bundle.GRAPH_FILE).stat().st_size < 25e6


def test_its_card_holds_the_evidence_and_says_first_how_it_fails_elsewhere(model):
    card = (model.folder / bundle.CARD_FILE).read_text(encoding="utf-8")
    assert [section["title"] in card for section in model.info["evidence"]] == [True] * len(model.info["evidence"])
    assert "never saw" in reports_card.headlines(model.info)[0]
    assert (model.folder / reports_card.DIAGRAM).is_file() and reports_card.DIAGRAM in card
    assert card == reports_card.render_card(model.info)


def test_a_leg_is_no_chest(model):
    prediction = model.predict(SAMPLES["leg"].read().pixels)
    assert not prediction.in_distribution
    assert set(prediction.prediction_set) == set(model.classes)


def test_the_heat_of_the_lungs_moves_with_the_lungs(model):
    """The same chest in the left and in the right half of a wider picture."""
    chest = SAMPLES["chest"].read().pixels
    blank = np.zeros_like(chest)
    columns = []
    for picture in (np.hstack([chest, blank]), np.hstack([blank, chest])):
        heat = model.predict(picture).heatmaps.sum(axis=(0, 2))
        columns.append((heat * np.arange(len(heat))).sum() / heat.sum())
    assert all(left + 4 < right for left, right in pairwise(columns))


@pytest.mark.real_data
def test_its_card_tells_what_it_does_on_held_out_patients(model, home, real_data):
    test = collections.write_gathered(collections.gather_collections(real_data)).subset("test")
    assert len(test) == len(dataset.open_dataset(collections.NAME).subset("test"))
    told = {section["title"]: section for section in model.info["evidence"]}
    for found in held_out.reports(model, test):
        assert told[found["title"]] == found
