"""The command line keeps its contracts, and ends every mistake of a user in one sentence and exit status 1."""

import csv
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet
from uploads import DEEP, dicom

from covid_cnn import __version__, cli
from covid_cnn.common.errors import ImageError
from covid_cnn.data import synthetic
from covid_cnn.evaluation import leakage
from covid_cnn.images import ops, reader, sources
from covid_cnn.images.augment import AUGMENTATIONS
from covid_cnn.models import batch, bundle
from covid_cnn.models.block_process import BlockProcess
from covid_cnn.models.bundle import Bundle
from covid_cnn.runs import run as runs_run

COLUMNS = ["path", "label", "in_distribution", "warning", "error", "prediction_set", "p_NORMAL", "p_PNEUMONIA"]


class Result(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """What went wrong, and nothing else."""
        lines = self.err.strip().splitlines()
        assert self.status == 1 and len(lines) == 1 and lines[0].endswith("."), self
        return lines[0]


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run the command line in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["covid_cnn", *map(str, arguments)])
        capsys.readouterr()
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        return Result(status, *capsys.readouterr())

    return run


def test_the_help_of_train_names_every_augmentation(run):
    text = run("train", "--help").out
    assert not [name for name in AUGMENTATIONS if name not in text]


@pytest.fixture
def with_model(home, tiny_model) -> Path:
    """A home that holds the tiny model as the default one, and the dataset that it was trained on."""
    shutil.copytree(tiny_model.bundle, home / "models" / bundle.DEFAULT_MODEL)
    (home / "data").mkdir()
    (home / "data" / "drawn").symlink_to(tiny_model.dataset.root)
    return home


def change(home: Path, **changes: object) -> None:
    """Change the model.json of the default model."""
    info = home / "models" / bundle.DEFAULT_MODEL / bundle.INFO_FILE
    info.write_text(json.dumps(json.loads(info.read_text()) | changes))


def limit(home: Path, distance: float) -> None:
    """Take images up to this distance for ones like those of the training."""
    statistics = bundle.read_info(home / "models" / bundle.DEFAULT_MODEL).in_distribution
    change(home, in_distribution=msgspec.to_builtins(statistics) | {"limit": distance})


@pytest.fixture
def images(tmp_path) -> Path:
    """A folder with two radiographs, one of them deep below, and what is no image."""
    folder = tmp_path / "images"
    (folder / "below" / "deeper").mkdir(parents=True)
    synthetic.write_png(folder / "one.png", synthetic.draw_radiograph(1, opacities=True, size=96))
    Image.fromarray(np.uint8(synthetic.draw_radiograph(2, opacities=False, size=96) * 255)).save(
        folder / "below" / "deeper" / "TWO.JPEG"
    )
    (folder / "notes.txt").write_text("no image")
    return folder


def table(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


# predict


def test_predict_writes_a_row_for_each_image_of_a_folder(run, with_model, images, tmp_path):
    result = run("predict", images, "--csv", tmp_path / "out.csv")
    assert (result.status, result.out) == (0, "")
    rows = table(tmp_path / "out.csv")
    assert [list(row) for row in rows] == [COLUMNS, COLUMNS]
    assert [row["path"] for row in rows] == [str(images / "below" / "deeper" / "TWO.JPEG"), str(images / "one.png")]
    model = Bundle(with_model / "models" / bundle.DEFAULT_MODEL)
    for row in rows:
        prediction = model.predict(reader.read(Path(row["path"])).pixels)
        assert row["label"] == prediction.label
        assert row["in_distribution"] == ("true" if prediction.in_distribution else "false")
        heat = prediction.heatmaps[..., prediction.classes.index(prediction.label)]
        assert row["warning"] == " ".join(filter(None, [prediction.warning, "" if heat.any() else batch.NO_HEAT]))
        assert row["error"] == ""
        assert row["prediction_set"] == " | ".join(prediction.prediction_set)
        for name, probability in prediction.by_class().items():
            assert float(row[f"p_{name}"]) == pytest.approx(probability, abs=1e-6)


def test_predict_flags_what_is_unlike_the_training_images(run, with_model, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200), np.uint8)).save(tmp_path / "noise.png")
    run("predict", tmp_path / "noise.png", "--csv", tmp_path / "out.csv")
    (row,) = table(tmp_path / "out.csv")
    assert row["in_distribution"] == "false"
    assert "unlike those the model learned from" in row["warning"]


