"""The samples that come with the program."""

import importlib.util

import numpy as np
import pytest

from covid_cnn.errors import ImageError
from covid_cnn.samples import SAMPLES


@pytest.mark.parametrize("key", SAMPLES)
def test_a_sample_is_an_image_with_a_title_and_a_story(key):
    sample = SAMPLES[key]
    pixels = sample.read().pixels
    assert pixels.dtype == np.float32 and min(pixels.shape) >= 224
    assert pixels.min() >= 0 and pixels.max() <= 1 and pixels.std() > 0.1
    assert sample.title and sample.story.endswith((".", "?"))


def test_the_real_chest_is_shown_with_bone_white():
    chest = SAMPLES["chest"].read()
    assert not chest.synthetic and not chest.warnings
    assert "MONOCHROME1" in chest.origin and "inverted" in chest.origin
    height, width = chest.pixels.shape
    spine = chest.pixels[height // 4 : height // 2, int(0.48 * width) : int(0.52 * width)]
    lung = chest.pixels[height // 4 : height // 2, int(0.25 * width) : int(0.3 * width)]
    assert spine.mean() > lung.mean() + 0.1


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
