"""Every term that a page shows is explained, and every term that is explained is shown."""

import re
from pathlib import Path

import pytest

from covid_cnn.reports import wording

PAGES = "\n".join(
    path.read_text(encoding="utf-8") for path in Path(wording.__file__).parents[1].joinpath("app").rglob("*.py")
)


@pytest.mark.parametrize("key", wording.TERMS)
def test_a_term_has_words_a_definition_a_formula_and_a_source(key):
    term = wording.TERMS[key]
    for text in (term.plain, term.definition):
        assert text[0].isupper() and text.endswith(".") and text.count("$") % 2 == 0
    assert term.definition != term.plain and "$" not in term.plain
    for formula in [term.formula, *re.findall(r"\$(.+?)\$", term.definition)]:
        assert formula.count("{") == formula.count("}") and formula.count(r"\left") == formula.count(r"\right")
        assert formula.count(r"\begin{") == formula.count(r"\end{") and "$" not in formula
    assert re.search(r"\w+ \((19|20)\d\d\): \w+", term.paper) and term.paper.endswith((".", ";", "interval."))


def test_every_term_is_shown_and_every_shown_term_is_one():
    shown = re.findall(r"shared\.term\(\"(\w+)\"\)", PAGES)
    assert len(wording.FIGURES) == len(set(wording.FIGURES)) and "glossary.FIGURES" in PAGES
    assert {*shown, *wording.FIGURES} == set(wording.TERMS)
