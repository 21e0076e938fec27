"""What telling of a hundred steps a second, with a page that draws them, costs the training that tells of them.

The training is a stand-in: steps of a fixed amount of work, about 10 ms each. In turns it works in silence, and tells
of each step, in its events and for TensorBoard, while another process reads the events and makes the points of both
charts every second, as the page does.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import measure
from covid_cnn.runs import Run
from covid_cnn.scalars import Scalars

STEP = 0.01  # seconds
STEPS = 300
ROUNDS = 3
PAGE = """
import sys, time
from pathlib import Path
from covid_cnn.app import run_charts
from covid_cnn.runs import Run
run = Run(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    for metric in ("loss", "accuracy"):
        run_charts.points(run.journal, 100, metric)
    time.sleep(1)
"""


def main() -> None:
    """Compare in rounds."""
    matrix = np.ones((200, 200), np.float32)
    once = min(measure.timed(lambda: matrix @ matrix, 1000)() for _ in range(5))  # the first are slow
    multiplications = round(STEP / once)

    def work() -> float:
        for _ in range(multiplications):
            matrix @ matrix
        return 0.5

    with tempfile.TemporaryDirectory() as folder:
        run, told = Run(Path(folder)), 0
        scalars = Scalars(run, last=0)

        def silent() -> float:
            began = time.perf_counter()
            for _ in range(STEPS):
                work()
            return time.perf_counter() - began

        def telling() -> float:
            nonlocal told
            page = subprocess.Popen([sys.executable, "-c", PAGE, folder], stdout=subprocess.PIPE)
            assert page.stdout
            page.stdout.readline()  # it has started
            began = time.perf_counter()
            for _ in range(STEPS):
                told += 1
                numbers = {"loss": work(), "accuracy": 0.5, "learning_rate": 1e-3}
                scalars.step(run.append("step", epoch=1, step=told, steps=STEPS * ROUNDS, **numbers))
            seconds = time.perf_counter() - began
            page.kill()
            page.wait()
            return seconds

        measured = measure.rounds({"silent": silent, "telling": telling}, ROUNDS)
    slower = measure.ratio(measured["telling"], measured["silent"])
    print(f"  {STEPS / measure.median(measured['telling']):.0f} events a second")
    measure.verdict("times as long with events and a page", slower, 1.03, at_least=False)


if __name__ == "__main__":
    measure.run(main)
