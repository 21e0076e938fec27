"""The samples that come with the program."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from covid_cnn.app.predict import viewer
from covid_cnn.common.errors import ImageError
from covid_cnn.data.samples import SAMPLES
from covid_cnn.images import ops
from covid_cnn.models import bundle
from covid_cnn.models.bundle import Bundle, Prediction


@pytest.mark.parametrize("key", SAMPLES)
def test_a_sample_is_an_image_with_a_title_and_a_story(key):
    sample = SAMPLES[key]
    pixels = sample.read().pixels
    assert pixels.dtype == np.float32 and min(pixels.shape) >= 224
    assert pixels.min() >= 0 and pixels.max() <= 1 and pixels.std() > 0.1
    assert sample.title and sample.story.endswith("?") and sample.seen.endswith(".")


MODELS = bundle.DEFAULT_MODEL, "notebook_cnn", "efficientnet_lite0"
ZONES, NOTEBOOK, _ = MODELS


@pytest.fixture(scope="module")
def answers() -> dict[str, dict[str, Prediction]]:
    """What each model that comes with the program says of each sample."""
    shipped = Path(__file__).parents[2] / "models"
    return {
        name: {key: Bundle(shipped / name).predict(sample.read().pixels) for key, sample in SAMPLES.items()}
        for name in MODELS
    }


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d+\.\d+|\d+(?= %)", text)]


def close(*measured: float) -> object:
    """To two digits, and a little for how processors differ."""
    return pytest.approx(list(measured), abs=0.007)


def test_each_story_names_the_models_as_they_are_called():
    for sample in SAMPLES.values():
        assert set(re.findall(r"\w+_\w+", sample.seen)) <= set(MODELS)


def test_what_is_to_be_seen_in_the_real_chest(answers):
    zones, notebook = answers[ZONES]["chest"], answers[NOTEBOOK]["chest"]
    assert zones.in_distribution and zones.label == "normal" and notebook.label == "PNEUMONIA"
    assert set(zones.prediction_set) == {"normal", "other pneumonia"}
    assert numbers(SAMPLES["chest"].seen) == close(zones.by_class()["normal"], notebook.by_class()["PNEUMONIA"])


@pytest.mark.parametrize("key", ["clear", "inverted", "turned", "leg"])
def test_what_one_model_does_not_know_another_answers_as_if_it_did(answers, key):
    seen = SAMPLES[key].seen
    assert "not know such images" in seen and not answers[ZONES][key].in_distribution
    chest, notebook = answers[NOTEBOOK]["chest"], answers[NOTEBOOK][key]
    assert notebook.in_distribution
    before = [chest.by_class()["PNEUMONIA"]] if key in ("inverted", "turned") else []
    assert numbers(seen) == close(*before, notebook.by_class()[notebook.label])
    assert notebook.label == {"clear": "NORMAL", "inverted": "NORMAL", "turned": "PNEUMONIA", "leg": "PNEUMONIA"}[key]
    assert f"{notebook.label} with" in seen or f"for {notebook.label}" in seen


def test_what_is_to_be_seen_of_the_opacities(answers):
    clear, opacities = SAMPLES["clear"].read().pixels, SAMPLES["opacities"].read().pixels
    there = np.abs(opacities - clear) > 0.05

    def found(model: str, name: str) -> float:
        answer = answers[model]["opacities"]
        heat = ops.upsample(answer.heatmaps[..., answer.classes.index(name)], there.shape)
        return 100 * there[heat >= np.quantile(heat, 0.9)].mean()

    shares = found(ZONES, "COVID-19"), 100 * there.mean(), found(NOTEBOOK, "PNEUMONIA")
    told = numbers(SAMPLES["opacities"].seen)
    assert told[:3] == pytest.approx(shares, abs=1)
    assert told[3:] == close(*(answers[NOTEBOOK][key].by_class()["PNEUMONIA"] for key in ("clear", "opacities")))


def test_what_is_to_be_seen_of_the_letter(answers):
    moved = [answers[name]["letter"].probabilities - answers[name]["clear"].probabilities for name in MODELS]
    (limit,) = numbers(SAMPLES["letter"].seen)
    assert all(np.abs(each).max() < limit for each in moved)


def test_the_real_chest_is_shown_with_bone_white():
    chest = SAMPLES["chest"].read()
    assert not chest.synthetic and not chest.warnings
    assert "MONOCHROME1" in chest.origin and "inverted" in chest.origin
    height, width = chest.pixels.shape
    spine = chest.pixels[height // 4 : height // 2, int(0.48 * width) : int(0.52 * width)]
    lung = chest.pixels[height // 4 : height // 2, int(0.25 * width) : int(0.3 * width)]
    assert spine.mean() > lung.mean() + 0.1


@pytest.mark.parametrize("key", SAMPLES)
def test_the_values_behind_a_sample_are_of_its_pixels(key):
    radiograph = SAMPLES[key].read()
    packed = viewer.packed(radiograph)
    assert (packed["full_height"], packed["full_width"]) == radiograph.pixels.shape
    assert packed["inverted"] == (key in ("chest", "turned", "leg"))  # as the files are MONOCHROME1


def test_the_leg_says_that_it_is_no_chest():
    assert "not chest" in " ".join(SAMPLES["leg"].read().warnings)


def test_the_drawn_two_differ_by_the_opacities_alone():
    clear, opacities = SAMPLES["clear"].read(), SAMPLES["opacities"].read()
    assert clear.synthetic and opacities.synthetic
    change = opacities.pixels - clear.pixels
    assert change.max() > 0.1  # denser, so whiter
    assert np.mean(np.abs(change) < 0.01) > 0.5  # most of the image stays as it is


def test_without_the_package_of_the_real_samples_a_sentence_says_what_to_install(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "data_store" else find(name))
    with pytest.raises(ImageError, match="pip install pydicom-data"):
        SAMPLES["chest"].read()
    assert SAMPLES["clear"].read().synthetic
