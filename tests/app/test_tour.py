"""The tour: what its slides tell is what was measured, and they are turned by button and key without a wait."""

import dataclasses
import json
import re
import time
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
import streamlit as st
from browsing import press, settled, visit
from playwright.sync_api import Page, expect

from covid_cnn.app.tour import own, slides
from covid_cnn.common.statistics import Interval
from covid_cnn.data.samples import SAMPLES
from covid_cnn.data.shortcuts import Shortcut
from covid_cnn.images import ops
from covid_cnn.models import bundle
from covid_cnn.models.bundle import Bundle
from covid_cnn.models.info import Metrics
from covid_cnn.reports import card
from docs import tour
from docs.tour import Hospital, ThumbnailClassifier

MOST_SECONDS = 0.5  # from a key to the next slide
SIZES = {"projector": (1280, 720), "wide": (1920, 1080), "phone": (390, 844)}


@pytest.fixture(scope="module")
def hospitals() -> tuple[Hospital, Hospital, Hospital]:
    """To learn from, to test with, and one where the letter stands on the healthy."""
    return tour.draw_hospital(1, 60, True), tour.draw_hospital(2, 20, True), tour.draw_hospital(3, 20, False)


def test_the_figures_of_the_drawn_slides_are_those_of_their_hospitals(hospitals):
    learned, tested, other = hospitals
    classifier, kept = ThumbnailClassifier(learned), json.loads(slides.FIGURES.read_text())
    assert kept["learned"] == len(learned.ill)
    assert kept["home"] == tour.count_right(classifier, tested) == {"right": 20, "n": 20}
    assert kept["away"] == tour.count_right(classifier, other)
    assert kept["away"]["right"] < 10
    healthy = tested.images[~tested.ill][: tour.STAMPED]
    assert kept["stamp"]["n"] == len(healthy)
    scores = [
        [score for *_, score in tour.stamp_everywhere(lambda one: float(classifier.predict(one[None])[0]), pixels)]
        for pixels in healthy
    ]
    assert all(len(some) == 2 * len(tour.SIZES) * len(tour.PLACES) for some in scores)
    assert kept["stamp"]["turned"] == sum(
        before < 0.5 <= max(some) for before, some in zip(classifier.predict(healthy), scores, strict=True)
    )


def test_what_a_hospital_drew_is_written_as_a_dataset(tmp_path):
    train, test = tour.draw_hospital(1, 6, True, 64), tour.draw_hospital(2, 4, True, 64)
    dataset = tour.write_hospitals(tmp_path / "set", {"train": train, "test": test})
    assert dataset.synthetic and dataset.classes == ("healthy", "ill") and dataset.splits == ("train", "test")
    assert dataset.counts == {"train": {"healthy": 3, "ill": 3}, "test": {"healthy": 2, "ill": 2}}
    assert len({item.patient for item in dataset.items}) == 10


@pytest.fixture
def shipped(home, shipped_models, default_model) -> None:
    (home / "models").mkdir(parents=True)
    for model in (*shipped_models, default_model):
        (home / "models" / model.name).symlink_to(model)


def all_slides(mine: Sequence[slides.Slide] = ()) -> list[slides.Slide]:
    return slides.make_slides(bundle.discover_bundles()[0], mine)


def test_every_slide_has_one_message_and_one_picture(shipped):
    made = all_slides()
    assert all(slide["title"] and slide["message"] for slide in made)
    kinds = [{"pictures", "bars", "number", "guess", "points"} & slide.keys() for slide in made]
    assert all(len(kind) == 1 for kind in kinds) and {"guess"} in kinds
    assert made[-1]["message"] == slides.MORAL and len(made[-1]["points"]) == 3
    credited = [slide for slide in made if "Wang et al." in slide.get("note", "") or "Kermany" in slide.get("note", "")]
    assert credited, "real films are there, with their credit"


