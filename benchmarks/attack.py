"""The program under attack: what it promises, how often that was tried, how often it failed.

The app runs as its own process, without a folder for temporary files; sessions speak Streamlit's own protocol (see
`benchmarks.sessions`). Everything is made here, in a folder of its own, and all traffic stays on this computer.
"""

import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier

import numpy as np
import psutil
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from benchmarks import measure, sessions, web
from benchmarks.attack_runs import Row, attack_runs
from covid_cnn.app.predict import viewer
from covid_cnn.common import paths
from covid_cnn.common.errors import CovidCnnError
from covid_cnn.common.storage import load_arrays
from covid_cnn.data import synthetic
from covid_cnn.images import limits, ops, reader
from covid_cnn.models import bundle, perturb
from covid_cnn.reports.pdf import render_report

SETTLED = 60  # seconds after the last session's end
SHAPES = ((33_000, 8), (8, 33_000), (2_000_000, 9), (8, 8), (4000, 4000), (1, 9), (9, 1), (19_000, 1000), (257, 8192))


def main(at_once: int = 50, uploads: int = 200, kills: int = 5) -> None:
    """Attack the app: ``at_once`` sessions together, ``uploads`` in all, ``kills`` of each kind of work."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        os.environ["COVID_CNN_HOME"] = folder
        shutil.copytree(web.ROOT / "models", home / "models")
        (home / "sitecustomize.py").write_text("import tempfile\ntempfile.tempdir = '/nowhere/at/all'\n")
        rows: list[Row] = []
        with web.app(home, PYTHONPATH=folder) as app:
            for attack in (attack_sessions(app, at_once, uploads), attack_memory(app), attack_doors(app)):
                rows += show(attack)
        rows += show(attack_bundles(home))
        rows += show(attack_reader())
        rows += show(attack_sources(home))
        rows += show(attack_names(home))
        rows += show(attack_runs(work, home))
        rows += show(attack_work(home, kills))
    failed = sum(len(row.failed) for row in rows)
    print(f"\n{len(rows)} promises, tried {sum(row.tried for row in rows)} times; {failed} failed.")
    sys.exit(bool(failed))


def show(attack: Iterator[Row]) -> Iterator[Row]:
    """Print the rows as they come."""
    for row in attack:
        print(f"| {row.promise} | {row.tried} | {len(row.failed)} | {row.told} |", flush=True)
        for failure in row.failed[:3]:
            print(f"    {failure}")
        yield row


# The web server


def attack_sessions(app: web.App, at_once: int, uploads: int) -> Iterator[Row]:
    """Many visitors, each with an X-ray of its own."""
    print("| Promise | Tried | Failed | |\n|---|---|---|---|")
    images = [ops.to_png(synthetic.draw_radiograph(n, opacities=bool(n % 2), size=512)) for n in range(at_once)]
    model = bundle.load_bundle()
    expected = [model.predict(reader.read(png).pixels).by_class() for png in images]
    sessions.ask(app.port, images[0], Barrier(1))
    began = wait_until_quiet(app)
    memory, failed = [], []
    with ThreadPoolExecutor(at_once) as threads:

        def ask(number: int, start: Barrier) -> str:
            try:
                sessions.check(number, sessions.ask(app.port, images[number], start)[1], expected)
            except Exception as error:  # whatever it is, it is what the attack is looking for
                return f"session {number}: {error!r}"
            return ""

        start = Barrier(at_once)
        failed = [told for told in threads.map(ask, range(at_once), [start] * at_once) if told]
        yield Row(f"{at_once} sessions at once: every answer its own, none an error", at_once, failed)
        failed = []
        for _ in range(uploads // 10):
            failed += [told for told in threads.map(ask, range(10), [Barrier(10)] * 10) if told]
            memory.append(app.memory_mb())
        flat = max(memory[len(memory) // 2 :]) - max(memory[: len(memory) // 2])
        if flat > 100:
            failed.append(f"{flat:.0f} MB more in the second half")
    told = f"{flat:+.0f} MB from the first half's peak to the second's"
    yield Row(f"{uploads} uploads: answered, memory flat, no temporary file", uploads, failed, told)
    left = wait_until_quiet(app) - began
    yield Row(
        f"{SETTLED} s after the last session within 100 MB of where it began (after one session)",
        1,
        [f"{left:.0f} MB more"] if left > 100 else [],
        f"{began:.0f} MB, then {left:+.0f} MB",
    )


def wait_until_quiet(app: web.App) -> float:
    """The app's memory a while after its last session."""
    time.sleep(SETTLED)
    return app.memory_mb()