def test_an_unreadable_file_is_a_row_and_the_others_are_done(run, with_model, images, tmp_path):
    (images / "broken.png").write_bytes(b"no image")
    result = run("predict", images / "broken.png", tmp_path / "missing.png", images / "one.png", "--csv", "out.csv")
    assert result.status == 1
    broken, missing, good = table(tmp_path / "out.csv")
    assert broken["error"].startswith("broken.png is damaged or not an image")
    assert missing["error"].startswith("missing.png does not exist")
    for row in (broken, missing):
        assert {row[column] for column in COLUMNS if column not in ("path", "error")} == {""}
    assert good["label"] and not good["error"]


def test_the_rows_of_a_large_folder_keep_their_order(run, with_model, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for n in range(40):
        size = 900 if n % 4 == 0 else 64  # some take long, and must not come late
        synthetic.write_png(folder / f"{n:02}.png", synthetic.draw_radiograph(n, opacities=bool(n % 2), size=size))
    (folder / "07.png").write_bytes(b"no image")
    assert run("predict", folder, "--csv", "out.csv").status == 1
    rows = table(tmp_path / "out.csv")
    assert [Path(row["path"]).name for row in rows] == [f"{n:02}.png" for n in range(40)]
    assert [n for n, row in enumerate(rows) if row["error"]] == [7]
    model = Bundle(with_model / "models" / bundle.DEFAULT_MODEL)
    for row in rows[:7] + rows[8:]:
        prediction = model.predict(reader.read(Path(row["path"])).pixels)
        assert float(row["p_PNEUMONIA"]) == pytest.approx(prediction.by_class()["PNEUMONIA"], abs=1e-5)


def test_ctrl_c_leaves_a_table_of_what_is_done(run, with_model, images, tmp_path, monkeypatch):
    answer = BlockProcess.answer

    def interrupted(*arguments):
        yield next(answer(*arguments))
        raise KeyboardInterrupt

    monkeypatch.setattr(BlockProcess, "answer", interrupted)
    result = run("predict", images, "--csv", "out.csv")
    left_out = "1 file of no kind that is read was left out: notes.txt.\n"
    assert (result.status, result.err) == (130, left_out + "Stopped after 1 of 2 images; what is done is kept.\n")
    (row,) = table(tmp_path / "out.csv")
    assert row["label"]


def test_a_row_is_in_the_file_as_soon_as_it_is_made(run, with_model, images, tmp_path, monkeypatch):
    answer, written = BlockProcess.answer, []

    def watched(*arguments):
        for row in answer(*arguments):
            written.append(len(table(tmp_path / "out.csv")))
            yield row

    monkeypatch.setattr(BlockProcess, "answer", watched)
    run("predict", images, images / "one.png", "--csv", "out.csv")
    assert written == [0, 1, 2]


def crash() -> None:
    """What a decoder does that fails hard."""
    os.kill(os.getpid(), signal.SIGSEGV)


def test_an_image_that_crashes_its_decoder_is_a_row(run, with_model, images, tmp_path, monkeypatch):
    choice = sources.select([images], lambda archive: archive)
    model = Bundle(with_model / "models" / bundle.DEFAULT_MODEL)
    first, last = batch.predict_rows(model, choice.images, tmp_path / "here")
    choice.images.insert(1, sources.SelectedImage("films/poison.png", crash))
    monkeypatch.setattr(sources, "select", lambda *_: choice)
    result = run("predict", images, "--csv", "out.csv", "--heatmaps", "there")
    rows = table(Path("out.csv"))
    assert result.status == 1 and rows[1]["error"].startswith("poison.png ends the program that reads it")
    assert [row["path"] for row in rows] == [first["path"], "films/poison.png", last["path"]]
    assert [float(row["p_NORMAL"]) for row in rows[::2]] == [first["p_NORMAL"], last["p_NORMAL"]]
    assert [{path.name for path in Path(where).iterdir()} for where in ("here", "there")] == [
        {f"{Path(row['path']).stem}_{row['label']}.png" for row in (first, last)}
    ] * 2


def test_names_are_no_formulas_and_paths_still_open(run, with_model, images, tmp_path):
    for name in ("=1+1.png", "-x.png", "@a.png", "'b.png"):
        shutil.copy(images / "one.png", name)
    (tmp_path / "+bad.png").write_bytes(b"no image")
    run("predict", "=1+1.png", "@a.png", "'b.png", "+bad.png", "--csv", "out.csv", "--", "-x.png")
    rows = table(tmp_path / "out.csv")
    assert [row["path"] for row in rows] == ["./=1+1.png", "./@a.png", "./'b.png", "./+bad.png", "./-x.png"]
    assert all(Path(row["path"]).is_file() for row in rows)
    assert rows[3]["error"].startswith("'+bad.png is damaged")


@pytest.mark.parametrize("cell", ["=A1", "+1", "-1", "@SUM(A1)", "\t=A1", "\r=A1", "'=A1", "plain", "", "a=1"])
def test_a_cell_without_its_apostrophe_is_what_it_was(tiny_model, cell):
    model, file = Bundle(tiny_model.bundle), io.StringIO(newline="")
    batch.write_csv(file, model, [batch.to_row(model, "x", ImageError(cell)) | {"warning": cell}])
    (row,) = csv.DictReader(io.StringIO(file.getvalue(), newline=""))
    harmless = cell in ("plain", "", "a=1")
    assert row["error"] == row["warning"] == ("" if harmless else "'") + cell


def test_dicom_files_are_found_whatever_their_name_and_what_is_left_out_is_told(run, with_model, tmp_path):
    folder, plain = tmp_path / "cd", dicom(DEEP)
    (folder / "DICOM").mkdir(parents=True)
    (folder / "__MACOSX").mkdir()
    files = {"DICOM/IM000001": plain, "DICOM/1.2.840.113": plain, "DICOM/IM000002": plain[132:]}  # its mark left out
    files |= {"DICOMDIR": plain, "__MACOSX/x.png": b"", ".x.png": b""} | {f"{n}.txt": b"notes" for n in "abcd"}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    result = run("predict", folder, "--csv", "out.csv")
    assert result.err == "4 files of no kind that is read were left out: a.txt, b.txt, c.txt and 1 more.\n"
    assert result.status == 0
    found = [Path(row["path"]).name for row in table(tmp_path / "out.csv")]
    assert found == ["1.2.840.113", "IM000001", "IM000002"]
    for name in "bcd":
        (folder / f"{name}.txt").unlink()
    assert run("predict", folder, "--json").err == "1 file of no kind that is read was left out: a.txt.\n"


def test_an_image_is_told_by_its_content_and_pipes_and_broken_links_are_told(run, with_model, images):
    (images / "one.png").rename(images / "one.unheard-of")
    os.mkfifo(images / "pipe.png")
    (images / "link.png").symlink_to("nowhere.png")
    result = run("predict", images, "--json")
    assert [Path(row["path"]).name for row in json.loads(result.out)] == ["TWO.JPEG", "one.unheard-of"]
    assert "2 pipes, devices or broken links were left out: link.png and pipe.png." in result.err


def test_an_empty_heatmap_is_told_everywhere(run, with_model, images, tmp_path, monkeypatch):
    predict = Bundle.predict

    def without_heat(self: Bundle, *arguments: object) -> bundle.Prediction:
        prediction = predict(self, *arguments)
        return replace(prediction, heatmaps=prediction.heatmaps * 0)

    monkeypatch.setattr(Bundle, "predict", without_heat)
    assert batch.NO_HEAT in run("predict", images / "one.png").out
    assert batch.NO_HEAT in json.loads(run("predict", images / "one.png", "--json").out)[0]["warning"]
    run("predict", images / "one.png", "--csv", "out.csv")
    assert batch.NO_HEAT in table(tmp_path / "out.csv")[0]["warning"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_told(run, with_model, images):
    sentence = run("predict", images / "one.png", "--csv", "/dev/full").sentence
    assert sentence == "The table /dev/full cannot be written: No space left on device."


def test_an_overlay_that_cannot_be_written_ends_no_batch(run, with_model, images, tmp_path):
    long = "é" * 125
    (images / "one.png").rename(images / f"{long}.png")
    run("predict", images, "--heatmaps", "maps")
    written = sorted(path.name for path in Path("maps").iterdir())
    assert len(written) == 2 and written[1].startswith("é" * 110)

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))  # a process that answers has it as well
    try:
        run("predict", images, "--heatmaps", "others", "--csv", "out.csv")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    warnings = [row["warning"] for row in table(tmp_path / "out.csv")]
    assert len(warnings) == 2 and all("Its overlay was not written: File too large." in w for w in warnings)
    assert not any(Path("others").iterdir())


