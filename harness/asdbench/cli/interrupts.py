"""Ctrl-C, kept out of imports: raised there, Python may lose it, or leave a module locked for good."""

from __future__ import annotations

import signal
from types import FrameType

AGAIN_S = 0.05
"""After how many seconds an interrupt that came during an import is tried again."""
IMPORTS = "<frozen importlib"
"""How the files of Python's import system begin."""


def wait_for_imports() -> None:
    """Raise ``KeyboardInterrupt`` only between imports from now on; nothing changes where Ctrl-C is ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        for number in (signal.SIGINT, signal.SIGALRM):
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_filename.startswith(IMPORTS):
            signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
            return
        frame = frame.f_back
    raise KeyboardInterrupt
