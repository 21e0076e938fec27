"""The colours of the pages: text of at least 4.5 to 1 on its ground, marks of charts of at least 3 to 1 (WCAG 2)."""

import re
import tomllib
from pathlib import Path

import pytest

from covid_cnn.app.shared import elements
from covid_cnn.app.train import charts

ROOT = Path(__file__).parents[2]
THEME = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())["theme"]
TEXT, MARK = 4.5, 3.0
THRESHOLD = (ROOT / "covid_cnn/app/evaluate/threshold_component/threshold.css").read_text()
MARKS = {
    "of classes, sources and curves": elements.COLOURS,
    "of the best epoch": [charts.BEST],
    "of people": re.findall(r"--\w+: (#\w{6});", THRESHOLD),
}


def luminance(colour: str) -> float:
    shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return sum(weight * share for weight, share in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_is_that_of_the_standard():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)  # the lightest grey that passes on white


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_text_of_pages_and_charts_is_seen(scheme):
    theme = THEME[scheme]
    css = (ROOT / "covid_cnn" / "app" / "shared" / "stage.css").read_text()
    rule = re.search(r"stVegaLiteChart\"\] svg text \{\s*fill: (\w+);", css)
    assert rule and rule[1].lower() == "currentcolor"  # the text of charts is the page's
    for ground in ("backgroundColor", "secondaryBackgroundColor"):
        assert contrast(theme["textColor"], theme[ground]) >= TEXT


@pytest.mark.parametrize("kind", MARKS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_marks_of_charts_are_seen(scheme, kind):
    ground = THEME[scheme]["backgroundColor"]
    assert MARKS[kind]
    faint = {colour: contrast(colour, ground) for colour in MARKS[kind] if contrast(colour, ground) < MARK}
    assert not faint
    assert THEME["chartCategoricalColors"] == list(elements.COLOURS)
