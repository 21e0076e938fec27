import csv
import io
import os
import stat
import zipfile
from collections import defaultdict
from pathlib import Path

import kagglehub
import pytest

from covid_cnn.common import paths
from covid_cnn.common.errors import CovidCnnError, DatasetError
from covid_cnn.common.jobs import unwatched
from covid_cnn.data import dataset as data_dataset
from covid_cnn.data import importer, metadata, tree
from covid_cnn.data.splits import split_by_patient, training_splits


def make(root: Path, *names: str) -> Path:
    """Files whose content is their own name: indexing and adding open no image."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return root


def make_metadata(root: Path, rows: list[dict[str, str]]) -> Path:
    make(root, *(f"images/{row['filename']}" for row in rows))
    with (root / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)
    return root


def make_zip(members: dict[str, bytes]) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    file.seek(0)
    return file


GOOD_ZIP = {"train/A/1.png": b"1", "train/B/2.png": b"2", "run.sh": b"rm", "__MACOSX/train/A/._1.png": b"x"}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> None:
    """The datasets lie in data/ of each test's own folder."""
    monkeypatch.setenv("COVID_CNN_HOME", str(tmp_path))


def test_home_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("COVID_CNN_HOME", str(tmp_path))
    assert paths.data_dir() == tmp_path / "data"
    monkeypatch.delenv("COVID_CNN_HOME")
    assert (paths.home() / "covid_cnn").is_dir()


def test_splits_and_classes(tmp_path):
    root = make(
        tmp_path / "set",
        "Train/A/1.png",
        "Train/B/2.JPG",
        "validation/A/3.dcm",
        "test/B/deep/4.jpeg",
        "test/B/notes.txt",
    )
    make(root, "__MACOSX/train/A/1.png", "train/A/.hidden.png", "extra/A/9.png")
    dataset = data_dataset.open_dataset(root)
    assert dataset.name == "set"
    assert dataset.classes == ("A", "B")
    assert dataset.counts == {"train": {"A": 1, "B": 1}, "val": {"A": 1, "B": 0}, "test": {"A": 0, "B": 1}}
    assert [item.path.name for item in dataset.subset("test")] == ["4.jpeg"]
    assert any("extra" in note for note in dataset.notes)


def test_classes_without_splits_behind_an_outer_folder(tmp_path):
    make(tmp_path / "set", "inner/A/1.png", "inner/B/1.png", "README.md")
    dataset = data_dataset.open_dataset(tmp_path / "set")
    assert dataset.counts == {"": {"A": 1, "B": 1}}
    assert dataset.root == tmp_path / "set" / "inner"
    assert len({item.patient for item in dataset.items}) == 2, "1.png of two folders are two patients"


def test_one_class_can_be_looked_at_but_not_trained_on(tmp_path):
    dataset = data_dataset.open_dataset(make(tmp_path / "set", "A/1.png", "A/2.png"))
    assert dataset.counts == {"": {"A": 2}}
    with pytest.raises(DatasetError, match="two classes"):
        dataset.check_trainable()


def test_metadata(tmp_path):
    root = make_metadata(
        tmp_path / "set",
        [
            {
                "filename": "a.png",
                "finding": "Pneumonia/Viral/COVID-19",
                "patientid": "7",
                "view": "PA",
                "license": "CC0",
            },
            {
                "filename": "b.png",
                "finding": "COVID-19, ARDS",
                "patientid": "7",
                "url": "https://www.eurorad.org/case/1",
            },
            {"filename": "c.png", "finding": "No Finding", "patientid": "8", "view": "L"},
            {"filename": "d.png", "finding": "No Finding", "patientid": "9", "modality": "CT"},
            {"filename": "e.png", "finding": "todo"},
            {"filename": "f.png", "finding": "Tuberculosis"},
        ],
    )
    (root / "images" / "unlisted.png").touch()
    a, b, f = data_dataset.open_dataset(root).items
    assert (a.label, b.label, f.label) == ("COVID-19", "COVID-19", "Tuberculosis")
    assert a.patient == b.patient != f.patient
    assert a.facts == {"finding": "Pneumonia/Viral/COVID-19", "view": "PA", "license": "CC0"}
    assert b.source == "eurorad.org"
    notes = " ".join(data_dataset.open_dataset(root).notes)
    assert "1 CT slices" in notes and "1 lateral views" in notes and "1 images without a finding" in notes


