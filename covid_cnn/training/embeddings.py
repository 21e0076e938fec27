"""The embeddings of a frozen base, computed once for all epochs of a run."""

import os
from collections.abc import Callable

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from covid_cnn.images.augment import Augmentation, augment_batch
from covid_cnn.training import export

# Image [H, W, 1] -> embedding [D].
Embed = Callable[[np.ndarray], np.ndarray]


def embedder(network: keras.Model) -> Embed:
    """A function from image to embedding that runs the exported graph, several times as fast as Keras."""
    graph = export.convert_graph(network, temperature=1.0, heatmaps=False)
    run = Interpreter(model_content=graph, num_threads=os.cpu_count()).get_signature_runner()
    return lambda image: run(image=image[None])["embedding"][0]


def embed_views(
    embed: Embed,
    images: np.ndarray,
    augmentation: Augmentation,
    seed: int,
    views: int,
    progress: Callable[[int], None] = lambda done: None,
) -> np.ndarray:
    """The embeddings of several views of each image: the image itself, then augmented copies.

    Parameters
    ----------
    embed : computes one
    images : float32 ``[N, H, W, 1]``, 0..1
    augmentation, seed : how views vary; a view hangs on seed, its own number and the place of its image alone
    views : at least 1
    progress : called after each image with how many are done

    Returns
    -------
    float32 ``[N, views, D]``
    """
    embedded = []
    for index, image in enumerate(images):
        place = np.array([index])
        varied = [augment_batch([image], place, augmentation, seed, view, images)[0] for view in range(1, views)]
        embedded.append([embed(view) for view in (image, *varied)])
        progress(index + 1)
    return np.array(embedded, np.float32)
