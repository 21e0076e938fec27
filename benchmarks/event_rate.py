"""What telling of a hundred steps a second, with the Train page open on them, costs the training that tells of them.

The training is a stand-in: steps of a fixed amount of work, about 10 ms each. In turns it works in silence, and tells
of each step, in its events and for TensorBoard, while the app draws the page of the run every second for a session
that asks for it as a browser does. What a browser itself needs to show it is not in it.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from statistics import median

import numpy as np
from streamlit.proto.BackMsg_pb2 import BackMsg
from threadpoolctl import threadpool_limits

from benchmarks import measure, web
from covid_cnn.data import synthetic
from covid_cnn.runs import pictures
from covid_cnn.runs.config import TrainConfig
from covid_cnn.runs.run import Run, create_run
from covid_cnn.training.callbacks import ScalarLog

STEP = 0.01  # seconds
STEPS = 300
NAME = "watched"


def watch(port: int) -> None:
    """Be the browser of a session on the page of the run: ask for its live part every second, until killed."""
    with web.session(port, "train", f"run={NAME}") as session:
        live = ""
        for message in session.messages():
            kind = message.WhichOneof("type")
            if kind == "auto_rerun" and not live:
                live = message.auto_rerun.fragment_id
                assert message.auto_rerun.interval == 1
            elif kind == "script_finished":
                print("drawn", flush=True)
                time.sleep(1)
                again = BackMsg()
                again.rerun_script.page_name = "train"
                again.rerun_script.query_string = f"run={NAME}"
                again.rerun_script.fragment_id = live
                again.rerun_script.is_auto_rerun = True
                session.send(again)


def main(rounds: int = 9) -> None:
    """Compare in rounds."""
    matrix = np.ones((200, 200), np.float32)
    with threadpool_limits(1), tempfile.TemporaryDirectory() as home:  # the page has the other core, as on a laptop
        once = min(measure.timed(lambda: matrix @ matrix, 1000)() for _ in range(5))  # the first are slow
        multiplications = round(STEP / once)
        os.environ["COVID_CNN_HOME"] = home
        run, told = _run(), 0
        scalars = ScalarLog(run, last=0)

        def work() -> float:
            for _ in range(multiplications):
                matrix @ matrix
            return 0.5

        with web.app() as app:
            watcher = f"from benchmarks import event_rate; event_rate.watch({app.port})"
            page = subprocess.Popen([sys.executable, "-c", watcher], stdout=subprocess.PIPE)
            assert page.stdout
            page.stdout.readline()  # it has started

            def silent() -> float:
                page.send_signal(signal.SIGSTOP)
                time.sleep(1)  # for the drawing that has begun
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
                    scalars.add_step(run.append("step", epoch=1, step=told, steps=STEPS * rounds, **numbers))
                return time.perf_counter() - began

            before = app.process.cpu_times()
            measured = measure.rounds({"silent": silent, "telling": telling}, rounds)
            after = app.process.cpu_times()
            page.kill()
            drawn = page.stdout.read().count(b"drawn")
            page.wait()
        scalars.close()
    slower = measure.ratio(measured["telling"], measured["silent"])
    print(f"  {STEPS / median(measured['telling']):.0f} events a second, median of {rounds} rounds of {STEPS} steps")
    used = after.user + after.system - before.user - before.system
    print(f"  the page was drawn {drawn} times, at {1000 * used / max(drawn, 1):.0f} ms of the web process each")
    measure.verdict("times as long with events and a page", slower, 1.03, at_least=False)


def _run() -> Run:
    """A run of this process, with pictures, as it is after its first epoch."""
    run = create_run(TrainConfig.of("synthetic", "notebook_cnn"), NAME)
    run.append("started")
    run.append("read", classes=["NORMAL", "PNEUMONIA"], train=8, val=4)
    images = np.stack([synthetic.draw_radiograph(seed, opacities=bool(seed % 2), size=256) for seed in range(8)])
    labels = ["NORMAL", "PNEUMONIA"] * 4
    pictures.save_images(run.folder, "augmented", images, labels)
    pictures.save_images(run.folder, "watched", images[:4], labels[:4])
    look = pictures.AttentionPicture(np.full((4, 2), 0.5, np.float32), np.ones((4, 60, 60, 2), np.float32))
    pictures.save_attention(run.folder, 1, look)
    return run


if __name__ == "__main__":
    measure.run(main)
