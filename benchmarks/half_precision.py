"""What bfloat16 would gain and change: the shipped graphs by OpenVINO, in float32 and in bfloat16, against LiteRT.

OpenVINO is in no list of requirements: ``pip install openvino``. One thread each, so that processor time, which a busy
machine changes little, is the measure. All test images of the notebook's dataset are asked.
"""

import time
from functools import partial
from typing import Any

import numpy as np

from benchmarks import measure
from covid_cnn.common import paths
from covid_cnn.common.errors import CovidCnnError
from covid_cnn.images import ops, reader
from covid_cnn.models import bundle
from covid_cnn.models.bundle import GRAPH_FILE, Bundle

MOST = 0.02  # that a probability or a heatmap may change by
PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


def main(images: int = 40) -> None:
    """Ask each shipped bundle about so many test images."""
    try:
        import openvino
    except ImportError:
        raise CovidCnnError("OpenVINO is not installed: pip install openvino.") from None
    core = openvino.Core()
    print(f"OpenVINO {openvino.__version__} on {core.get_property('CPU', 'FULL_DEVICE_NAME')}")
    files = sorted((measure.real_data("xray_dataset_covid19") / "test").glob("*/*"))[:images]
    for folder in sorted(path.parent for path in paths.models_dir().glob(f"*/{GRAPH_FILE}")):
        model = bundle.load_bundle(str(folder))
        ready = [ops.prepare(reader.read(file).pixels, model.input_size)[None] for file in files]
        lite = model._load_graph(threads=1)
        expected, slow = _timed(lambda image, lite=lite: lite(image=image), ready)
        print(f"{model.name}, {len(ready)} images: LiteRT {1000 * slow:.1f} ms an image")
        for title, precision in PRECISIONS.items():
            options = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": 1}
            compiled = core.compile_model(str(folder / GRAPH_FILE), "CPU", options)
            answers, fast = _timed(partial(_named, compiled, expected[0]), ready)
            changed = {
                name: max(float(np.abs(a[name] - b[name]).max()) for a, b in zip(answers, expected, strict=True))
                for name in ("probabilities", "heatmaps")
            }
            flips = sum(_label(model, a) != _label(model, b) for a, b in zip(answers, expected, strict=True))
            print(f"  {title}: {fast / slow:.2f} of LiteRT's time; {flips} labels change")
            for name, most in changed.items():
                measure.verdict(f"largest change of {name}", most, MOST, at_least=False)


def _timed(ask: Any, images: list[np.ndarray]) -> tuple[list[dict[str, np.ndarray]], float]:
    """The answers, and the seconds of processor time of one."""
    ask(images[0])
    began = time.process_time()
    answers = [ask(image) for image in images]
    return answers, (time.process_time() - began) / len(images)


def _named(compiled: Any, like: dict[str, np.ndarray], image: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs by the names that those of the same shape have; OpenVINO keeps none."""
    outputs = list(compiled([image]).values())
    return {name: next(output for output in outputs if output.shape == value.shape) for name, value in like.items()}


def _label(model: Bundle, answer: dict[str, np.ndarray]) -> str:
    return bundle.decide(model.classes, answer["probabilities"][0], model.positive, model.threshold)


if __name__ == "__main__":
    measure.run(main)
