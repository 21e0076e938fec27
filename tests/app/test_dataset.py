"""The dataset page: adding, browsing and auditing, without a browser."""

import io
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from pages import press, settled
from streamlit.testing.v1 import AppTest

from covid_cnn.app.dataset import adding, audit, images, map
from covid_cnn.common.errors import DatasetError
from covid_cnn.data import dataset, importer, shortcuts, synthetic
from covid_cnn.data.dataset import Item


@pytest.fixture(autouse=True)
def _no_work_of_other_tests(request, monkeypatch):
    """The audit, which begins by itself, is for its own test: the others do not wait for it."""
    st.cache_resource.clear()
    if "audit" not in request.node.name:
        monkeypatch.setattr(audit, "draw_badge", lambda dataset: None)


@pytest.fixture(autouse=True)
def ways_in_place_of_their_dialog(monkeypatch):
    """A dialog closes with every run of a page that is no browser's."""
    offer = adding.offer_adding
    monkeypatch.setattr(adding, "offer_adding", lambda primary=False: adding.draw_ways() if primary else offer())


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("COVID_CNN_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def chest(home) -> Path:
    return write_chest(home / "data" / "my_chest_x")


def write_chest(folder: Path) -> Path:
    """A dataset of 2 x 15 images in train and 2 x 1 in test, one of them damaged."""
    for split, count in (("train", 15), ("test", 1)):
        for label in ("NORMAL", "PNEUMONIA"):
            (folder / split / label).mkdir(parents=True)
            for n in range(count):
                synthetic.write_png(folder / split / label / f"{label[0]}_{n:02}.png", np.eye(16) * (n + 1) / 16)
    (folder / "test" / "NORMAL" / "N_00.png").write_bytes(b"no image")
    return folder


def show() -> AppTest:
    def page():
        from covid_cnn.app.dataset import page as dataset_page

        dataset_page.draw_page()

    return settled(AppTest.from_function(page, default_timeout=120).run())


def finished(app: AppTest) -> AppTest:
    """The page once the work that it waits for is done."""
    end = time.monotonic() + 120
    while any(button.label == "Stop" for button in app.button) and time.monotonic() < end:
        time.sleep(0.1)
        app = settled(app.run())
    return app


def captions(app: AppTest) -> str:
    return "\n".join(caption.value for caption in app.caption)


def test_an_empty_home_offers_three_ways_to_a_first_dataset(home):
    app = show()
    assert {button.label for button in app.button} == {"Draw synthetic radiographs", "Download", "Add"}
    assert app.text_input[0].value == importer.KAGGLE_DEFAULT
    assert "CC BY 4.0" in captions(app)


def test_drawing_shows_the_new_dataset_with_its_badge(home, monkeypatch):
    draw = synthetic.write_dataset

    def draw_few_beside_others(folder, progress):
        write_chest(folder.parent / "a_first_one")
        return draw(folder, 0, progress, {"train": 1, "test": 1}, 32)

    monkeypatch.setattr(synthetic, "write_dataset", draw_few_beside_others)
    app = finished(press(show(), "Draw synthetic radiographs"))
    assert app.selectbox(key="dataset_name").value == "synthetic"
    assert "synthetic" in app.toast[0].value
    told = [text.value for text in app.markdown]
    assert any("**4** images" in text for text in told) and any("not taken of a person" in text for text in told)


def test_a_download_that_fails_is_told_in_a_sentence(home, monkeypatch):
    asked = []

    def offline(handle, progress):
        asked.append(handle)
        raise DatasetError("Kaggle could not be reached_.")

    monkeypatch.setattr(importer, "download_kaggle", offline)
    app = show()
    app.text_input[0].set_value("https://www.kaggle.com/datasets/some/thing")
    app = finished(press(app, "Download"))
    assert asked == ["some/thing"]
    assert [error.value for error in app.error] == [r"Kaggle could not be reached\_\."]


def test_a_download_is_shown_before_it_is_added(home, tmp_path, monkeypatch):
    chest = write_chest(tmp_path / "cache" / "x")
    monkeypatch.setattr(importer, "download_kaggle", lambda handle, progress: tmp_path / "cache" / "x")
    app = show()
    app.text_input[0].set_value("me/xrays")
    app = finished(press(app, "Download"))
    assert any("**xrays** is understood as below" in text.value for text in app.markdown)
    assert not (home / "data" / "xrays").exists()
    app = finished(press(app, "Add these images"))
    assert (home / "data" / "xrays").is_dir() and chest


def test_a_zip_can_be_added(home, tmp_path):
    chest = write_chest(tmp_path / "elsewhere")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in chest.rglob("*.png"):
            archive.write(path, path.relative_to(chest))
    app = show()
    app.file_uploader[0].set_value(("packed.zip", packed.getvalue(), "application/zip"))
    app = press(app, "Add")
    assert not (home / "data").exists(), "nothing is copied before it was seen what it is understood as"
    assert app.dataframe[1].value["Images"].tolist() == [15, 15, 1, 1]
    assert {"**NORMAL**", "**PNEUMONIA**"} <= {text.value for text in app.markdown}, "thumbnails by class"
    app = finished(press(app, "Add these images"))
    assert app.selectbox(key="dataset_name").value == "packed"


def test_a_folder_can_be_added_under_another_name(home, tmp_path):
    app = show()
    app.text_input[-2].set_value(str(write_chest(tmp_path / "elsewhere")))
    app.text_input[-1].set_value("mine")
    app = finished(press(press(app, "Add"), "Add these images"))
    assert app.selectbox(key="dataset_name").value == "mine"
    assert (home / "data" / "mine" / "train" / "NORMAL" / "N_00.png").is_file()


def test_adding_the_same_again_says_that_nothing_changed(home, tmp_path, monkeypatch):
    add = importer.add_dataset
    monkeypatch.setattr(
        importer, "add_dataset", lambda source, **chosen: (add(source, **chosen), add(source, **chosen))[1]
    )
    app = show()
    app.text_input[-2].set_value(str(write_chest(tmp_path / "elsewhere")))
    app = finished(press(press(app, "Add"), "Add these images"))
    assert any("is here already, with the same 32 images" in info.value for info in app.info)


def test_findings_become_classes_as_the_table_tells(home, tmp_path):
    source = tmp_path / "cohen"
    (source / "images").mkdir(parents=True)
    rows = ["filename,finding,view,modality,license"]
    told = ("COVID-19,PA,X-ray", "COVID-19,L,X-ray", "No Finding,AP,X-ray", "Tuberculosis,PA,X-ray", "SARS,Axial,CT")
    for n, facts in enumerate(told):
        synthetic.write_png(source / "images" / f"{n}.png", np.eye(16) * (n + 1) / 5)
        rows.append(f"{n}.png,{facts},CC BY {n}")
    (source / "metadata.csv").write_text("\n".join(rows))
    app = show()
    app.text_input[-2].set_value(str(source))
    app = press(app, "Add")
    table = app.dataframe[0].value
    assert dict(zip(table["Finding"], table["Class"], strict=True)) == {
        "COVID-19": "COVID-19",
        "No Finding": "normal",
        "Tuberculosis": "",
        "SARS": "other pneumonia",
    }
    modality, view = app.get("button_group")
    assert modality.value == ["X-ray"] and set(view.value) == {"PA", "AP"}
    assert "1 Tuberculosis" in captions(app) and "1 image of the view L" in captions(app)
    app = settled(view.set_value(["PA", "AP", "L"]).run())
    app = finished(press(app, "Add these images"))
    assert any("**3** images" in text.value for text in app.markdown)
    assert any("1 Tuberculosis" in info.value for info in app.info)
    assert {"CC BY 0", "CC BY 1", "CC BY 2"} <= set(captions(app).replace(":material/copyright: ", "").splitlines())


def test_an_import_that_was_cut_off_is_told_and_can_be_discarded(home, tmp_path):
    def cut_off(part, message):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        importer.add_dataset(write_chest(tmp_path / "elsewhere"), progress=cut_off)
    app = show()
    assert "The import of elsewhere was cut off" in app.info[0].value
    assert not press(app, "Discard").info


def test_adding_nothing_asks_for_something(home):
    assert "Choose a .zip file" in press(show(), "Add").error[0].value


def test_pages_and_filters_of_the_gallery(chest):
    app = show()
    assert "Page 1 of 2: images 1 to 24 of 32" in captions(app)
    app = settled(app.pagination[0].set_value(2).run())
    assert "Page 2 of 2: images 25 to 32 of 32" in captions(app)
    app = settled(app.multiselect(key="dataset_class_my_chest_x").set_value(["NORMAL"]).run())
    assert "Page 1 of 1: images 1 to 16 of 16" in captions(app)
    app = settled(app.multiselect(key="dataset_split_my_chest_x").set_value(["train"]).run())
    app = settled(app.text_input(key="dataset_name_my_chest_x").set_value("n_1").run())
    assert "images 1 to 5 of 5" in captions(app)
    app = settled(app.text_input(key="dataset_name_my_chest_x").set_value("nowhere").run())
    assert "No image fits" in app.info[0].value


def test_a_damaged_image_shows_its_reason_in_its_place(chest):
    assert r"N\_00\.png is damaged or not an image" in captions(show())


def test_an_image_opens_with_its_facts(chest):
    app = settled(show().button(key="dataset_view_1").click().run())
    assert {"P_00.png", "PNEUMONIA", "Test", "PNG, synthetic, 16 x 16 px"} <= {text.value for text in app.text}
    assert "very small" in app.warning[0].value
    assert "Send to Predict" in [button.label for button in app.button]


def test_a_new_image_appears_without_a_restart(chest):
    assert "of 32" in captions(show())
    synthetic.write_png(chest / "train" / "NORMAL" / "new.png", np.eye(16))
    assert "of 33" in captions(show())


def test_a_folder_that_is_no_dataset_is_told(chest):
    (chest.parent / "an_empty_one").mkdir()
    assert r"an\_empty\_one" in show().warning[0].value


def test_the_overview_counts_images_and_patients(chest):
    table = show().dataframe[0].value
    assert table.columns.tolist() == ["Class", "Train", "Test", "All", "Patients"]
    assert table.to_numpy().tolist() == [["NORMAL", 15, 1, 16, 16], ["PNEUMONIA", 15, 1, 16, 16]]


def test_the_audit_shows_what_it_finds_and_is_kept(chest, monkeypatch):
    monkeypatch.setattr(shortcuts, "CUES", ())
    app = settled(finished(show()).run())
    assert any("The worst: " in caption.value for caption in app.caption)
    assert any("1 image cannot be read" in warning.value for warning in app.warning)
    assert any("in two classes" in error.value for error in app.error)
    again = show()
    assert [error.value for error in again.error] == [error.value for error in app.error]
    assert {button.label for button in app.get("download_button")} == {"Report (HTML)", "JSON"}


def test_the_mean_images_come_when_asked_for(chest):
    app = finished(press(show(), "Look at all images"))
    told = {caption.value for caption in app.caption}
    assert {"Mean of NORMAL, n = 15", "Mean of PNEUMONIA, n = 16"} <= told
    assert any("black against white is 1" in caption for caption in told)
    assert any("a mean of fewer than 30" in warning.value for warning in app.warning)
    assert "The same in all images, and not drawn: Width, px, Height, px, Width : height." in told
    assert len(app.get("vega_lite_chart")) == 1 + 2
    facts = app.dataframe[-1].value
    assert facts["Class"].tolist() == ["NORMAL", "PNEUMONIA"] and facts["Width, px"].tolist() == ["16 (16 to 16)"] * 2


def test_images_are_sorted_by_brightness(chest):
    app = show()
    app = finished(settled(app.selectbox(key="dataset_order_my_chest_x").set_value("Brightness").run()))
    app = finished(press(app, "Read the images"))
    app = settled(app.button(key="dataset_view_0").click().run())
    assert any(text.value in ("N_01.png", "N_00.png", "P_00.png") for text in app.text)


def test_an_image_shows_its_patients_others_and_its_licence(home):
    folder = home / "data" / "with_metadata"
    (folder / "images").mkdir(parents=True)
    rows = ["filename,finding,patientid,view,license"]
    for n, finding in enumerate(("COVID-19", "COVID-19", "SARS")):
        synthetic.write_png(folder / "images" / f"{n}.png", np.eye(16) * (n + 1) / 3)
        rows.append(f"{n}.png,{finding},{n // 2},PA,CC BY {n}")
    (folder / "metadata.csv").write_text("\n".join(rows))
    app = show()
    assert r"CC BY 2" in captions(app)
    app = settled(app.button(key="dataset_view_0").click().run())
    assert any("Of the same patient" in text.value for text in app.markdown)
    assert "CC BY 0" in {text.value for text in app.text}
    tables = [frame.value for frame in app.dataframe]
    assert any(table.columns.tolist() == ["Finding", "Class", "Images"] for table in tables)


def test_images_by_what_a_model_answers(chest, default_model):
    (chest.parent.parent / "models").mkdir()
    (chest.parent.parent / "models" / default_model.name).symlink_to(default_model)
    app = show()
    app = settled(app.selectbox(key="dataset_model_my_chest_x").set_value(default_model.name).run())
    app = finished(press(app, "Ask the model"))
    called = [line for line in captions(app).splitlines() if "called" in line]
    assert called and "Page 1 of 2: images 1 to 24 of 32" in captions(app)
    app = settled(app.selectbox(key="dataset_order_my_chest_x").set_value("Least sure").run())
    shares = [float(line.split(", ")[-1]) for line in captions(app).splitlines() if "called" in line]
    assert shares == sorted(shares) and len(shares) == 24
    app = settled(app.selectbox(key="dataset_answer_my_chest_x").set_value("Wrong").run())
    shown = [line for line in captions(app).splitlines() if "called" in line]
    assert all(":material/close:" in line for line in shown)

    app = settled(app.selectbox(key="dataset_answer_my_chest_x").set_value("Any").run())
    app = settled(app.button(key="dataset_view_0").click().run())
    app = finished(press(app, "Ask the model"))
    assert app.button(key="dataset_alike_5") and not [b for b in app.button if b.key == "dataset_alike_6"]


def test_the_map_shows_where_a_model_sees_the_images(chest, default_model):
    (chest.parent.parent / "models").mkdir()
    (chest.parent.parent / "models" / default_model.name).symlink_to(default_model)
    app = finished(press(show(), "Draw the map"))
    assert any(r"1 images could not be read" in text for text in captions(app).splitlines())


@pytest.mark.parametrize(
    ("plain", "begins"), [(False, "What the model finds alike"), (True, "This model shows nothing")]
)
def test_the_map_says_what_lies_close(plain, begins):
    assert map.explain_map(plain).startswith(begins)


def test_the_map_has_a_colour_for_each_source_with_many_images_and_one_for_the_others():
    sources = [f"hospital {n}" for n in range(9) for _ in range(9 - n)]
    items = [Item(Path(f"{n}.png"), "test", "NORMAL", str(n), source) for n, source in enumerate(sources)]
    points = np.stack([np.linspace(-3, 5, len(items)), np.zeros(len(items))], axis=1)
    drawn = map.describe_map(items, points, "Source")
    assert [group["name"] for group in drawn["groups"]] == [*(f"hospital {n}" for n in range(7)), "others"]
    assert len({group["colour"] for group in drawn["groups"]}) == 8
    assert [group for *_, group in drawn["points"]] == [min(int(source[-1]), 7) for source in sources]
    assert drawn["points"][0][:2] == [0, 0] and drawn["points"][-1][:2] == [1, 0]
    assert drawn["names"][0] == "0.png, NORMAL, hospital 0, Test"
    assert [group["name"] for group in map.describe_map(items, points, "Class")["groups"]] == ["NORMAL"]


def test_the_gallery_shows_what_is_framed_on_the_map_until_it_is_let_go(chest):
    items = dataset.open_dataset(chest).items
    app = show()
    app.session_state[images.FRAMED] = chest, frozenset(item.path for item in items[3:8])
    app = settled(app.run())
    assert "Page 1 of 1: images 1 to 5 of 5" in captions(app)
    app = press(app, "5 images framed on the map")
    assert "of 32" in captions(app)
    app.session_state[images.FRAMED] = chest.with_name("another"), frozenset([items[0].path])
    assert "of 32" in captions(settled(app.run()))
