"""A bundle is complete, small, and there whole or not at all; and it knows what it was not trained on."""

import hashlib
import json

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from benchmarks import gradient_tape
from covid_cnn.evaluation import leakage
from covid_cnn.images import reader
from covid_cnn.models import bundle as models_bundle
from covid_cnn.models.bundle import Bundle
from covid_cnn.models.info import SCHEMA
from covid_cnn.reports import card
from covid_cnn.training import export, networks


def some_images(trained) -> list[np.ndarray]:
    """Six images of the dataset, of every class and split."""
    items = trained.dataset.items
    return [reader.read(item.path).pixels for item in items[:: -(-len(items) // 6)]]


def test_a_trained_model_answers_as_its_keras_network(trained):
    bundle = Bundle(trained.bundle)
    for pixels in some_images(trained):
        prediction = bundle.predict(pixels)
        image = prediction.prepared[None, ..., None]
        heatmaps = gradient_tape.reference(trained.network, image)[0]
        assert heatmaps.max() == pytest.approx(1)  # not two empty maps, which would be equal whatever is done
        np.testing.assert_allclose(prediction.heatmaps, heatmaps, rtol=0, atol=1e-3)
        logits = trained.network(image, training=False)
        probabilities = export.calibrated_probabilities(logits, bundle.info.temperature).numpy()[0]
        np.testing.assert_allclose(prediction.probabilities, probabilities, rtol=0, atol=1e-4)


def test_images_unlike_the_training_images_are_told(trained):
    model = Bundle(trained.bundle)
    train = trained.dataset.subset("train")
    known = [model.predict(reader.read(item.path).pixels).in_distribution for item in train[:: -(-len(train) // 20)]]
    assert np.mean(known) >= 0.8
    noise = np.random.default_rng(0).random((300, 300)).astype(np.float32)
    foreign = model.predict(noise)
    assert not foreign.in_distribution
    assert foreign.distance > foreign.distance_limit
    assert foreign.warning.startswith("This image is unlike those the model learned from")


def test_a_bundle_is_complete_and_within_its_size(trained):
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    info = json.loads((trained.bundle / models_bundle.INFO_FILE).read_text(), parse_constant=refuse)
    graph = (trained.bundle / models_bundle.GRAPH_FILE).read_bytes()
    assert len(graph) <= 16_000_000
    assert info["sha256"] == hashlib.sha256(graph).hexdigest()
    assert info["schema"] == SCHEMA
    assert info["classes"] == list(trained.dataset.classes)
    assert info["input_size"] == list(trained.network.input_shape[1:3])
    assert info["decision"]["positive"] == "PNEUMONIA" and info["decision"]["chosen"]
    assert 0 < info["decision"]["threshold"] < 1
    assert len(info["training_data"]["fingerprint"]) == 64
    test = len(trained.dataset.subset("test"))
    assert info["training_data"]["images"]["test"] == info["metrics"]["test"]["n"] == test
    assert {"val", "test"} <= set(info["metrics"])
    assert info["recipe"]["epochs_trained"] == info["recipe"]["epochs"] >= info["recipe"]["best_epoch"] >= 1
    assert {"tensorflow", "keras", "ai-edge-litert", "numpy", "pillow"} <= set(info["versions"])
    assert "must not be used to diagnose" in (trained.bundle / models_bundle.CARD_FILE).read_text()
    learned = info["training_images"]
    assert learned["images"] == info["training_data"]["images"]["train"] + info["training_data"]["images"]["val"]
    assert learned["sha256"] == hashlib.sha256((trained.bundle / leakage.FINGERPRINT_FILE).read_bytes()).hexdigest()
    files = {
        models_bundle.INFO_FILE,
        models_bundle.GRAPH_FILE,
        models_bundle.CARD_FILE,
        card.DIAGRAM,
        leakage.FINGERPRINT_FILE,
    }
    assert {path.name for path in trained.bundle.iterdir()} == files


def test_the_temperature_divides_the_logits(tiny_networks):
    model = networks.build_network("tiny_dense", 2)
    image = np.random.default_rng(0).random((1, 32, 32, 1), np.float32)

    def logit(temperature: float) -> float:
        run = Interpreter(model_content=export.convert_graph(model, temperature)).get_signature_runner()
        first, second = run(image=image)["probabilities"][0]
        return float(np.log(second / first))

    assert logit(0.5) == pytest.approx(2 * logit(1.0), rel=1e-3)


def test_a_graph_without_heatmaps_is_the_same_but_for_them(tiny_networks):
    model = networks.build_network("tiny_pooled", 3)
    run = Interpreter(model_content=export.convert_graph(model, 1.0, heatmaps=False)).get_signature_runner()
    assert set(run.get_output_details()) == {"probabilities", "embedding"}


def test_probabilities_of_one_and_of_many_logits():
    np.testing.assert_allclose(
        export.calibrated_probabilities(np.float32([[0], [np.log(3)]]), 1.0), [[0.5, 0.5], [0.25, 0.75]]
    )
    np.testing.assert_allclose(
        export.calibrated_probabilities(np.float32([[0, np.log(16), 0]]), 2.0), [[1 / 6, 4 / 6, 1 / 6]]
    )


def test_only_the_weights_of_a_large_network_are_rounded(tiny_networks):
    small, large = networks.build_network("tiny_dense", 2), networks.build_network("notebook_cnn", 2)
    for model, rounded in ((small, False), (large, True)):
        before = model.get_weights()
        export.round_weights(model)
        changed = [not np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True)]
        assert any(changed) == rounded


def test_the_limit_lets_95_of_100_held_out_images_through_and_no_stranger():
    rng = np.random.default_rng(0)
    spread = np.where(
        np.arange(40) < 5, 3.0, 0.1
    )  # five directions in which images differ, and 35 where they hardly do
    fit, held_out = (rng.normal(1, spread, (200, 40)).astype(np.float32) for _ in range(2))
    statistics = export.fit_in_distribution(fit, held_out)
    mean, variances = (
        models_bundle.decode_array(statistics["mean"]),
        models_bundle.decode_array(statistics["variances"]),
    )
    components = models_bundle.decode_array(statistics["components"]).reshape(variances.size, mean.size)

    def distance(embeddings: np.ndarray) -> np.ndarray:
        return models_bundle.ppca_distance(embeddings, mean, components, variances, statistics["noise_variance"])

    assert distance(fit).mean() == pytest.approx(1, abs=0.1)
    assert (distance(held_out) > statistics["limit"]).mean() == pytest.approx(1 - export.WITHIN, abs=0.005)
    # As far as the images differ among themselves, but where they do not.
    assert (distance(1 + np.roll(fit - 1, 5, axis=1)) > statistics["limit"]).all()


def test_two_training_images_are_enough_for_the_statistics():
    fit = np.float32([[0, 1, 2, 3], [1, 1, 2, 3]])
    statistics = export.fit_in_distribution(fit, fit)
    assert np.isfinite([statistics["noise_variance"], statistics["limit"]]).all()


def staged(tiny_model, note: str):
    info = json.loads((tiny_model.bundle / models_bundle.INFO_FILE).read_text())
    info["training_data"]["notes"] = [note]
    return export.stage_bundle((tiny_model.bundle / models_bundle.GRAPH_FILE).read_bytes(), info)


def test_a_staged_bundle_can_be_checked_but_is_not_found(home, tiny_model):
    folder = staged(tiny_model, "")
    assert Bundle(folder).name == "tiny_pooled"
    assert models_bundle.discover_bundles() == ({}, [])


def test_publishing_replaces_the_model_of_the_same_name(home, tiny_model):
    for note in ("first", "second"):
        target = export.publish_bundle(staged(tiny_model, note))
        assert target == home / "models" / "tiny_pooled"
        found, problems = models_bundle.discover_bundles()
        assert problems == []
        assert found["tiny_pooled"].training_data.notes == [note]
    assert Bundle(target).classes == ("NORMAL", "PNEUMONIA")
    assert [path.name for path in target.parent.iterdir()] == ["tiny_pooled"]