def test_the_slides_about_models_tell_what_was_measured(shipped, shipped_models, default_model):
    made = {slide["title"]: slide for slide in all_slides()}
    for folder in shipped_models:
        metrics = Bundle(folder).info.metrics
        away = next(iter(metrics.other.values()))
        for where, report in (("at home", metrics.test), ("away", away)):
            bar = next(b for b in made["And with real X-rays"]["bars"] if b["name"] == f"{folder.name}, {where}")
            assert (bar["value"], bar["low"]) == (report.specificity.value, report.specificity.low)
    model, pixels = Bundle(default_model), SAMPLES[slides.GUESSED].read().pixels
    for answer, image in zip(
        made["Your guess"]["guess"]["answers"], (pixels, ops.stamp(pixels, *slides.LETTER)), strict=True
    ):
        shares = model.predict(image).by_class()
        assert [float(part) for part in re.findall(r"(\d+) %", answer["shares"])] == pytest.approx(
            [100 * share for share in shares.values()], abs=0.51
        )


def test_what_the_style_of_other_sources_changes_is_a_slide_once_it_was_measured(home, tmp_path, monkeypatch):
    share = {"value": 0.25, "low": 0.125, "high": 0.5, "n": 8}
    some = [{"figure": "Called sick", "augmentation": kind, "share": share} for kind in ("notebook", "styles")]
    monkeypatch.setattr(slides, "STYLES", tmp_path / "styles.json")
    assert "Training in other styles" not in [slide["title"] for slide in all_slides()]
    slides.STYLES.write_text(json.dumps({"seeds": 3, "figures": some}))
    slide = next(one for one in all_slides() if one["title"] == "Training in other styles")
    assert [(bar["name"], bar["value"], bar["words"]) for bar in slide["bars"]] == [
        ("Called sick, without", 0.25, "25 %"),
        ("Called sick, with", 0.25, "25 %"),
    ]


def test_without_the_shipped_models_the_drawn_slides_are_told(home):
    titles = [slide["title"] for slide in all_slides()]
    assert "Your guess" not in titles and {"The same, drawn", "Another hospital"} <= {*titles}


AUROCS = {"size": 0.8, "format": 0.6, "borders": 0.9, "brightness": 0.5, "corners": 0.7}


def test_ones_own_images_are_slides_once_they_were_looked_at(home):
    hospital = tour.draw_hospital(1, 6, True, 64)
    drawn = tour.write_hospitals(home / "data" / "mine", {"train": hospital})
    assert own.describe_images() == ([], [])  # what the program draws is nobody's own
    for item in drawn.items:
        item.path.rename(item.path.with_name(item.path.name.removeprefix("synthetic_")))
    st.cache_resource.clear()
    (means, audited), jobs = own.describe_images()
    assert all(len(slide) == 3 for slide in (means, audited) if slide["message"] == own.WAITING)
    for job in jobs:
        job.wait(60)
    (means, audited), again = own.describe_images()
    assert again == jobs and not [job.problem for job in jobs if job.problem]
    assert [one["words"] for one in means["pictures"]][:2] == ["healthy, n = 3", "ill, n = 3"]
    assert len(means["pictures"]) == 3 and "Few images" in means["note"]
    report = jobs[1].result
    assert audited["message"] == report.findings[0].sentence and audited["number"] == str(len(report.findings))
    chances = [Shortcut(name, name, "ill", Interval(value, 0.4, 1.0, 9), True) for name, value in AUROCS.items()]
    jobs[1].result = dataclasses.replace(report, shortcuts=tuple(chances))
    bars = own.describe_images()[0][1]["bars"]
    assert [(bar["name"], bar["words"]) for bar in bars] == [
        ("borders", "0.90"),
        ("size", "0.80"),
        ("corners", "0.70"),
        ("format", "0.60"),
    ]
    made = all_slides([means, audited])
    assert made[-3:-1] == [means, audited]


