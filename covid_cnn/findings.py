"""The findings of a collection's ``metadata.csv`` -> the classes of a dataset: which images are taken, and as what.

It knows the layout of ieee8023/covid-chestxray-dataset (Cohen et al. 2020): a row an image, with its ``finding`` (a
name, or a path in a tree such as Pneumonia/Viral/COVID-19), and mostly its ``view`` and ``modality``.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Self

from covid_cnn import datasets
from covid_cnn.errors import DatasetError

NORMAL, OTHER, COVID = CLASSES = ("normal", "other pneumonia", "COVID-19")
NOT_TOLD = "not told"  # the view or modality of an image whose metadata tell none

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


@dataclass(frozen=True)
class Choice:
    """Which images are taken, and as what.

    Attributes
    ----------
    classes : the class of each finding; one without, or with "", is left out.
    views, modalities : those that are taken, `NOT_TOLD` among them.
    """

    classes: Mapping[str, str]
    views: Collection[str]
    modalities: Collection[str]


@dataclass(frozen=True)
class Sheet:
    """The rows of a metadata.csv that has an image.

    Attributes
    ----------
    columns : their names, in order.
    rows : by the place of their image, relative to the folder of the metadata.csv.
    without_image : how many rows more name an image that is not there.
    """

    columns: tuple[str, ...]
    rows: Mapping[PurePosixPath, Mapping[str, str]]
    without_image: int = 0

    @classmethod
    def read(cls, content: bytes, files: Collection[PurePosixPath]) -> Self | None:
        """The sheet of a metadata.csv, `files` being those beside and below it.

        Returns
        -------
        None where it has no findings, or classes already (as a dataset that this program wrote).

        Raises
        ------
        DatasetError
            it is no table in UTF-8.
        """
        try:
            table = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
            columns = tuple(table.fieldnames or ())
            if "class" in columns or not {"filename", "finding"} <= set(columns):
                return None
            told = [{key: (value or "").strip() for key, value in row.items() if key is not None} for row in table]
        except (UnicodeDecodeError, csv.Error) as error:
            raise DatasetError(f"The {datasets.METADATA} cannot be read: {error}.") from error
        rows: dict[PurePosixPath, Mapping[str, str]] = {}
        lost = 0
        for row in told:
            place = next((place for place in datasets.places_of(row) if place in files), None)
            if place is None:
                lost += 1
            else:
                rows.setdefault(place, row)
        return cls(columns, rows, lost)

    def modalities(self) -> dict[str, int]:
        """How many images there are of each modality, the most first."""
        return dict(Counter(_told(row, "modality") for row in self.rows.values()).most_common())

    def views(self, modalities: Collection[str]) -> dict[str, int]:
        """How many images there are of each view, of these modalities, the most first."""
        rows = [row for row in self.rows.values() if _told(row, "modality") in modalities]
        return dict(Counter(_told(row, "view") for row in rows).most_common())

    def findings(self) -> dict[str, int]:
        """How many images there are of each finding, the most first."""
        return dict(Counter(row["finding"] for row in self.rows.values()).most_common())

    def proposed(self) -> Choice:
        """Frontal X-rays, and for each finding the class that it most likely means."""
        return self.chosen({})

    def chosen(
        self,
        classes: Mapping[str, str],
        views: Collection[str] | None = None,
        modalities: Collection[str] | None = None,
    ) -> Choice:
        """What is proposed, but for what is given.

        Raises
        ------
        DatasetError
            a finding, view or modality that no image has.
        """
        modalities = modalities or radiographs(self.modalities())
        views = views or frontal_views(self.views(modalities))
        for what, given, known in (
            ("finding", classes, self.findings()),
            ("view", views, self.views(self.modalities())),
            ("modality", modalities, self.modalities()),
        ):
            if unknown := set(given) - set(known):
                there = ", ".join(name or "(none)" for name in known)
                raise DatasetError(f"No image has the {what} {sorted(unknown)[0]}; there are: {there}.")
        return Choice({finding: meaning(finding) for finding in self.findings()} | dict(classes), views, modalities)

    def taken(self, choice: Choice) -> dict[PurePosixPath, str]:
        """The class of each image that is taken, by its place."""
        return {
            place: label
            for place, row in self.rows.items()
            if _told(row, "modality") in choice.modalities
            and _told(row, "view") in choice.views
            and (label := choice.classes.get(row["finding"], "").strip())
        }

    def notes(self, choice: Choice) -> list[str]:
        """A sentence for each group of images that a choice leaves out."""
        left: Counter[str] = Counter()
        findings: Counter[str] = Counter()
        for row in self.rows.values():
            if (modality := _told(row, "modality")) not in choice.modalities:
                left[f"of the modality {modality}"] += 1
            elif (view := _told(row, "view")) not in choice.views:
                left[f"of the view {view}"] += 1
            elif not choice.classes.get(row["finding"], "").strip():
                findings[row["finding"] or NOT_TOLD] += 1
        notes = [f"Left out: {_images(n)} {what}." for what, n in left.most_common()]
        if findings:
            names = ", ".join(f"{n} {finding}" for finding, n in findings.most_common())
            notes.append(f"Left out: {_images(sum(findings.values()))} whose finding was given no class: {names}.")
        if self.without_image:
            notes.append(f"{self.without_image} rows of {datasets.METADATA} name an image that is not there.")
        return notes

    def written(self, choice: Choice) -> bytes:
        """The metadata.csv of what is taken, with a column ``class``."""
        file = io.StringIO(newline="")
        writer = csv.DictWriter(file, [*self.columns, "class"])
        writer.writeheader()
        writer.writerows({**self.rows[place], "class": label} for place, label in self.taken(choice).items())
        return file.getvalue().encode()


def meaning(finding: str) -> str:
    """The class that a finding most likely means, "" where that cannot be told."""
    return next((label for label, pattern in _MEANINGS if pattern.search(finding)), "")


def frontal_views(views: Iterable[str]) -> list[str]:
    """Those of the views that are not from the side."""
    return [view for view in views if view.lower() not in datasets.LATERAL_VIEWS]


def radiographs(modalities: Collection[str]) -> list[str]:
    """Those of the modalities that are no CT; all where there is nothing else."""
    return [name for name in modalities if name.upper() != "CT"] or list(modalities)


def _told(row: Mapping[str, str], column: str) -> str:
    return row.get(column) or NOT_TOLD


def _images(n: int) -> str:
    return "1 image" if n == 1 else f"{n} images"