def test_metadata_may_tell_class_split_and_source(tmp_path):
    url = "https://www.eurorad.org/case/1"
    rows = [
        {"filename": "a.png", "finding": "SARS", "class": "other pneumonia", "split": "train", "source": "NIH"},
        {"filename": "b.png", "finding": "SARS", "class": "other pneumonia", "split": "valid", "url": url},
        {"filename": "c.png", "finding": "Pneumonia/Viral/COVID-19", "class": "", "split": "test"},
        {"filename": "d.png", "finding": "SARS", "split": "elsewhere"},
    ]
    dataset = data_dataset.open_dataset(make_metadata(tmp_path / "set", rows))
    assert [item.label for item in dataset.items] == ["other pneumonia", "other pneumonia", "COVID-19", "SARS"]
    assert [item.split for item in dataset.items] == ["train", "val", "test", ""]
    assert [item.source for item in dataset.items] == ["NIH", "eurorad.org", "set", "set"]
    assert dataset.items[0].facts == {"finding": "SARS"}


def test_metadata_of_two_columns_cannot_reach_outside(tmp_path):
    make(tmp_path, "secret.png")
    root = make_metadata(tmp_path / "set", [{"filename": "a.png", "finding": "A"}])
    with (root / "metadata.csv").open("a") as file:
        file.write("../../secret.png,B\nmissing.png,B\n,B\n")
    dataset = data_dataset.open_dataset(root)
    assert [item.path.name for item in dataset.items] == ["a.png"]
    assert dataset.notes == ("3 rows without their image file were left out.",)


def test_a_case_listed_twice_is_one_patient(tmp_path):
    url = "https://www.eurorad.org/case/10483"
    rows = [("1-24.png", "285"), ("1-24_jpg.png", "339"), ("6-17_jpg.png", "339"), ("2.png", "286")]
    root = make_metadata(
        tmp_path / "set", [{"filename": name, "finding": "A", "patientid": p, "url": url} for name, p in rows]
    )
    patients = {item.path.name: item.patient for item in data_dataset.open_dataset(root).items}
    assert patients["1-24.png"] == patients["1-24_jpg.png"] == patients["6-17_jpg.png"] != patients["2.png"]


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_linked_file_is_read_and_a_linked_folder_may_lead_anywhere(tmp_path):
    make(tmp_path, "elsewhere/far.png")
    root = make(tmp_path / "set", "A/1.png", "B/2.png")
    (root / "A" / "link.png").symlink_to(tmp_path / "elsewhere" / "far.png")
    (root / "C").symlink_to(tmp_path / "elsewhere")
    dataset = data_dataset.open_dataset(root)
    assert [item.path.name for item in dataset.items] == ["1.png", "link.png", "2.png"]
    assert "1 linked folder was left out." in dataset.notes


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ((), "no dataset"),
        (("notes.txt",), "no images"),
        (("1.png",), "not sorted by class"),
        (("train/1.png", "test/2.png"), "train/CLASS"),
    ],
)
def test_what_is_no_dataset(tmp_path, names, sentence):
    make(tmp_path / "set", *names)
    with pytest.raises(DatasetError, match=sentence):
        data_dataset.open_dataset(tmp_path / "set")


def test_discover_and_open_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("COVID_CNN_HOME", str(tmp_path))
    assert data_dataset.discover_datasets() == ([], [])
    make(tmp_path / "data", "good/A/1.png", "bad/notes.txt", ".adding-x/A/1.png", "README.md")
    found, problems = data_dataset.discover_datasets()
    assert [dataset.name for dataset in found] == ["good"]
    assert len(problems) == 1 and "bad" in problems[0]
    assert data_dataset.open_dataset("good").root == tmp_path / "data" / "good"
    with pytest.raises(DatasetError, match="no dataset nowhere"):
        data_dataset.open_dataset("nowhere")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("00001362_001.jpg", "00001362_017.png"),
        ("IM-0011-0001.jpeg", "IM-0011-0001-0002.jpeg"),
        ("person12_bacteria_45.jpeg", "person12_bacteria_46.jpeg"),
        ("16751_2_1.jpg", "16751_3_2.jpg"),
        ("171CB377-62FF-4B76-906C-F3787A01CB2E.jpeg", "5931b64a-7b97-485d-be60-3f1ea76bc4f0.png"),
        ("nejmoa2001191_f1-PA.jpeg", "nejmoa2001191_f4.jpeg"),
        ("ryct.2020200034.fig5-day0.jpeg", "ryct.2020200034.fig5-day7.jpeg"),
        ("covid-19-pneumonia-22-day1-pa.jpg", "covid-19-pneumonia-22-L.jpg"),
        ("lancet-case2a.jpg", "lancet-case2b.jpg"),
    ],
)
def test_names_of_one_patient(one, other):
    assert metadata.patient_of(one) == metadata.patient_of(other) != ("", "")


