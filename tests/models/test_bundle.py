"""A bundle predicts, from many threads at once, without TensorFlow; and a damaged one is refused in a sentence."""

import hashlib
import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from covid_cnn.common.errors import BundleError
from covid_cnn.data import synthetic
from covid_cnn.images import reader
from covid_cnn.models import bundle
from covid_cnn.models.bundle import Bundle, Prediction


@pytest.fixture
def folder(tiny_model, tmp_path) -> Path:
    """A copy of a sound bundle, to be damaged."""
    return Path(shutil.copytree(tiny_model.bundle, tmp_path / "models" / "tiny"))


def edit(folder: Path, **changes) -> None:
    info = json.loads((folder / bundle.INFO_FILE).read_text())
    (folder / bundle.INFO_FILE).write_text(json.dumps(info | changes))


def edit_part(folder: Path, part: str, **changes) -> None:
    info = json.loads((folder / bundle.INFO_FILE).read_text())
    edit(folder, **{part: info[part] | changes})


def edit_report(folder: Path, **changes) -> None:
    info = json.loads((folder / bundle.INFO_FILE).read_text())
    edit_part(folder, "metrics", val=info["metrics"]["val"] | changes)


def lose(folder: Path, key: str) -> None:
    info = json.loads((folder / bundle.INFO_FILE).read_text())
    del info[key]
    (folder / bundle.INFO_FILE).write_text(json.dumps(info))


def replace_graph(folder: Path, graph: bytes) -> None:
    """With a digest that fits, as of someone who put the bundle together wrongly."""
    (folder / bundle.GRAPH_FILE).write_bytes(graph)
    edit(folder, sha256=hashlib.sha256(graph).hexdigest())


