"""Many sessions at once: each uploads its own image, and must get the answer that belongs to it.

A session here speaks Streamlit's own protocol, as the page in a browser does: it opens the Predict page over the
websocket, uploads its image, tells the uploader so, and waits until the page is drawn. Twenty browsers would measure
themselves on a small machine. The time is from the upload to the drawn page.
"""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from statistics import quantiles
from threading import Barrier
from typing import NamedTuple

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from benchmarks import measure, web
from covid_cnn.common.errors import CovidCnnError
from covid_cnn.data import synthetic
from covid_cnn.images import ops, reader
from covid_cnn.models import bundle

PATIENCE = 300  # seconds
NUMBERS = (1, 5, 10, 20)
BAR = re.compile(r'<th scope="row">([^<]*)</th><td><span class="track" title="([0-9.]+)"')  # of the page's answer


class Drawn(NamedTuple):
    """What a run of the page has drawn: the uploader's identity, the probabilities in its bars, its error boxes."""

    session: str
    uploader: str
    answers: list[dict[str, float]]
    errors: list[str]


def main(size: int = 1024, rounds: int = 3) -> None:
    """Measure 1, 5, 10 and 20 sessions, each with a drawn radiograph of its own, `size` px a side."""
    images = [ops.to_png(synthetic.draw_radiograph(n, opacities=bool(n % 2), size=size)) for n in range(max(NUMBERS))]
    model = bundle.load_bundle()
    expected = [model.predict(reader.read(png).pixels).by_class() for png in images]
    with web.app() as app, ThreadPoolExecutor(max(NUMBERS)) as threads:
        ask(app.port, images[0], Barrier(1))  # the first session of all loads the model
        print(f"{model.name}, images of {size} px, {rounds} rounds; {app.memory_mb():.0f} MB after the first session")
        for number in NUMBERS:
            seconds: list[float] = []
            began = app.processor_seconds()
            for _ in range(rounds):
                start = Barrier(number)
                asked = [threads.submit(ask, app.port, png, start) for png in images[:number]]
                for n, future in enumerate(asked):
                    took, drawn = future.result()
                    seconds.append(took)
                    check(n, drawn, expected)
            slow = quantiles(seconds, n=20, method="inclusive")[-1] if len(seconds) > 1 else seconds[0]
            cost = (app.processor_seconds() - began) / len(seconds)
            print(
                f"  {number:3} sessions: 95th percentile {slow:6.2f} s, {app.memory_mb():6.0f} MB, {cost:.3f} s of "
                "processor time a session; "
                f"{len(seconds)} of {len(seconds)} answers belong to their image"
            )


def check(n: int, drawn: Drawn, expected: list[dict[str, float]]) -> None:
    """Hold what session ``n`` was shown against what the bundle says of its image; raises CovidCnnError."""
    if not drawn.answers:
        raise CovidCnnError(f"Session {n} got no answer. {' '.join(drawn.errors)}")
    for answer in drawn.answers:
        if any(abs(answer[name] - p) > 1e-4 for name, p in expected[n].items()):
            raise CovidCnnError(f"Session {n} got {answer}, and its image is {expected[n]}.")


def ask(port: int, png: bytes, start: Barrier) -> tuple[float, Drawn]:
    """One session: open the page, wait for the others, upload; the seconds from there to the drawn page."""
    with web.session(port, "predict") as opened:
        page = draw(opened.messages())
        start.wait(PATIENCE)
        began = time.perf_counter()
        urls = opened.upload(port, page.session, png)
        tell = BackMsg()
        tell.rerun_script.page_name = "predict"
        state = tell.rerun_script.widget_states.widgets.add(id=page.uploader)
        file = state.file_uploader_state_value.uploaded_file_info.add(
            name="image.png", size=len(png), file_id=urls.file_id
        )
        file.file_urls.CopyFrom(urls)
        opened.send(tell)
        drawn = draw(opened.messages())
        return time.perf_counter() - began, drawn


def draw(messages: Iterator[ForwardMsg]) -> Drawn:
    """Follow the messages of one run of the page to its end."""
    session = uploader = ""
    answers: list[dict[str, float]] = []
    errors: list[str] = []
    for message in messages:
        kind = message.WhichOneof("type")
        if kind == "new_session":
            session = message.new_session.initialize.session_id
        elif kind == "script_finished":
            return Drawn(session, uploader, answers, errors)
        elif kind == "delta" and message.delta.WhichOneof("type") == "new_element":
            element = message.delta.new_element
            shown = element.WhichOneof("type")
            if shown == "file_uploader":
                uploader = element.file_uploader.id
            elif shown == "exception":
                raise CovidCnnError(f"The page failed: {element.exception.message}")
            elif shown == "alert":
                errors.append(element.alert.body)
            elif shown == "html" and (bars := BAR.findall(element.html.body)):
                answers.append({unescape(name): float(probability) for name, probability in bars})
    raise CovidCnnError("The app closed the session.")


if __name__ == "__main__":
    measure.run(main)