def test_a_zip_is_a_folder_and_a_bad_one_is_a_row(run, with_model, images, tmp_path):
    with zipfile.ZipFile("good.anything", "w") as archive:
        archive.write(images / "one.png", "a/one.png")
        archive.writestr("IM1", dicom(DEEP))
        archive.writestr("a/broken.png", b"no image")
        archive.writestr("notes.txt", b"notes")
        archive.writestr("__MACOSX/._one.png", b"")
    with zipfile.ZipFile("bad.zip", "w") as archive:
        archive.writestr("../out.png", b"")
    result = run("predict", "bad.zip", "good.anything", images / "one.png", "--csv", "out.csv", "--heatmaps", "maps")
    assert result.status == 1 and result.err == "1 file of no kind that is read was left out: notes.txt.\n"
    bad, hospital, broken, packed, plain = table(tmp_path / "out.csv")
    assert bad["path"] == "bad.zip" and "outside its own folder" in bad["error"]
    assert hospital["path"] == "good.anything/IM1" and not hospital["error"]
    assert broken["error"].startswith("broken.png is damaged")
    assert packed | {"path": ""} == plain | {"path": ""} and packed["path"] == "good.anything/a/one.png"
    assert len(list(Path("maps").iterdir())) == 3 and not Path("../out.png").exists()


