"""What the name of a class or a finding means: COVID-19, healthy, another disease, or unknown."""

import re
from collections.abc import Sequence

NORMAL, OTHER, COVID = CLASSES = ("normal", "other pneumonia", "COVID-19")
NOT_GIVEN = "not told"  # the view or modality of an image whose metadata tell none
NO_FINDING_GIVEN = frozenset({"", "todo", "unknown", "nan", "na", "n/a", "null"})  # what stands where a finding would
LATERAL_VIEWS = frozenset({"l", "ll", "rl", "lat", "lateral"})
# What a finding most likely means, the first that fits; what fits none is left out until somebody says what it is.
_MEANINGS = (
    (COVID, re.compile(r"covid|ncov|sars-?cov-?2", re.IGNORECASE)),
    (NORMAL, re.compile(r"no[ _-]?findings?|normal|healthy", re.IGNORECASE)),
    (
        OTHER,
        re.compile(
            r"pneumonia|pneumocystis|strepto|staphylo|nocardi|aspergill|\b(sars|mers|ards|viral|bacterial|fungal|lipoid"
            r"|aspiration|influenza|h1n1|varicella|legionella|klebsiella|mycoplasma|chlamydophila|e\.? ?coli)\b",
            re.IGNORECASE,
        ),
    ),
)


def class_of_finding(finding: str) -> str:
    """The class that a finding most likely means, "" where that cannot be told."""
    return next((label for label, pattern in _MEANINGS if pattern.search(finding)), "")


DISEASES = {
    name: re.compile(pattern, re.IGNORECASE)
    for name, pattern in {
        "COVID-19": r"covid|ncov|sars-?cov-?2|coronavirus",
        "SARS": r"(?<![a-z])sars(?!-?cov-?2)",
        "MERS": r"(?<![a-z])mers",
        "snake bite": r"snake",
        "ARDS": r"(?<![a-z])ards",
        "Streptococcus": r"strepto|pneumococc",
        "Pneumocystis": r"pneumocystis",
        "Legionella": r"legionel",
        "Klebsiella": r"klebsiel",
        "Mycoplasma": r"mycoplasma",
        "Influenza": r"influenza",
        "Varicella": r"varicella",
        "E. coli": r"(?<![a-z])e\.? ?coli(?![a-z])",
        "Tuberculosis": r"tubercul",
        "Lipoid": r"lipoid",
    }.items()
}
HEALTHY = re.compile(r"(normal|no[ _-]?findings?|healthy|negative)", re.IGNORECASE)
# Words that collections use for the same class.
SYNONYMS = {"nofinding": "normal", "nofindings": "normal", "healthy": "normal", "covid": "covid19"}


def matching_class(label: str, classes: Sequence[str]) -> str | None:
    """The class of a bundle that a dataset's ``label`` means, by letters and digits alone; else None."""
    return next((name for name in classes if _normalized(name) == _normalized(label)), None)


def _normalized(label: str) -> str:
    letters = "".join(c for c in label.lower() if c.isalnum())
    return SYNONYMS.get(letters, letters)
