"""Training runs under attack, for `benchmarks.attack`: clocks that are set, several who take one up, damaged files."""

import contextlib
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import psutil

from covid_cnn.common import paths
from covid_cnn.common.errors import RunError
from covid_cnn.data import synthetic
from covid_cnn.runs.config import INSTALLED, TrainConfig
from covid_cnn.runs.run import Run, create_run, delete_run, discover_runs, open_run, resume_run

Work = Callable[..., subprocess.CompletedProcess[str]]
STEPS = (-3600, -5, 5, 3600)  # seconds by which a clock is set
AT_ONCE = 4


class Row(NamedTuple):
    """One promise, how often it was tried, and what failed of it."""

    promise: str
    tried: int
    failed: list[str]
    told: str = ""


def attack_runs(work: Work, home: Path, mutations: int = 1000) -> Iterator[Row]:
    """All of it; ``work`` is the command line, run to its end in ``home``."""
    synthetic.write_dataset(home / "data" / "small", counts={"train": 8, "val": 5, "test": 4}, size=96)
    run = create_run(TrainConfig.of("small", INSTALLED, epochs=3), "wanted")
    yield attack_clocks(run)
    yield attack_at_once(work, home, run)
    yield attack_checkpoint(run)
    yield attack_events(run, mutations)
    yield attack_settings(run, mutations)
    yield attack_read_only(home, run)


def attack_clocks(run: Run) -> Row:
    """Another process has the lock; for who looks, the clock and the time of the start have moved."""
    failed, now, boot = [], time.time, psutil.boot_time
    run.append("started")
    for step in STEPS:
        with (
            mock.patch("time.time", lambda step=step: now() + step),
            mock.patch("psutil.boot_time", lambda step=step: boot() + step),
            mock.patch("psutil._pslinux.boot_time", lambda step=step: boot() + step),
        ):
            if (state := open_run(run.name).state()) != "running":
                failed.append(f"{step} s: it is {state}")
            for act in (resume_run, delete_run, Run.begin):
                try:
                    act(open_run(run.name))
                    failed.append(f"{step} s: {act.__name__} went through")
                except RunError:
                    pass
    run.leave()
    return Row("Whatever a clock says, a run at work is at work, and nobody else gets in", 4 * len(STEPS), failed)


def attack_at_once(work: Work, home: Path, run: Run) -> Row:
    """Several take one run up at once: one trains it to its end, the others say why not."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        resume = ("train", "--resume", run.name, "--quiet")
        ended = list(threads.map(lambda _: work(home, resume, 580), range(AT_ONCE)))
    refused = [one.stderr for one in ended if one.returncode]
    failed = [told[-300:] for told in refused if "already at work" not in told or "Traceback" in told]
    if len(refused) != AT_ONCE - 1 or run.state() != "finished":
        failed.append(f"{len(refused)} were refused, and the run is {run.state()}: {run.log_tail(5)}")
    return Row(f"Of {AT_ONCE} who take up one run at once one does, and it ends well", AT_ONCE, failed)


def attack_checkpoint(run: Run) -> Row:
    """Each file of the last epoch is flipped, cut off, emptied or gone: the epoch before is taken."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    from covid_cnn.training.checkpoint import Checkpoint

    failed, tried, folder = [], 0, run.folder.with_name("damaged")
    last = Checkpoint(run.checkpoint).epoch
    for name in (f"epoch-{last}.keras", f"epoch-{last}.json"):
        content = (run.checkpoint / name).read_bytes()
        half = len(content) // 2
        flipped = content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]
        for damaged in (flipped, content[:half], b"", None):
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(run.checkpoint, folder)
            (folder / name).unlink()
            if damaged is not None:
                (folder / name).write_bytes(damaged)
            tried += 1
            try:
                if (epoch := Checkpoint(folder).epoch) != last - 1:
                    failed.append(f"{name}: epoch {epoch}")
            except Exception as error:
                failed.append(f"{name}: {error!r}")
    shutil.rmtree(folder)
    return Row("A damaged checkpoint falls back to the epoch before it", tried, failed)


