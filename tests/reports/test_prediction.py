import hashlib
import json
import subprocess
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pypdfium2
import pytest
from msgspec import structs
from uploads import DEEP, dicom

from covid_cnn.evaluation.metrics import evaluate_classifier
from covid_cnn.images import reader
from covid_cnn.models.batch import to_row
from covid_cnn.models.bundle import NO_LIMIT, Prediction, read_info
from covid_cnn.models.info import Decision, Evidence, Metrics
from covid_cnn.reports import card, pdf, wording
from covid_cnn.reports import prediction as reports_prediction
from covid_cnn.reports.terminal import prediction_line

SOBERING = "Of 500 healthy adults of another hospital it calls 441 ill."
TIME = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


@dataclass(frozen=True)
class Radiograph:
    pixels: np.ndarray
    name: str = "Mrs_Secret.dcm"
    origin: str = "DICOM, 12 bit, MONOCHROME1 (inverted to show bone white), 1760 x 2140 px"
    warnings: tuple[str, ...] = ()
    synthetic: bool = False
    frames: int = 3
    frame: int = 1
    window: str = "centre 2000, width 1000 (lung)"
    digest: str = hashlib.sha256(b"the file").hexdigest()


@cache
def perfect_metrics(classes: tuple[str, ...], positive: str | None) -> dict:
    labels = np.arange(40) % len(classes)
    return evaluate_classifier(
        labels, labels, np.eye(len(classes))[labels], classes, positive, [str(i) for i in range(40)]
    )


def case(classes=("NORMAL", "PNEUMONIA"), positive="PNEUMONIA", shape=(60, 50)):
    """A radiograph, a prediction whose last class wins, and the model's description."""
    k = len(classes)
    generator = np.random.default_rng(0)
    probabilities = np.append(np.full(k - 1, 0.2 / (k - 1)), 0.8).astype(np.float32)
    prediction = Prediction(
        classes=tuple(classes),
        probabilities=probabilities,
        heatmaps=generator.random((7, 7, k)),
        embedding=np.zeros(1, np.float32),
        label=classes[-1],
        positive=positive,
        threshold=0.4 if positive else None,
        distance=12.3,
        distance_limit=20.0,
        in_distribution=True,
        prepared=np.zeros((1, 1), np.float32),
        prediction_set=None,
        set_level=None,
    )
    shipped = read_info(Path(__file__).parents[2] / "models" / "notebook_cnn")
    model = structs.replace(
        shipped,
        name="small",
        classes=list(classes),
        decision=Decision(positive, 0.4 if positive else None, ""),
        prediction_sets=None,
        training_data=structs.replace(shipped.training_data, name="synthetic"),
        evidence=[Evidence("Elsewhere", SOBERING)],
        metrics=Metrics(test=perfect_metrics(classes, positive)),
    )
    return Radiograph(generator.random(shape, np.float32)), prediction, model


def facts(radiograph, prediction, model) -> dict:
    return reports_prediction.summarize_prediction(radiograph, prediction, model, "0.1.0", TIME)


def page_of(radiograph, prediction, model, heatmap_class=None) -> pypdfium2.PdfPage:
    """The only page of the report, as another library reads it."""
    report = pdf.render_report(radiograph, prediction, model, heatmap_class or prediction.label, "0.1.0", TIME)
    (page,) = pypdfium2.PdfDocument(report)
    return page


def words(radiograph, prediction, model) -> str:
    """All that is written on the page, in one line."""
    return " ".join(page_of(radiograph, prediction, model).get_textpage().get_text_range().split())


def test_the_summary_holds_what_json_needs():
    radiograph, prediction, model = case()
    found = json.loads(json.dumps(facts(radiograph, prediction, model), allow_nan=False))
    assert found["notice"] == "Research and teaching only. Not for diagnosis."
    assert found["time"] == "2024-05-06T07:08:09+00:00"
    assert found["software"] == "Covid CNN 0.1.0"
    assert found["prediction"]["label"] == "PNEUMONIA"
    assert found["prediction"]["probabilities"] == pytest.approx({"NORMAL": 0.2, "PNEUMONIA": 0.8})
    assert found["prediction"]["in_distribution"] is True
    assert (found["image"]["width"], found["image"]["height"]) == (50, 60)
    assert found["image"]["sha256"] == hashlib.sha256(b"the file").hexdigest()
    assert found["image"]["pixels_sha256"] == hashlib.sha256(radiograph.pixels.tobytes()).hexdigest()
    assert (found["image"]["frame"], found["image"]["frames"]) == (2, 3)
    assert found["image"]["window"] == "centre 2000, width 1000 (lung)"
    assert found["model"]["test"]["sensitivity"]["n"] == 20
    assert found["model"]["headlines"] == card.headlines(model) and found["model"]["headlines"][0] == SOBERING


