"""A trained Keras network -> the files of a model bundle.

The graph takes one image ``[1, H, W, 1]`` and returns probabilities (calibrated: the temperature is in the graph),
heatmaps of every class and the embedding. The rest of a bundle is written around it: into a folder beside
``models/``, synced, and renamed, so that a bundle is there whole or not at all.
"""

import hashlib
import importlib.metadata
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import msgspec
import numpy as np
import tensorflow as tf

from covid_cnn.common import paths, storage
from covid_cnn.evaluation import leakage
from covid_cnn.evaluation.leakage import TrainingFingerprint
from covid_cnn.models import bundle
from covid_cnn.models.info import SCHEMA, ModelInfo
from covid_cnn.reports import card
from covid_cnn.training import gradcam

# A graph of more weights than this is stored in float16, to stay within 16 MB in the repository.
FLOAT32_WEIGHTS = 4_000_000
COMPONENTS = 8
# Of the validation images, so many are within the limit: more than the 95 of 100 that are aimed at elsewhere.
WITHIN = 0.99
LIBRARIES = ("tensorflow", "keras", "ai-edge-litert", "numpy", "pillow")


def round_weights(model: keras.Model) -> None:
    """Round the weights as the graph will store them, so that network and graph give the same numbers."""
    if model.count_params() > FLOAT32_WEIGHTS:
        model.set_weights([w.astype(np.float16).astype(w.dtype) for w in model.get_weights()])


def calibrated_probabilities(logits: tf.Tensor, temperature: float) -> tf.Tensor:
    """``[N, K]`` probabilities from ``[N, 1]`` or ``[N, K]`` logits, calibrated by a temperature (Guo et al. 2017)."""
    if logits.shape[-1] == 1:
        positive = tf.sigmoid(logits / temperature)
        return tf.concat([1 - positive, positive], axis=-1)
    return tf.nn.softmax(logits / temperature)


def convert_graph(model: keras.Model, temperature: float, heatmaps: bool = True) -> bytes:
    """The LiteRT graph of a network of ``networks``: its probabilities, embedding and, where wanted, heatmaps."""
    outputs = [model.get_layer(name).output for name in ("feature_map", "embedding", "logits")]

    def answer(feature_map: tf.Tensor, embedding: tf.Tensor, logits: tf.Tensor) -> dict[str, tf.Tensor]:
        answers = {"probabilities": calibrated_probabilities(logits, temperature), "embedding": embedding}
        return answers | ({"heatmaps": gradcam.explain(model, feature_map, embedding)} if heatmaps else {})

    return convert_network(keras.Model(model.inputs, outputs), answer)


def convert_network(network: keras.Model, answer: Callable[..., dict[str, tf.Tensor]]) -> bytes:
    """The LiteRT graph from one image ``[1, H, W, 1]`` to what ``answer`` makes of the outputs of a network."""
    weights = [(variable, variable.numpy()) for variable in network.variables]

    @tf.function(input_signature=[tf.TensorSpec((1, *network.input_shape[1:]), tf.float32, name="image")])
    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        # The weights as constants: with variables the conversion takes several times as long.
        with keras.StatelessScope(state_mapping=[(variable, tf.constant(value)) for variable, value in weights]):
            return answer(*network([image], training=False))

    return convert_function(serve, half=network.count_params() > FLOAT32_WEIGHTS)


def convert_function(function: Any, half: bool = False) -> bytes:
    """A ``tf.function`` of one signature as a LiteRT graph, its weights in float16 where ``half``."""
    module = tf.Module()
    module.function, module.held = function, function.get_concrete_function().variables
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=function, options=options)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if half:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        return converter.convert()


def fit_in_distribution(fit: np.ndarray, held_out: np.ndarray) -> dict[str, Any]:
    """Statistics by which ``bundle.ppca_distance`` tells whether an image is of the training images' kind.

    ``fit`` are the embeddings ``[N, D]`` of the training images, N at least 2, ``held_out`` those of the validation
    images, of which the share ``WITHIN`` is within the limit.
    """
    mean = fit.mean(axis=0)
    _, singular, components = np.linalg.svd(fit - mean, full_matrices=False)
    variances = np.maximum(singular**2 / (len(fit) - 1), 1e-12)
    kept = min(COMPONENTS, len(variances) - 1)
    noise = float(max(variances[kept:].sum() / (mean.size - kept), 1e-12))
    components, variances = components[:kept], variances[:kept]
    limit = np.quantile(bundle.ppca_distance(held_out, mean, components, variances, noise), WITHIN)
    return {
        "method": "squared Mahalanobis distance under probabilistic PCA (Tipping and Bishop 1999)",
        "mean": bundle.encode_array(mean),
        "components": bundle.encode_array(components),
        "variances": bundle.encode_array(variances),
        "noise_variance": noise,
        "limit": float(limit),
        "limit_chosen": f"{100 * WITHIN:g}th percentile of {len(held_out)} validation images",
    }


def library_versions() -> dict[str, str]:
    """The versions of the libraries that shape a model's numbers."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def stage_bundle(graph: bytes, info: dict[str, Any], learned: TrainingFingerprint | None = None) -> Path:
    """Write a bundle into a hidden folder under ``models/`` and return it, to be checked and then published.

    ``info`` is the content of ``model.json`` but for ``schema``, ``versions`` and ``sha256``, which are added;
    ``learned`` is by what the training images are known again.
    """
    models = paths.models_dir()
    models.mkdir(parents=True, exist_ok=True)
    folder = models / f".export-{info['name']}" / info["name"]
    shutil.rmtree(folder.parent, ignore_errors=True)  # of an export that was killed
    folder.mkdir(parents=True)
    (folder / bundle.GRAPH_FILE).write_bytes(graph)
    digest = hashlib.sha256(graph).hexdigest()
    if learned:
        (folder / leakage.FINGERPRINT_FILE).write_bytes(learned.encoded())
        info = info | {"training_images": learned.summary()}
    info = {"schema": SCHEMA, **info, "versions": library_versions(), "sha256": digest}
    card.write_card(folder, msgspec.convert(info, ModelInfo))
    return folder


def publish_bundle(folder: Path) -> Path:
    """Move a staged bundle to ``models/NAME``, in place of one of that name, and return the new folder."""
    for path in (*folder.iterdir(), folder):
        storage.sync(path)
    target = paths.models_dir() / folder.name
    if target.exists():
        target.rename(folder.parent / "replaced")
    folder.rename(target)
    storage.sync(target.parent)
    shutil.rmtree(folder.parent)
    return target