def test_a_folder_without_images_is_told(run, with_model, tmp_path):
    (tmp_path / "empty").mkdir()
    assert run("predict", "empty", "--csv", "out.csv").sentence.startswith("There is no image in empty")
    assert not (tmp_path / "out.csv").exists()


def test_progress_is_shown_on_a_terminal(run, with_model, images, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    result = run("predict", images, "--csv", "out.csv")
    assert "Images" in result.err and "2/2" in result.err


def test_predict_json_is_a_list(run, with_model, images):
    (images / "broken.png").write_bytes(b"no image")
    result = run("predict", images, "--json")
    assert result.status == 1
    rows = json.loads(result.out)
    assert [Path(row["path"]).name for row in rows] == ["TWO.JPEG", "broken.png", "one.png"]
    assert [list(row) for row in rows] == [COLUMNS] * 3
    assert isinstance(rows[0]["in_distribution"], bool)
    assert rows[0]["p_NORMAL"] + rows[0]["p_PNEUMONIA"] == pytest.approx(1, abs=1e-5)
    assert rows[1]["error"]
    assert rows[0]["prediction_set"] and rows[1]["prediction_set"] is None


def test_parquet_holds_the_rows_of_json(run, with_model, images, tmp_path):
    (images / "broken.png").write_bytes(b"no image")
    rows = json.loads(run("predict", images, "--json").out)
    assert run("predict", images, "--parquet", "out.parquet").status == 1
    table = parquet.read_table("out.parquet")
    assert table.column_names == COLUMNS
    assert table.to_pylist() == [{key: None if row[key] == "" else row[key] for key in COLUMNS} for row in rows]
    assert [path.name for path in tmp_path.glob("*out*")] == ["out.parquet"]


def test_an_address_is_read_as_the_path_that_it_is(run, with_model, images, tmp_path):
    (images / "broken.png").write_bytes(b"no image")
    shutil.make_archive(str(tmp_path / "packed"), "zip", images)
    for place in (images, images / "one.png", tmp_path / "packed.zip"):
        here, there = (run("predict", where, "--json") for where in (place, place.as_uri()))
        assert there.out == here.out.replace(str(place), place.as_uri()), there.err


def test_predict_tells_what_an_image_could_be(run, with_model, images):
    limit(with_model, 1e9)
    change(with_model, prediction_sets={"method": "", "level": 0.9, "thresholds": [0.0, 0.0], "chosen": ""})
    (images / "broken.png").write_bytes(b"no image")
    rows = json.loads(run("predict", images, "--json").out)
    both = {("NORMAL", "PNEUMONIA"), ("PNEUMONIA", "NORMAL")}
    assert tuple(rows[0]["prediction_set"]) in both and rows[1]["prediction_set"] is None
    run("predict", images, "--csv", "out.csv")
    assert [row["prediction_set"] for row in table(Path("out.csv"))] == [
        " | ".join(row["prediction_set"] or ()) for row in rows
    ]
    assert f"; could be {' or '.join(rows[0]['prediction_set'])})" in run("predict", images).out


def test_the_line_of_an_unlike_image_has_no_label(run, with_model, images):
    limit(with_model, 0.0)
    (line,) = run("predict", images / "one.png").out.splitlines()
    assert line.startswith(f"{images / 'one.png'}: unlike a chest X-ray the model knows.")
    assert "PNEUMONIA" not in line and "NORMAL" not in line and "distance" in line


def test_predict_prints_a_line_an_image(run, with_model, images):
    limit(with_model, 1e9)
    result = run("predict", images)
    assert result.status == 0
    assert "Not for diagnosis" in result.err
    first, second = result.out.splitlines()
    assert first.startswith(str(images / "below" / "deeper" / "TWO.JPEG") + ": ") and "PNEUMONIA 0." in first
    assert second.startswith(str(images / "one.png"))


def test_heatmaps_are_written_beside_each_other(run, with_model, images):
    shutil.copy(images / "one.png", images / "below" / "one.png")  # of the same name
    assert run("predict", images, "--heatmaps", "maps/new", "--json").status == 0
    written = sorted(Path("maps/new").iterdir())
    assert len(written) == 3
    for path in written:
        with Image.open(path) as picture:
            assert picture.format == "PNG" and picture.mode == "RGB" and picture.size == (96, 96)
    pixels = reader.read(images / "one.png").pixels
    prediction = Bundle(with_model / "models" / bundle.DEFAULT_MODEL).predict(pixels)
    heatmap = prediction.heatmaps[..., prediction.classes.index(prediction.label)]
    with Image.open(f"maps/new/one_{prediction.label}.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), ops.overlay(pixels, heatmap))


def test_names_that_are_no_unicode_are_no_problem(run, with_model, images, tmp_path):
    odd = Path(str(images / "caf") + b"\xe9.png".decode("utf-8", "surrogateescape"))
    try:
        shutil.copy(images / "one.png", odd)
    except OSError:
        pytest.xfail("this file system takes no such name")
    assert run("predict", odd, "--csv", "out.csv").status == 0
    assert b"caf\xe9.png" in (tmp_path / "out.csv").read_bytes()
    assert run("predict", odd, "--json").status == 0
    assert run("predict", odd).status == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["predict", "x.png", "--model", "nothing"], "There is no model called nothing"),
        (
            ["predict", "images/one.png", "--csv", "no/such/folder.csv"],
            "The table no/such/folder.csv cannot be written",
        ),
        (["predict", "images/one.png", "--json", "--heatmaps", "images/notes.txt"], "images/notes.txt cannot be used"),
        (["predict", "file:///no/such"], "There is nothing at file:///no/such: check it"),
        (["predict", "nonsense://there"], "nonsense://there cannot be read: fsspec knows no nonsense://."),
        (
            ["predict", "images/one.png", "--csv", "a", "--engine", "ray", "--address", "127.0.0.1:1"],
            "No Ray cluster at 127",
        ),
        (["evaluate", "--data", "nowhere"], "There is no dataset nowhere"),
        (["evaluate", "--data", "drawn", "--split", "holdout"], "drawn has no split holdout: it has train, val, test"),
        (["evaluate", "--data", "drawn", "--model", "nothing"], "There is no model called nothing"),
        (["train", "--data", "drawn", "--network", "resnet999"], "There is no network called resnet999"),
        (["train", "--data", "drawn", "--augmentation", "wild"], "There is no augmentation called wild"),
        (["train", "--data", "drawn", "--learns", "nothing"], "There is no way to learn called nothing"),
        (["train", "--data", "drawn", "--base-rate", "0.5"], "Leave out --base-rate: nothing"),
        (["train", "--data", "drawn", "--epochs", "0"], "Epochs and batch size must be at least 1"),
        (["train", "--data", "drawn", "--name", "../out"], "../out cannot name a run"),
        (["train", "--data", "drawn", "--name", bundle.DEFAULT_MODEL], "There is already a run or a model called"),
        (["train", "--resume", "nothing"], "There is no run called nothing"),
        (["data", "audit", "nowhere"], "There is no dataset nowhere"),
        (["data", "add", "nowhere"], "There is no folder or .zip file nowhere"),
        (["data", "add", "kaggle:nonsense"], "kaggle:nonsense is no Kaggle dataset"),
    ],
)
def test_a_mistake_ends_in_a_sentence(run, with_model, images, arguments, sentence):
    assert run(*arguments).sentence.startswith(sentence)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["predict"],
        ["train"],
        ["train", "--data", "drawn", "--resume", "run"],
        ["predict", "images/one.png", "--json", "--csv", "out.csv"],
        ["predict", "images/one.png", "--csv", "out.csv", "--workers", "2"],
        ["predict", "images/one.png", "--csv", "out.csv", "--engine", "spark"],
        ["predict", "images/one.png", "--json", "--engine", "ray"],
        ["train", "--data", "drawn", "--epochs", "many"],
    ],
)
def test_a_wrong_call_shows_the_usage(run, with_model, images, arguments):
    result = run(*arguments)
    assert result.status == 2
    assert "Usage: " in result.out + result.err


