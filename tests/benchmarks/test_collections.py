"""Three collections become one dataset, and nobody of the notebook's test split is learned from under another name.

Images stand for radiographs here: what is drawn from one seed is one radiograph.
"""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import collections
from benchmarks.collections import COHEN, NIH, NOTEBOOK, Gathered
from covid_cnn.common.errors import DatasetError
from covid_cnn.data.classes import COVID, NORMAL, OTHER
from covid_cnn.data.dataset import Item

# The collection's images: the seed of each, its name, its patient, its finding.
COLLECTION = [
    # Of the notebook's test split.
    (1, "renamed.png", "1", "Pneumonia/Viral/COVID-19"),  # there under another name
    (2, "another-day.png", "1", "Pneumonia/Viral/COVID-19"),
    (3, "cut-out.jpg", "2", "Pneumonia/Bacterial/Streptococcus"),  # there with the same name and other looks
    (4, "afterwards.png", "2", "Pneumonia/Bacterial/Streptococcus"),
    (5, "covid-19-pneumonia-7-day-1.png", "3", "COVID-19, ARDS"),  # of the case of another image there
    # The others.
    *[(10 + n, f"covid{n}.png", f"1{n}", "Pneumonia/Viral/COVID-19") for n in range(6)],
    *[(20 + n, f"sars{n}.png", f"2{n}", "Pneumonia/Viral/SARS") for n in range(6)],
    *[(30 + n, f"healthy{n}.png", f"3{n}", "No Finding") for n in range(3)],
]
NOTEBOOK_TEST = {
    "PNEUMONIA/figure_one.jpeg": 1,
    "PNEUMONIA/cut-out.jpeg": 103,
    "PNEUMONIA/covid-19-pneumonia-7-day-9.jpeg": 104,
    "NORMAL/NORMAL2-IM-0001-0001.jpeg": 40,
}
NOTEBOOK_TRAIN = {
    "PNEUMONIA/covid0.jpeg": 10,
    "PNEUMONIA/other_name.jpeg": 20,
    "NORMAL/NORMAL2-IM-0001-0002.jpeg": 41,  # the patient is in the test
    **{f"NORMAL/IM-01{n:02d}-0001.jpeg": 50 + n for n in range(8)},
}
# Two of them are of one patient.
NIH_IMAGES = {f"{label}/{n:08d}_000.jpg": 60 + n for n in range(20) for label in [("No_findings", "Pneumonia")[n % 2]]}
NIH_IMAGES["No_findings/00000000_001.jpg"] = 90


