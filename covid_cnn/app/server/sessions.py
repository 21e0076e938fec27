"""What a visitor leaves behind is let go soon after the tab is closed, whether or not another visitor comes."""

import asyncio
import ctypes
import gc
import sys

from streamlit.runtime import Runtime

EVERY = 5.0  # seconds between two looks
QUIET = 30.0  # seconds from a disconnection to the end of a session: a phone that sleeps longer begins anew


class Reaper:
    """Closes the sessions that have been disconnected for ``QUIET`` seconds, and gives their memory back.

    Streamlit itself keeps a disconnected session, with its uploads, until another one disconnects after it.
    """

    def __init__(self) -> None:
        self.gone: dict[str, float] = {}  # since when each session is disconnected

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            if self.close_ended(asyncio.get_running_loop().time()):
                await asyncio.to_thread(return_memory)

    def close_ended(self, now: float) -> int:
        """Close every session that was disconnected ``QUIET`` seconds ago; how many these were."""
        runtime = Runtime.instance()
        manager = runtime._session_mgr  # there is no public list of sessions
        stored = {info.session.id for info in manager.list_sessions() if not manager.is_active_session(info.session.id)}
        self.gone = {session: self.gone.get(session, now) for session in stored}
        ended = [session for session, since in self.gone.items() if now - since >= QUIET]
        for session in ended:
            del self.gone[session]
            runtime.close_session(session)
        return len(ended)


def count_sessions() -> int:
    """How many visitors are connected now."""
    manager = getattr(Runtime.instance(), "_session_mgr", None) if Runtime.exists() else None
    return len(manager.list_active_sessions()) if manager else 0


_M_ARENA_MAX, _ARENAS = -8, 2  # of malloc.h; by default eight a core, and each keeps its own leftovers


def bound_arenas() -> None:
    """Keep the free memory of all threads in few places, so that it can be handed back."""
    if libc := _glibc():
        libc.mallopt(_M_ARENA_MAX, _ARENAS)


def return_memory() -> None:
    """Collect what nothing refers to any more, and hand free memory back to the system."""
    gc.collect()
    if libc := _glibc():
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """GNU's C library; None where the system has another, which has its own ways."""
    try:
        libc = ctypes.CDLL("libc.so.6") if sys.platform == "linux" else None
        return libc if hasattr(libc, "malloc_trim") else None
    except OSError:
        return None
