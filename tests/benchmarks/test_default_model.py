"""The model that opens by default: what ships is what its card says."""

import csv
from collections import Counter
from functools import partial
from itertools import combinations, pairwise
from pathlib import Path

import keras
import msgspec
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from benchmarks import gradient_tape, held_out, not_chest_xrays
from benchmarks.collections import COHEN, NOTEBOOK
from benchmarks.default_model import hospitals, lung_layers, network, protocol
from covid_cnn.data import classes, index, synthetic
from covid_cnn.data import dataset as data_dataset
from covid_cnn.data.classes import COVID, NORMAL, OTHER
from covid_cnn.data.metadata import patient_of
from covid_cnn.data.samples import SAMPLES
from covid_cnn.images import reader
from covid_cnn.images.reader import read_ahead
from covid_cnn.models import bundle
from covid_cnn.models.bundle import Bundle
from covid_cnn.models.info import Table
from covid_cnn.reports import card as reports_card
from covid_cnn.training import export

SPLITS = ("train", "val", "test", "external")


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
    assert [section.title in card for section in model.info.evidence] == [True] * len(model.info.evidence)
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


@pytest.fixture(scope="module")
def untrained() -> keras.Model:
    """The network that ships, with random weights, which finds the lungs of drawn radiographs."""
    keras.utils.set_random_seed(3)
    trained = network.on_crops(0.2, pretrained=False)
    kernel, _ = trained.get_layer("logits").get_weights()
    trained.get_layer("logits").set_weights([np.random.default_rng(0).normal(size=kernel.shape), np.float32([0, 1, 2])])
    model = network.on_images(trained, 0.2)
    export.round_weights(model)
    return model


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    return np.stack([synthetic.draw_radiograph(seed, opacities=True, size=384)[..., None] for seed in range(2)])


