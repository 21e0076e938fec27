"""From starting a process to the first explained prediction of one radiograph: seconds and peak memory.

Two tasks, each against the usual way: the explained prediction in Python, and the command line that writes the
prediction as JSON and the overlay as PNG.
"""

import multiprocessing
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks import measure
from covid_cnn.common import paths
from covid_cnn.models.bundle import read_info

OURS = """
import sys
from pathlib import Path
from covid_cnn.images import reader
from covid_cnn.models import bundle
print(bundle.load_bundle(sys.argv[1]).predict(reader.read(Path(sys.argv[2])).pixels))
"""


def main(model: str = "efficientnet_lite0", rounds: int = 5) -> None:
    """Measure the cold start of a bundle, and of the same network saved by Keras."""
    network = read_info(paths.models_dir() / model).network
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keras_file, image, overlays = folder / "model.keras", folder / "image.png", folder / "overlays"
        # In another process: what this one holds would count into the peaks that it measures.
        maker = multiprocessing.get_context("spawn").Process(target=make_files, args=(network, keras_file, image))
        maker.start()
        maker.join()
        usual = ("-m", "benchmarks.usual_way", str(keras_file), str(image))
        command = ("-m", "covid_cnn", "predict", str(image), "--model", model, "--json", "--heatmaps", str(overlays))
        rivals = {
            "Python, ours": ("-c", OURS, model, str(image)),
            "Python, usual": usual,
            "command, ours": command,
            "command, usual": (*usual, str(folder / "overlay.png")),
        }
        # Once before the rounds, so that no rival reads its libraries from the disk.
        for arguments in rivals.values():
            measure.process(*arguments)
        results = measure.rounds({name: partial(measure.process, *rival) for name, rival in rivals.items()}, rounds)
    print(f"Cold start, {network}, median of {rounds} rounds")
    for name, usages in results.items():
        seconds, peak = median(u.seconds for u in usages), median(u.peak_mb for u in usages)
        print(f"  {name:15} {seconds:7.3f} s {peak:7.1f} MB")
    for task in ("Python", "command"):
        ours, theirs = results[f"{task}, ours"], results[f"{task}, usual"]
        faster = measure.ratio([u.seconds for u in theirs], [u.seconds for u in ours])
        memory = measure.ratio([u.peak_mb for u in ours], [u.peak_mb for u in theirs])
        measure.verdict(f"{task}: times faster", faster, 20)
        measure.verdict(f"{task}: part of the peak memory", memory, 0.2, at_least=False)


def make_files(network: str, keras_file: Path, image: Path) -> None:
    """Save the network as Keras does, and a synthetic radiograph."""
    from covid_cnn.data import synthetic
    from covid_cnn.training import networks

    networks.build_network(network, 2).save(keras_file)
    synthetic.write_png(image, synthetic.draw_radiograph(0, opacities=True, size=1024))


if __name__ == "__main__":
    measure.run(main)
