"""Uploads stay in memory, and a session's uploads have a sum."""

import re
from collections import Counter

from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.runtime import Runtime
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager

from covid_cnn.images import limits

_ADDRESS = re.compile(r"/_stcore/upload_file/(?P<session>[^/]+)/(?P<file>[^/]+)$")
_FORM_BYTES = 2 * 2**20  # what the form around a file may add


def keep_in_memory() -> None:
    """Make the server hold an upload in memory alone; without this one above 1 MB goes through a temporary file."""
    MultiPartParser.spool_max_size = limits.MAX_UPLOAD_BYTES + _FORM_BYTES


def held_sizes(session: str, but: str = "") -> list[int]:
    """The bytes of each upload that a session holds, without the file ``but``, which is being replaced."""
    files = Runtime.instance().uploaded_file_mgr
    assert isinstance(files, MemoryUploadedFileManager)
    return [len(file.data) for key, file in list(files.file_storage.get(session, {}).items()) if key != but]


class UploadSum:
    """Middleware that refuses an upload (status 413) with which its session would hold too many bytes or files."""

    def __init__(self, app: ASGIApp, most: int = limits.MAX_SESSION_BYTES, files: int = limits.MAX_PAGE_IMAGES) -> None:
        self.app, self.most, self.files = app, most, files
        self.arriving: Counter[str] = Counter()  # bytes of uploads under way, by session

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        upload = scope["type"] == "http" and scope["method"] == "PUT" and _ADDRESS.search(scope["path"])
        if not upload:
            await self.app(scope, receive, send)
            return
        session, held = upload["session"], held_sizes(upload["session"], upload["file"])
        room = self.most - sum(held) if len(held) < self.files else -_FORM_BYTES
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if self.arriving[session] + (int(declared) if declared.isdigit() else 0) > room + _FORM_BYTES:
            drained = 0  # a browser looks for an answer once it has sent all
            while (message := await receive()).get("more_body") and drained < limits.MAX_UPLOAD_BYTES:
                drained += len(message["body"])
            await PlainTextResponse(self._refusal(), 413)(scope, receive, send)
            return
        arrived = 0

        async def count() -> Message:
            nonlocal arrived
            message = await receive()
            size = len(message.get("body", b""))
            arrived += size
            self.arriving[session] += size
            if self.arriving[session] > room + _FORM_BYTES:  # a length that was not declared, or several at once
                raise HTTPException(413, self._refusal())
            return message

        try:
            await self.app(scope, count, send)
        finally:
            self.arriving[session] -= arrived
            if not self.arriving[session]:
                del self.arriving[session]

    def _refusal(self) -> str:
        return (
            f"One visitor may have {self.files} files of {self.most // 2**20} MB in all: remove some and upload again."
        )
