import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from covid_cnn.common.statistics import Interval
from covid_cnn.data import audit, shortcuts, synthetic
from covid_cnn.data import dataset as data_dataset
from covid_cnn.images import reader
from covid_cnn.images.ops import stamp
from covid_cnn.reports import html

CUES = shortcuts.CUES


def write(path: Path, seed: int, size: tuple[int, int] = (256, 256), change: int = 0) -> None:
    """A smooth random picture; a seed is a picture, `change` makes it a slightly brighter copy."""
    coarse = np.random.default_rng(seed).integers(0, 200, (24, 24), dtype=np.uint8)
    image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).point(lambda value: value + change)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


@pytest.fixture
def root(tmp_path):
    """A dataset in which nothing is wrong."""
    for split in ("train", "test"):
        for label in ("NORMAL", "PNEUMONIA"):
            for n in range(6):
                write(tmp_path / split / label / f"{n}.png", seed=len([*tmp_path.rglob("*.png")]))
    return tmp_path


@pytest.fixture(autouse=True)
def _no_shortcuts(home, monkeypatch):
    """What is worked out here is kept elsewhere than the program's own, and shortcuts, which take long, are not."""
    monkeypatch.setattr(shortcuts, "CUES", ())


@pytest.fixture
def all_shortcuts(_no_shortcuts, monkeypatch):
    monkeypatch.setattr(shortcuts, "CUES", CUES)


@pytest.fixture
def some_shortcuts(_no_shortcuts, monkeypatch):
    monkeypatch.setattr(shortcuts, "CUES", tuple(cue for cue in CUES if cue.name in ("size", "corners")))


def findings(root: Path, kind: str) -> list[audit.Finding]:
    return [
        finding for finding in audit.audit_dataset(data_dataset.open_dataset(root)).findings if finding.kind == kind
    ]


def test_a_clean_dataset(root):
    progress = []
    report = audit.audit_dataset(data_dataset.open_dataset(root), lambda part, message: progress.append(part))
    assert report.findings == ()
    assert str(report).endswith("24 images, no findings")
    assert progress[-1] == 1 and progress == sorted(progress) and len(progress) > 24


def test_what_the_dataset_leaves_out(root):
    write(root / "test" / "loose.png", seed=1000)
    (finding,) = findings(root, "left_out")
    assert finding.severity == "note" and "left out: in no folder of a class" in finding.sentence


def test_unreadable_and_small(root):
    (root / "train" / "NORMAL" / "0.png").write_bytes(b"no image")
    write(root / "train" / "NORMAL" / "1.png", seed=1001, size=(300, 150))
    assert findings(root, "unreadable")[0].paths == ("train/NORMAL/0.png",)
    assert findings(root, "small")[0].paths == ("train/NORMAL/1.png",)


def test_nothing_readable(tmp_path):
    (tmp_path / "A").mkdir()
    (tmp_path / "A" / "1.png").write_bytes(b"no image")
    assert [finding.kind for finding in audit.audit_dataset(data_dataset.open_dataset(tmp_path)).findings] == [
        "unreadable"
    ]


@pytest.mark.parametrize(
    ("one", "other", "severity", "words"),
    [
        ("train/NORMAL/x.png", "train/PNEUMONIA/y.png", "serious", "two classes"),
        ("train/NORMAL/x.png", "test/NORMAL/y.png", "serious", "two splits"),
        ("train/NORMAL/x.png", "train/NORMAL/y.png", "warning", "two patients"),
        ("train/NORMAL/z-day1.png", "train/NORMAL/z-day2.png", "note", "one patient"),
    ],
)
@pytest.mark.parametrize(("change", "kind"), [(0, "duplicate"), (9, "near_duplicate")])
def test_duplicates(root, one, other, severity, words, change, kind):
    write(root / one, seed=2000)
    write(root / other, seed=2000, change=change)
    (finding,) = findings(root, "duplicate") + findings(root, "near_duplicate")
    assert (finding.kind, finding.severity) == (kind, severity)
    assert words in finding.sentence
    assert set(finding.pairs[0]) == {one, other} and len(finding.pairs) == 1


def test_each_of_many_copies_is_told_once(root):
    for n in range(3):
        write(root / "train" / "NORMAL" / f"x{n}.png", seed=2000)
    for n in range(2):
        write(root / "train" / "PNEUMONIA" / f"y{n}.png", seed=2000, change=9)
    same, same_changed = findings(root, "duplicate")[0].pairs, findings(root, "near_duplicate")[0].pairs
    x, y = "train/NORMAL/x{}.png", "train/PNEUMONIA/y{}.png"
    assert same == ((x.format(0), x.format(1)), (x.format(0), x.format(2)), (y.format(0), y.format(1)))
    assert same_changed == ((x.format(0), y.format(0)),)


