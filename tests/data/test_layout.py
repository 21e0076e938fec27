"""What folders and tables are understood as, case by case: what is meant is read, what is left out is told."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from covid_cnn.common.errors import DatasetError
from covid_cnn.data.dataset import open_dataset
from covid_cnn.data.layout import split_of
from covid_cnn.data.tables import parse_table

NOISE = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
SHAPE = (np.hypot(*np.mgrid[-32:32, -32:32]) < 20).astype(np.uint8) * 255


def write(root: Path, *places: str, pixels: np.ndarray = NOISE, kind: str | None = None) -> Path:
    for place in places:
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, kind)
    return root


def names(folder: str, count: int = 3, ending: str = ".png", first: int = 0) -> list[str]:
    return [f"{folder}/{n}{ending}" for n in range(first, first + count)]


def understood(root: Path) -> tuple[Mapping[str, Mapping[str, int]], str]:
    dataset = open_dataset(root)
    return dataset.counts, " ".join(dataset.notes)


# Folders


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *((name, "train") for name in ("train", "TRAIN", "Training", "training_set", "Train Data", "trainset", "Tr")),
        *((name, "val") for name in ("val", "Valid", "VALIDATION", "validation-set", "dev", "val_images")),
        *((name, "test") for name in ("test", "TEST", "Testing", "Tests", "test_data", "TestSet", "hold-out")),
        *((name, "") for name in ("latest", "tested", "trainee", "COVID", "normal", "value", "", "contest")),
    ],
)
def test_words_for_splits(name, split):
    assert split_of(name) == split


def test_splits_by_whatever_name(tmp_path):
    for split in ("Training", "Valid", "TEST"):
        write(tmp_path, *names(f"{split}/COVID"), *names(f"{split}/Normal"))
    assert understood(tmp_path)[0] == {split: {"COVID": 3, "Normal": 3} for split in ("train", "val", "test")}


def test_splits_inside_of_classes(tmp_path):
    for label in ("COVID", "Normal"):
        write(tmp_path, *names(f"{label}/train"), *names(f"{label}/Test", 2))
    assert understood(tmp_path)[0] == {"train": {"COVID": 3, "Normal": 3}, "test": {"COVID": 2, "Normal": 2}}


def test_a_flat_test_folder_is_told(tmp_path):
    write(tmp_path, *names("train/COVID"), *names("train/Normal"), *names("test", 4))
    counts, notes = understood(tmp_path)
    assert counts == {"train": {"COVID": 3, "Normal": 3}} and "4 images in test/ left out" in notes


def test_images_beside_classes_and_splits_are_told(tmp_path):
    write(tmp_path, *names("train/COVID"), *names("train/Normal"), *names("other/COVID", 2), "cover.png")
    _, notes = understood(tmp_path)
    assert "beside the splits: other (2 images)" in notes and "1 image in the folder itself left out" in notes


def test_class_names_that_differ_in_case_hyphens_or_blanks_are_one(tmp_path):
    write(tmp_path, *names("train/COVID-19"), *names("train/Normal"), *names("test/Covid 19"), *names("test/NORMAL", 4))
    counts, notes = understood(tmp_path)
    assert counts == {"train": {"COVID-19": 3, "NORMAL": 3}, "test": {"COVID-19": 3, "NORMAL": 4}}
    assert "COVID-19 (3) and Covid 19 (3) are one class, called COVID-19." in notes
    assert "NORMAL (4) and Normal (3) are one class, called NORMAL." in notes


@pytest.mark.parametrize("ending", [".jfif", ".jpe", ".JPG", ".tiff", ".dib", ".mpo", ".jif", ".webp", ""])
def test_every_ending_of_a_format_that_is_read(tmp_path, ending):
    kind = {".tiff": "TIFF", ".dib": "BMP", ".webp": "WEBP"}.get(ending, "JPEG")
    write(tmp_path, *names("COVID", ending=ending), kind=kind)
    write(tmp_path, *names("Normal"))
    assert understood(tmp_path) == ({"": {"COVID": 3, "Normal": 3}}, "")


def test_files_of_no_kind_that_is_read_are_counted(tmp_path):
    write(tmp_path, *names("COVID"), *names("Normal"))
    for name in ("a.gif", "b.gif", "c.heic"):
        (tmp_path / "COVID" / name).write_bytes(b"x")
    for name in ("README.md", "labels.txt", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"x")
    assert understood(tmp_path)[1] == "3 files are of no kind that is read, and left out: 2 .gif, 1 .heic."


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_pipes_and_what_they_lead_to_are_told(tmp_path):
    root, elsewhere = tmp_path / "set", write(tmp_path / "elsewhere", "x.png")
    write(root, *names("COVID"), *names("Normal"))
    (root / "COVID" / "out.png").symlink_to(elsewhere / "x.png")
    (root / "COVID" / "nowhere.png").symlink_to(tmp_path / "nowhere")
    (root / "COVID" / "itself.png").symlink_to("itself.png")
    (root / "Normal" / "inside.png").symlink_to("../COVID/1.png")
    (root / "loop").symlink_to(".")
    os.mkfifo(root / "Normal" / "pipe.png")
    counts, notes = understood(root)
    assert counts == {"": {"COVID": 4, "Normal": 3}}
    for sentence in (
        "2 links that lead nowhere were left out.",
        "1 linked folder was left out.",
        "1 pipe, socket or device was left out.",
        "1 link to an image of the same folder was left out.",
        "1 image is a link out of the folder, and read.",
    ):
        assert sentence in notes


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_folder_of_links_is_read_and_each_image_counts_once(tmp_path):
    root, store = tmp_path / "set", tmp_path / "store"
    write(store, *names(".", 6))
    write(root, *names("raw", 2))
    for place, target in (
        *(("train/COVID/a.png", store / "0.png"), ("train/COVID/b.png", store / "0.png")),
        *(("train/Normal/a.png", store / "1.png"), ("test/COVID/a.png", root / "raw/0.png")),
        *(("test/Normal/a.png", root / "raw/1.png"), ("test/Normal/b.png", root / "raw/1.png")),
    ):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).symlink_to(target)
    counts, notes = understood(root)
    assert counts == {split: {"COVID": 1, "Normal": 1} for split in ("train", "test")}
    assert "2 links to images of the same folder were left out." in notes


# Masks


@pytest.mark.parametrize(
    ("images", "masks", "number"),
    [
        ("{}/images", "{}/masks", 6),
        ("{}/images", "{}/lung_masks_v2", 6),
        ("images/{}", "masks/{}", 6),
        ("{}", "{}/Mask", 6),
        ("{}/images", "{}/segmentation", 6),
        ("{}/images", "{}/lungs", 6),  # by the same names and two greys
        ("{}", "Ground truth", 3),
    ],
)
def test_masks_in_folders(tmp_path, images, masks, number):
    for label in ("COVID", "Normal"):
        write(tmp_path, *names(images.format(label)))
        write(tmp_path, *names(masks.format(label)), pixels=SHAPE)
    counts, notes = understood(tmp_path)
    assert counts == {"": {"COVID": 3, "Normal": 3}} and notes.startswith(f"{number} masks were left out")


@pytest.mark.parametrize("pattern", ["{}_mask.png", "{}-Mask.png", "mask_{}.png", "{}_seg.png", "{}_x.png", "{}_m.jpg"])
def test_masks_beside_images(tmp_path, pattern):
    write(tmp_path, *names("COVID"), *names("Normal"))
    write(tmp_path, *(f"COVID/{pattern.format(n)}" for n in range(3)), pixels=SHAPE)
    counts, notes = understood(tmp_path)
    assert counts == {"": {"COVID": 3, "Normal": 3}} and notes.startswith("3 masks were left out")


def test_one_name_in_every_class_makes_no_mask(tmp_path):
    smooth = np.tile(np.arange(64, dtype=np.uint8), (64, 1))  # a far smaller file, and no mask
    write(tmp_path, *names("COVID"), *names("unmasked"))
    write(tmp_path, *names("Normal"), pixels=smooth)
    assert understood(tmp_path) == ({"": {"COVID": 3, "Normal": 3, "unmasked": 3}}, "")


# Tables

ROWS = [("a0.png", "COVID-19", "Train"), ("a1.png", "No Finding", "TEST"), ("a2.png", "No Finding", "valid")]


def table(
    root: Path,
    header: str = "filename,finding,split",
    encoding: str = "utf-8",
    name: str = "metadata.csv",
    rows: list[tuple[str, str, str]] = ROWS,
) -> Path:
    write(root, *(f"images/a{n}.png" for n in range(3)))
    text = "\r\n".join([header, *(",".join(row) for row in rows)])
    (root / name).write_bytes(text.encode(encoding))
    return root


EXPECTED = {
    "train": {"COVID-19": 1, "No Finding": 0},
    "val": {"COVID-19": 0, "No Finding": 1},
    "test": {"COVID-19": 0, "No Finding": 1},
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_tables_of_every_encoding(tmp_path, encoding):
    table(tmp_path, "filename,finding,split,Größe", encoding, rows=[(*row, "3") for row in ROWS])
    assert understood(tmp_path) == (EXPECTED, "")


@pytest.mark.parametrize("separator", [";", "\t", "|", ","])
def test_tables_of_every_separator(tmp_path, separator):
    table(tmp_path)
    text = (tmp_path / "metadata.csv").read_text()
    (tmp_path / "metadata.csv").write_text(text.replace(",", separator))
    assert understood(tmp_path) == (EXPECTED, "")
    (tmp_path / "metadata.csv").write_text(f"sep={separator}\n" + text.replace(",", separator))
    assert understood(tmp_path) == (EXPECTED, "")


@pytest.mark.parametrize(
    "header",
    [
        "FILENAME,FINDING,SPLIT",
        " Filename , Finding , Split ",
        "file_name,label,set",
        "Image Index,Finding Labels,Subset",
        "image,class,partition",
        "X_ray_image_name,Label,Dataset_type",
        "image_path,diagnosis,split",
    ],
)
def test_tables_of_other_columns(tmp_path, header):
    assert understood(table(tmp_path, header)) == (EXPECTED, "")


@pytest.mark.parametrize(
    "spell",
    [
        lambda name: name.removesuffix(".png"),
        str.upper,
        lambda name: f"  {name} ",
        lambda name: f"images/{name}",
        lambda name: f"C:\\xrays\\images\\{name}",
        lambda name: name.replace(".png", ".dcm"),
    ],
)
def test_images_by_whatever_spelling(tmp_path, spell):
    assert understood(table(tmp_path, rows=[(spell(name), *rest) for name, *rest in ROWS])) == (EXPECTED, "")


def test_a_table_by_another_name(tmp_path):
    assert understood(table(tmp_path, name="Labels.CSV")) == (EXPECTED, "")


def test_what_a_table_does_not_tell_is_told(tmp_path):
    rows = [("a0.png", "COVID-19", "fold 3"), ("gone.png", "COVID-19", "train"), ("a1.png", "", "train")]
    write(tmp_path, "images/b.png", "images/c.png")
    counts, notes = understood(table(tmp_path, rows=[*rows, ("a2.png", "covid 19", ""), ("a2.png", "SARS", "")]))
    assert sum(map(sum, (by_class.values() for by_class in counts.values()))) == 2
    assert "1 images without a finding" in notes and "1 rows without their image file" in notes
    assert "2 images are not named in metadata.csv" in notes and "no split that is known: fold 3" in notes
    assert "1 rows that give an image a second class" in notes and "are one class" in notes


def test_a_table_without_the_columns_is_told(tmp_path):
    with pytest.raises(
        DatasetError, match=r"metadata.csv was not used: it needs .* has file number, verdict\..*not sorted"
    ):
        understood(table(tmp_path, "file number,verdict", rows=[("1", "2", "")]))
    with pytest.raises(DatasetError, match="cannot be read"):
        parse_table(b"\xff\xfe\x00")