def test_names_of_two_patients():
    assert metadata.patient_of("NORMAL2-IM-0035-0001.jpeg") != metadata.patient_of("IM-0035-0001.jpeg")
    assert metadata.patient_of("covid-19-pneumonia-2-PA.jpg") != metadata.patient_of("covid-19-pneumonia-22-PA.jpg")


@pytest.mark.parametrize("name", ["1.png", "synthetic_normal_0001.png", "COVID-12.png", "image.png", "-PA.png"])
def test_names_that_tell_no_patient(name):
    assert metadata.patient_of(name) == ("", "")


def test_a_case_without_a_suffix_belongs_to_those_with_one(tmp_path):
    root = make(tmp_path / "set", "train/A/covid-19-pneumonia-20.jpg", "train/A/covid-19-pneumonia-20-L.jpg")
    assert len({item.patient for item in data_dataset.open_dataset(root).items}) == 1


@pytest.mark.real_data
def test_no_real_patient_is_told_as_two(real_data):
    with (real_data / "covid-chestxray-dataset" / "metadata.csv").open(newline="") as file:
        real = {Path(row["filename"]).stem.lower(): row["patientid"] for row in csv.DictReader(file)}
    told = defaultdict(set)
    for item in data_dataset.open_dataset(real_data / "xray_dataset_covid19").items:
        if patient := real.get(item.path.stem.lower()):
            told[patient].add(item.patient)
    assert len(told) > 50
    assert {patient: keys for patient, keys in told.items() if len(keys) > 1} == {}


@pytest.mark.real_data
def test_the_real_collections(real_data):
    notebook = data_dataset.open_dataset(real_data / "xray_dataset_covid19")
    assert notebook.counts == {"train": {"NORMAL": 74, "PNEUMONIA": 74}, "test": {"NORMAL": 20, "PNEUMONIA": 20}}
    covid = data_dataset.open_dataset(real_data / "covid-chestxray-dataset")
    assert len(covid.items) == 540 - 63 - 44
    assert [note.split()[0] for note in covid.notes] == ["195", "63", "44"], "masks, CT slices, lateral views"
    assert len({item.patient for item in data_dataset.open_dataset(real_data / "nih-chestxray8-subset").items}) < 1000


def items_of(**patients: list[int]) -> list[data_dataset.Item]:
    """Items by class: the number of images of each of its patients."""
    return [
        data_dataset.Item(Path(f"{label}-{p}-{n}.png"), "", label, f"{label}-{p}", "set")
        for label, counts in patients.items()
        for p, count in enumerate(counts)
        for n in range(count)
    ]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("counts", [{"A": [1, 1], "B": [1, 9]}, {"A": [3] * 30, "B": [1] * 40, "C": [2, 5, 1, 30]}])
def test_split_by_patient(counts, seed):
    items = items_of(**counts)
    rest, part = split_by_patient(items, 0.2, seed)
    assert sorted(rest + part, key=str) == sorted(items, key=str)
    assert not {item.patient for item in rest} & {item.patient for item in part}
    assert {item.label for item in rest} == {item.label for item in part} == set(counts)
    again = split_by_patient(items[::-1], 0.2, seed)[1]
    assert {item.path for item in again} == {item.path for item in part}, "the order of the items must not matter"


def test_split_by_patient_keeps_the_shares_and_follows_the_seed():
    items = items_of(A=[1] * 100, B=[2] * 100)
    parts = [split_by_patient(items, 0.2, seed)[1] for seed in (0, 1)]
    for part in parts:
        assert sum(item.label == "A" for item in part) == 20
        assert sum(item.label == "B" for item in part) == 40
    assert parts[0] != parts[1]


def test_split_by_patient_needs_two_patients():
    with pytest.raises(DatasetError, match="too few"):
        split_by_patient(items_of(A=[1, 1], B=[5]), 0.2, 0)


def test_training_splits_of_a_set_without_splits():
    items = items_of(A=[1] * 50, B=[1] * 50)
    splits = training_splits(data_dataset.Dataset("set", Path(), tuple(items)), seed=0)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (64, 16, 20)
    assert len(splits.notes) == 2


