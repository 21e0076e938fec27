"""Tables of findings: which class each image of a metadata.csv gets, and which patient it shows."""

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

from covid_cnn.common.errors import DatasetError
from covid_cnn.common.words import count
from covid_cnn.data.classes import LATERAL_VIEWS, NOT_GIVEN, class_of_finding
from covid_cnn.data.tables import METADATA, ImageFinder, Table


@dataclass(frozen=True)
class ClassMapping:
    """Which images are taken, and as what."""

    classes: Mapping[str, str]  # the class of each finding; one without, or with "", is left out
    # Those that are taken, `NOT_GIVEN` among them
    views: Collection[str]
    modalities: Collection[str]


@dataclass(frozen=True)
class MetadataTable:
    """What is told of each image: the rows of a metadata.csv that has an image, or what folders tell."""

    columns: tuple[str, ...]  # their names, in order
    # By the place of their image, relative to the folder of the metadata.csv
    rows: Mapping[PurePosixPath, Mapping[str, str]]
    without_image: int = 0  # how many rows more name an image that is not there
    unnamed: int = 0  # how many images more there are, which no row names
    from_folders: bool = False  # the findings are the names of folders, which are classes as they are

    @classmethod
    def of(cls, table: Table, files: Collection[PurePosixPath]) -> Self | None:
        """The rows that name an image of `files`; None where it has no findings, or classes already."""
        if "class" in table.columns or not {"filename", "finding"} <= set(table.columns):
            return None
        rows: dict[PurePosixPath, Mapping[str, str]] = {}
        lost, finder = 0, ImageFinder(files)
        for row in table.rows:
            place = finder.find(row)
            if place is None:
                lost += 1
            else:
                rows.setdefault(place, row)
        return cls(table.columns, rows, lost, len(files) - len(rows))

    @classmethod
    def of_classes(cls, rows: Mapping[PurePosixPath, Mapping[str, str]]) -> Self:
        """What folders, or a table that has classes already, tell of each image: its class as its finding."""
        return cls(tuple(dict.fromkeys(key for row in rows.values() for key in row)), rows, from_folders=True)

    def modalities(self) -> dict[str, int]:
        """How many images there are of each modality, the most first."""
        return dict(Counter(_cell(row, "modality") for row in self.rows.values()).most_common())

    def views(self, modalities: Collection[str]) -> dict[str, int]:
        """How many images there are of each view, of these modalities, the most first."""
        rows = [row for row in self.rows.values() if _cell(row, "modality") in modalities]
        return dict(Counter(_cell(row, "view") for row in rows).most_common())

    def findings(self) -> dict[str, int]:
        """How many images there are of each finding, the most first."""
        return dict(Counter(row["finding"] for row in self.rows.values()).most_common())

    def proposed(self) -> ClassMapping:
        """Frontal X-rays, and for each finding the class that it most likely means."""
        return self.chosen({})

    def chosen(
        self,
        classes: Mapping[str, str],
        views: Collection[str] | None = None,
        modalities: Collection[str] | None = None,
    ) -> ClassMapping:
        """What is proposed, but for what is given; raises DatasetError where that is a finding or view of no image."""
        every = list(self.modalities()) if self.from_folders else radiographs(self.modalities())
        modalities = modalities or every
        there = self.views(modalities)
        views = views or (list(there) if self.from_folders else frontal_views(there))
        for what, given, known in (
            ("finding", classes, self.findings()),
            ("view", views, self.views(self.modalities())),
            ("modality", modalities, self.modalities()),
        ):
            if unknown := set(given) - set(known):
                names = ", ".join(name or "(none)" for name in known)
                raise DatasetError(f"No image has the {what} {sorted(unknown)[0]}; there are: {names}.")
        own = {finding: finding if self.from_folders else class_of_finding(finding) for finding in self.findings()}
        return ClassMapping(own | dict(classes), views, modalities)

    def taken(self, choice: ClassMapping) -> dict[PurePosixPath, str]:
        """The class of each image that is taken, by its place."""
        return {
            place: label
            for place, row in self.rows.items()
            if _cell(row, "modality") in choice.modalities
            and _cell(row, "view") in choice.views
            and (label := choice.classes.get(row["finding"], "").strip())
        }

    def notes(self, choice: ClassMapping) -> list[str]:
        """A sentence for each group of images that a choice leaves out."""
        left: Counter[str] = Counter()
        findings: Counter[str] = Counter()
        for row in self.rows.values():
            if (modality := _cell(row, "modality")) not in choice.modalities:
                left[f"of the modality {modality}"] += 1
            elif (view := _cell(row, "view")) not in choice.views:
                left[f"of the view {view}"] += 1
            elif not choice.classes.get(row["finding"], "").strip():
                findings[row["finding"] or NOT_GIVEN] += 1
        notes = [f"Left out: {count(n, 'image')} {what}." for what, n in left.most_common()]
        if findings:
            names = ", ".join(f"{n} {finding}" for finding, n in findings.most_common())
            notes.append(
                f"Left out: {count(sum(findings.values()), 'image')} whose finding was given no class: {names}."
            )
        if self.without_image:
            notes.append(f"{self.without_image} rows of {METADATA} name an image that is not there.")
        if self.unnamed:
            notes.append(f"Left out: {count(self.unnamed, 'image')} that {METADATA} does not name.")
        return notes

    def written(self, choice: ClassMapping) -> bytes:
        """The metadata.csv of what is taken, with a column ``class``."""
        file = io.StringIO(newline="")
        writer = csv.DictWriter(file, [*(column for column in self.columns if column != "class"), "class"])
        writer.writeheader()
        writer.writerows({**self.rows[place], "class": label} for place, label in self.taken(choice).items())
        return file.getvalue().encode()