def foreign_operator(folder: Path) -> None:
    """Make the graph's first operator one that LiteRT does not bring along."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs((folder / bundle.GRAPH_FILE).read_bytes()))
    operator = model.operatorCodes[0]
    operator.builtinCode = operator.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    operator.customCode = b"Foreign"
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    replace_graph(folder, bytes(builder.Output()))


def halve_graph(folder: Path) -> None:
    graph = (folder / bundle.GRAPH_FILE).read_bytes()
    replace_graph(folder, graph[: len(graph) // 2])


SETS = {"method": "", "level": 0.9, "thresholds": [0.1, 0.2], "chosen": ""}
DAMAGE = {
    "no folder": (lambda f: shutil.rmtree(f), "There is no model called tiny"),
    "no info": (lambda f: (f / bundle.INFO_FILE).unlink(), "There is no model called tiny"),
    "no graph": (lambda f: (f / bundle.GRAPH_FILE).unlink(), "has no model.tflite"),
    "info cut off": (lambda f: (f / bundle.INFO_FILE).write_text('{"schema": 1, "na'), "is damaged"),
    "info no text": (lambda f: (f / bundle.INFO_FILE).write_bytes(b"\xff\xfe\x00\x9d"), "is damaged"),
    "info of lists in lists": (lambda f: (f / bundle.INFO_FILE).write_text('{"more":' + "[" * 200_000), "is damaged"),
    "info of halves of characters": (lambda f: edit(f, name="\ud800"), "is damaged"),
    "no training data": (lambda f: edit(f, training_data={}), "lacks a usable training_data.name"),
    "a result without figures": (
        lambda f: edit_part(f, "metrics", other={"x": {}}),
        "lacks a usable metrics.other.n:",
    ),
    "a confusion of other classes": (lambda f: edit_report(f, classes=["A"]), "lacks a usable metrics.val:"),
    "evidence of numbers": (lambda f: edit(f, evidence=[1]), "lacks a usable evidence:"),
    "info a list": (lambda f: (f / bundle.INFO_FILE).write_text("[1]"), "another version"),
    "schema of tomorrow": (lambda f: edit(f, schema=2), "another version"),
    "no schema": (lambda f: lose(f, "schema"), "another version"),
    "no classes": (lambda f: lose(f, "classes"), "lacks a usable classes"),
    "classes a number": (lambda f: edit(f, classes=2), "lacks a usable classes"),
    "no digest": (lambda f: lose(f, "sha256"), "lacks a usable sha256"),
    "no statistics": (lambda f: lose(f, "in_distribution"), "lacks a usable in_distribution"),
    "another digest": (lambda f: edit(f, sha256="0" * 64), "not the one its model.json describes"),
    "graph cut off": (lambda f: (f / bundle.GRAPH_FILE).write_bytes(b"TFL3"), "not the one its model.json describes"),
    "graph no graph": (lambda f: replace_graph(f, b"no graph at all" * 9), "cannot be loaded"),
    "graph half": (halve_graph, "cannot be loaded"),
    "graph of a foreign operator": (foreign_operator, "cannot be loaded"),
    "graph empty": (lambda f: replace_graph(f, b""), "cannot be loaded"),
    "a class too many": (
        lambda f: edit(
            f,
            classes=["A", "B", "C"],
            decision={"positive": None, "threshold": None, "chosen": ""},
            prediction_sets=SETS | {"thresholds": [0.1, 0.2, 0.3]},
        ),
        "do not have the shapes",
    ),
    "one class": (lambda f: edit(f, classes=["PNEUMONIA"]), "contradicts itself"),
    "a class twice": (lambda f: edit(f, classes=["PNEUMONIA", "PNEUMONIA"]), "contradicts itself"),
    "classes no names": (lambda f: edit(f, classes=[1, 2]), "lacks a usable classes"),
    "another input size": (lambda f: edit(f, input_size=[64, 64]), "do not have the shapes"),
    "input size of one side": (lambda f: edit(f, input_size=[32]), "lacks a usable input_size"),
    "input size no numbers": (lambda f: edit(f, input_size=["32", "32"]), "lacks a usable input_size"),
    "positive is no class": (lambda f: edit_part(f, "decision", positive="FLU"), "contradicts itself"),
    "positive without threshold": (lambda f: edit_part(f, "decision", threshold=None), "contradicts itself"),
    "prediction sets a list": (lambda f: edit(f, prediction_sets=[0.1, 0.2]), "lacks a usable prediction_sets"),
    "prediction sets of a class too many": (
        lambda f: edit(f, prediction_sets=SETS | {"thresholds": [0.1, 0.2, 0.3]}),
        "contradicts itself",
    ),
    "prediction sets without a level": (
        lambda f: edit(f, prediction_sets=SETS | {"level": None}),
        "lacks a usable prediction_sets.level",
    ),
    "prediction sets of words": (
        lambda f: edit(f, prediction_sets=SETS | {"thresholds": ["low", "high"]}),
        "lacks a usable prediction_sets.thresholds",
    ),
    "evidence a sentence": (lambda f: edit(f, evidence="It is good."), "lacks a usable evidence"),
    "embedding of another size": (
        lambda f: edit_part(
            f,
            "in_distribution",
            mean=bundle.encode_array(np.zeros(5)),
            components=bundle.encode_array(np.zeros((8, 5))),
        ),
        "do not have the shapes",
    ),
    "statistics no base64": (lambda f: edit_part(f, "in_distribution", mean="!"), "statistics of model tiny are dam"),
    "statistics cut off": (
        lambda f: edit_part(f, "in_distribution", components=""),
        "statistics of model tiny are dam",
    ),
    "statistics no text": (
        lambda f: edit_part(f, "in_distribution", variances=[1, 2]),
        "usable in_distribution.variances",
    ),
    "no limit": (lambda f: edit_part(f, "in_distribution", limit=None), "usable in_distribution.limit"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_bundle_is_refused_in_a_sentence(folder, damage):
    damage_it, sentence = DAMAGE[damage]
    damage_it(folder)
    with pytest.raises(BundleError, match=sentence) as error:
        Bundle(folder)
    assert str(error.value).endswith(".") and "\n" not in str(error.value)
    assert "tiny" in str(error.value)


def test_a_damaged_bundle_does_not_hide_the_sound_ones(folder, monkeypatch):
    monkeypatch.setenv("COVID_CNN_HOME", str(folder.parent.parent))
    shutil.copytree(folder, folder.parent / bundle.DEFAULT_MODEL)
    shutil.copytree(folder, folder.parent / "broken")
    (folder.parent / "broken" / bundle.INFO_FILE).write_text("{")
    found, problems = bundle.discover_bundles()
    assert list(found) == [bundle.DEFAULT_MODEL, "tiny"]
    assert len(problems) == 1 and "broken" in problems[0]


def test_load_takes_a_name_and_a_path(folder, monkeypatch):
    monkeypatch.setenv("COVID_CNN_HOME", str(folder.parent.parent))
    assert bundle.load_bundle("tiny").folder == bundle.load_bundle(str(folder)).folder == folder
    with pytest.raises(BundleError, match="There is no model called nothing"):
        bundle.load_bundle("nothing")


def test_a_prediction_has_the_shapes_and_ranges_it_promises(folder):
    model = Bundle(folder)
    prediction = model.predict(synthetic.draw_radiograph(1, opacities=True, size=100)[:, 10:])
    assert prediction.classes == model.classes == ("NORMAL", "PNEUMONIA")
    assert prediction.probabilities.shape == (2,)
    assert prediction.probabilities.sum() == pytest.approx(1)
    assert prediction.by_class() == dict(zip(model.classes, prediction.probabilities.tolist(), strict=True))
    assert prediction.heatmaps.ndim == 3 and prediction.heatmaps.shape[2] == 2
    assert prediction.heatmaps.min() >= 0 and prediction.heatmaps.max() == pytest.approx(1)
    assert prediction.embedding.shape == (12,)
    assert prediction.prepared.shape == model.input_size == (32, 32)
    assert prediction.distance > 0 and prediction.distance_limit > 0
    assert prediction.in_distribution == (prediction.distance <= prediction.distance_limit)
    assert bool(prediction.warning) != prediction.in_distribution


def test_what_was_trained_can_be_predicted(tiny_model):
    """The model has learned something from its training images, through all of reading, preparing and predicting."""
    model = Bundle(tiny_model.bundle)
    items = tiny_model.dataset.subset("train")
    right = [model.predict(reader.read(item.path).pixels).label == item.label for item in items]
    assert np.mean(right) > 0.6


@pytest.mark.parametrize(
    ("probability", "threshold", "label"),
    [(0.3, 0.5, "sick"), (0.5, 0.5, "well"), (0.49, 0.5, "sick"), (0.3, 0.2, "well"), (0.79, 0.8, "sick")],
)
def test_with_two_classes_the_threshold_decides(probability, threshold, label):
    probabilities = np.array([1 - probability, probability])
    assert bundle.decide(("sick", "well"), probabilities, "well", threshold) == label


def test_the_positive_class_may_be_the_first():
    assert bundle.decide(("sick", "well"), np.array([0.3, 0.7]), "sick", 0.25) == "sick"
    assert bundle.decide(("sick", "well"), np.array([0.2, 0.8]), "sick", 0.25) == "well"


def test_without_a_threshold_the_most_probable_class_is_named():
    assert bundle.decide(("a", "b", "c"), np.array([0.3, 0.36, 0.34]), None, None) == "b"


@pytest.mark.parametrize(
    ("probabilities", "label"),
    [
        ([0.5, 0.1, 0.4], "covid"),  # it reaches its threshold, though another class is more probable
        ([0.5, 0.11, 0.39], "normal"),
        ([0.25, 0.37, 0.38], "other"),  # the most probable one that is not covid
        ([0.1, 0.1, 0.8], "covid"),
    ],
)
def test_the_threshold_of_one_class_of_several_decides(probabilities, label):
    classes = ("normal", "other", "covid")
    assert bundle.decide(classes, np.array(probabilities), "covid", 0.4) == label
    moved = bundle.decide(("covid", "other", "normal"), np.array(probabilities[::-1]), "covid", 0.4)
    assert moved == label


def test_without_thresholds_there_is_no_prediction_set(folder):
    lose(folder, "prediction_sets")
    prediction = Bundle(folder).predict(synthetic.draw_radiograph(1, opacities=True, size=64))
    assert prediction.prediction_set is prediction.set_level is None


@pytest.mark.parametrize(
    ("thresholds", "size"),
    [([0.0, 0.0], 2), ([1.0, 0.0], 1), ([1.0, 1.0], 1)],  # the last would be empty
)
def test_a_prediction_set_holds_the_classes_that_reach_their_thresholds(folder, thresholds, size):
    edit(folder, prediction_sets=SETS | {"thresholds": thresholds})
    edit_part(folder, "in_distribution", limit=1e9)
    prediction = Bundle(folder).predict(synthetic.draw_radiograph(1, opacities=True, size=64))
    found = prediction.prediction_set
    assert len(found) == size and prediction.set_level == 0.9
    by_class = prediction.by_class()
    assert list(found) == sorted(found, key=lambda name: -by_class[name])
    most_probable = max(by_class, key=lambda name: by_class[name])
    assert found == {(1.0, 0.0): ("PNEUMONIA",), (1.0, 1.0): (most_probable,)}.get(tuple(thresholds), found)


def test_of_an_image_of_no_known_kind_nothing_is_ruled_out(folder):
    edit(folder, prediction_sets=SETS | {"thresholds": [1.0, 0.0]})
    edit_part(folder, "in_distribution", limit=0.0)
    prediction = Bundle(folder).predict(synthetic.draw_radiograph(1, opacities=True, size=64))
    assert set(prediction.prediction_set) == {"NORMAL", "PNEUMONIA"}


def test_threads_get_each_their_own_answer(folder, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    model = Bundle(folder)
    images = [synthetic.draw_radiograph(seed, opacities=bool(seed % 2), size=64) for seed in range(8)]
    alone = [model.predict(pixels) for pixels in images]
    assert len({prediction.embedding.tobytes() for prediction in alone}) == len(images)

    def often(i: int) -> list[Prediction]:
        return [model.predict(images[i], crowd=bool(n % 2)) for n in range(40)]

    with ThreadPoolExecutor(8) as threads:
        for expected, answers in zip(alone, threads.map(often, range(8)), strict=True):
            for answer in answers:
                for part in ("probabilities", "heatmaps", "embedding"):
                    np.testing.assert_allclose(getattr(answer, part), getattr(expected, part), atol=1e-5)


def test_a_crowd_needs_an_interpreter_a_core_at_most(folder, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    model, made, load = Bundle(folder), [], Bundle._load_graph

    def counted(self, threads):
        made.append(threads)
        return load(self, threads)

    monkeypatch.setattr(Bundle, "_load_graph", counted)
    pixels = synthetic.draw_radiograph(0, opacities=True, size=64)
    model.predict(pixels)
    assert made == []
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: model.predict(pixels, crowd=True), range(64)))
    assert set(made) == {1} and len(made) <= 2


def test_a_call_that_fails_leaves_the_crowd_whole(folder, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    model, pixels = Bundle(folder), synthetic.draw_radiograph(0, opacities=True, size=64)
    graph = (folder / bundle.GRAPH_FILE).read_bytes()
    (folder / bundle.GRAPH_FILE).write_bytes(b"")
    with pytest.raises(BundleError):
        model.predict(pixels, crowd=True)
    (folder / bundle.GRAPH_FILE).write_bytes(graph)
    model.predict(pixels, crowd=True)


def test_an_answer_outlives_the_next_one(folder):
    model = Bundle(folder)
    first = model.predict(synthetic.draw_radiograph(1, opacities=True, size=64))
    before = first.embedding.copy()
    model.predict(synthetic.draw_radiograph(2, opacities=False, size=64))
    np.testing.assert_array_equal(first.embedding, before)


def test_predicting_takes_none_of_the_heavy_libraries(folder):
    script = f"""
