"""What a network is asked to answer: for each image a share of every class, which need not be all or nothing."""

import numpy as np

BALANCES = ("none", "weights", "sampling")


def of(labels: np.ndarray, classes: int, smoothing: float = 0.0) -> np.ndarray:
    """Targets float32 ``[N, K]``, each summing to 1, of labels int ``[N]``.

    With label smoothing (Szegedy et al. 2016), ``(1 - smoothing) onehot + smoothing / K``.
    """
    return ((1 - smoothing) * np.eye(classes)[labels] + smoothing / classes).astype(np.float32)


def as_output(targets: np.ndarray) -> np.ndarray:
    """Targets ``[N, K]`` in the form of the network's logits: of two classes the share of the second, ``[N, 1]``."""
    return targets[:, 1:] if targets.shape[1] == 2 else targets


def class_weights(labels: np.ndarray, classes: int, balance: str) -> np.ndarray:
    """What an image of each class counts, float32 ``[K]``: 1, or with ``balance`` "weights" ``N / (K N_k)``."""
    counts = np.bincount(labels, minlength=classes)
    weights = len(labels) / (classes * counts) if balance == "weights" else np.ones(classes)
    return weights.astype(np.float32)


def order(labels: np.ndarray, balance: str, rng: np.random.Generator) -> np.ndarray:
    """The images of an epoch in a random order, int ``[N]``.

    With ``balance`` "sampling" the classes take turns in it, so that each is shown as often as any other: images of
    rare classes come several times, some of common ones not at all.
    """
    if balance != "sampling":
        return rng.permutation(len(labels))
    turns = rng.permutation(np.arange(len(labels)) % (labels.max() + 1))
    shown = np.empty(len(labels), np.int64)
    for label in range(labels.max() + 1):
        mine, places = np.flatnonzero(labels == label), np.flatnonzero(turns == label)
        rounds = -(-len(places) // len(mine))
        shown[places] = np.concatenate([rng.permutation(mine) for _ in range(rounds)])[: len(places)]
    return shown


def mix(
    inputs: np.ndarray, targets: np.ndarray, weights: np.ndarray, alpha: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mixup (Zhang et al. 2018): each image of a batch laid over another of it, and their targets likewise.

    With ``m ~ Beta(alpha, alpha)`` and a random partner j of every i::

        input = m input_i + (1 - m) input_j,    weight = m w_i + (1 - m) w_j
        target = (m w_i target_i + (1 - m) w_j target_j) / weight

    so that the weighted cross-entropy is what it would be of the two targets, each with its own weight.

    Parameters
    ----------
    inputs : float ``[N, ...]``, images or embeddings
    targets : float ``[N, K]``
    weights : float ``[N]``, above 0
    alpha : above 0; the larger, the more even the mixture
    """
    partner, share = rng.permutation(len(inputs)), np.float32(rng.beta(alpha, alpha))
    mixed = share * inputs + (1 - share) * inputs[partner]
    mine, theirs = share * weights, (1 - share) * weights[partner]
    together = mine + theirs
    answers = (mine[:, None] * targets + theirs[:, None] * targets[partner]) / together[:, None]
    return mixed, answers, together
