"""How the web server is set up: what `streamlit_app.py` hands to Streamlit's ASGI app."""

import asyncio
import contextlib
import os
import secrets
import sys
import webbrowser
from collections.abc import AsyncIterator
from importlib import import_module
from typing import Any

import streamlit as st
from starlette.middleware import Middleware
from streamlit import config, net_util

from covid_cnn.app.server import sessions, uploads
from covid_cnn.app.server.doors import Doors
from covid_cnn.app.server.ticks import PatientTicks
from covid_cnn.app.server.uploads import UploadSum
from covid_cnn.app.shared import demo

_UPLOADS = {"most": demo.LIMITS.session, "files": demo.LIMITS.files} if demo.is_on() else {}
MIDDLEWARE = [Middleware(Doors), Middleware(UploadSum, **_UPLOADS), Middleware(PatientTicks)]
HERE = ("localhost", "127.0.0.1", "::1")


@contextlib.asynccontextmanager
async def lifespan(app: st.App) -> AsyncIterator[dict[str, Any]]:
    """Close what must be closed before the first request, say where the app is, and look after ended sessions."""
    uploads.keep_in_memory()
    sessions.bound_arenas()
    # Whoever names a foreign origin would make the server ask a web page for its own address.
    net_util.get_external_ip = lambda: None
    if demo.is_on():
        config.set_option("server.maxUploadSize", demo.LIMITS.upload // 2**20)
    welcome()
    # Charts import one half of it, and scikit-learn, in a thread of the audit, the other; each half asks for the other,
    # so that where both begin at once, one of them fails ("deadlock detected by _ModuleLock").
    asyncio.get_running_loop().run_in_executor(None, import_module, "narwhals.stable")
    reaper = asyncio.create_task(sessions.Reaper().run())
    try:
        yield {}
    finally:
        reaper.cancel()


def welcome() -> None:
    """Say where the app is, and open it in a browser where there is one to look at it."""
    address = config.get_option("server.address") or "0.0.0.0"
    base = config.get_option("server.baseUrlPath").strip("/")
    scheme = "https" if config.get_option("server.sslCertFile") else "http"
    host = "localhost" if address in ("0.0.0.0", "::") else address
    place = f"{scheme}://{host}:{config.get_option('server.port')}/{base}"
    print(f"Covid CNN is at {place}", flush=True)
    if demo.is_on() and not os.environ.get(demo.TOKEN):
        os.environ[demo.TOKEN] = secrets.token_urlsafe(12)
        print(f"The key of this demo is {os.environ[demo.TOKEN]}", flush=True)
    if warning := network_warning(address):
        print(warning, file=sys.stderr, flush=True)
    if not config.get_option("server.headless"):
        asyncio.get_running_loop().call_soon(webbrowser.open, place)


def network_warning(address: str) -> str | None:
    """One sentence where others can reach the app with all that it can do; None where they cannot."""
    if address in HERE or demo.is_on():
        return None
    return (
        "Whoever reaches this address can train, import, delete and name folders of this computer: for others than "
        "yourself start it with --demo, or keep it to localhost."
    )