def test_the_digest_is_that_of_sha256sum_and_the_choice_is_told(tmp_path):
    (tmp_path / "x.dcm").write_bytes(dicom(DEEP, WindowCenter=[2000, 1000], WindowWidth=[1000, 900]))
    sums = subprocess.run(["sha256sum", tmp_path / "x.dcm"], capture_output=True, text=True, check=True)
    _, prediction, model = case()
    for window, told in ((None, "centre 2000, width 1000"), (2, "from the darkest to the brightest value")):
        radiograph = reader.read(tmp_path / "x.dcm", window=window)
        image = facts(radiograph, prediction, model)["image"]
        assert image["sha256"] == sums.stdout.split()[0] and image["window"] == told
        assert told in words(radiograph, prediction, model).replace("  ", " ")
    many = dicom(np.stack([DEEP, DEEP[::-1]]).reshape(-1, 90), Rows=70, NumberOfFrames=2, PatientName="Doeling^Jane")
    image = facts(reader.read(many, "Doeling_Jane", frame=1), prediction, model)["image"]
    assert (image["frame"], image["frames"]) == (2, 2) and image["sha256"] == hashlib.sha256(many).hexdigest()
    assert "doeling" not in json.dumps(image).lower()
    drawn = facts(Radiograph(DEEP / 4095, digest="", window="", frames=1, frame=0), prediction, model)["image"]
    assert drawn["sha256"] is None and drawn["window"] is None


def test_times_are_told_in_utc():
    elsewhere = TIME.astimezone(timezone(timedelta(hours=8)))
    assert reports_prediction.summarize_prediction(*case(), "0.1.0", elsewhere)["time"] == "2024-05-06T07:08:09+00:00"


def test_the_sentence_tells_the_rule():
    _, prediction, _ = case()
    assert (
        wording.decision_sentence(prediction)
        == "The probability of PNEUMONIA, 0.800, reaches the decision threshold of 0.400."
    )
    healthy = replace(prediction, label="NORMAL", threshold=0.9)
    assert "0.800, stays below the decision threshold of 0.900" in wording.decision_sentence(healthy)
    _, three, _ = case(("A", "B", "C"), None)
    assert wording.decision_sentence(three) == "C is the most probable of 3 classes, with a probability of 0.800."


THREE = ("normal", "other pneumonia", "COVID-19")


def of_three(*probabilities: float, label: str, threshold: float = 0.3, possible: tuple[str, ...] = ()) -> Prediction:
    _, prediction, _ = case(THREE, "COVID-19")
    return replace(
        prediction,
        probabilities=np.array(probabilities),
        label=label,
        threshold=threshold,
        prediction_set=possible or None,
        set_level=0.9 if possible else None,
    )


def test_of_three_classes_the_sentence_tells_both_rules():
    sick = of_three(0.1, 0.2, 0.7, label="COVID-19")
    assert (
        wording.decision_sentence(sick)
        == "The probability of COVID-19, 0.700, reaches the decision threshold of 0.300."
    )
    unsure = of_three(0.1, 0.5, 0.4, label="COVID-19")
    assert wording.decision_sentence(unsure).endswith("of 0.300, though other pneumonia is more probable, with 0.500.")
    other = of_three(0.1, 0.7, 0.2, label="other pneumonia")
    assert wording.decision_sentence(other) == (
        "The probability of COVID-19, 0.200, stays below the decision threshold of 0.300; "
        "of the other classes, other pneumonia is the most probable, with 0.700."
    )