# evaluate


def test_evaluate_prints_metrics_with_intervals(run, with_model):
    result = run("evaluate", "--data", "drawn")
    assert result.status == 0
    assert "8 images of 8 patients (4 NORMAL, 4 PNEUMONIA)." in result.out
    assert "Sensitivity (PNEUMONIA)" in result.out and "95 % interval" in result.out
    assert "Flagged as unlike the training images" in result.out


def test_evaluate_json_equals_the_test_of_the_training(run, with_model, tiny_model):
    report = json.loads(run("evaluate", "--data", "drawn", "--json").out)
    assert report == msgspec.to_builtins(Bundle(tiny_model.bundle).info.metrics.test)


def test_evaluate_says_when_the_images_were_trained_on(run, with_model):
    for split in ("train", "all"):
        report = json.loads(run("evaluate", "--data", "drawn", "--split", split, "--json").out)
        (note,) = report["notes"]
        assert note.startswith(f"The model has learned from {16 if split == 'train' else 26} of these images")
    assert "learned from all of these images" in run("evaluate", "--data", "drawn", "--split", "val", "--unseen").err
    (with_model / "data" / "other").mkdir()
    (with_model / "data" / "drawn").rename(with_model / "data" / "elsewhere")
    (with_model / "models" / bundle.DEFAULT_MODEL / leakage.FINGERPRINT_FILE).unlink()
    change(with_model, training_images=None)
    assert "cannot be told" not in run("evaluate", "--data", "elsewhere").out, "its dataset is known by its content"
    shutil.copytree(with_model / "data" / "elsewhere" / "test", with_model / "data" / "other", dirs_exist_ok=True)
    (with_model / "data" / "elsewhere").unlink()
    assert "cannot be told" in run("evaluate", "--data", "other").out
    assert "cannot be told" in run("evaluate", "--data", "other", "--unseen").err


