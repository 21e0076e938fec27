"""Ten fresh runs are watched from start to end on a busy machine, and the page never goes white.

A run is played here: what a training writes is written in a few seconds, and TensorFlow is not waited for.
"""

import re
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator

import numpy as np
import pytest
from browsing import ROOT
from playwright.sync_api import Page, expect
from streamlit import config
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.forward_msg_cache import create_reference_msg, populate_hash_if_needed
from streamlit.runtime.forward_msg_queue import ForwardMsgQueue

from covid_cnn.data import synthetic
from covid_cnn.runs import pictures
from covid_cnn.runs.config import TrainConfig
from covid_cnn.runs.run import Run, create_run

RUNS, TABS, EPOCHS, STEPS = 10, 5, 4, 6  # as many runs at a time as there are tabs
AUGMENTED, WATCHED = 12, 6  # pictures, as a training keeps
PLAYED = 2.0  # seconds from the first step to the last


@pytest.fixture
def busy() -> Iterator[None]:
    """Two processes that take what both cores have to give."""
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    yield
    for burner in burners:
        burner.kill()
        burner.wait()


def play(run: Run, images: np.ndarray) -> None:
    """Write what a training writes, in its order and with its pauses."""
    run.append("launched")
    time.sleep(0.2)
    run.append("started")
    run.log("Reading the images.")
    run.append("read", classes=["NORMAL", "PNEUMONIA"], train=40, val=20)
    labels = ["NORMAL", "PNEUMONIA"] * AUGMENTED
    for done in (10, 40):
        run.append("progress", what="Reading images", done=done, total=40)
        time.sleep(0.3)
    pictures.save_images(run.folder, "augmented", images, labels[:AUGMENTED])
    pictures.save_images(run.folder, "watched", images[:WATCHED], labels[:WATCHED])
    time.sleep(0.6)
    total = EPOCHS * STEPS
    for step in range(1, total + 1):
        epoch = 1 + (step - 1) // STEPS
        run.append("step", epoch=epoch, step=step, steps=total, loss=1 / step, accuracy=0.5, learning_rate=0.1 / step)
        time.sleep(PLAYED / total)
        if step % STEPS == 0:
            scores = {"loss": 1 / step, "accuracy": 0.5, "val_loss": 1 / step, "val_accuracy": 0.5}
            run.append("epoch", epoch=epoch, step=step, seconds=1.0, best=epoch, **scores)
            rng = np.random.default_rng(epoch)
            look = pictures.AttentionPicture(np.full((WATCHED, 2), 0.5), rng.random((WATCHED, 7, 7, 2)))
            pictures.save_attention(run.folder, epoch, look)
    run.log("Exporting the model.")
    time.sleep(0.2)
    run.append("exported", model=run.name, epoch=EPOCHS)


def is_whole(page: Page) -> bool:
    """Whether the page ends by showing all of a run that has ended."""
    try:
        expect(page.get_by_text(re.compile("Finished$"))).to_be_visible()
        expect(page.get_by_test_id("stMetric").first).to_be_visible()
    except AssertionError:
        return False
    return True


@pytest.mark.browser
@pytest.mark.timeout(600)
def test_ten_fresh_runs_on_a_busy_machine_never_turn_the_page_white(page, app, busy, monkeypatch):
    """What the page tells of errors fails the test too: see the fixture ``page``."""
    monkeypatch.setenv("COVID_CNN_HOME", str(app.home))
    images = np.stack([synthetic.draw_radiograph(seed, bool(seed % 2), 224) for seed in range(AUGMENTED)])
    tabs = [page, *(page.context.new_page() for _ in range(TABS - 1))]
    good = 0
    for first in range(0, RUNS, TABS):
        players = []
        for number, tab in enumerate(tabs, first):
            run = create_run(TrainConfig.of("drawn", "efficientnet_lite0", epochs=EPOCHS), f"watched_{number}")
            players.append(threading.Thread(target=play, args=(run, images)))
            players[-1].start()
            tab.goto(f"{app.address}/train?run={run.name}")
        good += sum(map(is_whole, tabs))
        for player in players:
            player.join()
    assert good == RUNS


def test_no_message_is_left_behind_when_what_belongs_to_it_is_dropped(monkeypatch):
    """The cause of the white page: of a drawing that is overtaken, references stay in the queue, and all else goes."""
    configured = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())["global"]["minCachedMessageSize"]

    def left_after_overtaking(least: float) -> int:
        monkeypatch.setattr(config, "get_option", lambda name: least)
        queue, seen = ForwardMsgQueue(), set()
        for drawing in range(2):  # the second refers to what the browser has of the first
            queue.clear()
            for place in range(3):
                message = ForwardMsg()
                message.metadata.delta_path[:] = [0, place]
                message.delta.fragment_id = "live"
                message.delta.new_element.markdown.body = "x" * 20_000 if place == 2 else f"{drawing}"
                populate_hash_if_needed(message)
                refer = message.metadata.cacheable and message.hash in seen
                seen.add(message.hash)
                queue.enqueue(create_reference_msg(message) if refer else message)
        queue.clear(retain_lifecycle_msgs=True, fragment_ids_this_run=["live"])
        return len(queue)

    assert left_after_overtaking(10_000) == 1, "the library is mended: the setting in config.toml can go"
    assert left_after_overtaking(configured) == 0