@pytest.mark.parametrize(
    ("probabilities", "possible", "verdict"),
    [
        ((0.45, 0.39, 0.16), ("normal", "other pneumonia"), "Not sure: normal or other pneumonia (45 %, 39 %)"),
        ((0.1, 0.2, 0.7), ("COVID-19",), "COVID-19 (70 %)"),
        ((0.1, 0.5, 0.4), ("other pneumonia",), "Not sure: other pneumonia or COVID-19 (50 %, 40 %)"),  # rules disagree
        ((0.3, 0.3, 0.4), (), "COVID-19 (40 %)"),  # a model without prediction sets
        ((0.3, 0.32, 0.38), THREE, "Not sure: COVID-19, other pneumonia or normal (38 %, 32 %, 30 %)"),
    ],
)
def test_the_verdict_is_that_of_the_set(probabilities, possible, verdict):
    label = "normal" if possible[:1] == ("normal",) and len(possible) == 2 else "COVID-19"
    assert wording.verdict(of_three(*probabilities, label=label, possible=possible)) == verdict


def test_the_prediction_set_is_told_in_words():
    def told(*possible: str) -> str:
        prediction = of_three(0.1, 0.5, 0.4, label="COVID-19", possible=possible)
        return f"{wording.possible_classes(prediction)}. {wording.coverage_sentence(prediction)}"

    promise = "Of 100 images like those the model was tuned on, at least 90 have their true class in such a set"
    assert told("COVID-19").startswith(f"COVID-19 alone. {promise}") and "disagree" not in told("COVID-19")
    assert told("other pneumonia", "COVID-19").startswith(f"other pneumonia or COVID-19. {promise}")
    assert told(*THREE).startswith("normal, other pneumonia or COVID-19. ")
    assert "The answer, COVID-19, is not among them: the two rules disagree" in told("normal", "other pneumonia")
    assert told() == ". "


def test_of_a_model_without_its_images_it_is_unknown_whether_an_image_is_like_them():
    prediction = replace(of_three(0.0, 0.1, 0.9, label="COVID-19"), distance_limit=NO_LIMIT)
    radiograph, _, model = case(THREE, "COVID-19")
    found = facts(radiograph, prediction, model)["prediction"]
    assert (found["label"], found["in_distribution"], found["distance_limit"]) == ("COVID-19", None, None)
    assert "is unknown" in wording.likeness_sentence(prediction)
    assert "What it would answer anyway" not in words(radiograph, prediction, model)
    row = to_row(SimpleNamespace(classes=THREE), "a.png", (radiograph, prediction))
    assert row["in_distribution"] == ""
    assert prediction_line(row, THREE).startswith("a.png: COVID-19 (")


def test_an_unlike_image_is_given_no_label():
    prediction = replace(
        of_three(0.0, 0.1, 0.9, label="COVID-19", possible=("COVID-19", "other pneumonia", "normal")),
        in_distribution=False,
    )
    radiograph, _, model = case(THREE, "COVID-19")
    assert "COVID-19" not in wording.decision_sentence(prediction) and "no label" in wording.decision_sentence(
        prediction
    )
    assert wording.verdict(prediction) == wording.UNKNOWN_KIND
    assert "knows nothing" in wording.coverage_sentence(prediction)
    found = facts(radiograph, prediction, model)["prediction"]
    assert found["label"] is None and found["in_distribution"] is False
    text = words(radiograph, prediction, model)
    assert "Answer: none" in text and "Answer: COVID-19" not in text
    assert text.index("Read with care") < text.index("Answer: none") < text.index("What it would answer anyway")
    assert "threshold" not in text


def test_the_page_of_three_classes_tells_the_set_and_the_figures():
    radiograph, _, model = case(THREE, "COVID-19")
    text = words(radiograph, of_three(0.1, 0.2, 0.7, label="COVID-19", possible=("COVID-19",)), model)
    for part in ("Answer: COVID-19", "Could be COVID-19 alone", "AUROC, COVID-19", "AUROC, all classes", "Sensitivity"):
        assert part in text, part
    unsure = words(radiograph, of_three(0.1, 0.4, 0.5, label="COVID-19", possible=("COVID-19", "normal")), model)
    assert "Answer: Not sure: COVID-19 or " in unsure, "it says what the page says"


def test_the_file_name_appears_nowhere():
    arguments = case()
    assert "Secret" not in json.dumps(facts(*arguments))
    assert "Secret" not in words(*arguments)
    assert b"Secret" not in pdf.render_report(*arguments, "PNEUMONIA", "0.1.0", TIME)