def test_evaluate_compares_models_and_datasets(run, with_model, tmp_path):
    shutil.copytree(with_model / "models" / bundle.DEFAULT_MODEL, with_model / "models" / "twin")
    shutil.copytree(with_model / "data" / "drawn" / "test", with_model / "data" / "other")
    of = ("--model", bundle.DEFAULT_MODEL, "--model", "twin", "--data", "drawn", "--data", "other")
    report = json.loads(run("evaluate", *of, "--json").out)
    assert [row["name"] for row in report["rows"]] == [
        f"{model} on {where}" for where in ("drawn, test", "other, all") for model in (bundle.DEFAULT_MODEL, "twin")
    ]
    one = json.loads(run("evaluate", "--data", "drawn", "--question", "ill", "--json").out)
    for key in ("sensitivity", "specificity", "auroc"):
        assert report["rows"][0][key] == one[key]
    assert {line["what"].split(":")[0] for line in report["differences"]} == {
        "drawn, test", "other, all", bundle.DEFAULT_MODEL, "twin"
    }  # fmt: skip
    assert {line["method"].split(",")[0] for line in report["differences"]} >= {"McNemar", "DeLong"}
    result = run("evaluate", *of, "--csv", "out.csv")
    rows = list(csv.reader((tmp_path / "out.csv").read_text().splitlines()))
    assert rows[0][0] == "Model and images" and rows[1][0] == f"{bundle.DEFAULT_MODEL} on drawn, test"
    assert rows[5] == ["What", "Metric", "Difference", "Method"] and len(rows) == 6 + len(report["differences"])
    assert all(cell in result.out for row in rows for cell in row)


def test_a_comparison_leaves_out_what_a_model_has_learned_from(run, with_model):
    shutil.copytree(with_model / "models" / bundle.DEFAULT_MODEL, with_model / "models" / "twin")
    told = run("evaluate", "--data", "drawn", "--split", "all", "--model", bundle.DEFAULT_MODEL, "--model", "twin")
    assert "twin on drawn, all (8 it never saw)" in told.out
    assert "twin has learned from 26 of the images of drawn, all: left out for it." in told.out
    for wrong in ("--prevalence=0.1", "--record=x", "--threshold=0.3", "--question=classes"):
        assert run("evaluate", "--data", "drawn", "--model", "a", "--model", "b", wrong).status == 2
    assert run("evaluate", "--data", "drawn", "--csv", "x.csv").status == 2