def test_a_model_of_ones_own_is_a_slide(shipped, shipped_models):
    info = Bundle(shipped_models[0]).info
    assert not list(own.describe_models({info.name: info}))
    (slide,) = own.describe_models({"mine": msgspec.structs.replace(info, name="mine")})
    tests = [info.metrics.test, *info.metrics.other.values()]
    assert [(bar["value"], bar["low"]) for bar in slide["bars"]] == [(o.accuracy.value, o.accuracy.low) for o in tests]
    assert slide["title"] == "Your model: mine" and slide["message"] == card.trust_sentence(info)
    untested = msgspec.structs.replace(info, name="new", metrics=Metrics())
    (slide,) = own.describe_models({"new": untested})
    assert slide["message"] == "It was never tested: do not trust it." and "bars" not in slide
    (slide,) = own.describe_models({"new": untested, "mine": msgspec.structs.replace(info, name="mine")})
    assert slide["title"] == "Your model: mine"


# ---- in a browser


def open_tour(page: Page, app) -> int:
    """Open it, and return how many slides there are."""
    visit(page, app, "tour")
    expect(page.locator(".deck .slide").first).to_be_visible()
    return page.locator(".deck .slide").count()


def title(page: Page) -> str:
    return page.locator(".deck .slide:visible h2").inner_text()


@pytest.mark.browser
def test_keys_turn_the_slides_within_half_a_second(page, app):
    count = open_tour(page, app)
    waits = []
    for n in range(1, count):
        began = time.monotonic()
        page.keyboard.press("ArrowRight")
        expect(page.locator(".deck .place")).to_have_text(f"{n + 1} of {count}")
        pictures = page.locator(".deck .slide:visible img")
        assert pictures.evaluate_all("images => images.every((image) => image.complete && image.naturalWidth)")
        waits.append(time.monotonic() - began)
    assert np.median(waits) <= MOST_SECONDS, waits
    expect(page.get_by_role("button", name="Next")).to_be_disabled()
    page.keyboard.press("PageUp")
    expect(page.locator(".deck .place")).to_have_text(f"{count - 1} of {count}")
    page.keyboard.press("Home")
    press(page, "Next")
    expect(page.locator(".deck .place")).to_have_text(f"2 of {count}")
    page.keyboard.press("p")
    expect(page.locator("html")).to_have_class(re.compile("stage"))
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".deck .place")).to_have_text(f"1 of {count}")
    page.keyboard.press("Escape")
    expect(page.locator("html")).not_to_have_class(re.compile("stage"))


@pytest.mark.browser
@pytest.mark.parametrize("size", SIZES)
def test_every_slide_fits_the_window(page, app, size):
    width, height = SIZES[size]
    page.set_viewport_size({"width": width, "height": height})
    count = open_tour(page, app)
    for _ in range(count):
        parts = page.locator(".deck .slide:visible, .deck .slide:visible > *, .deck .turn")
        for part in parts.all():
            box = part.bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= width + 1, (title(page), box)
            assert box["y"] + box["height"] <= height + 1, (title(page), box)
        room = page.locator(".deck .slide:visible .picture").bounding_box()
        for part in page.locator(".deck .slide:visible .picture > *").all():
            box = part.bounding_box()
            assert box["y"] >= room["y"] - 1, (title(page), box, room)
            assert box["y"] + box["height"] <= room["y"] + room["height"] + 1, (title(page), box, room)
        page.keyboard.press("ArrowRight")


@pytest.mark.browser
def test_the_audience_guesses_before_the_model_answers_and_goes_on_to_predict(page, app):
    count = open_tour(page, app)
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    slide = page.locator(".deck .slide:visible")
    expect(slide).not_to_contain_text("The model says")
    press(slide, "Cannot tell")
    expect(slide).to_contain_text("You said: Cannot tell. The truth: Healthy")
    expect(slide).to_contain_text("The model says")
    press(slide, "Stamp an R")
    expect(slide).to_contain_text("With an R in the corner it says")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".deck .place")).to_have_text(f"{count} of {count}")
    press(page, "Try your X-ray")
    settled(page, "predict")