def frontal_views(views: Iterable[str]) -> list[str]:
    """Those of the views that are not from the side."""
    return [view for view in views if view.lower() not in LATERAL_VIEWS]


def radiographs(modalities: Collection[str]) -> list[str]:
    """Those of the modalities that are no CT; all where there is nothing else."""
    return [name for name in modalities if name.upper() != "CT"] or list(modalities)


def _cell(row: Mapping[str, str], column: str) -> str:
    return row.get(column) or NOT_GIVEN


# Collections whose file names tell the patient (group 1).
_COLLECTIONS = (
    ("NIH ChestX-ray8", re.compile(r"(\d{8})_\d{3}")),  # PATIENT_FOLLOWUP (Wang et al. 2017)
    # Kermany et al. 2018, as on Kaggle and in its third version. NORMAL2-IM and IM number different patients.
    ("Kermany et al. 2018", re.compile(r"((?:normal2-)?im-\d{4})-\d{4}(?:-\d{4})?|(person\d+)_(?:bacteria|virus)_\d+")),
    ("Kermany et al. 2018", re.compile(r"((?:normal|bacteria|virus)-\d+)-\d{4}")),
    ("Eurorad", re.compile(r"(\d{5})_\d+_\d+")),  # CASE_FIGURE_PANEL
)
# Who the patients of a collection are, where that may tell its images from others.
WHO = {
    "Kermany et al. 2018": "children of one to five years",
    "NIH ChestX-ray8": "patients of one hospital, mostly adults",
    "case reports": "cut from publications, mostly adults",
}
# Under what licence the images of a collection are, where one holds for all of them. Those of ieee8023's, case reports
# and SIRM among them, have each their own, which its metadata.csv tells.
LICENCES = {
    "Kermany et al. 2018": "CC BY 4.0",
    "NIH ChestX-ray8": "free to use with credit",
}
# Cases of the Italian radiologists' society (SIRM) in ieee8023/covid-chestxray-dataset with several images: their
# names are random, and only its metadata.csv tells which belong together. Patient: starts of the names.
_SIRM = {
    start: patient
    for patient, starts in {
        "32": "39ee8e69 191f3b3a de488fe1",
        "33": "7c69c012 44c8e3d6 3ed3c0e1",
        "34": "fc230fe2 66298cbf",
        "35": "925446ae 6a7d4110",
        "36": "8fde8dba 9c34af49 21ddebfd",
        "37": "f2de909f 31ba3780",
        "38": "f051e018 5083a6b7",
        "39": "1312a392 396a81a5",
        "51": "f4341ce7 d5acaa93 e63574a7 35af5c3b",
        "70": "7d2cf6ce fe9f9a5d 4c4defd8",
        "71": "171cb377 5931b64a c6ea0be5",
        "77": "03bf7561 254b82fc",
        "86": "b2d20576 6c94a287",
    }.items()
    for start in starts.split()
}
# The first patient in the United States, whom three publications show in copies of the same images.
_FIRST_US = re.compile(r"nejmoa2001191_.+|auntminnie-2020_01_31_.+_us|ncov-snohomish-.+")
_UUID = re.compile(r"([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# Case reports, named after the paper or web page they come from. All figures of one paper count as one patient: some
# are (nejmoa2001191_f1 to _f5), the names do not tell which, and patients taken together cannot leak.
_CASE = re.compile(r"(.*(?:pneumonia|caso)-\d+)[-_].+")  # Radiopaedia, SIRM: covid-19-pneumonia-35-2
_PANEL = re.compile(r"-[a-f](?=-\d{4}_)|(?<=case\d)[a-f]$")  # auntminnie-b-2020_..., lancet-case2a
_AFTER_THE_CASE = re.compile(
    r"[-_.](?:fig(?:ure)?-?\d|gr?\d|fx\d|f\d+[a-z]?(?:-|$)|pdf-\d{3}).*"  # figure
    r"|[-_](?:day-?\d+|\d+-(?:days|hours)|prior|admission|on-admission)(?:[-_].*)?$"  # day
    r"|(?<=\d)f\d+(?:-[a-z])?$"  # figure without a separator: tpmd200203f2-a
    r"|[-_](?:pa|ap|aps|l|lat|lateral|frontal)$"  # view
)


def patient_of(name: str) -> tuple[str, str]:
    """The collection and the patient that an image's file name tells, ("", "") where it tells none.

    Names that follow the conventions of NIH ChestX-ray8 (Wang et al. 2017), Kermany et al. (2018), Eurorad, and
    ieee8023/covid-chestxray-dataset (Cohen et al. 2020) are known. Images of one patient get one key; images of
    several patients of one paper may also get one.
    """
    stem = Path(name).stem.lower()
    for collection, pattern in _COLLECTIONS:
        if match := pattern.fullmatch(stem):
            return collection, f"{collection}:{next(filter(None, match.groups()))}"
    if _FIRST_US.fullmatch(stem):
        return "case reports", "case reports:first in the United States"
    if match := _UUID.fullmatch(stem):
        return ("SIRM", f"SIRM:{_SIRM[match[1]]}") if match[1] in _SIRM else ("", "")
    if match := _CASE.fullmatch(stem):
        return "case reports", f"case reports:{match[1]}"
    case = _PANEL.sub("", _AFTER_THE_CASE.sub("", stem))
    return ("case reports", f"case reports:{case}") if case not in (stem, "") else ("", "")