def test_a_collection_without_splits_is_one_test_set(run, with_model, tmp_path):
    shutil.copytree(with_model / "data" / "drawn" / "test", tmp_path / "loose")
    assert json.loads(run("evaluate", "--data", "loose", "--json").out)["n"] == 8


def test_evaluate_can_be_kept_in_the_card(run, with_model):
    assert run("evaluate", "--data", "drawn", "--record", "Drawn by the program").status == 0
    model = Bundle(with_model / "models" / bundle.DEFAULT_MODEL)
    assert model.info.metrics.other["Drawn by the program"].n == 8
    assert "## Drawn by the program\n\nDataset: drawn." in (model.folder / bundle.CARD_FILE).read_text()


# models, data, version


def test_models_lists_what_there_is_and_what_is_damaged(run, with_model):
    (with_model / "models" / "broken").mkdir()
    result = run("models")
    assert result.status == 0
    assert f"{bundle.DEFAULT_MODEL}: NORMAL, PNEUMONIA; trained on drawn" in result.out
    assert "Sensitivity (PNEUMONIA): " in result.out
    assert "broken" in result.err
    (listed,) = json.loads(run("models", "--json").out)
    assert listed["name"] == bundle.DEFAULT_MODEL and listed["classes"] == ["NORMAL", "PNEUMONIA"]


def test_an_empty_home_says_how_to_fill_it(run, home):
    assert "There is no model yet" in run("models").out
    assert "data add synthetic" in run("data", "list").out


def test_data_add_list_and_audit(run, home, tiny_model, tmp_path):
    shutil.copytree(tiny_model.dataset.root, tmp_path / "mine")
    with zipfile.ZipFile(tmp_path / "zipped.zip", "w") as archive:
        for item in tiny_model.dataset.items:
            archive.write(item.path, item.path.relative_to(tiny_model.dataset.root))
    for source, name in (("mine", "mine"), ("zipped.zip", "zipped")):
        result = run("data", "add", source)
        assert result.status == 0
        assert f"Added {name}: 34 images of 2 classes." in result.out
    listed = run("data", "list").out.splitlines()
    assert listed[0] == (
        "mine (synthetic): train: 8 NORMAL, 8 PNEUMONIA; val: 5 NORMAL, 5 PNEUMONIA; test: 4 NORMAL, 4 PNEUMONIA"
    )
    assert listed[1].startswith("zipped (synthetic): ")
    assert "mine: 34 images" in run("data", "audit", "mine").out
    report = json.loads(run("data", "audit", "mine", "--json").out)
    assert report["dataset"] == "mine" and report["images"] == 34
    assert {"kind", "severity", "sentence", "paths", "pairs"} == set(report["findings"][0])


@pytest.mark.parametrize("asked", [True, False])
def test_data_add_without_a_terminal_goes_on_and_says_so(run, home, tiny_model, tmp_path, asked):
    shutil.copytree(tiny_model.dataset.root, tmp_path / "mine")
    result = run("data", "add", "mine", *([] if asked else ["--yes"]))
    assert "Added mine: 34 images of 2 classes." in result.out
    assert ("There is no terminal to ask at, so they are added as shown" in result.err) == asked


def test_a_zip_with_backslashes_is_read(run, with_model, images, tmp_path):
    with zipfile.ZipFile("windows.zip", "w") as archive:
        for label in ("COVID", "Normal"):
            archive.write(images / "one.png", f"set\\{label}\\1.png")
    assert [row["path"] for row in json.loads(run("predict", "windows.zip", "--json").out)] == [
        "windows.zip/set/COVID/1.png",
        "windows.zip/set/Normal/1.png",
    ]
    assert "Added windows: 2 images of 2 classes." in run("data", "add", "windows.zip", "--yes").out


def test_data_add_maps_findings_to_classes(run, home, tmp_path):
    rows = ["filename,finding,view,modality"]
    for n, told in enumerate(("COVID-19,PA,X-ray", "SARS,L,X-ray", "No Finding,AP,X-ray", "Unknown,PA,X-ray")):
        (tmp_path / "cohen" / "images").mkdir(parents=True, exist_ok=True)
        synthetic.write_png(tmp_path / "cohen" / "images" / f"{n}.png", np.eye(16))
        rows.append(f"{n}.png,{told}")
    (tmp_path / "cohen" / "metadata.csv").write_text("\n".join(rows))
    result = run("data", "add", "cohen", "--map", "No Finding=healthy", "--view", "PA", "--view", "L", "--view", "AP")
    assert "SARS: other pneumonia" in result.out and "Unknown: left out" in result.out
    assert "Added cohen: 3 images of 3 classes." in result.out and "1 Unknown" in result.out
    again = run("data", "add", "cohen", "--map", "No Finding=healthy", "--view", "PA", "--view", "L", "--view", "AP")
    assert "cohen is here already, with the same 3 images: nothing was changed." in again.out
    assert "1 image of the view L" in run("data", "add", "cohen", "--name", "frontal").out
    assert "No image has the view XX" in run("data", "add", "cohen", "--view", "XX").err


