"""A lock that goes with its process: the operating system says who is at work, whatever clocks and numbers do.

On Unix it is ``flock``, and a process can hand it to one that it starts, so that it is never without a holder. Windows
locks a byte of the file, which cannot be handed over: there the new process takes it itself, a moment later.
"""

import contextlib
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CAN_HAND_OVER = sys.platform != "win32"
_HANDED_OVER = "COVID_CNN_LOCK"  # tells a new process the number of the descriptor that it was handed
_PATIENCE = 1.0  # seconds: who looks whether it is held holds it for a moment

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int, shared: bool) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int, shared: bool) -> None:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


_HELD = (BlockingIOError, PermissionError)  # what the system says of a lock that another has; the latter is Windows


class ProcessLock:
    """A lock on a file, which stays, that one process holds until it releases it, or ends in whatever way."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Hold it from now on; False where another process does. What this process was handed it has already.

        Raises OSError where the file cannot be made, or lies where nothing can be locked.
        """
        if self.is_mine():
            return True
        descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT, 0o666)
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            try:
                _lock(descriptor, shared=False)
            except _HELD:
                time.sleep(0.01)
            except BaseException:
                os.close(descriptor)
                raise
            else:
                self._descriptor = descriptor
                return True
        os.close(descriptor)
        return False

    def is_mine(self) -> bool:
        """Whether this process holds it: it has taken it, or whoever started it has handed it over."""
        if self._descriptor is None:
            with contextlib.suppress(ValueError, OSError):
                descriptor = int(os.environ.get(_HANDED_OVER, ""))
                if os.path.samestat(os.fstat(descriptor), self.file.stat()):
                    _lock(descriptor, shared=False)
                    os.set_inheritable(descriptor, False)
                    del os.environ[_HANDED_OVER]
                    self._descriptor = descriptor
        return self._descriptor is not None

    def handed_over(self, environment: Mapping[str, str]) -> dict[str, Any]:
        """The arguments of ``subprocess.Popen`` for a process of this environment that shall hold it too."""
        if not CAN_HAND_OVER or self._descriptor is None:
            return {"env": environment}
        return {"env": {**environment, _HANDED_OVER: str(self._descriptor)}, "pass_fds": (self._descriptor,)}

    def release(self) -> None:
        """Hold it no longer. A process that was handed it keeps it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def is_held(self) -> bool:
        """Whether any process holds it, this one included."""
        try:
            writing = os.O_RDONLY if CAN_HAND_OVER else os.O_RDWR
            descriptor = os.open(self.file, writing | getattr(os, "O_NONBLOCK", 0))
        except OSError:
            return False
        try:
            _lock(descriptor, shared=True)
        except _HELD:
            return True
        finally:
            os.close(descriptor)
        return False
