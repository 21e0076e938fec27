"""A model leaves in the forms of other programs, and answers there as it does here."""

import os

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

from covid_cnn import cli
from covid_cnn.common.errors import BundleError
from covid_cnn.models.bundle import Bundle
from covid_cnn.training import formats

IMAGE = np.random.default_rng(5).random((32, 32), np.float32)


@pytest.fixture
def at_home(tiny_model, tiny_networks, monkeypatch) -> Bundle:
    """The tiny model, where it was trained."""
    monkeypatch.setenv("COVID_CNN_HOME", str(tiny_model.home))
    return Bundle(tiny_model.bundle)


@pytest.mark.parametrize("form", ["tflite", "onnx"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_whole_graph(at_home, tmp_path, form):
    told = at_home.predict(IMAGE)
    path = formats.export_model(at_home.name, form, tmp_path / f"model.{form}")
    given = told.prepared[None, ..., None]
    if form == "tflite":
        from ai_edge_litert.interpreter import Interpreter

        answers = Interpreter(str(path)).get_signature_runner()(image=given)
    else:
        import onnxruntime

        session = onnxruntime.InferenceSession(path)
        names = [one.name for one in session.get_outputs()]
        answers = dict(zip(names, session.run(names, {"image": given}), strict=True))
    np.testing.assert_allclose(answers["probabilities"][0], told.probabilities, atol=1e-5)
    np.testing.assert_allclose(answers["heatmaps"][0], told.heatmaps, atol=1e-4)
    np.testing.assert_allclose(answers["embedding"][0], told.embedding, atol=1e-4)


@pytest.mark.parametrize("form", ["keras", "savedmodel"])
def test_the_network_to_train_on(at_home, tmp_path, form):
    told = at_home.predict(IMAGE)
    path = formats.export_model(at_home.name, form, tmp_path / f"model{formats.SUFFIXES[form]}")
    given = told.prepared[None, ..., None]
    network = keras.saving.load_model(path) if form == "keras" else keras.layers.TFSMLayer(path, "serve")
    assert float(network(given)[0, -1]) == pytest.approx(told.by_class()["PNEUMONIA"], abs=1e-4)


def test_what_cannot_be_exported_is_said(at_home, tmp_path, monkeypatch, default_model):
    taken = formats.export_model(at_home.name, "tflite", tmp_path / "model.tflite")
    with pytest.raises(BundleError, match="is there already"):
        formats.export_model(at_home.name, "tflite", taken)
    with pytest.raises(BundleError, match=r"no weights for Keras \(its run is not here\)"):
        formats.export_model(str(default_model), "keras", tmp_path / "model.keras")
    assert CliRunner().invoke(cli.app, ["models", "export", at_home.name, "--to", "pickle"]).exit_code == 2


def test_what_libraries_print_meanwhile_is_kept_back(tmp_path, monkeypatch, capfd):
    def chatter(name, form, target):
        os.write(2, b"oneDNN custom operations are on.")
        return target

    monkeypatch.setattr(formats, "export_model", chatter)
    cli.models.models_export("any", "tflite", tmp_path / "any.tflite")
    os.write(2, b"heard again")
    assert capfd.readouterr() == (f"Wrote {tmp_path / 'any.tflite'}.\n", "heard again")
