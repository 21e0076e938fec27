"""The embeddings of a base that stays as it is: computed once, and remembered from one run to the next.

They are kept by what they hang on: the pixels, the network with its weights and its code, and for a varied view its
augmentation, seed and number. So nothing in the cache can be out of date, and losing it costs time and nothing else.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from covid_cnn.common import paths
from covid_cnn.common.storage import Cache
from covid_cnn.images import augment
from covid_cnn.images.augment import Augmentation
from covid_cnn.training import export, lung_network, networks

NAME = "embeddings.sqlite"
MOST_BYTES = 2**30  # of the cache; the oldest embeddings go first
AT_ONCE = 64  # images whose embeddings are put into the cache together
# Images [N, H, W, 1] -> embeddings [N, D].
Embed = Callable[[np.ndarray], np.ndarray]


def embedder(network: keras.Model) -> Embed:
    """What turns images ``[N, H, W, 1]`` into embeddings ``[N, D]``: the graph, several times as fast as Keras."""
    graph = export.convert_graph(network, temperature=1.0, heatmaps=False)
    run = Interpreter(model_content=graph, num_threads=os.cpu_count()).get_signature_runner()
    return lambda images: np.concatenate([run(image=image[None])["embedding"] for image in images])


def embed_views(embed: Embed, image: np.ndarray, index: int, varied: Augmentation, views: int, seed: int) -> np.ndarray:
    """Embeddings ``[views, D]`` of the image ``[H, W, 1]`` at place ``index`` of a dataset: as it is, then varied."""
    variants = [augment.augment_batch([image], np.array([index]), varied, seed, view)[0] for view in range(1, views)]
    return embed(np.stack([image, *variants]))


class Embedder:
    """The embeddings of a network, from the cache where it has them.

    Parameters
    ----------
    network : a network of ``networks``
    augmentation, seed : how the views of an image vary
    store : the cache, by default a file in ``paths.cache_dir()``

    Attributes
    ----------
    computed, remembered : how many embeddings were worked out, and how many were in the cache
    """

    def __init__(self, network: keras.Model, augmentation: Augmentation, seed: int, store: Cache | None = None) -> None:
        self._network, self._augmentation, self._seed = network, augmentation, seed
        self._store = store or Cache(paths.cache_dir() / NAME)
        self._kind = _fingerprint(network)
        self.computed = self.remembered = 0

    @cached_property
    def _embed(self) -> Embed:
        return embedder(self._network)  # takes seconds, and nothing where the cache has all

    def views(self, images: np.ndarray, views: int, tell: Callable[[int], None] = lambda done: None) -> np.ndarray:
        """Embeddings ``[N, views, D]`` of images ``[N, H, W, 1]``, the plain one and ``views - 1`` variations.

        After each image ``tell`` gets to know how many are done.
        """
        embedded = [self._some(images, first, views, tell) for first in range(0, len(images), AT_ONCE)]
        self._store.trim(MOST_BYTES)
        return np.concatenate(embedded)

    def _some(self, images: np.ndarray, first: int, views: int, tell: Callable[[int], None]) -> np.ndarray:
        indices = range(first, min(first + AT_ONCE, len(images)))
        keys = {index: self._key(images[index], index, views) for index in indices}
        found = self._store.get(self._kind, list(keys.values()))
        size = self._network.get_layer("embedding").output.shape[-1]
        embedded, fresh = [], {}
        for index, key in keys.items():
            known = _unpack(found.get(key, b""), views, size)
            if known is None:
                known = embed_views(self._embed, images[index], index, self._augmentation, views, self._seed)
                fresh[key] = _pack(known)
            embedded.append(known)
            tell(index + 1)
        self._store.put(self._kind, fresh)
        self.computed += views * len(fresh)
        self.remembered += views * (len(embedded) - len(fresh))
        return np.stack(embedded)

    def _key(self, image: np.ndarray, index: int, views: int) -> str:
        # A view hangs on the place of the image in the dataset, as the generator of its variation does.
        hangs_on = [asdict(self._augmentation), self._seed, index, views] if views > 1 else []
        return hashlib.sha256(image.tobytes() + json.dumps(hangs_on).encode()).hexdigest()


def _fingerprint(network: keras.Model) -> str:
    """A digest of everything before the last layer: code, weights, and the libraries that compute with them."""
    digest = hashlib.sha256(json.dumps([network.input_shape, export.library_versions()]).encode())
    for module in (networks, lung_network, augment):
        digest.update(Path(str(module.__file__)).read_bytes())
    last = {id(weight) for weight in network.get_layer("logits").weights}
    for weight in network.weights:
        if id(weight) not in last:
            digest.update(str(weight.shape).encode() + weight.numpy().tobytes())
    return digest.hexdigest()


def _pack(embedding: np.ndarray) -> bytes:
    values = embedding.astype("<f4").tobytes()
    return zlib.crc32(values).to_bytes(4, "little") + values


def _unpack(blob: bytes, views: int, size: int) -> np.ndarray | None:
    """The embeddings ``[views, size]``; None where the blob is not what was packed."""
    if len(blob) != 4 + 4 * views * size or zlib.crc32(blob[4:]).to_bytes(4, "little") != blob[:4]:
        return None
    return np.frombuffer(blob[4:], "<f4").astype(np.float32).reshape(views, size)
