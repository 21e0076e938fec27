"""The samples that come with the program."""

import importlib.util
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from covid_cnn.app.predict import viewer
from covid_cnn.common.errors import ImageError
from covid_cnn.data import samples
from covid_cnn.data.classes import CLASSES, class_of_finding, matching_class
from covid_cnn.data.samples import FILM_KEYS, SAMPLES
from covid_cnn.evaluation import leakage
from covid_cnn.models import bundle
from covid_cnn.models.bundle import Bundle

ROOT = Path(__file__).parents[2]
MOST_BYTES, LONGEST = 400_000, 512
PICTURES = (".jpg", ".jpeg", ".png", ".dcm", ".tif", ".tiff", ".webp", ".bmp")


@pytest.mark.parametrize("key", SAMPLES)
def test_a_sample_is_an_image_with_a_title_and_a_story(key):
    sample = SAMPLES[key]
    pixels = sample.read().pixels
    assert pixels.dtype == np.float32 and min(pixels.shape) >= 224
    assert pixels.min() >= 0 and pixels.max() <= 1 and pixels.std() > 0.1
    assert sample.title and sample.story.endswith("?")
    assert not re.search(r"\d\.\d|lung_zones|notebook_cnn", sample.story)  # models change, and stories stay true


# The real films


def test_the_folder_of_the_films_is_what_its_table_says():
    """Each file a row and each row a file, none larger than is allowed, all of a licence that lets it be passed on."""
    table = samples.read_licenses()
    assert {path.name for path in samples.FILMS.iterdir()} == {samples.LICENSES.name, *table}
    assert list(table) == [SAMPLES[key].provenance.file for key in FILM_KEYS]
    assert 6 <= len(table) <= 8
    assert sum((samples.FILMS / file).stat().st_size for file in table) <= MOST_BYTES
    for film in table.values():
        assert all(vars(film).values()) and film.url.startswith("https://")
        assert re.fullmatch(r"CC BY( 4\.0)?|CC0|Free to use with credit", film.licence)
        assert film.licence != "Free to use with credit" or film.source.startswith("NIH ChestX-ray8")


def test_no_image_of_a_real_dataset_lies_anywhere_else():
    """Pictures that are committed are the films, the app's icon, screenshots, figures, and what the tour drew."""
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    pictures = [Path(file) for file in files if file.lower().endswith(PICTURES)]
    films = [path for path in pictures if path.parent == samples.FILMS.relative_to(ROOT)]
    assert len(films) == len(FILM_KEYS)
    drawn = Path("covid_cnn/app/tour/slides")  # by `docs.tour`, of drawn radiographs alone
    others = [path for path in pictures if path not in films and path.parent != drawn and path.stem != "icon"]
    assert {path.parts[0] for path in others} <= {"docs", "models"}


@pytest.mark.parametrize("key", FILM_KEYS)
def test_a_film_is_a_small_grey_picture_and_its_truth_is_its_class(key):
    sample = SAMPLES[key]
    radiograph = sample.read()
    assert max(radiograph.pixels.shape) <= LONGEST and not radiograph.warnings and not radiograph.synthetic
    truth = sample.provenance.truth
    assert sample.finding in CLASSES and class_of_finding(truth) == sample.finding


@pytest.fixture(scope="module")
def default() -> Bundle:
    return Bundle(ROOT / "models" / bundle.DEFAULT_MODEL)


def test_the_default_model_has_learned_from_no_film(default):
    learned = leakage.training_fingerprint(default)
    assert learned is not None
    assert not [key for key in FILM_KEYS if leakage.is_training_image(SAMPLES[key].read(), learned)]


def test_the_default_model_gets_a_film_wrong_and_a_film_right(default):
    right = {}
    for key in FILM_KEYS:
        answer = default.predict(SAMPLES[key].read().pixels)
        right[key] = answer.label == matching_class(SAMPLES[key].finding, default.classes)
    assert set(right.values()) == {True, False}


# The others


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