def write(path: Path, seed: int, size: int = 160) -> None:
    coarse = np.random.default_rng(seed).integers(0, 256, (24, 24), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(coarse).resize((160, 160), Image.Resampling.BICUBIC).resize((size, size)).save(path)


@pytest.fixture
def folder(tmp_path) -> Path:
    """The three collections, small."""
    root = tmp_path / "collections"
    for seed, name, *_ in COLLECTION:
        write(root / COHEN / "images" / name, seed)
    with (root / COHEN / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filename", "patientid", "finding", "license"])
        writer.writerows([name, patient, finding, "CC0"] for _, name, patient, finding in COLLECTION)
    for split, images in (("test", NOTEBOOK_TEST), ("train", NOTEBOOK_TRAIN)):
        for name, seed in images.items():
            write(root / NOTEBOOK / split / name, seed, size=120)
    for name, seed in NIH_IMAGES.items():
        write(root / NIH / name, seed)
    return root


def names(items: tuple[Item, ...], collection: str) -> set[str]:
    return {item.path.name for item in items if collection in item.path.parts}


def of(gathered: Gathered, name: str) -> Item:
    (item,) = (item for item in gathered.items if item.path.name == name)
    return item


def test_the_notebooks_test_patients_leave_under_every_name(folder):
    gathered = collections.gather_collections(folder)
    asked = [item for item in gathered.items if item.split == "test" and NOTEBOOK in item.path.parts]
    assert {Path(name).name for name in NOTEBOOK_TEST} <= {item.path.name for item in asked}
    # They are told in different ways: by look, by patient, by name, and by the case that a name tells.
    assert names(gathered.items, COHEN) == {name for seed, name, *_ in COLLECTION if seed >= 10}
    assert "NORMAL2-IM-0001-0002.jpeg" not in names(gathered.items, NOTEBOOK)
    assert gathered.notes[0].startswith("6 images of patients of the notebook's 4 test images were dropped")
    assert f"(5 from {COHEN}, 1 from {NOTEBOOK})" in gathered.notes[0]


def test_the_notebooks_training_pneumonias_leave_as_copies(folder):
    gathered = collections.gather_collections(folder)
    assert not {"covid0.jpeg", "other_name.jpeg"} & names(gathered.items, NOTEBOOK)
    assert {"covid0.png", "sars0.png"} <= names(gathered.items, COHEN)
    assert gathered.notes[1] == "2 pneumonias of the notebook's training split were dropped as copies."


def test_every_other_image_is_there_once(folder):
    paths = [item.path for item in collections.gather_collections(folder).items]
    assert paths == sorted(set(paths))
    assert len(paths) == len(COLLECTION) - 5 + len(NOTEBOOK_TEST) + 8 + len(NIH_IMAGES)


def test_classes_follow_the_findings(folder):
    gathered = collections.gather_collections(folder)
    told = {
        "covid1.png": COVID,
        "sars1.png": OTHER,
        "healthy1.png": NORMAL,
        "IM-0101-0001.jpeg": NORMAL,
        "NORMAL2-IM-0001-0001.jpeg": NORMAL,
        "00000002_000.jpg": NORMAL,
        "00000003_000.jpg": OTHER,
        # The notebook calls both PNEUMONIA; the image that they are copies of tells which.
        "figure_one.jpeg": COVID,
        "cut-out.jpeg": OTHER,
    }
    assert {name: of(gathered, name).label for name in told} == told
    assert of(gathered, "figure_one.jpeg").facts == {"finding": "Pneumonia/Viral/COVID-19", "license": "CC0"}


def test_no_patient_is_in_two_splits_and_each_split_has_all_classes(folder):
    for seed in range(3):
        items = collections.gather_collections(folder, seed).items
        splits = {patient: {i.split for i in items if i.patient == patient} for patient in {i.patient for i in items}}
        assert all(len(where) == 1 for where in splits.values())
        for split in ("train", "val", "test"):
            assert {item.label for item in items if item.split == split} == {NORMAL, OTHER, COVID}


def test_a_fifth_of_the_nih_patients_is_held_out(folder):
    nih = [item for item in collections.gather_collections(folder).items if NIH in item.path.parts]
    held_out = Counter(item.label for item in nih if item.split == "test")
    assert held_out == {NORMAL: 2, OTHER: 2}
    assert len({item.patient for item in nih}) == 20  # 21 images


def test_a_patient_of_two_collections_is_one(folder):
    """The same image under two names brings all images of both patients together."""
    write(folder / NIH / "Pneumonia" / "00000001_001.jpg", seed=21)
    gathered = collections.gather_collections(folder)
    keys = {of(gathered, name).patient for name in ("00000001_000.jpg", "00000001_001.jpg", "sars1.png")}
    assert len(keys) == 1


def test_the_seed_decides_the_splits(folder):
    first, again, other = (collections.gather_collections(folder, seed).items for seed in (0, 0, 1))
    assert first == again
    assert {item.path: item.split for item in first} != {item.path: item.split for item in other}


def test_progress_is_told_to_the_end(folder):
    heard = []
    gathered = collections.gather_collections(folder, progress=lambda share, message: heard.append((share, message)))
    n = len(COLLECTION) + len(NOTEBOOK_TEST) + len(NOTEBOOK_TRAIN) + len(NIH_IMAGES)
    assert len(heard) == n > len(gathered.items)
    assert heard[-1] == (1, f"Compared {n} of {n} images")


def test_an_unreadable_image_is_left_out_with_a_note(folder):
    (folder / NIH / "Pneumonia" / "00000001_000.jpg").write_bytes(b"no image")
    gathered = collections.gather_collections(folder)
    assert "00000001_000.jpg" not in names(gathered.items, NIH)
    assert gathered.notes[0] == "1 images could not be read."


@pytest.mark.parametrize("name", collections.COLLECTIONS)
def test_a_missing_collection_is_told_in_a_sentence(folder, name):
    (folder / name).rename(folder / "elsewhere")
    with pytest.raises(DatasetError, match=f"There is no dataset .*{name}"):
        collections.gather_collections(folder)


# The real collections