def test_training_splits_keep_the_test_and_drop_its_patients(tmp_path):
    make(tmp_path / "set", *(f"train/{label}/x{n}.png" for label in "AB" for n in range(10)))
    make(tmp_path / "set", "train/A/IM-0001-0001.png", "test/A/IM-0001-0002.png", "test/B/y.png")
    splits = training_splits(data_dataset.open_dataset(tmp_path / "set"), seed=0)
    assert {item.path.name for item in splits.test} == {"IM-0001-0002.png", "y.png"}
    assert "IM-0001-0001.png" not in {item.path.name for item in splits.train + splits.val}
    assert len(splits.train) == 16 and len(splits.val) == 4
    assert "1 images were dropped from train" in splits.notes[0]


def test_training_splits_need_training_images(tmp_path):
    make(tmp_path / "set", "test/A/1.png", "test/B/2.png")
    with pytest.raises(DatasetError, match="no training images of A, B"):
        training_splits(data_dataset.open_dataset(tmp_path / "set"), seed=0)


def test_fingerprint_knows_content_and_label_but_no_place_or_order(tmp_path):
    one, two = (make(tmp_path / name, "A/1.png", "B/2.png") for name in ("one", "two"))
    (two / "A" / "1.png").write_bytes((one / "A" / "1.png").read_bytes())
    digest = data_dataset.fingerprint(data_dataset.open_dataset(one).items)
    assert digest == data_dataset.fingerprint(reversed(data_dataset.open_dataset(two).items))
    (two / "A" / "1.png").write_text("another image")
    assert digest != data_dataset.fingerprint(data_dataset.open_dataset(two).items)
    (one / "A" / "1.png").rename(one / "B" / "1.png")
    assert digest != data_dataset.fingerprint(data_dataset.open_dataset(one).items)


def test_add_a_folder_once(tmp_path):
    source = make(tmp_path / "my set", "train/A/1.png", "train/B/2.png", "train/B/run.exe")
    progress = []
    added, new = importer.add_dataset(source, progress=lambda part, message: progress.append(part))
    assert new and added.name == "my_set" and len(added.items) == 2
    assert not list(added.root.rglob("*.exe"))
    assert progress[-1] == 1
    assert importer.add_dataset(source) == (added, False)
    make(source, "train/A/3.png")
    with pytest.raises(DatasetError, match="another name"):
        importer.add_dataset(source)
    assert len(importer.add_dataset(source, name="other").dataset.items) == 3
    assert sorted(path.name for path in (tmp_path / "data").glob("[!.]*")) == ["my_set", "other"]


def test_add_a_zip(tmp_path):
    (tmp_path / "set.zip").write_bytes(make_zip(GOOD_ZIP).getvalue())
    added, _ = importer.add_dataset(tmp_path / "set.zip")
    assert added.name == "set"
    assert sorted(p.name for p in added.root.rglob("*") if p.is_file()) == ["1.png", "2.png", "NOTES.txt"]
    assert added.notes == ("1 file is of no kind that is read, and left out: 1 .sh.",)
    assert importer.add_dataset(make_zip(GOOD_ZIP), "set") == (added, False)


def encrypted() -> io.BytesIO:
    data = bytearray(make_zip(GOOD_ZIP).getvalue())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return io.BytesIO(bytes(data))


def damaged() -> io.BytesIO:
    data = bytearray(make_zip({"A/1.png": os.urandom(500), "B/2.png": b"2"}).getvalue())
    data[100:200] = bytes(100)
    return io.BytesIO(bytes(data))


def linked() -> io.BytesIO:
    link = zipfile.ZipInfo("train/A/3.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    file = make_zip(GOOD_ZIP)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    file.seek(0)
    return file


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        (make_zip(GOOD_ZIP | {"../evil.png": b"x"}), "outside its own folder"),
        (make_zip(GOOD_ZIP | {"/evil.png": b"x"}), "outside its own folder"),
        (make_zip(GOOD_ZIP | {"C:/evil.png": b"x"}), "outside its own folder"),
        (make_zip(GOOD_ZIP | {"A/..\\..\\evil.png": b"x"}), "outside its own folder"),
        (make_zip(GOOD_ZIP | {"train/A/bomb.png": bytes(10**7)}), "more than a .zip of images"),
        (make_zip({"readme.txt": b"x"}), "no images"),
        (linked(), "links"),
        (encrypted(), "encrypted"),
        (damaged(), "damaged"),
        (io.BytesIO(b"PK no zip"), "damaged, or no .zip"),
    ],
)
def test_a_bad_zip_leaves_nothing(tmp_path, file, sentence):
    with pytest.raises(CovidCnnError, match=sentence):
        importer.add_dataset(file, "set")
    assert list(tmp_path.glob("data/[!.]*")) == list(tmp_path.glob("data/.adding*")) == []
    assert not list(tmp_path.rglob("evil.png"))