import sys
import numpy
from pathlib import Path
from covid_cnn.models.bundle import Bundle
Bundle(Path({str(folder)!r})).predict(numpy.zeros((50, 40), numpy.float32))
heavy = {{"tensorflow", "keras", "streamlit", "scipy", "sklearn", "matplotlib", "pandas", "pydicom"}}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_arrays_survive_the_way_through_json():
    array = np.random.default_rng(0).normal(size=7).astype(np.float32)
    np.testing.assert_array_equal(bundle.decode_array(bundle.encode_array(array)), array)


def test_a_graph_that_answers_no_number_is_told(folder, monkeypatch):
    model = Bundle(folder)
    answer = model.predict(np.zeros((32, 32), np.float32))
    spoilt = {
        "probabilities": np.full((1, len(answer.classes)), np.nan, np.float32),
        "heatmaps": answer.heatmaps[None],
        "embedding": answer.embedding[None],
    }
    monkeypatch.setattr(model, "_run", lambda image: spoilt)
    with pytest.raises(BundleError, match=r"what is no number: export it again\.$"):
        model.predict(np.zeros((32, 32), np.float32))


def test_a_huge_description_is_refused_unread(folder, monkeypatch):
    with (folder / bundle.INFO_FILE).open("ab") as file:
        file.truncate(180 * 2**20)  # a hole: it takes no space
    monkeypatch.setattr(bundle, "decode_info", None)
    with pytest.raises(BundleError, match="no file of at most 8 MB"):
        bundle.read_info(folder)


def test_a_description_is_read_once_and_again_when_it_changed(folder, monkeypatch):
    first = bundle.read_info(folder)
    with monkeypatch.context() as nobody_reads:
        nobody_reads.setattr(Path, "read_bytes", None)
        assert bundle.read_info(folder) == first
    edit(folder, network="another")
    assert bundle.read_info(folder).network == "another"
