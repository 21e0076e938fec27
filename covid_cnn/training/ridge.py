"""A last layer that is solved for in one step, by ridge regression, instead of trained in many.

Each class gets a regression of 1 (it is this class) or 0 (it is not) on the embedding (Hastie, Tibshirani and Friedman
2009, sections 3.4 and 4.2). It has one minimum and no chance in it, so it can be solved anew without any fold of the
images: what it says of images that it did not see is known for all of them, not for a validation split alone.
"""

import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from covid_cnn.runs.config import TrainConfig
from covid_cnn.training import optimizer
from covid_cnn.training.data import ArrayBatches, one_hot
from covid_cnn.training.learner import Learner
from covid_cnn.training.reading import TrainingData

FOLDS = 5


def solve_ridge(
    views: np.ndarray, labels: np.ndarray, class_weights: np.ndarray, penalty: float
) -> tuple[np.ndarray, np.ndarray]:
    """The kernel ``[D, K]`` and bias ``[K]`` of a dense layer whose outputs are nearest to the classes of the images.

    They minimise ``sum_i w_i |onehot(y_i) - bias - kernel' z_i|^2 + penalty * D * |kernel'|^2`` where z is the
    embedding, each feature brought to mean 0 and spread 1; both are returned for embeddings as they are.

    Parameters
    ----------
    views : float ``[N, V, D]``, the embeddings of V variants of each of N images
    labels : int ``[N]``, 0..K-1
    class_weights : float ``[K]``, what an image of each class counts
    penalty : above 0
    """
    images, variants, size = views.shape
    rows = views.reshape(-1, size).astype(np.float64)
    spread = rows.std(axis=0)
    scale = np.where(spread > 1e-6, spread, 1.0) * np.sqrt(size)
    weights = np.repeat(class_weights[labels], variants) / variants
    targets = np.eye(len(class_weights))[np.repeat(labels, variants)]
    middle, target = np.average(rows, axis=0, weights=weights), np.average(targets, axis=0, weights=weights)
    rows = (rows - middle) / scale
    weighted = rows * weights[:, None]
    kernel = np.linalg.solve(weighted.T @ rows + penalty * np.eye(size), weighted.T @ (targets - target))
    kernel /= scale[:, None]
    return kernel.astype(np.float32), (target - middle @ kernel).astype(np.float32)


def out_of_fold(
    views: np.ndarray, labels: np.ndarray, patients: Sequence[str], class_weights: np.ndarray, penalty: float, seed: int
) -> np.ndarray:
    """What the layer says ``[N, K]`` of the first variant of each image when solved without that image's patient.

    The patients are dealt into ``FOLDS`` folds, stratified by class. Parameters as of ``solve_ridge``.
    """
    answers = np.zeros((len(labels), len(class_weights)), np.float32)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for kept, left_out in folds.split(views[:, 0], labels, patients):
        kernel, bias = solve_ridge(views[kept], labels[kept], class_weights, penalty)
        answers[left_out] = views[left_out, 0] @ kernel + bias
    return answers


# How a run does without steps. The embeddings of both splits have views there.


def solve_epoch(learner: Learner, data: TrainingData, config: TrainConfig) -> dict[str, Any]:
    """Solve for the last layer on the training images, and return the event of the one epoch that this is."""
    began = time.monotonic()
    weights = learner.batches.class_weights
    _set_last_layer(learner.network, solve_ridge(learner.views, data.train.labels, weights, config.recipe.penalty))
    judge = optimizer.eval_model(learner.model)
    train = ArrayBatches(learner.views[:, 0], one_hot(data.train.labels, len(data.classes)))
    event = {"epoch": 1, "step": 1, **judge.evaluate(train, verbose=0, return_dict=True)}
    validated = judge.evaluate(learner.val_batches, verbose=0, return_dict=True)
    event |= {f"val_{name}": value for name, value in validated.items()}
    return event | {"seconds": time.monotonic() - began}


def solve_on_all(learner: Learner, data: TrainingData, weights: np.ndarray, penalty: float) -> None:
    """Solve for the last layer again: there is no epoch to choose, so the validation images may teach too."""
    views, labels, _ = _all(learner, data)
    _set_last_layer(learner.network, solve_ridge(views, labels, weights, penalty))


def out_of_fold_logits(
    learner: Learner, data: TrainingData, weights: np.ndarray, penalty: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The logits of the training and then the validation images, by layers that know not their patient; the labels."""
    views, labels, patients = _all(learner, data)
    return _as_logits(out_of_fold(views, labels, patients, weights, penalty, seed)), labels


def _all(learner: Learner, data: TrainingData) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Embeddings ``[N, views, D]``, labels and patients of the training and then of the validation images."""
    patients = [item.patient for item in (*data.train.items, *data.val.items)]
    views = np.concatenate([learner.views, learner.val_views])
    return views, np.concatenate([data.train.labels, data.val.labels]), patients


def _set_last_layer(network: keras.Model, solution: tuple[np.ndarray, np.ndarray]) -> None:
    kernel, bias = solution
    network.get_layer("logits").set_weights([_as_logits(kernel), _as_logits(bias[None])[0]])


def _as_logits(scores: np.ndarray) -> np.ndarray:
    """One logit for two classes, otherwise one a class, from ``[N, K]``."""
    return scores[:, 1:] - scores[:, :1] if scores.shape[1] == 2 else scores