def test_add_from_kaggle(tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    cache = make(tmp_path / "cache" / "versions" / "4", "xray/train/A/1.png", "xray/train/B/2.png")
    monkeypatch.setattr(kagglehub, "dataset_download", lambda handle: {"me/x-rays": str(cache)}[handle])
    added, _ = importer.add_dataset("kaggle:me/x-rays")
    assert added.name == "x-rays" and added.classes == ("A", "B")
    with pytest.raises(DatasetError, match=r"could not be reached for me/other .*by hand"):
        importer.add_dataset("kaggle:me/other")
    with pytest.raises(DatasetError, match="owner/name"):
        importer.add_dataset("kaggle:nonsense")


def test_kaggle_that_never_answers(tmp_path, monkeypatch):
    from threading import Event

    silence = Event()
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    monkeypatch.setattr(importer, "KAGGLE_PATIENCE", 1)
    monkeypatch.setattr(kagglehub, "dataset_download", lambda handle: silence.wait())
    with pytest.raises(DatasetError, match="no answer in 1 s"):
        importer.add_dataset("kaggle:me/x-rays")
    silence.set()


def test_add_synthetic(tmp_path, monkeypatch):

    def write(folder, progress):
        return make(folder, "train/NORMAL/synthetic_0.png", "train/PNEUMONIA/synthetic_1.png")

    monkeypatch.setattr("covid_cnn.data.synthetic.write_dataset", write)
    added, new = importer.add_dataset("synthetic")
    assert new and added.synthetic and added.root == tmp_path / "data" / "synthetic"


COVID_ROWS = [
    {"filename": "a.png", "finding": "COVID-19", "view": "PA", "modality": "X-ray", "license": "CC0"},
    {"filename": "b.png", "finding": "SARS", "view": "L", "modality": "X-ray", "license": "CC BY"},
    {"filename": "c.png", "finding": "No Finding", "view": "AP", "modality": "X-ray", "license": ""},
    {"filename": "d.png", "finding": "Tuberculosis", "view": "AP", "modality": "X-ray", "license": ""},
]


def test_findings_become_classes_when_they_are_added(tmp_path):
    source = make_metadata(tmp_path / "findings", COVID_ROWS)
    added, _ = importer.add_dataset(source)
    assert {item.path.name: item.label for item in added.items} == {"a.png": "COVID-19", "c.png": "normal"}
    assert added.items[0].facts["license"] == "CC0"
    assert "1 image of the view L" in added.notes[0] and "1 Tuberculosis" in added.notes[1]
    assert importer.add_dataset(source) == (added, False)

    def lateral_too(offer):
        return offer.sheet.chosen({"Tuberculosis": "other"}, ["PA", "AP", "L"])

    with pytest.raises(DatasetError, match="another name"):
        importer.add_dataset(source, choose=lateral_too)
    more, _ = importer.add_dataset(source, name="more", choose=lateral_too)
    assert [item.label for item in more.items] == ["COVID-19", "other pneumonia", "normal", "other"]
    assert importer.add_dataset(more.root, name="again").dataset.classes == more.classes


def test_findings_of_a_zip_become_classes(tmp_path):
    root = make_metadata(tmp_path / "findings", COVID_ROWS)
    packed = {f"outer/{path.relative_to(root)}": path.read_bytes() for path in root.rglob("*") if path.is_file()}
    sheet = importer.examine_source(make_zip(packed), "set").sheet
    assert sheet.findings() == {row["finding"]: 1 for row in COVID_ROWS}
    added, _ = importer.add_dataset(make_zip(packed), "set")
    assert added.classes == ("COVID-19", "normal")
    assert importer.examine_source(make(tmp_path / "plain", "A/1.png")).sheet.from_folders


def test_findings_that_are_given_no_class_at_all(tmp_path):
    source = make_metadata(tmp_path / "findings", COVID_ROWS)
    with pytest.raises(DatasetError, match="No image would be left"):
        importer.add_dataset(source, choose=lambda offer: offer.sheet.chosen({"COVID-19": "", "No Finding": ""}))


class Killed(BaseException):
    """As the end of a process: nothing catches it."""


def killed_after(files: int):
    def progress(part, message):
        if message.startswith(f"Copied {files} "):
            raise Killed

    return progress


@pytest.mark.parametrize("packed", [False, True])
def test_an_import_that_is_cut_off_goes_on_where_it_was(tmp_path, monkeypatch, packed):
    names = [f"{label}/{n}.png" for label in "AB" for n in range(5)]
    root = make(tmp_path / "set", *names)
    archive = make_zip({name: name.encode() for name in names})

    def again(progress=unwatched):
        return importer.add_dataset(archive if packed else root, "set", progress)

    with pytest.raises(Killed):
        again(killed_after(6))
    assert data_dataset.discover_datasets() == ([], []), "half a dataset is none"
    assert importer.unfinished_imports() == ["set"]

    read = []
    for source in (tree.Folder, tree.Zip):

        def pieces(self, place, pieces=source.pieces):
            read.append(place.as_posix())
            return pieces(self, place)

        monkeypatch.setattr(source, "pieces", pieces)
    added, new = again()
    assert new and len(added.items) == 10
    assert len(read) == (10 if packed else 4), "of a .zip three images of each folder are looked at: are they masks?"
    assert {item.path.relative_to(added.root).as_posix(): item.path.read_text() for item in added.items} == {
        name: name for name in names
    }
    assert importer.unfinished_imports() == []
    assert [path.name for path in (tmp_path / "data").glob("[!.]*")] == ["set"]


def test_an_import_does_not_go_on_with_the_files_of_another(tmp_path):
    source = make(tmp_path / "set", "A/1.png", "B/2.png")
    with pytest.raises(Killed):
        importer.add_dataset(source, progress=killed_after(1))
    for name in ("A/1.png", "B/2.png"):
        (source / name).write_text(name[::-1])  # of the same size
    added, _ = importer.add_dataset(source)
    assert {item.path.read_text() for item in added.items} == {"gnp.1/A", "gnp.2/B"}


def test_what_was_cut_off_can_be_discarded(tmp_path):
    with pytest.raises(Killed):
        importer.add_dataset(make(tmp_path / "a-b", "A/1.png"), progress=killed_after(1))
    importer.discard_unfinished("a")
    assert importer.unfinished_imports() == ["a-b"]
    importer.discard_unfinished("a-b")
    assert list((tmp_path / "data").glob("[!.]*")) == list((tmp_path / "data").glob(".adding*")) == []


def test_add_nothing(tmp_path):
    with pytest.raises(DatasetError, match="no folder or .zip"):
        importer.add_dataset(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="no name"):
        importer.add_dataset(make(tmp_path / "set", "A/1.png"), name="../..")
    with pytest.raises(DatasetError, match="Give the folder"):
        importer.add_dataset("")
    with pytest.raises(DatasetError, match="too long a name"):
        importer.add_dataset(make(tmp_path / "set", "A/1.png"), name="x" * 240)


def test_a_linked_dataset_is_found_by_the_name_of_its_link(tmp_path):
    elsewhere = make(tmp_path / "elsewhere", "A/1.png", "B/2.png")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "linked").symlink_to(elsewhere, target_is_directory=True)
    (found,), problems = data_dataset.discover_datasets()
    assert found.name == "linked" and not problems
    assert data_dataset.open_dataset("linked").items == found.items


def test_the_licence_is_the_images_own_or_that_of_its_collection(tmp_path):
    for name in ("IM-0115-0001.jpeg", "00000001_000.jpg", "synthetic_normal_0001.png", "anything.png"):
        image = tmp_path / "set" / "NORMAL" / name
        image.parent.mkdir(parents=True, exist_ok=True)
        image.touch()
    told = {item.path.name: item.licence for item in data_dataset.open_dataset(tmp_path / "set").items}
    assert told == {
        "IM-0115-0001.jpeg": "CC BY 4.0",
        "00000001_000.jpg": "free to use with credit",
        "synthetic_normal_0001.png": "none needed: drawn by the program",
        "anything.png": "not told",
    }
    own = data_dataset.Item(image, "", "NORMAL", "1", "Kermany et al. 2018", {"license": "CC0"})
    assert own.licence == "CC0"
