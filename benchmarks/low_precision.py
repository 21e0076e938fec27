"""What fewer bits would gain and change: the shipped graphs in bfloat16 and in int8, against LiteRT in float32.

bfloat16 is OpenVINO's, which is in no list of requirements: ``pip install openvino``; without it, int8 alone is
measured. int8 is LiteRT's own, its weights quantized for good and what flows between layers image by image (dynamic
range). One thread each, so that processor time, which a busy machine changes little, is the measure. All test images of
the notebook's dataset are asked.
"""

import importlib.util
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from benchmarks import measure
from covid_cnn.common import paths
from covid_cnn.images import ops, reader
from covid_cnn.models import bundle
from covid_cnn.models.bundle import GRAPH_FILE, Bundle
from covid_cnn.training import lite_reader
from covid_cnn.training.frozen import UnexplainedError

MOST = 0.02  # that a probability or a heatmap may change by
Answer = dict[str, np.ndarray]


def main(images: int = 40) -> None:
    """Ask each shipped bundle about so many test images."""
    files = sorted((measure.real_data("xray_dataset_covid19") / "test").glob("*/*"))[:images]
    for folder in sorted(path.parent for path in paths.models_dir().glob(f"*/{GRAPH_FILE}")):
        model = bundle.load_bundle(str(folder))
        ready = [ops.prepare(reader.read(file).pixels, model.input_size)[None] for file in files]
        lite = model._load_graph(threads=1)
        expected, slow = _timed(lambda image, lite=lite: lite(image=image), ready)
        print(f"{model.name}, {len(ready)} images: LiteRT in float32 {1000 * slow:.1f} ms an image")
        for title, rival in _rivals(folder / GRAPH_FILE):
            answers, fast = _timed(partial(_named, rival, expected[0]), ready)
            changed = {
                name: max(float(np.abs(a[name] - b[name]).max()) for a, b in zip(answers, expected, strict=True))
                for name in ("probabilities", "heatmaps")
            }
            flips = sum(_label(model, a) != _label(model, b) for a, b in zip(answers, expected, strict=True))
            print(f"  {title}: {fast / slow:.2f} of that time; {flips} labels change")
            for name, most in changed.items():
                measure.verdict(f"largest change of {name}", most, MOST, at_least=False)


def _rivals(graph: Path) -> Iterator[tuple[str, Callable[[np.ndarray], Iterable[np.ndarray]]]]:
    try:
        yield "LiteRT, int8", _quantized(graph)
    except UnexplainedError:
        print("  int8: this graph has operations that are not read here")
    if importlib.util.find_spec("openvino"):
        import openvino

        for title, precision in {"float32": "f32", "bfloat16": "bf16"}.items():
            options = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": 1}
            yield f"OpenVINO, {title}", partial(_ask, openvino.Core().compile_model(str(graph), "CPU", options))


def _ask(compiled: Any, image: np.ndarray) -> Iterable[np.ndarray]:
    return list(compiled([image]).values())


def _quantized(graph: Path) -> Callable[[np.ndarray], Iterable[np.ndarray]]:
    call, size, _ = lite_reader.read_lite(graph)
    function = tf.function(call, input_signature=[tf.TensorSpec((1, *size), tf.float32)])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    interpreter = Interpreter(model_content=converter.convert(), num_threads=1)
    interpreter.allocate_tensors()

    def ask(image: np.ndarray) -> list[np.ndarray]:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
        interpreter.invoke()
        return [interpreter.get_tensor(output["index"]) for output in interpreter.get_output_details()]

    return ask


def _timed(ask: Any, images: list[np.ndarray]) -> tuple[list[Answer], float]:
    """The answers, and the seconds of processor time of one."""
    ask(images[0])
    began = time.process_time()
    answers = [ask(image) for image in images]
    return answers, (time.process_time() - began) / len(images)


def _named(ask: Callable[[np.ndarray], Iterable[np.ndarray]], like: Answer, image: np.ndarray) -> Answer:
    """The outputs by the names that those of the same shape have; not every rival keeps them."""
    outputs = list(ask(image))
    return {name: next(output for output in outputs if output.shape == value.shape) for name, value in like.items()}


def _label(model: Bundle, answer: Answer) -> str:
    return bundle.decide(model.classes, answer["probabilities"][0], model.positive, model.threshold)


if __name__ == "__main__":
    measure.run(main)
