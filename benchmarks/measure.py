"""What the benchmarks share: rounds that measure rivals side by side, whole processes, and how figures are printed.

Machines are noisy and slow down for a while. So rivals take turns in every round, a ratio is taken within each
round, and the median of these ratios is the figure.
"""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import typer

from covid_cnn.common.errors import CovidCnnError

# Must be set before TensorFlow is imported, here or in a child process.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def run(main: Callable[..., None]) -> None:
    """Run ``main`` with its parameters as command line options; whatever is missing ends it in one sentence."""
    print(f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, Python {platform.python_version()}")
    try:
        typer.run(main)
    except CovidCnnError as error:
        sys.exit(str(error))


def real_data(name: str) -> Path:
    """The folder of the real dataset ``name``; raises CovidCnnError."""
    root = os.environ.get("COVID_CNN_REAL_DATA")
    if not root:
        raise CovidCnnError("COVID_CNN_REAL_DATA is not set: let it name the folder that holds the real datasets.")
    folder = Path(root).expanduser().absolute() / name
    if not folder.is_dir():
        raise CovidCnnError(f"There is no {name} in COVID_CNN_REAL_DATA: put that dataset there.")
    return folder


class Usage(NamedTuple):
    """What a whole process took."""

    seconds: float
    peak_mb: float


def compiled(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that compiles a module once, as it is for whoever uses the program."""
    return {name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"}


def process(*arguments: str, home: Path | None = None) -> Usage:
    """Run this Python with ``arguments`` until it ends.

    The kernel counts into a child's peak what its parent held when it started it, so the caller must stay small.

    Parameters
    ----------
    arguments : of the interpreter
    home : COVID_CNN_HOME of the process, by default as it is here

    Raises
    ------
    CovidCnnError
        The process failed; the last line it wrote says why.
    """
    environment = compiled(os.environ) | ({"COVID_CNN_HOME": str(home)} if home else {})
    began = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert child.stderr
    words = child.stderr.read().decode(errors="replace").strip()
    _, status, resources = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        last = words.splitlines()[-1] if words else f"exit status {child.returncode}"
        raise CovidCnnError(f"python {' '.join(arguments[:3])} failed: {last}")
    # Linux counts in KiB, macOS in bytes.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return Usage(seconds, resources.ru_maxrss / unit)


def rounds(rivals: Mapping[str, Callable[[], Any]], count: int) -> dict[str, list[Any]]:
    """What each rival returned in each of ``count`` rounds, in which all take their turn, in changing order."""
    results: dict[str, list[Any]] = {name: [] for name in rivals}
    for i in range(count):
        for name in list(rivals)[:: -1 if i % 2 else 1]:
            results[name].append(rivals[name]())
    return results


def timed(action: Callable[[], Any], calls: int = 1) -> Callable[[], float]:
    """A rival that does ``action`` so many times and returns the seconds of one."""

    def measure() -> float:
        began = time.perf_counter()
        for _ in range(calls):
            action()
        return (time.perf_counter() - began) / calls

    return measure


def ratio(numerators: list[float], denominators: list[float]) -> float:
    """The median over the rounds of the ratio within a round."""
    return median(a / b for a, b in zip(numerators, denominators, strict=True))


def verdict(claim: str, figure: float, goal: float, at_least: bool = True) -> None:
    """Print a figure beside its goal."""
    met = figure >= goal if at_least else figure <= goal
    bound = "at least" if at_least else "at most"
    print(f"  {claim}: {figure:.4g} (goal: {bound} {goal:g}, {'met' if met else 'MISSED'})")
