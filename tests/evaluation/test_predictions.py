"""A model is put through a dataset's images: classes matched, unreadable and foreign images counted and left out."""

import shutil
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from msgspec import structs

from covid_cnn.common.errors import DatasetError
from covid_cnn.common.jobs import StoppedError
from covid_cnn.common.storage import Cache
from covid_cnn.data import classes
from covid_cnn.evaluation import binary, predictions
from covid_cnn.images import reader
from covid_cnn.models import bundle
from covid_cnn.models.bundle import Bundle
from covid_cnn.models.info import SetThresholds


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
    assert classes.matching_class(label, ("NORMAL", "covid-19")) == expected


def test_the_report_counts_what_the_model_answered(model, tiny_model):
    items = tiny_model.dataset.subset("test")
    report = predictions.evaluate_dataset(model, items)
    answers = [model.predict(reader.read(item.path).pixels) for item in items]
    right = sum(answer.label == item.label for answer, item in zip(answers, items, strict=True))
    flagged = sum(not answer.in_distribution for answer in answers)
    assert report.n == report.n_patients == len(items) == 8
    assert report.accuracy.value == pytest.approx(right / 8)
    assert report.out_of_distribution.value == pytest.approx(flagged / 8)
    assert report.positive == "PNEUMONIA"
    assert report.notes == []


def test_the_coverage_of_the_prediction_sets_is_measured(model, tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model.bundle, tmp_path / "with_sets")
    edge = model.predict(reader.read(tiny_model.dataset.subset("test")[0].path).pixels).by_class()["NORMAL"]
    # Every image is flagged, and the sets that are measured are those of the thresholds all the same.
    thresholds = SetThresholds("", 0.8, [edge, 0.0], "")
    never = structs.replace(model.info.in_distribution, limit=0.0)
    changed = structs.replace(model.info, prediction_sets=thresholds, in_distribution=never)
    (folder / bundle.INFO_FILE).write_bytes(msgspec.json.encode(changed))
    items = tiny_model.dataset.subset("test")
    report = predictions.evaluate_dataset(Bundle(folder), items)
    assert report.out_of_distribution.value == 1
    normal = [model.predict(reader.read(item.path).pixels).by_class()["NORMAL"] >= edge for item in items]
    covered = [item.label == "PNEUMONIA" or inside for item, inside in zip(items, normal, strict=True)]
    sets = report.prediction_sets
    assert sets.level == 0.8
    assert sets.coverage.value == pytest.approx(sum(covered) / 8)
    assert sets.mean_size.value == pytest.approx(1 + sum(normal) / 8)
    without = shutil.copytree(tiny_model.bundle, tmp_path / "without_sets")
    (without / bundle.INFO_FILE).write_bytes(msgspec.json.encode(structs.replace(model.info, prediction_sets=None)))
    assert not predictions.evaluate_dataset(Bundle(without), items).prediction_sets


def test_foreign_and_unreadable_images_are_left_out_and_counted(model, tiny_model, tmp_path):
    first, second, *rest = tiny_model.dataset.subset("test")
    (tmp_path / "broken.png").write_bytes(b"no image")
    items = [replace(first, label="Tuberculosis"), replace(second, path=tmp_path / "broken.png"), *rest]
    report = predictions.evaluate_dataset(model, items)
    assert report.n == 6
    assert report.notes == [
        "1 images are of classes that the model does not know, and were left out.",
        "1 images could not be read, and were left out.",
    ]


def test_synonyms_of_a_class_count_for_it(model, tiny_model):
    items = tiny_model.dataset.subset("test")
    renamed = [replace(item, label="No_findings") if item.label == "NORMAL" else item for item in items]
    assert (
        predictions.evaluate_dataset(model, renamed).confusion == predictions.evaluate_dataset(model, items).confusion
    )


def test_images_of_one_patient_count_as_one(model, tiny_model):
    items = [replace(item, patient=f"patient {n // 2}") for n, item in enumerate(tiny_model.dataset.subset("test"))]
    assert predictions.evaluate_dataset(model, items).n_patients == 4


def test_without_a_known_class_there_is_nothing_to_assess(model, tiny_model):
    items = [replace(item, label="Tuberculosis") for item in tiny_model.dataset.subset("test")]
    with pytest.raises(DatasetError, match="No image is of a class that model tiny_pooled knows"):
        predictions.evaluate_dataset(model, items)
    with pytest.raises(DatasetError):
        predictions.evaluate_dataset(model, [])


