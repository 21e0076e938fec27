"""Many images at once on the Predict page: archives, the table, stopping and going on, the table as CSV."""

import csv
import io
import shutil
import zipfile

import pytest
from streamlit.testing.v1 import AppTest
from uploads import CHEST, DEEP, dicom

from covid_cnn.app.predict import folder
from covid_cnn.common import paths
from covid_cnn.common.errors import ImageError
from covid_cnn.data import synthetic
from covid_cnn.images import limits, ops, reader
from covid_cnn.models import batch
from covid_cnn.models.bundle import Bundle

TEXT = b"Not an image, whatever its name says.\n"


@pytest.fixture(autouse=True)
def model(tmp_path, monkeypatch, shipped_models) -> Bundle:
    """The only model of a home folder."""
    monkeypatch.setenv("COVID_CNN_HOME", str(tmp_path))
    shutil.copytree(shipped_models[0], paths.models_dir() / shipped_models[0].name)
    return Bundle(shipped_models[0])


@pytest.fixture(scope="module")
def drawn() -> list[bytes]:
    return [ops.to_png(synthetic.draw_radiograph(seed, opacities=bool(seed % 2), size=128)) for seed in range(3)]


def packed(files: dict[str, bytes]) -> tuple[str, bytes, str]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return "images.zip", buffer.getvalue(), "application/zip"


def show(**state) -> AppTest:
    def page():
        from covid_cnn.app.predict import page as predict_page

        predict_page.draw_page()

    app = AppTest.from_function(page, default_timeout=240)
    for key, value in state.items():
        app.session_state[key] = value
    return app.run()


def upload(app: AppTest, *files: tuple[str, bytes, str]) -> AppTest:
    app = app.file_uploader[0].set_value(files).run()
    assert not app.exception
    return app


def test_an_archive_is_a_table_with_a_row_for_each_image(drawn):
    system = ("__MACOSX/a.png", "b/._a.png", ".git/a.png", "b/Thumbs.db", "DICOMDIR", "desktop.ini")
    files = {"b/two.png": drawn[1], "a/one.png": drawn[0], "a/bad.png": TEXT, "notes.txt": TEXT}
    files |= {"CD/IM000001": CHEST.read_bytes(), "b/moving.gif": b"GIF89a"} | dict.fromkeys(system, TEXT)
    app = upload(show(), packed(files))
    table = app.dataframe[0].value
    names = ["CD › IM000001", "a › bad.png", "a › one.png", "b › moving.gif", "b › two.png", "notes.txt"]
    assert list(table["Name"]) == [f"images.zip › {name}" for name in names]
    unreadable = [False, True, False, True, False, True]
    assert (table["Answer"] == "unreadable").tolist() == table["X-ray"].isna().tolist() == unreadable
    assert table["Note"][1].startswith("images.zip › a › bad.png is damaged")
    assert "is a GIF image, which is not read" in table["Note"][3] and "not an image" in table["Note"][5]
    assert table["X-ray"][2].startswith("data:image/jpeg;base64,")
    assert "3 of 6 files could not be read" in app.warning[1].value
    assert any("IM000001" in text.value for text in app.markdown)  # the first readable one is open


def test_the_table_and_its_csv_hold_no_patients_name(model, drawn):
    """Neither of a file that can be read, nor of one that is DICOM and damaged; wherever in its path it stands."""
    whole = dicom(DEEP, PatientName="Doeling^Jane", PatientID="8472915")
    files = {"DOELING.JANE/8472915/1.dcm": whole, "x/Doeling_Jane": whole[:-2000], "y/Jane.Doeling": whole}
    app = upload(show(), packed(files | {"one.png": drawn[0]}))
    names = ["***.*** › *** › 1.dcm", "one.png", "x › ***_***", "y › ***.***"]
    assert list(app.dataframe[0].value["Name"]) == [f"images.zip › {name}" for name in names]
    answers = next(iter(app.session_state[folder.ANSWERS].values())).values()
    shown = [(folder._shown_name(folder.Source("not to be shown", reader.read), one), one) for one in answers]
    text = folder._csv(model, shown).decode()
    assert "images.zip/***.***/***/1.dcm" in text and "images.zip/x/***_***" in text
    assert not any(word in text.lower() for word in ("doeling", "jane", "8472915", "not to be shown"))


