"""A model is put through a dataset's images: classes matched, unreadable and foreign images counted and left out."""

import json
import shutil
from dataclasses import replace

import pytest

from covid_cnn import assessment, bundle, imaging
from covid_cnn.bundle import Bundle
from covid_cnn.errors import DatasetError


@pytest.fixture(scope="module")
def model(tiny_model) -> Bundle:
    return Bundle(tiny_model.bundle)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("NORMAL", "NORMAL"),
        ("normal", "NORMAL"),
        ("No Finding", "NORMAL"),
        ("No_findings", "NORMAL"),
        ("COVID", "covid-19"),
        ("COVID-19", "covid-19"),
        ("Pneumonia", None),
        ("", None),
    ],
)
def test_classes_are_matched_by_their_letters(label, expected):
    assert assessment.matching_class(label, ("NORMAL", "covid-19")) == expected


def test_the_report_counts_what_the_model_answered(model, tiny_model):
    items = tiny_model.dataset.subset("test")
    report = assessment.assess(model, items)
    answers = [model.predict(imaging.read(item.path).pixels) for item in items]
    right = sum(answer.label == item.label for answer, item in zip(answers, items, strict=True))
    flagged = sum(not answer.in_distribution for answer in answers)
    assert report["n"] == report["n_patients"] == len(items) == 8
    assert report["accuracy"]["value"] == pytest.approx(right / 8)
    assert report["out_of_distribution"]["value"] == pytest.approx(flagged / 8)
    assert report["positive"] == "PNEUMONIA"
    assert report["notes"] == []


def test_the_coverage_of_the_prediction_sets_is_measured(model, tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model.bundle, tmp_path / "with_sets")
    edge = model.predict(imaging.read(tiny_model.dataset.subset("test")[0].path).pixels).by_class()["NORMAL"]
    # Every image is flagged, and the sets that are measured are those of the thresholds all the same.
    changes = {
        "prediction_sets": {"level": 0.8, "thresholds": [edge, 0.0]},
        "in_distribution": model.info["in_distribution"] | {"limit": 0.0},
    }
    (folder / bundle.INFO).write_text(json.dumps(model.info | changes))
    items = tiny_model.dataset.subset("test")
    report = assessment.assess(Bundle(folder), items)
    assert report["out_of_distribution"]["value"] == 1
    normal = [model.predict(imaging.read(item.path).pixels).by_class()["NORMAL"] >= edge for item in items]
    covered = [item.label == "PNEUMONIA" or inside for item, inside in zip(items, normal, strict=True)]
    sets = report["prediction_sets"]
    assert sets["level"] == 0.8
    assert sets["coverage"]["value"] == pytest.approx(sum(covered) / 8)
    assert sets["mean_size"]["value"] == pytest.approx(1 + sum(normal) / 8)
    without = shutil.copytree(tiny_model.bundle, tmp_path / "without_sets")
    (without / bundle.INFO).write_text(json.dumps({k: v for k, v in model.info.items() if k != "prediction_sets"}))
    assert "prediction_sets" not in assessment.assess(Bundle(without), items)


def test_foreign_and_unreadable_images_are_left_out_and_counted(model, tiny_model, tmp_path):
    first, second, *rest = tiny_model.dataset.subset("test")
    (tmp_path / "broken.png").write_bytes(b"no image")
    items = [replace(first, label="Tuberculosis"), replace(second, path=tmp_path / "broken.png"), *rest]
    report = assessment.assess(model, items)
    assert report["n"] == 6
    assert report["notes"] == [
        "1 images are of classes that the model does not know, and were left out.",
        "1 images could not be read, and were left out.",
    ]


def test_synonyms_of_a_class_count_for_it(model, tiny_model):
    items = tiny_model.dataset.subset("test")
    renamed = [replace(item, label="No_findings") if item.label == "NORMAL" else item for item in items]
    assert assessment.assess(model, renamed)["confusion"] == assessment.assess(model, items)["confusion"]


def test_images_of_one_patient_count_as_one(model, tiny_model):
    items = [replace(item, patient=f"patient {n // 2}") for n, item in enumerate(tiny_model.dataset.subset("test"))]
    assert assessment.assess(model, items)["n_patients"] == 4


def test_without_a_known_class_there_is_nothing_to_assess(model, tiny_model):
    items = [replace(item, label="Tuberculosis") for item in tiny_model.dataset.subset("test")]
    with pytest.raises(DatasetError, match="No image is of a class that model tiny_pooled knows"):
        assessment.assess(model, items)
    with pytest.raises(DatasetError):
        assessment.assess(model, [])
