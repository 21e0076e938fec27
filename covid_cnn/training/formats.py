"""A model for other programs: as a Keras file, a SavedModel, a LiteRT graph or ONNX, so that nobody is locked in."""

import importlib.util
import logging
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from covid_cnn.common import paths
from covid_cnn.common.errors import BundleError, CovidCnnError
from covid_cnn.models import bundle
from covid_cnn.models.bundle import Bundle
from covid_cnn.runs.run import open_run

if TYPE_CHECKING:
    import keras

SUFFIXES = {"keras": ".keras", "savedmodel": "", "tflite": ".tflite", "onnx": ".onnx"}
TOLERANCE = 1e-3  # of probabilities, between a model and what is written of it


def export_model(name: str, form: str, target: Path | None = None) -> Path:
    """Write a model in a form of `SUFFIXES`, and return where it is.

    LiteRT and ONNX have the whole graph: an image ``[1, H, W, 1]`` of 0..1 in, probabilities, heatmaps and embedding
    out. Keras and SavedModel have the network with its calibrated probabilities, to train on.

    Raises
    ------
    CovidCnnError
        This model cannot be written in this form, or there is something at the target already.
    """
    model = bundle.load_bundle(name)
    target = target or Path(f"{model.name}{SUFFIXES[form]}" if SUFFIXES[form] else f"{model.name}_savedmodel")
    if target.exists():
        raise BundleError(f"{target} is there already: give another place, or remove it.")
    if form == "tflite":
        shutil.copyfile(model.folder / bundle.GRAPH_FILE, target)
    elif form == "onnx":
        _write_onnx(model, target)
    elif form == "keras":
        _trained_network(model).save(target)
    else:
        _trained_network(model).export(target, verbose=False)
    return target


def _trained_network(model: Bundle) -> "keras.Model":
    """The Keras network of a model that was trained here, as long as its run is kept."""
    recipe = model.info.recipe
    if not (paths.runs_dir() / model.name).is_dir() or recipe.command.startswith("python -m covid_cnn models add"):
        source = "it was added from a file, which has it" if "models add" in recipe.command else "its run is not here"
        raise BundleError(
            f"Model {model.name} has no weights for Keras ({source}): export it to tflite or onnx, or train it again."
        )
    import keras

    from covid_cnn.training import export, networks
    from covid_cnn.training.checkpoint import Checkpoint

    run = open_run(model.name)
    keras.utils.set_random_seed(run.config.seed)  # what learns nothing and is not fetched is as it was
    whole = not run.config.recipe.frozen_base
    network = networks.build_network(run.config.network, len(model.classes), pretrained=not whole)
    learned = network if whole else keras.Model(network.get_layer("embedding").output, network.output)
    Checkpoint(run.checkpoint).restore_best(learned)
    scaled = keras.layers.Rescaling(1 / model.info.temperature, name="temperature")(network.output)
    last = "sigmoid" if len(model.classes) == 2 else "softmax"
    finished = keras.Model(network.input, keras.layers.Activation(last, name="probabilities")(scaled))
    image = np.random.default_rng(0).random((1, *model.input_size, 1), np.float32)
    off = np.abs(
        export.calibrated_probabilities(network(image, training=False), model.info.temperature)[0]
        - model.predict(image[0, ..., 0]).probabilities
    ).max()
    if not off < TOLERANCE:
        raise BundleError(f"The run {model.name} is not the one that this model came of: train it again.")
    return finished


def _write_onnx(model: Bundle, target: Path) -> None:
    if importlib.util.find_spec("tf2onnx") is None:
        raise CovidCnnError("ONNX is written by tf2onnx, which is not installed: run pip install 'covid-cnn[onnx]'.")
    import onnx
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it reads the graph by what TensorFlow will drop
        written, _ = tf2onnx.convert.from_tflite(str(model.folder / bundle.GRAPH_FILE), opset=18)
    _rename(written, model)
    onnx.checker.check_model(written)
    onnx.save(written, target)


def _rename(written: Any, model: Bundle) -> None:
    """Give inputs and outputs the names that they have in the model's signature, by which they are told apart."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(model.folder / bundle.GRAPH_FILE))
    tensors = {one["index"]: one["name"] for one in interpreter.get_tensor_details()}
    signature = interpreter.get_signature_runner()
    details = signature.get_input_details() | signature.get_output_details()
    names = {tensors[one["index"]]: name for name, one in details.items()}
    for node in written.graph.node:
        for side in (node.input, node.output):
            for at, value in enumerate(side):
                side[at] = names.get(value, value)
    for value in (*written.graph.input, *written.graph.output):
        value.name = names.get(value.name, value.name)