def test_a_name_is_no_formula_for_a_spreadsheet(model, drawn):
    image, error = reader.read(drawn[0], "=1+1.png"), ImageError("@SUM(A1) is no image.")
    answers = [("=1+1.png", folder._keep(image, model.predict(image.pixels))), ("a", error)]
    good, bad = csv.DictReader(io.StringIO(folder._csv(model, answers).decode()))
    assert good["path"] == "./=1+1.png" and bad["error"] == "'@SUM(A1) is no image."


def test_the_csv_is_that_of_the_command_line(model, drawn):
    read = {"one.png": reader.read(drawn[0], "one.png"), "two.png": reader.read(drawn[1], "two.png")}
    answers = [(name, folder._keep(one, model.predict(one.pixels))) for name, one in read.items()]
    rows = list(csv.DictReader(io.StringIO(folder._csv(model, answers).decode())))
    file = io.StringIO()
    batch.write_csv(file, model, (batch.to_row(model, n, (one, model.predict(one.pixels))) for n, one in read.items()))
    assert rows == list(csv.DictReader(io.StringIO(file.getvalue())))
    assert [row["path"] for row in rows] == ["one.png", "two.png"] and list(rows[0]) == batch.csv_columns(model)


def test_of_more_images_than_a_page_can_carry_it_takes_the_first(drawn, monkeypatch):
    monkeypatch.setattr(limits, "MAX_PAGE_IMAGES", 2)
    app = upload(show(), packed({f"{n}.png": png for n, png in enumerate(drawn)}))
    assert list(app.dataframe[0].value["Image"]) == ["images.zip › 0.png", "images.zip › 1.png"]
    assert any("the first 2 of these 3 images" in warning.value for warning in app.warning)


def test_what_is_kept_of_an_image_is_small(model, drawn):
    radiograph = reader.read(drawn[0], "one.png")
    kept = folder._keep(radiograph, model.predict(radiograph.pixels))
    assert kept.radiograph.pixels.size == kept.prediction.prepared.size == 0
    assert kept.prediction.heatmaps.shape == (1, 1, len(model.classes))
    assert len(kept.thumbnail) < 8000


def test_asking_can_be_stopped_and_go_on(drawn):
    app = upload(show(**{folder.STOPPED: True}), packed({f"{n}.png": png for n, png in enumerate(drawn)}))
    assert any(text.value == "Stopped: 0 of 3 images are done." for text in app.markdown) and not app.dataframe
    next(button for button in app.button if button.label == "Go on").click()
    app.run()
    assert len(app.dataframe[0].value) == 3 and not any(button.label == "Go on" for button in app.button)


def test_a_click_meanwhile_loses_nothing(model, drawn, monkeypatch):
    asked = []
    predict = Bundle.predict

    def interrupted(self, pixels, *crowd):
        asked.append(1)
        return predict(self, pixels, *crowd)

    monkeypatch.setattr(Bundle, "predict", interrupted)
    app = upload(show(), packed({f"{n}.png": png for n, png in enumerate(drawn)}))
    assert len(asked) == 4  # once each, and the open one again with its heatmaps
    app.run()
    assert len(asked) == 4


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({".notes.txt": TEXT}, "images.zip holds no image"),
        ({"notes.txt": TEXT}, "images.zip › notes.txt is damaged"),
        ({"../out.png": TEXT}, "images.zip was not unpacked"),
    ],
)
def test_an_archive_of_no_use_is_a_sentence(files, sentence):
    app = upload(show(), packed(files))
    assert app.error[0].value.replace("\\", "").startswith(sentence)