def test_answers_are_kept_and_not_asked_for_again(model, tiny_model, tmp_path, monkeypatch):
    items, store = tiny_model.dataset.subset("test"), Cache(tmp_path / "kept.sqlite")
    assert predictions.count_cached(model, items, store) == 0
    anew = predictions.predict_dataset(model, items, embeddings=True)
    first = predictions.predict_dataset(model, items, store, embeddings=True)
    assert predictions.count_cached(model, items, store) == 8
    monkeypatch.setattr(model, "predict", None)
    second = predictions.predict_dataset(model, items, store, embeddings=True)
    assert second.embeddings.shape[1] > 0 and predictions.predict_dataset(model, items, store).embeddings.shape == (
        8,
        0,
    )
    for name in ("labels", "predicted", "probabilities", "embeddings", "flagged"):
        np.testing.assert_array_equal(getattr(first, name), getattr(anew, name))
        np.testing.assert_array_equal(getattr(second, name), getattr(anew, name))


def test_what_was_answered_before_a_stop_is_kept(model, tiny_model, tmp_path):
    items, store = tiny_model.dataset.subset("test"), Cache(tmp_path / "kept.sqlite")

    def stop_at_half(part, message):
        if part >= 0.5:
            raise StoppedError(message)

    with pytest.raises(StoppedError, match="Asked about 4 of 8 images"):
        predictions.predict_known(model, items, store, stop_at_half)
    assert predictions.count_cached(model, items, store) == 4


def test_another_model_and_another_image_have_answers_of_their_own(model, tiny_model, tmp_path):
    items, store = tiny_model.dataset.subset("test"), Cache(tmp_path / "kept.sqlite")
    predictions.predict_known(model, items, store)
    folder = shutil.copytree(tiny_model.bundle, tmp_path / "other")
    never = structs.replace(model.info.in_distribution, limit=0.0)
    changed = structs.replace(model.info, in_distribution=never)
    (folder / bundle.INFO_FILE).write_bytes(msgspec.json.encode(changed))
    assert predictions.count_cached(Bundle(folder), items, store) == 0
    copy = tmp_path / "copy.png"
    shutil.copyfile(items[0].path, copy)
    assert predictions.count_cached(model, [replace(items[0], path=copy)], store) == 1
    shutil.copyfile(tiny_model.dataset.subset("train")[0].path, copy)
    assert predictions.count_cached(model, [replace(items[0], path=copy)], store) == 0


# Yes-or-no questions


def test_the_question_a_model_was_made_for_has_its_own_answers(model, tiny_model):
    answers = predictions.predict_dataset(model, tiny_model.dataset.subset("test"))
    asked = binary.binarize(model, answers, binary.POSITIVE)
    assert (asked.yes, asked.no, asked.threshold) == ("PNEUMONIA", "not PNEUMONIA", model.threshold)
    positive = model.classes.index("PNEUMONIA")
    np.testing.assert_array_equal(asked.predicted, answers.predicted == positive)
    np.testing.assert_array_equal(asked.labels, answers.labels == positive)
    report, whole = binary.report_binary(asked), predictions.report_predictions(model, answers)
    for key in ("accuracy", "sensitivity", "specificity", "auroc", "brier", "out_of_distribution"):
        assert getattr(report, key).value == pytest.approx(getattr(whole, key).value), key


def test_images_of_foreign_classes_are_ill_and_no_answer_to_the_other_question(model, tiny_model):
    first, *rest = tiny_model.dataset.subset("test")
    answers = predictions.predict_dataset(model, [replace(first, label="Tuberculosis"), *rest])
    ill = binary.binarize(model, answers, binary.DISEASED)
    assert len(ill.items) == 8 and ill.labels[0]
    np.testing.assert_allclose(ill.scores, 1 - answers.probabilities[:, model.classes.index("NORMAL")])
    own = binary.binarize(model, answers, binary.POSITIVE)
    assert len(own.items) == 7
    assert own.notes == ["1 images are of classes that the model does not know, and were left out."]


def test_a_threshold_decides(model, tiny_model):
    answers = predictions.predict_dataset(model, tiny_model.dataset.subset("test"))
    for threshold, called in ((0.0, 8), (1.1, 0)):
        asked = binary.binarize(model, answers, binary.DISEASED, threshold)
        assert sum(binary.count_outcomes(asked).values()) == 8
        assert asked.predicted.sum() == called
    told = binary.at_prevalence(binary.binarize(model, answers, binary.DISEASED, 0.0), 0.01)
    assert told.ppv.value == pytest.approx(0.01) and told.npv is None


def test_a_model_without_the_class_cannot_be_asked(model, tiny_model):
    answers = predictions.predict_dataset(model, tiny_model.dataset.subset("test"))
    with pytest.raises(DatasetError, match="cannot be asked this"):
        binary.binarize(model, answers, "nothing")