def attack_memory(app: web.App) -> Iterator[Row]:
    """Uploads of 150 MB, as many as a visitor can."""
    began, failed, held = app.memory_mb(), [], 0.0
    for _ in range(3):
        with web.session(app.port, "predict") as opened:
            identity = opened.identity()
            refused = 0
            for _ in range(3):
                try:
                    opened.upload(app.port, identity, b"x" * 150 * 2**20)
                except urllib.error.HTTPError as error:
                    refused += error.code == 413
            held = max(held, app.memory_mb())
            if refused != 1:
                failed.append(f"{refused} of 3 refused, of which two fit into {limits.MAX_SESSION_BYTES // 2**20} MB")
    yield Row("What a visitor's uploads have in all is bounded", 9, failed, f"peak {held:.0f} MB")
    left = wait_until_quiet(app) - began
    yield Row("… and is given back", 1, [f"{left:.0f} MB"] if left > 100 else [], f"{left:+.0f} MB")


def attack_doors(app: web.App) -> Iterator[Row]:
    """What other pages and curious visitors knock at."""
    failed = []
    for origin in ("http://foreign.example", "null", "http://127.0.0.1.foreign.example", "https://localhost.example"):
        try:
            connect(f"ws://localhost:{app.port}/_stcore/stream", origin=Origin(origin)).close()
            failed.append(origin)
        except InvalidStatus:
            pass
    yield Row("No foreign page opens a session, and none makes the server look up its address", 4, failed)
    for path in ("/_stcore/metrics", "/_stcore/metrics/", "/_stcore/metrics?families=session_events"):
        try:
            urllib.request.urlopen(app.address + path, timeout=30).close()
            failed.append(path)
        except urllib.error.HTTPError as error:
            error.close()
    yield Row("The counts of sessions are closed", 3, failed)
    for path in ("/", "/train", "/_stcore/health"):
        with urllib.request.urlopen(app.address + path, timeout=30) as answer:
            if "img-src 'self' data: blob:" not in answer.headers["Content-Security-Policy"]:
                failed.append(path)
    yield Row("Every answer keeps pages to the app's own pictures", 3, failed)


# Files of strangers


def refused(call: Callable[[], object], *kinds: type[Exception]) -> str:
    """Empty where a call ends in one of these errors; what happened instead otherwise."""
    try:
        call()
    except kinds:
        return ""
    except BaseException as error:
        return repr(error)
    return "taken"


def attack_bundles(home: Path) -> Iterator[Row]:
    """Bundles that would exhaust memory or answer nonsense."""
    folder = shutil.copytree(home / "models" / bundle.DEFAULT_MODEL, home / "models" / "strange")
    sound = (folder / bundle.INFO_FILE).read_text()
    bomb = io.BytesIO()
    np.lib.format.write_array_header_1_0(bomb, {"descr": "|u1", "fortran_order": False, "shape": (8 * 2**30,)})
    texts = ["[" * 10**6, "{}", sound.replace('"classes"', '"klasses"'), sound[:-99], '{"schema": NaN}', "\0" * 99]
    failed = []
    for text in texts:
        (folder / bundle.INFO_FILE).write_text(text)
        failed.append(refused(lambda: bundle.read_info(folder), CovidCnnError))
    os.truncate(folder / bundle.INFO_FILE, 180 * 2**20)
    failed.append(refused(lambda: bundle.read_info(folder), CovidCnnError))
    (folder / bundle.INFO_FILE).write_text(json.dumps(json.loads(sound) | {"sha256": hashlib.sha256(b"").hexdigest()}))
    (folder / bundle.GRAPH_FILE).write_bytes(b"")
    failed.append(refused(lambda: bundle.Bundle(folder), CovidCnnError))
    failed.append(refused(lambda: load_arrays(bomb.getvalue(), 2**20), ValueError))
    shutil.rmtree(folder)
    yield Row("A foreign bundle is refused in a sentence", len(failed), [told for told in failed if told])
    yield attack_nan(home)