def test_patient_in_two_splits(root):
    write(root / "train" / "NORMAL" / "IM-0001-0001.png", seed=3000)
    write(root / "test" / "NORMAL" / "IM-0001-0002.png", seed=3001)
    (finding,) = findings(root, "patient_in_splits")
    assert finding.severity == "serious"
    assert finding.paths == ("test/NORMAL/IM-0001-0002.png", "train/NORMAL/IM-0001-0001.png")


def test_labels_that_file_names_contradict(root):
    for n, name in enumerate(["SARS-1.png", "covid-19-with-ards.png", "SARS-CoV-2-9.png", "summers.png"]):
        write(root / "test" / "PNEUMONIA" / name, seed=4000 + n)
    write(root / "test" / "NORMAL" / "covid.png", seed=4010)
    normal, pneumonia = findings(root, "label")
    assert normal.paths == ("test/NORMAL/covid.png",)
    assert "1 of 10 images in test/PNEUMONIA" in pneumonia.sentence and "1 SARS" in pneumonia.sentence


def test_uneven_classes(root):
    for n in range(30):
        write(root / "train" / "NORMAL" / f"more{n}.png", seed=5000 + n)
    (finding,) = findings(root, "imbalance")
    assert "42 images of NORMAL, but 12 of PNEUMONIA" in finding.sentence


def test_size_that_tells_the_class(tmp_path, some_shortcuts):
    for n in range(20):
        write(tmp_path / "A" / f"{n}.png", seed=6000 + n, size=(300 + n, 256))
        write(tmp_path / "B" / f"{n}.png", seed=7000 + n, size=(256, 300 + n))
    (finding,) = findings(tmp_path, "size_shortcut")
    assert "AUROC of 1.000 (95 % CI" in finding.sentence and "n = 40" in finding.sentence


def test_sources_that_tell_the_class(root):
    for path in (root / "train" / "NORMAL").iterdir():
        path.rename(path.with_name(f"IM-000{path.stem}-0001.png"))
    assert not findings(root, "source_shortcut"), "the normals of test are from elsewhere"
    for path in (root / "test" / "NORMAL").iterdir():
        path.rename(path.with_name(f"NORMAL2-IM-000{path.stem}-0001.png"))
    (finding,) = findings(root, "source_shortcut")
    assert "NORMAL from Kermany et al. 2018" in finding.sentence


def test_report_as_text_and_json(root, some_shortcuts):
    for n in range(7):
        write(root / "test" / "PNEUMONIA" / f"MERS-{n}.png", seed=8000 + n)
    (root / "train" / "NORMAL" / "0.png").write_bytes(b"no image")
    report = audit.audit_dataset(data_dataset.open_dataset(root))
    text = str(report)
    assert "[warning]" in text and "test/PNEUMONIA/MERS-4.png" in text and "and 2 more" in text
    told = json.loads(json.dumps(report.to_dict()))
    assert told["images"] == 31 and len(told["findings"]) == 2
    assert {one["name"] for one in told["shortcuts"]} == {"size", "corners"}
    assert all(0 <= one["auroc"]["low"] <= one["auroc"]["high"] <= 1 for one in told["shortcuts"])
    assert told["findings"][0]["paths"] == ["train/NORMAL/0.png"]


def test_synthetic_radiographs_are_clean(tmp_path, all_shortcuts):
    folder = synthetic.write_dataset(tmp_path / "synthetic", counts={"train": 12, "test": 6}, size=256)
    report = audit.audit_dataset(data_dataset.open_dataset(folder))
    assert report.findings == ()
    assert len(report.shortcuts) == len(CUES)


@pytest.mark.parametrize(
    ("planted", "kinds", "words"),
    [
        ("leak", {"duplicate"}, "in two splits"),
        ("duplicate", {"duplicate"}, "two patients"),
        ("marker", {"corners_shortcut"}, "The four corners alone tell"),
    ],
)
def test_what_is_planted_among_synthetic_radiographs_is_found(tmp_path, some_shortcuts, planted, kinds, words):
    folder = synthetic.write_dataset(tmp_path / "synthetic", counts={"train": 12, "test": 6}, size=256)
    ill = sorted(folder.glob("*/PNEUMONIA/*.png"))
    if planted == "marker":
        for path in ill:
            synthetic.write_png(path, stamp(reader.read(path).pixels, 0.89, 0.03, 0.1, "L"))
    else:
        shutil.copyfile(ill[-1], folder / {"leak": "test", "duplicate": "train"}[planted] / "PNEUMONIA" / "copy.png")
    report = audit.audit_dataset(data_dataset.open_dataset(folder))
    found = {finding.kind for finding in report.findings}
    assert found and found <= kinds
    assert words in str(report)


@pytest.mark.parametrize("name", ["synthetic_normal_9999.jpg", "case.jpg"])
def test_a_copy_of_a_synthetic_radiograph_in_another_size_and_format_is_found(tmp_path, name):
    folder = synthetic.write_dataset(tmp_path / "synthetic", counts={"train": 12, "test": 6}, size=256)
    original = sorted((folder / "train" / "NORMAL").iterdir())[3]
    with Image.open(original) as image:
        image.resize((150, 150), Image.Resampling.LANCZOS).save(folder / "test" / "NORMAL" / name, quality=80)
    (finding,) = findings(folder, "near_duplicate")
    assert finding.severity == "serious" and "two splits" in finding.sentence
    assert finding.pairs == ((f"test/NORMAL/{name}", f"train/NORMAL/{original.name}"),)


