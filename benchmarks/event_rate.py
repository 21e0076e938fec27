"""What telling of a hundred steps a second, with a page that draws them, costs the training that tells of them.

The training is a stand-in: steps of a fixed amount of work, about 10 ms each. In turns it works in silence, and tells
of each step, in its events and for TensorBoard, while another process reads the events and makes the points of both
charts every second, as the page does.
"""

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import measure
from covid_cnn.runs import Run
from covid_cnn.scalars import Scalars

STEP = 0.01  # seconds
STEPS = 300
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


def main(rounds: int = 9) -> None:
    """Compare in rounds."""
    matrix = np.ones((200, 200), np.float32)
    with threadpool_limits(1), tempfile.TemporaryDirectory() as folder:  # the page has the other core, as on a laptop
        once = min(measure.timed(lambda: matrix @ matrix, 1000)() for _ in range(5))  # the first are slow
        multiplications = round(STEP / once)

        def work() -> float:
            for _ in range(multiplications):
                matrix @ matrix
            return 0.5

        run, told = Run(Path(folder)), 0
        scalars = Scalars(run, last=0)
        page = subprocess.Popen([sys.executable, "-c", PAGE, folder], stdout=subprocess.PIPE)
        assert page.stdout
        page.stdout.readline()  # it has started

        def silent() -> float:
            page.send_signal(signal.SIGSTOP)
            began = time.perf_counter()
            for _ in range(STEPS):
                work()
            return time.perf_counter() - began

        def telling() -> float:
            nonlocal told
            page.send_signal(signal.SIGCONT)
            began = time.perf_counter()
            for _ in range(STEPS):
                told += 1
                numbers = {"loss": work(), "accuracy": 0.5, "learning_rate": 1e-3}
                scalars.step(run.append("step", epoch=1, step=told, steps=STEPS * rounds, **numbers))
            return time.perf_counter() - began

        measured = measure.rounds({"silent": silent, "telling": telling}, rounds)
        page.kill()
        page.wait()
        scalars.close()
    slower = measure.ratio(measured["telling"], measured["silent"])
    print(f"  {STEPS / median(measured['telling']):.0f} events a second, median of {rounds} rounds of {STEPS} steps")
    measure.verdict("times as long with events and a page", slower, 1.03, at_least=False)


if __name__ == "__main__":
    measure.run(main)
