"""Which requests reach the app, and what a browser may do with its pages.

A page may load pictures from the app alone: text of a model or a dataset, whoever wrote it, cannot make a visitor's
browser call another computer (Content Security Policy, level 3, W3C). Nor can another page put the app in a frame.
"""

import os

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FRAMED_BY = "COVID_CNN_FRAME_ANCESTORS"  # pages that may hold the app in a frame, as a hosting service's page does
METRICS = "COVID_CNN_METRICS"  # 1 opens the address at which Streamlit counts its sessions
# Streamlit's front end runs scripts and styles of its own page, charts compile expressions, components come as blobs.
POLICY = {
    "default-src": "'self'",
    "script-src": "'self' 'unsafe-inline' 'unsafe-eval' blob:",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "media-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "worker-src": "'self' blob:",
    "frame-src": "'self' blob: data:",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
}


def content_policy() -> str:
    """The Content-Security-Policy of every answer; ``COVID_CNN_FRAME_ANCESTORS`` adds who may frame the app."""
    framed_by = f"'self' {os.environ.get(FRAMED_BY, '').replace(';', ' ').replace(',', ' ')}".strip()
    return "; ".join(f"{name} {value}" for name, value in {**POLICY, "frame-ancestors": framed_by}.items())


class Doors:
    """Middleware that adds the policy to every answer and keeps closed what no page needs."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.policy = content_policy()
        self.metrics_open = os.environ.get(METRICS) == "1"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = self.policy
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
            await send(message)

        closed = scope["path"].rstrip("/").endswith("/_stcore/metrics") and not self.metrics_open
        answer: ASGIApp = PlainTextResponse("Not found.", 404) if closed else self.app
        await answer(scope, receive, send_with_policy)
