"""Every term that a page shows is explained, and every term that is explained is shown."""

import re
from pathlib import Path

import pytest

from covid_cnn.reports import wording

PAGES = "\n".join(
    path.read_text(encoding="utf-8") for path in Path(wording.__file__).parents[1].joinpath("app").rglob("*.py")
)


@pytest.mark.parametrize("key", wording.read_terms())
def test_a_term_has_words_a_definition_a_formula_and_a_source(key):
    term = wording.read_terms()[key]
    for text in (term.plain, term.definition):
        assert text[0].isupper() and text.endswith(".") and text.count("$") % 2 == 0
    assert term.definition != term.plain and "$" not in term.plain
    for formula in [term.formula, *re.findall(r"\$(.+?)\$", term.definition)]:
        assert formula.count("{") == formula.count("}") and formula.count(r"\left") == formula.count(r"\right")
        assert formula.count(r"\begin{") == formula.count(r"\end{") and "$" not in formula
    assert re.search(r"\w+ \((19|20)\d\d\): \w+", term.paper) and term.paper.endswith((".", ";", "interval."))


def test_every_term_is_shown_and_every_shown_term_is_one():
    shown = re.findall(r"\"(\w+)\"", "\n".join(re.findall(r"elements\.term_help\((.+)\)", PAGES)))
    assert len(wording.FIGURES) == len(set(wording.FIGURES)) and "wording.FIGURES" in PAGES
    assert {*shown, *wording.FIGURES} == set(wording.read_terms())


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("See [the paper](https://x.org/a) **now**.", "See the paper **now**."),
        ("![](http://x.org/a.png)![b][c]", "b"),
        ("[![a](http://x.org/a.png)](http://x.org)", "a"),
        ("[a]: http://x.org", r"\[a\]: `http://x.org`"),
        ("[a\n](http://x.org)", "a\n"),
        ("<img src=//x.org/a.png>", r"\<img src=//x.org/a.png>"),
        ("at www.x.org or ftp://x.org", "at `www.x.org` or `ftp://x.org`"),
        ("p < 0.05 and `http://x.org`", r"p \< 0.05 and `http://x.org`"),
        ("![a](http://x.org/(b).png)", r"!\[a\](`http://x.org/(b).png)`"),
    ],
)
def test_of_links_and_pictures_only_the_words_are_left(told, shown):
    assert wording.strip_links(told) == shown