def test_data_add_synthetic_draws_a_dataset(run, home, monkeypatch):
    small = partial(synthetic.write_dataset, counts={"train": 2, "test": 1}, size=32)
    monkeypatch.setattr(synthetic, "write_dataset", small)
    assert "Added synthetic: 6 images of 2 classes." in run("data", "add", "synthetic").out
    assert run("data", "list").out.startswith("synthetic (synthetic): ")


def test_data_add_shows_its_progress_where_somebody_looks(run, home, synthetic_data, monkeypatch):
    assert "\r" not in run("data", "add", synthetic_data, "--name", "first").err
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert "100% Copied" in run("data", "add", synthetic_data, "--name", "second").err
    assert "second (synthetic): train: " in run("data", "list").out


def test_kaggle_out_of_reach_is_told_with_a_way_out(run, home, monkeypatch):
    def offline(handle: str) -> str:
        raise ConnectionError("Network is unreachable")

    monkeypatch.setattr("kagglehub.dataset_download", offline)
    result = run("data", "add", "kaggle:owner/name")
    assert result.status == 1
    assert result.err.strip().startswith("Kaggle could not be reached for owner/name")
    assert "https://www.kaggle.com/datasets/owner/name" in result.err


def test_version(run):
    assert run("version").out.strip() == __version__


# train


def test_train_shows_progress_and_leaves_a_model(run, with_model, tiny_networks):
    arguments = ["--network", "tiny_pooled", "--epochs", 2, "--batch-size", 8, "--seed", 3, "--name", "mine"]
    result = run("train", "--data", "drawn", *arguments)
    assert result.status == 0, result.err
    assert "Run mine" in result.out
    assert "100% step 4 of 4, loss " in result.out
    assert "Epoch 2: loss " in result.out
    assert "8 images of 8 patients (4 NORMAL, 4 PNEUMONIA)." in result.out
    assert "Exported as models/mine." in result.out
    assert Bundle(with_model / "models" / "mine").info.recipe.seed == 3
    assert runs_run.open_run("mine").config.batch_size == 8
    assert "mine: NORMAL, PNEUMONIA; trained on drawn" in run("models").out


def test_a_run_finds_its_dataset_from_any_folder(run, with_model, tiny_networks, synthetic_data, monkeypatch, tmp_path):
    monkeypatch.chdir(synthetic_data.parent)
    result = run(
        "train", "--data", f"./{synthetic_data.name}", "--network", "tiny_pooled", "--epochs", 1, "--name", "a"
    )
    assert result.status == 0, result.err
    assert runs_run.open_run("a").config.data == str(synthetic_data)
    monkeypatch.chdir(tmp_path)
    assert run("train", "--resume", "a").sentence.startswith("Run a is finished")
    assert runs_run.open_run("a").state() == "finished"


def test_train_that_fails_ends_in_a_sentence(run, with_model, tiny_networks):
    result = run("train", "--data", "nowhere", "--network", "tiny_pooled", "--name", "lost", "--quiet")
    assert result.sentence.startswith("There is no dataset nowhere")
    assert not runs_run.discover_runs()


# As a program


def start(*arguments: object) -> subprocess.CompletedProcess:
    """The command line as a program of its own."""
    command = [sys.executable, "-m", "covid_cnn", *map(str, arguments)]
    return subprocess.run(command, cwd=Path(cli.__file__).parents[2], capture_output=True, text=True)


def test_predict_as_a_program(with_model, images):
    (images / "broken.png").write_bytes(b"no image")
    done = start("predict", images, "--json")
    assert done.returncode == 1
    assert [bool(row["error"]) for row in json.loads(done.stdout)] == [False, True, False]
    assert "Traceback" not in done.stderr


def test_a_mistake_as_a_program(with_model, images):
    done = start("predict", images / "one.png", "--model", "nothing")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == ["There is no model called nothing: python -m covid_cnn models lists them."]