def attack_nan(home: Path) -> Row:
    """A graph whose weights are no numbers, asked for JSON, a table and heatmaps."""
    folder = shutil.copytree(home / "models" / bundle.DEFAULT_MODEL, home / "models" / "strange")
    graph = bytearray((folder / bundle.GRAPH_FILE).read_bytes())
    half = len(graph) // 2
    graph[half : half + 2**16] = b"\xff\x7f" * 2**15  # NaN, as float16 and as float32
    (folder / bundle.GRAPH_FILE).write_bytes(graph)
    facts = json.loads((folder / bundle.INFO_FILE).read_text()) | {"sha256": hashlib.sha256(graph).hexdigest()}
    (folder / bundle.INFO_FILE).write_text(json.dumps(facts))
    (home / "one.png").write_bytes(ops.to_png(synthetic.draw_radiograph(1, opacities=True, size=256)))
    failed = []
    for options in (("--json",), ("--csv", str(home / "table.csv")), ("--heatmaps", str(home / "heat"))):
        ended = work(home, ("predict", str(home / "one.png"), "--model", "strange", *options))
        if ended.returncode != 1 or "Traceback" in ended.stderr or "number" not in ended.stdout + ended.stderr:
            failed.append(f"{options[0]}: {ended.returncode}, {(ended.stdout + ended.stderr)[-300:]}")
        if options == ("--json",):
            with contextlib.suppress(ValueError):
                if not ended.stdout or ("NaN" not in ended.stdout and json.loads(ended.stdout)):
                    continue
            failed.append(f"no JSON: {ended.stdout[-300:]}")
    shutil.rmtree(folder)
    return Row("A graph that answers NaN is a sentence, and JSON stays JSON", 3, failed)


def attack_reader() -> Iterator[Row]:
    """Images of extreme shapes: read and predicted, or refused in a sentence."""
    model, failed = bundle.load_bundle(), []
    for height, width in SHAPES:
        png = ops.to_png(np.linspace(0, 1, height * width, dtype=np.float32).reshape(height, width))
        try:
            radiograph = reader.read(png)
            prediction = model.predict(radiograph.pixels)
            viewer.packed(radiograph)
            list(perturb.apply_steps(radiograph.pixels, [perturb.Step("rotate", {"degrees": 10})]))
            render_report(radiograph, prediction, model.info, prediction.label, "", datetime.now(UTC))
        except CovidCnnError:
            pass
        except BaseException as error:
            failed.append(f"{height} x {width}: {error!r}")
    yield Row(
        "An image of any shape is predicted, shown, changed and reported, or refused in a sentence", len(SHAPES), failed
    )


def attack_sources(home: Path) -> Iterator[Row]:
    """Folders that hold what is no file."""
    folder = home / "strange"
    strange: dict[str, Callable[[Path], object]] = {
        "pipe": os.mkfifo,
        "socket": lambda place: socket.socket(socket.AF_UNIX).bind(str(place)),
        "link to itself": lambda place: place.symlink_to(place),
        "link into nowhere": lambda place: place.symlink_to("/nowhere"),
        "device": lambda place: place.symlink_to("/dev/zero"),
    }
    failed = []
    for name, make in strange.items():
        shutil.rmtree(folder, ignore_errors=True)
        synthetic.write_dataset(folder, counts={"train": 2, "val": 1, "test": 1}, size=96)
        make(next(folder.glob("train/*")) / "strange.png")
        failed += command(home, name, "data", "add", str(folder), "--name", name.replace(" ", "_"))
        failed += command(home, name, "data", "audit", str(folder))
    for arguments in (("data", "add", ""), ("data", "add", str(folder), "--name", "x" * 250)):
        failed += command(home, " ".join(arguments)[:20], *arguments)
    yield Row("Pipes, sockets, devices, links, names: done without them, or a sentence", 2 * len(strange) + 2, failed)


