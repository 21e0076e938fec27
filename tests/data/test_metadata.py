from pathlib import PurePosixPath

import pytest

from covid_cnn.common.errors import DatasetError
from covid_cnn.data import classes
from covid_cnn.data.classes import COVID, NORMAL, NOT_GIVEN, OTHER
from covid_cnn.data.metadata import ClassMapping, MetadataTable
from covid_cnn.data.tables import parse_table

TABLE = """filename,finding,view,modality,license
a.png,Pneumonia/Viral/COVID-19,PA,X-ray,CC0
b.png,"COVID-19, ARDS",AP Supine,X-ray,CC BY
c.png,No Finding,L,X-ray,
d.png,Pneumonia/Bacterial/Streptococcus,,X-ray,
e.png,Tuberculosis,PA,X-ray,
f.png,COVID-19,Axial,CT,
f.png,SARS,PA,X-ray,
gone.png,SARS,PA,X-ray,
../secret.png,SARS,PA,X-ray,
"""
FILES = {PurePosixPath("images") / f"{name}.png" for name in "abcdef"} | {PurePosixPath("images/unlisted.png")}


@pytest.fixture
def sheet() -> MetadataTable:
    sheet = MetadataTable.of(parse_table(TABLE.encode()), FILES)
    assert sheet
    return sheet


def names(sheet: MetadataTable, choice: ClassMapping) -> dict[str, str]:
    return {place.stem: label for place, label in sheet.taken(choice).items()}


@pytest.mark.parametrize(
    ("finding", "label"),
    [
        ("Pneumonia/Viral/COVID-19", COVID),
        ("COVID-19, ARDS", COVID),
        ("SARS-CoV-2", COVID),
        ("No Finding", NORMAL),
        ("SARS", OTHER),
        ("Pneumocystis", OTHER),
        ("Mycoplasma Bacterial Pneumonia", OTHER),
        ("E.Coli", OTHER),
        ("Pneumonia", OTHER),
        ("ARDS", OTHER),
        ("Lipoid", OTHER),
        ("Tuberculosis", ""),
        ("Unknown", ""),
        ("todo", ""),
        ("", ""),
    ],
)
def test_what_a_finding_is_proposed_to_mean(finding, label):
    assert classes.class_of_finding(finding) == label


def test_counts_of_what_there_is_to_choose_from(sheet):
    assert sheet.modalities() == {"X-ray": 5, "CT": 1}
    assert sheet.views(["X-ray"]) == {"PA": 2, "AP Supine": 1, "L": 1, NOT_GIVEN: 1}
    assert sheet.views(["CT"]) == {"Axial": 1}
    assert sheet.findings()["COVID-19"] == 1 and "SARS" not in sheet.findings(), "f.png is listed twice: the first"
    assert sheet.without_image == 2


def test_the_proposal_takes_frontal_radiographs_whose_finding_means_a_class(sheet):
    choice = sheet.proposed()
    assert names(sheet, choice) == {"a": COVID, "b": COVID, "d": OTHER}
    notes = " ".join(sheet.notes(choice))
    assert "1 image of the modality CT" in notes and "1 image of the view L" in notes
    assert "1 image whose finding was given no class: 1 Tuberculosis" in notes and "2 rows" in notes


def test_a_choice_of_another_mapping_and_other_views(sheet):
    choice = sheet.chosen({"Tuberculosis": "TB", "COVID-19, ARDS": ""}, ["PA", "L"])
    assert names(sheet, choice) == {"a": COVID, "c": NORMAL, "e": "TB"}
    assert names(sheet, sheet.chosen({}, None, ["CT"])) == {"f": COVID}


@pytest.mark.parametrize("given", [({"Typo": "x"},), ({}, ["XX"]), ({}, None, ["MR"])])
def test_what_no_image_has_cannot_be_chosen(sheet, given):
    with pytest.raises(DatasetError, match="No image has the"):
        sheet.chosen(*given)


def test_what_is_written_has_the_class_and_the_licence_and_is_no_sheet_again(sheet):
    content = sheet.written(sheet.proposed())
    assert content.decode().splitlines()[:2] == [
        "filename,finding,view,modality,license,class",
        "a.png,Pneumonia/Viral/COVID-19,PA,X-ray,CC0,COVID-19",
    ]
    assert MetadataTable.of(parse_table(content), FILES) is None


def test_other_tables_are_no_sheets():
    assert MetadataTable.of(parse_table(b"filename,size\na.png,x\n"), FILES) is None
    with pytest.raises(DatasetError, match="cannot be read"):
        parse_table(b"\xff\xfe\x00")
