"""Which images are of one patient, told from the file names of well-known collections."""

import re
from pathlib import Path

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
