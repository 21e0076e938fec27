"""The app as its own process, for the benchmarks that look at it from outside."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Common_pb2 import FileURLs
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from benchmarks import measure
from covid_cnn.common.errors import CovidCnnError

ROOT = Path(__file__).parents[1]
PATIENCE = 300  # seconds


class App(NamedTuple):
    """The running app."""

    port: int
    process: psutil.Process

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        return f"http://localhost:{self.port}"

    def memory_mb(self) -> float:
        """What the web process holds in memory now."""
        return self.process.memory_info().rss / 2**20

    def processor_seconds(self) -> float:
        """The processor time of the web process so far, which a busy machine changes little."""
        times = self.process.cpu_times()
        return times.user + times.system


@contextlib.contextmanager
def app(
    home: Path | None = None,
    root: Path = ROOT,
    script: str | Path = "streamlit_app.py",
    log: Path | None = None,
    **environment: str,
) -> Iterator[App]:
    """Start the app on a free port of this computer, and stop it at the end.

    Parameters
    ----------
    home : its COVID_CNN_HOME
    root : the checkout whose app it is
    script : what is served in place of the app, with its settings
    log : what the server says goes into this file
    environment : variables of it
    """
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    options = ["--server.headless=true", "--server.address=localhost", f"--server.port={port}"]
    with (log or Path(os.devnull)).open("wb") as says:
        server = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", str(script), *options],
            cwd=root,
            env=measure.compiled(os.environ) | ({"COVID_CNN_HOME": str(home)} if home else {}) | environment,
            stdout=says,
            stderr=says,
        )
    try:
        started = App(port, psutil.Process(server.pid))
        _wait_for(f"{started.address}/_stcore/health", server)
        yield started
    finally:
        server.terminate()
        server.wait(30)


class Session(NamedTuple):
    """A session of the app, which speaks Streamlit's own protocol as the page in a browser does."""

    socket: ClientConnection
    cookie: str
    token: str

    def send(self, message: BackMsg) -> None:
        """Tell the app something."""
        self.socket.send(message.SerializeToString())

    def messages(self) -> Iterator[ForwardMsg]:
        """What the app says."""
        while True:
            yield ForwardMsg.FromString(self.socket.recv(PATIENCE, decode=False))

    def upload(self, port: int, session: str, content: bytes, name: str = "image.png") -> FileURLs:
        """Put a file into the session, as a form, as browsers do; HTTPError where the app refuses it."""
        wish = BackMsg()
        wish.file_urls_request.request_id = "1"
        wish.file_urls_request.file_names.append(name)
        wish.file_urls_request.session_id = session
        self.send(wish)
        reply = next(m for m in self.messages() if m.WhichOneof("type") == "file_urls_response").file_urls_response
        boundary = uuid.uuid4().hex
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        body = f"{head}Content-Type: image/png\r\n\r\n".encode() + content + f"\r\n--{boundary}--\r\n".encode()
        headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Cookie": self.cookie,
            "X-Xsrftoken": self.token,
        }
        address = f"http://localhost:{port}{reply.file_urls[0].upload_url}"
        urllib.request.urlopen(urllib.request.Request(address, body, headers, method="PUT"), timeout=PATIENCE).close()
        return reply.file_urls[0]

    def identity(self) -> str:
        """What the app calls the session; reads the messages up to the end of the page's first run."""
        session = ""
        for message in self.messages():
            if message.WhichOneof("type") == "new_session":
                session = message.new_session.initialize.session_id
            elif message.WhichOneof("type") == "script_finished":
                break
        return session


@contextlib.contextmanager
def session(port: int, page: str, query: str = "") -> Iterator[Session]:
    """Open a page of the app; the messages of its first run are still to be read."""
    with urllib.request.urlopen(f"http://localhost:{port}/_stcore/health") as health:
        cookie = next(c for c in health.headers.get_all("Set-Cookie") if c.startswith("_streamlit_xsrf=")).split(";")[0]
    token = cookie.partition("=")[2]
    with connect(
        f"ws://localhost:{port}/_stcore/stream",
        subprotocols=[Subprotocol("streamlit"), Subprotocol(token)],
        additional_headers={"Cookie": cookie},
        origin=Origin(f"http://localhost:{port}"),
        max_size=None,
    ) as socket:
        opened = Session(socket, cookie, token)
        opening = BackMsg()
        opening.rerun_script.page_name = page
        opening.rerun_script.query_string = query
        opened.send(opening)
        yield opened


def _wait_for(address: str, server: subprocess.Popen) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and server.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(address, timeout=5).close()
            return
        time.sleep(0.02)
    raise CovidCnnError("The app did not start.")