def by_gradient_tape(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Its heatmaps by automatic differentiation, put back into the images."""
    box = keras.Model(model.inputs, model.get_layer("box").output)([images])
    place = partial(lung_layers.place_heat, box=box, size=network.HEAT_GRID)
    return gradient_tape.reference(model, images, place=place)


def test_its_closed_form_grad_cam_is_the_gradient_put_back_into_the_image(untrained, drawn):
    names = ("feature_map", "embedding", "box")
    outputs = keras.Model(untrained.inputs, [untrained.get_layer(name).output for name in names])([drawn])
    top, bottom, left, right = outputs[2].numpy().T
    assert (top > 0).all() and (bottom < 1).all() and (left < 0.4).all() and (right > 0.6).all(), "boxes of their own"

    closed = network.explain(untrained, *outputs).numpy()
    assert closed.shape == (2, network.HEAT_GRID, network.HEAT_GRID, 3) and closed.max() == pytest.approx(1)
    np.testing.assert_allclose(closed, by_gradient_tape(untrained, drawn), atol=1e-4)


def test_its_graph_is_the_network(untrained, drawn):
    graph = network.graph(untrained, temperature=1.5)
    runner = Interpreter(model_content=graph).get_signature_runner()
    heatmaps = by_gradient_tape(untrained, drawn)
    probabilities = export.calibrated_probabilities(untrained(drawn), 1.5).numpy()
    for i, image in enumerate(drawn):
        outputs = runner(image=image[None])
        np.testing.assert_allclose(outputs["heatmaps"][0], heatmaps[i], rtol=0, atol=2e-3)
        np.testing.assert_allclose(outputs["probabilities"][0], probabilities[i], rtol=0, atol=1e-3)
        lung, tone = outputs["embedding"][0, -98:].reshape(2, 7, 7) / network.SHAPE
        assert 0 <= lung.min() < 0.1 and 0.9 < lung.max() <= 1.001, "two lungs and what lies between them"
        assert tone[lung > 0.8].mean() < tone[lung < 0.2].mean(), "lungs are dark"


@pytest.mark.real_data
def test_views_from_the_side_and_negatives_are_flagged_and_frontal_views_elsewhere_are_not(
    model, real_data, monkeypatch
):
    monkeypatch.setenv("COVID_CNN_REAL_DATA", str(real_data))
    lateral = [picture.pixels for picture in not_chest_xrays.collection() if picture.kind.startswith("Lateral")]
    frontal = [reader.read(path).pixels for path in (real_data / hospitals.MONTGOMERY).glob("*/MCUCXR_*.jpg")]
    flagged = {
        name: np.mean([not model.predict(pixels).in_distribution for pixels in shown])
        for name, shown in {"lateral": lateral, "frontal": frontal, "negative": [1 - one for one in frontal]}.items()
    }
    assert len(lateral) == 44 and flagged["lateral"] >= 0.99
    assert len(frontal) == 60 and flagged["frontal"] <= 0.05
    assert flagged["negative"] >= 0.99


@pytest.mark.real_data
def test_its_card_tells_what_it_does_on_held_out_patients(model, default_images):
    """The splits are made again, and the bundle is asked again."""
    test = default_images.of_split("test")
    counts = msgspec.to_builtins(model.info.training_data.images)
    assert {split: len(default_images.of_split(split)) for split in counts} == counts
    told = {section.title: section for section in model.info.evidence}
    for found in held_out.reports(model, test):
        assert told[found["title"]].table == msgspec.convert(found["table"], Table)


@pytest.mark.real_data
def test_no_patient_is_in_two_splits_and_montgomery_and_the_films_teach_nothing(default_images):
    of = {
        split: {item.patient for item in default_images.of_split(split)}
        for split in ("train", "val", "test", "external")
    }
    for one, other in combinations(of.values(), 2):
        assert not one & other
    learned = default_images.of_split("train") + default_images.of_split("val")
    assert not [item for item in learned if hospitals.collection(item) == hospitals.MONTGOMERY]
    tested = {item.patient for item in default_images.of_split("test") if item.source == hospitals.NOTEBOOK_TEST}
    assert tested and not tested & {item.patient for item in default_images.items if item.split in ("train", "val")}


@pytest.mark.real_data
def test_the_notebooks_real_test_images_are_relabelled(default_images):
    asked = [item for item in default_images.items if {NOTEBOOK, "test"} <= set(item.path.parts)]
    assert all(item.split == "test" for item in asked)
    pneumonias = Counter(item.label for item in asked if "PNEUMONIA" in item.path.parts)
    assert pneumonias == {COVID: 4, OTHER: 16}
    assert Counter(item.label for item in asked if "NORMAL" in item.path.parts) == {NORMAL: 20}


@pytest.mark.real_data
def test_no_real_patient_of_the_notebooks_test_is_learned_from(default_images, real_data):
    """Told anew, from the collection's own table, the names, and the looks (whatever the hash)."""
    asked = [item.path for item in data_dataset.open_dataset(real_data / NOTEBOOK).subset("test")]
    learned = [item for item in default_images.items if item.split in ("train", "val")]
    assert len(asked) == 40 and len(learned) > 1000
    assert not {item.patient for item in learned} & {
        item.patient for item in default_images.items if item.path in asked
    }

    stems = {path.stem.lower() for path in asked}
    assert not {item.path.stem.lower() for item in learned} & stems
    assert not {patient_of(item.path.name)[1] for item in learned} & {patient_of(path.name)[1] for path in asked} - {""}

    with (real_data / COHEN / "metadata.csv").open(newline="", encoding="utf-8") as file:
        patient = {row["filename"]: row["patientid"] for row in csv.DictReader(file)}
    theirs = {patient[name] for name in patient if Path(name).stem.lower() in stems}
    assert len(theirs) > 5
    assert not {patient[item.path.name] for item in learned if COHEN in item.path.parts} & theirs

    def hashes(files: list[Path]) -> np.ndarray:
        seen = read_ahead(files, lambda radiograph: index.perceptual_hash(radiograph.pixels).fine)
        return index.stack_hashes([*seen])

    theirs, own = hashes([item.path for item in learned]), hashes(asked)
    assert min(index.hash_distance(one, theirs).min() for one in own) > index.SAME


@pytest.fixture(scope="module")
def default_images(real_data) -> protocol.Images:
    return protocol.load(real_data)
