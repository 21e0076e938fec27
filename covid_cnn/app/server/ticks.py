"""A browser that is behind is sent nothing new by its own clock.

What is at work is drawn anew every second or two, when the browser asks for it (``run_every``). A browser that takes
longer than that to draw it, on a busy or old machine, falls behind; 500 messages behind, Streamlit gives up its session
and leaves the page as it stands, for ever. So what the clock asks for is passed over as long as an answer waits to be
taken. Clicks are not.
"""

from google.protobuf.message import DecodeError
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.proto.BackMsg_pb2 import BackMsg


class PatientTicks:
    """Middleware that passes over what a browser asks for by its clock while it has not taken the last answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection (ASGI)."""
        if scope["type"] != "websocket":
            await self.app(scope, receive, send)
            return
        waiting = 0

        async def send_counted(message: Message) -> None:
            nonlocal waiting
            waiting += 1
            try:
                await send(message)  # returns at once but where the browser does not read
            finally:
                waiting -= 1

        async def receive_in_time() -> Message:
            while True:
                message = await receive()
                if not (waiting and _is_tick(message.get("bytes"))):
                    return message

        await self.app(scope, receive_in_time, send_counted)


def _is_tick(content: bytes | None) -> bool:
    try:
        return bool(content) and BackMsg.FromString(content).rerun_script.is_auto_rerun
    except DecodeError:
        return False