def mutate(content: bytes, moment: random.Random) -> bytes:
    """A file as a failing disk, another program or an enemy leaves it."""
    place, end = sorted(moment.randrange(len(content) + 1) for _ in range(2))
    strange = (b"", b"\0" * 99, b"\xff\xfe", b"NaN", b"1e999", b"-1", b"null", b"[" * 10**4, b'{"a":', b"\n", b'"')
    return content[:place] + moment.choice(strange) + content[end if moment.random() < 0.3 else place + 1 :]


def attack_events(run: Run, mutations: int) -> Row:
    """All runs are listed, and what a page asks of them is answered, whatever the events of one of them are."""
    folder, moment, failed, slowest = run.folder.with_name("strange"), random.Random(0), [], 0.0
    folder.mkdir()
    shutil.copy(run.folder / "config.json", folder)
    sound = (run.folder / "events.jsonl").read_bytes()
    for number in range(mutations):
        content = mutate(sound, moment)
        (folder / "events.jsonl").unlink(missing_ok=True)
        (folder / "events.jsonl").write_bytes(content)
        began = time.perf_counter()
        try:
            states = {one.name: one.state() for one in discover_runs()}
            journal = Run(folder).journal
            journal.steps(), journal.best, journal.seconds_left(), journal.seconds_at_work(time.time())
            assert states[run.name] == "finished"
        except Exception as error:
            failed.append(f"mutation {number}: {error!r}")
        slowest = max(slowest, time.perf_counter() - began)
    shutil.rmtree(folder)
    told = f"slowest look {1000 * slowest:.0f} ms"
    return Row("Runs are listed whatever the events of one of them are", mutations, failed, told)


def attack_settings(run: Run, mutations: int) -> Row:
    """Damaged settings are read, or refused in a sentence that asks nobody to delete anything."""
    moment, failed = random.Random(1), []
    sound = (run.folder / "config.json").read_bytes()
    for number in range(mutations):
        (run.folder / "config.json").write_bytes(mutate(sound, moment))
        try:
            assert isinstance(run.config, TrainConfig)
        except RunError as error:
            if "delete" in str(error) or not str(error).endswith("."):
                failed.append(str(error))
        except Exception as error:
            failed.append(f"mutation {number}: {error!r}")
    (run.folder / "config.json").write_bytes(sound)
    return Row("Damaged settings of a run are read, or refused in a sentence", mutations, failed)


def attack_read_only(home: Path, run: Run) -> Row:
    """A person who may not write under runs/ starts, resumes and deletes."""
    acts: dict[str, Callable[[], object]] = {
        "start": lambda: create_run(run.config, "new"),
        "start without a name": lambda: create_run(run.config),
        "resume": lambda: resume_run(open_run("resting")),
        "delete": lambda: delete_run(open_run("resting")),
        "stop": lambda: open_run("resting").request_stop(),
    }
    create_run(run.config, "resting").leave()
    (paths.runs_dir() / "left_over").mkdir()
    acts["start in a leftover folder"] = lambda: create_run(run.config, "left_over")
    failed = []
    with unprivileged(home):
        for name, act in acts.items():
            try:
                act()
                failed.append(f"{name}: went through")
            except RunError:
                pass
            except Exception as error:
                failed.append(f"{name}: {error!r}")
    return Row("Where nothing can be written, runs say so in a sentence", len(acts), failed)


@contextlib.contextmanager
def unprivileged(folder: Path) -> Iterator[None]:
    """Within, this process is a user who may read everything under a folder, and write nothing under its runs/."""
    closed = [paths.runs_dir(), *(one for one in paths.runs_dir().rglob("*") if one.is_dir())]
    for one in closed:
        one.chmod(0o555)
    folder.chmod(0o755)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        for one in closed:
            one.chmod(0o755)
