"""The web server: what it lets in, what it tells browsers, and what it keeps."""

import asyncio
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser
from streamlit.proto.BackMsg_pb2 import BackMsg
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from benchmarks import web
from covid_cnn.app.server import doors, serving, sessions, ticks, uploads
from covid_cnn.images import limits

HIDDEN = "import tempfile\ntempfile.tempdir = '/nowhere/at/all'\n"  # whoever wants a temporary file fails


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """The app, in a process that has no folder for temporary files."""
    home = tmp_path_factory.mktemp("home")
    (home / "sitecustomize.py").write_text(HIDDEN)
    with web.app(home, PYTHONPATH=str(home)) as app:
        yield app


def answer(address: str):
    try:
        return urllib.request.urlopen(address, timeout=30)
    except urllib.error.HTTPError as error:
        return error


def test_every_answer_tells_the_browser_to_load_from_the_app_alone(app):
    for path in ("/", "/predict", "/_stcore/health", "/nowhere"):
        policy = answer(app.address + path).headers["Content-Security-Policy"]
        assert "img-src 'self' data: blob:;" in policy and policy.endswith("frame-ancestors 'self'")
        assert "http" not in policy


def test_a_hosting_page_may_frame_the_app_where_it_is_named(monkeypatch):
    monkeypatch.setenv(doors.FRAMED_BY, "https://example.org; script-src *")
    assert doors.content_policy().endswith("frame-ancestors 'self' https://example.org  script-src *")
    assert doors.content_policy().count("; script-src") == 1


@pytest.mark.parametrize("path", ["/_stcore/metrics", "/_stcore/metrics/", "/_stcore/metrics?families=x"])
def test_the_counts_of_sessions_are_closed(app, path):
    assert answer(app.address + path).status == 404


def test_uploads_stay_in_memory(app, tmp_path):
    """Watched by strace: nothing is written, while 30 MB arrive, and no temporary folder is needed."""
    content = b"x" * 30 * 2**20
    with web.session(app.port, "predict") as opened:
        session = opened.identity()
        log = tmp_path / "calls"
        calls = "openat,open,creat,memfd_create"
        watch = subprocess.Popen(
            ["strace", "-f", "-q", "-p", str(app.process.pid), "-e", f"trace={calls}", "-o", str(log)]
        )
        time.sleep(1)
        opened.upload(app.port, session, content)
        watch.terminate()
        watch.wait(30)
    opened_to_write = [
        line for line in log.read_text().splitlines() if re.search("O_WRONLY|O_RDWR|O_TMPFILE|creat", line)
    ]
    assert log.exists() and not opened_to_write


def test_the_limit_in_memory_is_above_what_may_be_uploaded():
    uploads.keep_in_memory()
    assert MultiPartParser.spool_max_size > limits.MAX_UPLOAD_BYTES


def test_a_session_holds_so_much_and_no_more(app):
    part = b"x" * (limits.MAX_SESSION_BYTES // 4)
    with web.session(app.port, "predict") as opened:
        session = opened.identity()
        for _ in range(4):
            opened.upload(app.port, session, part)
        with pytest.raises(urllib.error.HTTPError) as refused:
            opened.upload(app.port, session, part)
        assert refused.value.code == 413
        assert "400 MB in all: remove some" in refused.value.read().decode()


def test_a_length_that_is_not_declared_is_counted(monkeypatch):
    async def taker(scope, receive, send):
        while (await receive())["more_body"]:
            pass

    async def more():
        return {"type": "http.request", "body": b"x" * 2**20, "more_body": True}

    monkeypatch.setattr(uploads, "held_sizes", lambda session, but: [])
    bounded = uploads.UploadSum(taker, most=2**20)
    scope = {"type": "http", "method": "PUT", "path": "/_stcore/upload_file/s/f", "headers": []}
    with pytest.raises(HTTPException, match="1 MB in all"):
        asyncio.run(bounded(scope, more, None))
    assert not bounded.arriving


def test_what_a_session_left_is_let_go_soon_after_it(app):
    with web.session(app.port, "predict") as opened:
        opened.upload(app.port, opened.identity(), b"x" * 90 * 2**20)
        held = app.memory_mb()
    end = time.monotonic() + 60
    while app.memory_mb() > held - 80 and time.monotonic() < end:
        time.sleep(1)
    assert app.memory_mb() <= held - 80


def test_a_session_that_comes_back_in_time_is_kept(monkeypatch):
    closed, stored = [], {"a", "b"}
    manager = SimpleNamespace(
        list_sessions=lambda: [SimpleNamespace(session=SimpleNamespace(id=name)) for name in ("a", "b", "c")],
        is_active_session=lambda name: name not in stored,
    )
    runtime = SimpleNamespace(_session_mgr=manager, close_session=closed.append)
    monkeypatch.setattr(sessions.Runtime, "instance", lambda: runtime)
    reaper = sessions.Reaper()
    assert reaper.close_ended(0) == 0
    stored.discard("b")
    assert reaper.close_ended(sessions.QUIET - 1) == 0
    stored.add("b")
    assert reaper.close_ended(sessions.QUIET) == 1
    assert closed == ["a"]


def test_a_browser_that_does_not_keep_up_is_not_asked_by_its_clock_for_more():
    """While an answer waits to be taken, ticks are passed over, and clicks are not."""
    sent = []
    for by_clock in (True, False, True):
        asks = BackMsg()
        asks.rerun_script.is_auto_rerun = by_clock
        asks.rerun_script.page_name = "train"
        sent.append(asks.SerializeToString())

    async def heard(keeps_up: bool) -> list[bytes]:
        taken, arriving, got = asyncio.Event(), iter(sent), []
        if keeps_up:
            taken.set()

        async def receive() -> dict:
            return {"type": "websocket.receive", "bytes": next(arriving, b"the end")}

        async def send(message: dict) -> None:
            await taken.wait()

        async def streamlit(scope: dict, receive: Callable, send: Callable) -> None:
            sending = asyncio.create_task(send({"type": "websocket.send", "bytes": b"an answer"}))
            await asyncio.sleep(0)
            while (content := (await receive())["bytes"]) != b"the end":
                got.append(content)
            taken.set()
            await sending

        await ticks.PatientTicks(streamlit)({"type": "websocket"}, receive, send)
        return got

    tick, click, _ = sent
    assert asyncio.run(heard(keeps_up=True)) == [tick, click, tick]
    assert asyncio.run(heard(keeps_up=False)) == [click]


@pytest.mark.parametrize("address", ["localhost", "127.0.0.1", "::1"])
def test_this_computer_alone_needs_no_warning(address):
    assert serving.network_warning(address) is None


def test_a_network_gets_one_sentence():
    assert serving.network_warning("0.0.0.0").count(". ") == 0


def test_no_origin_makes_the_server_look_up_its_address(app):
    """strace sees no name looked up and no connection made while a foreign page knocks at the websocket."""
    watch = subprocess.Popen(
        ["strace", "-f", "-q", "-p", str(app.process.pid), "-e", "trace=connect", "-o", "/dev/stdout"],
        stdout=subprocess.PIPE,
        text=True,
    )
    time.sleep(1)
    with pytest.raises(InvalidStatus):
        connect(f"ws://localhost:{app.port}/_stcore/stream", origin="http://foreign.example")
    watch.terminate()
    told = watch.communicate(timeout=30)[0]
    assert not re.search(r"sin_port=htons\((53|80|443)\)", told)
