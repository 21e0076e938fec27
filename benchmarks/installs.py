"""What each install of the package takes: seconds and megabytes, each in an environment of its own, nothing cached.

And whether the app, as `[app]` installs it, fits a free host of 1 GB: the memory of its web process after the start
page, after an explained prediction, and after twenty more visitors who each ask about an image of their own.
"""

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier
from unittest import mock

from benchmarks import measure, sessions, web
from covid_cnn.common.errors import CovidCnnError
from covid_cnn.data import synthetic
from covid_cnn.images import ops
from covid_cnn.models.bundle import DEFAULT_MODEL

ROOT = Path(__file__).parents[1]
EXTRAS = ("", "[app]", "[cluster]", "[app,train]")
HOST_MB = 1000
VISITORS = 20


def main(visitors: int = VISITORS) -> None:
    """Measure each install, and the app of one of them."""
    with tempfile.TemporaryDirectory() as name:
        for extras in EXTRAS:
            folder = Path(name) / f"of{extras}"
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
            seconds = measure.timed(partial(install, folder, extras))()
            print(f"  pip install .{extras:12} {seconds:6.0f} s {megabytes(folder):6.0f} MB", flush=True)
        measure_app(Path(name) / "of[app]" / "bin" / "python", visitors)


def install(folder: Path, extras: str) -> None:
    """Install into an environment; raises CovidCnnError where it fails."""
    uv = Path(sys.executable).with_name("uv")
    python = str(folder / "bin" / "python")
    command = [str(uv), "pip", "install", "--quiet", "--no-cache", "--python", python, f"{ROOT}{extras}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise CovidCnnError(f"The install of {extras or 'the base'} failed: {done.stderr.splitlines()[-1]}")


def megabytes(folder: Path) -> float:
    """What the files of a folder take on the disk, links left out."""
    files = (Path(root) / name for root, _, names in os.walk(folder) for name in names)
    return sum(file.lstat().st_blocks * 512 for file in files) / 1e6


def measure_app(python: Path, visitors: int) -> None:
    """The memory of the app that this Python starts."""
    images = [ops.to_png(synthetic.draw_radiograph(n, opacities=bool(n % 2), size=1024)) for n in range(visitors + 1)]
    with mock.patch.object(sys, "executable", str(python)), web.app() as app, ThreadPoolExecutor(visitors) as threads:
        started = app.memory_mb()
        sessions.ask(app.port, images[0], Barrier(1))
        one = app.memory_mb()
        start = Barrier(visitors)
        for asked in [threads.submit(sessions.ask, app.port, png, start) for png in images[1:]]:
            asked.result()
        time.sleep(1)
        many = app.memory_mb()
    print(f"the web process of [app] with {DEFAULT_MODEL}: {started:.0f} MB at the start")
    measure.verdict("MB after one visitor's explained prediction", one, HOST_MB, at_least=False)
    measure.verdict(f"MB after {visitors} visitors at once besides", many, HOST_MB, at_least=False)


if __name__ == "__main__":
    measure.run(main)