def test_the_page_says_everything_that_matters():
    radiograph, prediction, model = case()
    text = words(replace(radiograph, warnings=("The image has colours.",), synthetic=True), prediction, model)
    assert text.count("Research and teaching only. Not for diagnosis.") == 2
    for part in (
        "Answer: PNEUMONIA",
        "0.800",
        "decision threshold of 0.400",
        "resembles the images",
        "The image has colours.",
        "drawn by a program",
        "2024-05-06 07:08:09 UTC",
        "small, trained on synthetic",
        SOBERING,
        "Sensitivity 1.000 0.839 to 1.000 20",
        f"Pixels as read, SHA-256: {reports_prediction.pixel_digest(radiograph.pixels)}",
        f"File, SHA-256: {radiograph.digest}",
        "frame 2 of 3; shown with centre 2000, width 1000 (lung)",
        "Covid CNN 0.1.0",
    ):
        assert part in text, part


def test_the_page_warns_of_an_unlike_image():
    radiograph, prediction, model = case()
    assert "Read with care" not in words(radiograph, prediction, model)
    text = words(radiograph, replace(prediction, distance=31.0, in_distribution=False), model)
    assert "Read with care" in text and "unlike" in text and "distance 31.0, limit 20.0" in text


def test_the_page_says_when_the_heatmap_is_empty_or_the_model_untested():
    radiograph, prediction, model = case()
    text = words(
        radiograph, replace(prediction, heatmaps=np.zeros((7, 7, 2))), structs.replace(model, metrics=Metrics())
    )
    assert "nothing in the image raised the score of PNEUMONIA" in text
    assert "no figures from a test set" in text


LONG = (
    "NORMAL",
    "$x$",
    "W" * 60,
    "BACTERIAL",
    "OTHER",
    "TUBERCULOSIS",
    "Viral pneumonia other than COVID-19, laboratory",
)
WARNING = "The DICOM file says that the view is lateral, and the network saw frontal views alone when it was trained."


@pytest.mark.parametrize(
    ("classes", "positive"),
    [(("NORMAL", "PNEUMONIA"), "PNEUMONIA"), (THREE, "COVID-19"), (LONG, None), (LONG, LONG[-1])],
)
@pytest.mark.parametrize("n_warnings", [0, 4, 20])
@pytest.mark.parametrize("shape", [(60, 50), (30, 120), (120, 30)])
def test_nothing_overlaps_or_leaves_the_page(classes, positive, n_warnings, shape):
    radiograph, prediction, model = case(classes, positive, shape)
    if positive:
        prediction = replace(prediction, prediction_set=classes[-3:], set_level=0.9)
    radiograph = replace(radiograph, warnings=(WARNING,) * n_warnings)
    prediction = replace(prediction, in_distribution=n_warnings == 0)
    data = structs.replace(model.training_data, name="a dataset with a rather long name, of which " * 4)
    model = structs.replace(model, training_data=data, evidence=[Evidence("Elsewhere", f"{SOBERING} " * 9)])
    page = page_of(radiograph, prediction, model, classes[2 % len(classes)])
    letters = page.get_textpage()
    boxes = [(letters.get_text_bounded(*box), box) for box in map(letters.get_rect, range(letters.count_rects()))]
    pictures = list(page.get_objects([pypdfium2.raw.FPDF_PAGEOBJ_IMAGE]))
    boxes += [("image", picture.get_bounds()) for picture in pictures]
    assert len(boxes) > 20
    margin = pdf.MARGIN / 25.4 * 72
    for text, (left, bottom, right, top) in boxes:
        assert margin - 2 <= left and right <= page.get_width() - margin + 2, text
        assert bottom >= 0 and top <= page.get_height(), text
    for (one, a), (other, b) in combinations(boxes, 2):
        wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
        assert wide <= 0.5 or high <= 0.5, (one, other)
    ratios = [(right - left) / (top - bottom) for left, bottom, right, top in (one.get_bounds() for one in pictures)]
    assert ratios == pytest.approx([shape[1] / shape[0]] * 2, rel=0.01)


def test_the_pdf_is_one_a4_page_and_reproducible():
    first, second = (pdf.render_report(*case(), "NORMAL", "0.1.0", TIME) for _ in range(2))
    assert first.startswith(b"%PDF") and first == second
    (page,) = pypdfium2.PdfDocument(first)
    assert (page.get_width(), page.get_height()) == pytest.approx((595.28, 841.89), abs=0.01)