def test_a_shortcut_below_chance_is_explained():
    def sentence(low: float, high: float) -> str:
        return shortcuts.Shortcut("size", "Sizes", "A", Interval((low + high) / 2, low, high, 45), False).sentence

    assert "Below it there is nothing to learn" in sentence(0.12, 0.42)
    assert sentence(0.3, 0.6).endswith("where 0.5 is chance.")


def test_of_many_images_a_sample_is_measured_with_as_many_of_each_class():
    counts = {"A": 900, "B": 60, "C": 40}
    items = [
        data_dataset.Item(Path(f"{label}{n}.png"), "", label, f"{label}{n // 2}", "set")
        for label, count in counts.items()
        for n in range(count)
    ]
    drawn = shortcuts.sample(items, 200)
    assert drawn == [item for item in items if item in drawn] and 200 <= len(drawn) <= 206
    labels = Counter(item.label for item in drawn)
    assert labels["C"] == 40 and labels["B"] == 60, "all of the rare ones"
    patients = {item.patient for item in drawn}
    assert sum(item.patient in patients for item in items) == len(drawn), "patients are whole"
    assert shortcuts.sample(items, 1000) == items


def test_the_audit_of_a_sample_points_at_the_images_of_the_whole(tmp_path, some_shortcuts, monkeypatch):
    monkeypatch.setattr(shortcuts, "sample", lambda items: items[10:])
    for n in range(30):
        write(tmp_path / "A" / f"{n:02}.png", seed=6000 + n, size=(300 + n, 256))
        write(tmp_path / "B" / f"{n:02}.png", seed=7000 + n, size=(256, 300 + n))
    (finding,) = findings(tmp_path, "size_shortcut")
    assert "n = 50" in finding.sentence and {path[0] for path in finding.paths} == {"A", "B"}
    assert all(path.startswith("A/") and path >= "A/10" for path in finding.paths if path[0] == "A")


def test_views_that_are_not_frontal(root):
    write(root / "train" / "NORMAL" / "case-lateral.png", seed=9000)
    write(root / "train" / "NORMAL" / "case2-l.png", seed=9001)
    write(root / "train" / "NORMAL" / "latex-alpha.png", seed=9002)
    (finding,) = findings(root, "not_frontal")
    assert finding.paths == ("train/NORMAL/case-lateral.png", "train/NORMAL/case2-l.png")


def test_a_page_of_html_with_every_image_and_nothing_to_load(root):
    write(root / "test" / "NORMAL" / "<b>x.png", seed=2000)
    write(root / "train" / "NORMAL" / "y.png", seed=2000)
    (root / "train" / "NORMAL" / "<i>.png").write_bytes(b"no image")
    dataset = data_dataset.open_dataset(root)
    page = html.render_audit(audit.audit_dataset(dataset), dataset)
    assert page.count("<img ") == 2 and 'src="data:image/jpeg' in page and "http" not in page
    assert "&lt;b&gt;x.png" in page and "<b>" not in page and "<i>" not in page
    assert "in two splits" in page and "not verdicts" in page and "is damaged" in page


@pytest.fixture(scope="session")
def notebook(real_data, tmp_path_factory) -> audit.AuditReport:
    """The audit of the notebook's dataset, done once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COVID_CNN_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setattr(shortcuts, "CUES", CUES)
        return audit.audit_dataset(data_dataset.open_dataset(real_data / "xray_dataset_covid19"))


@pytest.mark.real_data
def test_what_is_wrong_with_the_notebooks_dataset(notebook):
    report = notebook
    told = {(finding.kind, finding.severity): finding for finding in report.findings}
    source = told["source_shortcut", "serious"].sentence
    assert "NORMAL from Kermany et al. 2018: children of one to five years" in source and "mostly adults" in source
    assert "16 of 20 images in test/PNEUMONIA name something else: 11 SARS, 5 Streptococcus." in str(report)
    train = next(one.sentence for one in report.findings if "images in train/PNEUMONIA" in one.sentence)
    assert all(name in train for name in ("MERS", "ARDS", "Pneumocystis", "snake bite"))
    several = told["several_images", "note"].paths
    assert any("day0" in path for path in several) and any("IM-0011-0001-0002" in path for path in several)
    for name in ("size", "borders", "corners", "thumbnail", "without_lungs"):
        finding = told[f"{name}_shortcut", "serious"]
        assert {path.split("/")[1] for path in finding.paths} == {"NORMAL", "PNEUMONIA"}
    pairs = told["near_duplicate", "note"].pairs
    assert sum(any("nejmoa2001191" in path for path in pair) for pair in pairs) == 2, "one patient in three papers"
    assert ("unreadable", "warning") not in told
