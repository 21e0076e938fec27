"""Do the heatmaps depend on what the network learned: the parameter randomisation test of Adebayo et al. 2018.

Layer after layer of a bundle's graph, from the last to the first, gets its weights shuffled within each filter, which
keeps their size and forgets what they meant. The heatmap of the class that the trained network names is then compared
with the one before. A method that only draws the edges of the picture gives the same heatmap all the while. What two
maps share by chance, because all are warm in the middle, is shown by the heatmaps of another image.

The graph holds copies of the last layer's weights, whole or in slices, of which it makes the heatmaps; they change
with it. Matrices that crop and place images were never learned and stay.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
import typer
from ai_edge_litert import schema_py_generated as schema
from msgspec import structs
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity

from benchmarks import measure, not_chest_xrays, tables
from covid_cnn.common.errors import CovidCnnError
from covid_cnn.common.statistics import bootstrap, mean_of
from covid_cnn.data.dataset import Item
from covid_cnn.images import ops, reader
from covid_cnn.models import bundle
from covid_cnn.models.bundle import Bundle, Prediction

OPERATORS = schema.BuiltinOperator
MATMUL, WIDEN = OPERATORS.BATCH_MATMUL, OPERATORS.DEQUANTIZE
LAYERS = (OPERATORS.CONV_2D, OPERATORS.DEPTHWISE_CONV_2D, OPERATORS.TRANSPOSE_CONV, OPERATORS.FULLY_CONNECTED)
FLOATS = {schema.TensorType.FLOAT32: np.dtype("<f4"), schema.TensorType.FLOAT16: np.dtype("<f2")}
SHARES = (0.25, 0.5, 0.75, 1.0)  # of the layers, from the last on
LEAST = 16  # weights that a copy has: fewer are like some slice of a layer by chance


class Copy(NamedTuple):
    """A vector of the graph that is ``factor`` times the weights from ``start`` on in a row of the last layer."""

    weights: np.ndarray
    row: int
    start: int
    factor: float

    def follow(self, layer: np.ndarray) -> None:
        """Become what the last layer ``[K, D]`` now holds there."""
        self.weights[...] = self.factor * layer[self.row, self.start : self.start + self.weights.size]


def main(
    model: Annotated[str, typer.Argument(help="Name or folder of a bundle.")] = bundle.DEFAULT_MODEL,
    data: Annotated[str, typer.Option(help="Dataset of the X-rays, by default the real held-out ones.")] = "",
    split: str = "test",
    images: Annotated[int, typer.Option(help="How many, evenly spaced.")] = 100,
    seeds: Annotated[int, typer.Option(help="How many times each layer is shuffled.")] = 3,
) -> None:
    """Print the table of a bundle."""
    items = not_chest_xrays.held_out(data, split)
    chosen = [items[i] for i in np.unique(np.linspace(0, len(items) - 1, min(images, len(items))).astype(int))]
    print(tables.markdown(report(bundle.load_bundle(model), chosen, seeds)))


def report(model: Bundle, items: Sequence[Item], seeds: int = 3) -> dict[str, Any]:
    """The table of a bundle as a ``tables.finding``, on the X-rays ``items``, at least two."""
    pixels = [reader.read(item.path).pixels for item in items]
    trained = [model.predict(image) for image in pixels]
    patients = [item.patient for item in items]
    rows = [["nothing, but another image", *_cells([_likeness(model, trained, trained[1:] + trained[:1])], patients)]]
    for title, layers in stages(model):
        tries = []
        for seed in range(seeds):
            with tempfile.TemporaryDirectory() as folder:
                other = randomised(model, layers, np.random.default_rng(seed), Path(folder))
            tries.append(_likeness(model, trained, [other.predict(image) for image in pixels]))
        rows.append([title, *_cells(tries, patients)])
    text = (
        f"How like the heatmap of {model.name} stays to itself when weights are shuffled within each filter (Adebayo "
        f"et al. 2018): rank correlation of its cells, and structural similarity as shown, mean over the images, "
        f"{seeds} shuffles each; 1 is no change. The first row is what two unrelated heatmaps have in common. "
        "Images with a map that is flat are left out. Intervals: bootstrap over patients."
    )
    columns = ("Randomised", "n", "Spearman", "95 % interval", "SSIM", "95 % interval")
    return tables.finding("Heatmaps of randomised weights", text, columns, rows)


def stages(model: Bundle) -> Iterator[tuple[str, int]]:
    """Titles, and how many layers from the last on are randomised."""
    count = len(Graph(model.folder).layers)
    yield "last layer", 1
    for share in SHARES:
        yield ("everything" if share == 1 else f"last {100 * share:g} % of the layers"), round(share * count)


def randomised(model: Bundle, layers: int, rng: np.random.Generator, folder: Path) -> Bundle:
    """The bundle with its last ``layers`` layers shuffled, written into ``folder``."""
    graph = Graph(model.folder)
    for layer in range(layers):
        graph.shuffle(layer, rng)
    shutil.copytree(model.folder, folder, dirs_exist_ok=True)
    (folder / bundle.GRAPH_FILE).write_bytes(graph.content)
    info = structs.replace(model.info, sha256=hashlib.sha256(graph.content).hexdigest())
    (folder / bundle.INFO_FILE).write_bytes(msgspec.json.encode(info))
    return Bundle(folder)


class Graph:
    """A LiteRT graph whose weights can be changed.

    Attributes
    ----------
    content : its file; all arrays of weights are views of it
    layers : the weights of each layer that the probabilities rest on, a filter a row, ``[filters, weights]``, the last
        layer first

    Raises
    ------
    CovidCnnError
        The weights are not floats, or the heatmaps rest on weights that are neither layers nor copies of the last.
    """

    def __init__(self, folder: Path) -> None:
        self.content = bytearray((folder / bundle.GRAPH_FILE).read_bytes())
        self._model = schema.ModelT.InitFromPackedBuf(self.content, 0)
        self._graph = self._model.subgraphs[0]
        self._maker = {tensor: operator for operator in self._graph.operators for tensor in operator.outputs}
        layers = self._weights("probabilities")
        if not layers:
            raise CovidCnnError(f"The weights of model {folder.name} are not floats, so they cannot be shuffled here.")
        self.layers = [_filters(self._array(tensor), code) for tensor, code in layers.items()]
        self._copies: list[Copy] = []
        for tensor in set(self._weights("heatmaps")) - set(layers):
            found = copies(self.layers[0], self._array(tensor))
            if not found:
                raise CovidCnnError(
                    f"The heatmaps of model {folder.name} rest on sums of its weights, so they cannot be shuffled here."
                )
            self._copies += found

    def shuffle(self, layer: int, rng: np.random.Generator) -> None:
        """Shuffle the weights of a layer, counted from the last, within each filter."""
        filters = self.layers[layer]
        filters[...] = rng.permuted(filters, axis=1)
        if layer == 0:
            for copy in self._copies:
                copy.follow(filters)

    def _weights(self, output: str) -> dict[int, int]:
        """The constant weights that an output of the graph rests on, the last used first: tensor -> its operator."""
        (index,) = (o.tensorIndex for o in self._model.signatureDefs[0].outputs if o.name.decode() == output)
        needed, waiting = set(), [index]
        while waiting:
            operator = self._maker.get(waiting.pop())
            if operator is not None and id(operator) not in needed:
                needed.add(id(operator))
                waiting += operator.inputs.tolist()
        used = [o for o in self._graph.operators if id(o) in needed and self._code(o) in (*LAYERS, MATMUL)]
        tensors = {self._stored(tensor): self._code(o) for o in reversed(used) for tensor in o.inputs[:2]}
        constants = {tensor: code for tensor, code in tensors.items() if self._is_float_constant(tensor)}
        return {tensor: code for tensor, code in constants.items() if not resamples(self._array(tensor))}

    def _stored(self, tensor: int) -> int:
        """The constant itself, where the graph stores it in float16 and widens it first."""
        maker = self._maker.get(tensor)
        return int(maker.inputs[0]) if maker is not None and self._code(maker) == WIDEN else int(tensor)

    def _is_float_constant(self, index: int) -> bool:
        tensor = self._graph.tensors[index]
        return tensor.type in FLOATS and self._model.buffers[tensor.buffer].data is not None

    def _array(self, index: int) -> np.ndarray:
        tensor = self._graph.tensors[index]
        return self._model.buffers[tensor.buffer].data.view(FLOATS[tensor.type]).reshape(tensor.shape)

    def _code(self, operator: Any) -> int:
        code = self._model.operatorCodes[operator.opcodeIndex]
        return max(code.builtinCode, code.deprecatedBuiltinCode)


def _filters(weights: np.ndarray, operator: int) -> np.ndarray:
    """A view ``[filters, weights]``: depthwise convolutions keep their filters on the last axis, others first."""
    if operator == OPERATORS.DEPTHWISE_CONV_2D:
        return weights.reshape(-1, weights.shape[-1]).T
    return weights.reshape(weights.shape[0], -1)


def resamples(array: np.ndarray) -> bool:
    """Whether matrices ``[..., h, w]`` only move what an image shows: not negative, and each row or column sums to 1.

    Learned weights have both signs.
    """
    sums = [array.sum(axis=axis, dtype=float) for axis in (-2, -1)] if array.ndim > 1 else []
    return bool((array >= 0).all()) and any(np.allclose(total, 1, atol=0.01) for total in sums)


def copies(layer: np.ndarray, array: np.ndarray) -> list[Copy]:
    """The vectors along an axis of ``array`` as multiples of slices of rows of ``[K, D]``; [] unless all are."""
    lengths = np.array(array.shape)
    for axis in np.flatnonzero((lengths >= LEAST) & (lengths <= layer.shape[1])):
        vectors = np.moveaxis(array, axis, -1)
        found = [_copy(layer, vectors[index]) for index in np.ndindex(vectors.shape[:-1])]
        if None not in found:
            return [copy for copy in found if copy]
    return []


def _copy(layer: np.ndarray, vector: np.ndarray) -> Copy | None:
    values = vector.astype(float)
    slices = np.lib.stride_tricks.sliding_window_view(layer.astype(float), values.size, axis=1)  # [K, starts, n]
    cosines = slices @ values / (np.linalg.norm(slices, axis=-1) * np.linalg.norm(values) + np.finfo(float).tiny)
    row, start = map(int, np.unravel_index(np.abs(cosines).argmax(), cosines.shape))
    # What float16 rounds off is less than a hundredth.
    if 1 - cosines[row, start] ** 2 > 0.01**2:
        return None
    weights = slices[row, start]
    return Copy(vector, row, start, float(values @ weights / (weights @ weights)))


def _likeness(model: Bundle, before: list[Prediction], after: list[Prediction]) -> np.ndarray:
    """Rank correlation and structural similarity of the heatmaps of each image, ``[N, 2]``; NaN where one is flat."""
    return np.array([likeness(*_maps(one, other), model.input_size) for one, other in zip(before, after, strict=True)])


def _maps(before: Prediction, after: Prediction) -> tuple[np.ndarray, np.ndarray]:
    """Both heatmaps of the class that was named before."""
    index = before.classes.index(before.label)
    return before.heatmaps[..., index], after.heatmaps[..., index]


def likeness(one: np.ndarray, other: np.ndarray, size: tuple[int, int]) -> tuple[float, float]:
    """Spearman's rank correlation of two ``[h, w]``, and their structural similarity (Wang et al. 2004) in ``size``."""
    if one.min() == one.max() or other.min() == other.max():
        return np.nan, np.nan
    shown = ops.upsample(one, size), ops.upsample(other, size)
    rank = spearmanr(one, other, axis=None).statistic
    return float(rank), float(structural_similarity(*shown, data_range=1.0))


def _cells(tries: list[np.ndarray], patients: Sequence[str]) -> list[str]:
    """The cells of ``[N, 2]`` likenesses from each try: an image counts by the mean of its tries."""
    told = ~np.isnan(np.stack(tries)[..., 0]).all(axis=0)
    owners = [patient for patient, tells in zip(patients, told, strict=True) if tells]
    if not owners:
        return ["0", *["undefined", ""] * 2]
    means = np.nanmean(np.stack(tries)[:, told], axis=0)
    intervals = [bootstrap(mean_of(means[:, i]), owners) for i in (0, 1)]
    return [str(len(owners)), *tables.number(intervals[0]), *tables.number(intervals[1])]


if __name__ == "__main__":
    measure.run(main)