def attack_names(home: Path, rounds: int = 3) -> Iterator[Row]:
    """Two imports of one name at once, of other images each."""
    sources = [
        synthetic.write_dataset(home / f"twin_{n}", n, counts={"train": 30, "val": 10, "test": 10}, size=128)
        for n in (0, 1)
    ]
    failed = []
    for number in range(rounds):
        with ThreadPoolExecutor(2) as threads:
            add = [("data", "add", str(source), "--name", f"twins_{number}") for source in sources]
            ended = list(threads.map(lambda arguments: work(home, arguments), add))
        told = "".join(one.stderr for one in ended)
        images = len(list((home / "data" / f"twins_{number}").rglob("*.png")))
        if sorted(one.returncode for one in ended) != [0, 1] or "Traceback" in told or images != 100:
            failed.append(f"{[one.returncode for one in ended]}, {images} images: {told[-300:]}")
    yield Row("Of two imports of one name at once one is whole, and the other says why not", rounds, failed)


def command(home: Path, what: str, *arguments: str) -> list[str]:
    """Run the command line; what it should not have done: hang, or end in a traceback."""
    try:
        ended = work(home, arguments, 120)
    except subprocess.TimeoutExpired:
        return [f"{what}: hangs"]
    return [f"{what}: {ended.stderr[-300:]}"] if "Traceback" in ended.stderr else []


def work(home: Path, arguments: tuple[str, ...], timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        cli(*arguments), env=environment(home), capture_output=True, text=True, timeout=timeout, check=False
    )


def cli(*arguments: str) -> list[str]:
    """The program's own command line."""
    return [sys.executable, "-m", "covid_cnn", *arguments]


def environment(home: Path) -> dict[str, str]:
    """The environment of a process of the program that is at home in ``home``."""
    return os.environ | {"COVID_CNN_HOME": str(home)}


# Work that is cut off


def attack_work(home: Path, kills: int) -> Iterator[Row]:
    """Import, audit and evaluation killed at any moment; the same again must end as if nothing had happened."""
    source = synthetic.write_dataset(home / "source", counts={"train": 60, "val": 20, "test": 20}, size=256)
    works = {
        "import": ("data", "add", str(source), "--name", "cut"),
        "audit": ("data", "audit", "cut", "--json"),
        "evaluation": ("evaluate", "--data", "cut", "--json"),
    }
    for name, arguments in works.items():
        began = time.perf_counter()
        whole = work(home, arguments)
        seconds, failed = time.perf_counter() - began, []
        for kill in range(kills):
            forget(name)
            process = subprocess.Popen(
                cli(*arguments), env=environment(home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            time.sleep(seconds * (kill + 1) / (kills + 1))
            for child in [*psutil.Process(process.pid).children(recursive=True), process]:
                child.send_signal(signal.SIGKILL)
            process.wait()
            again = work(home, arguments)
            if again.returncode or (name != "import" and again.stdout != whole.stdout):
                failed.append(f"{name}, kill {kill}: {again.stderr[-300:] or 'another answer'}")
        yield Row(f"Killed at any moment, the {name} ends well when started again", kills, failed)


def forget(name: str) -> None:
    """Undo a whole import, and what was kept of the images, so that there is something to be cut off."""
    if name == "import":
        shutil.rmtree(paths.data_dir() / "cut", ignore_errors=True)
    shutil.rmtree(paths.cache_dir(), ignore_errors=True)


if __name__ == "__main__":
    measure.run(main)
