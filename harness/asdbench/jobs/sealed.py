"""Runs a function in a child process that gives up its rights first; this process keeps them and runs no plugin.

So the process that puts a result into the store, and holds its lock, is none that a plugin could have changed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from multiprocessing import Pipe, connection
from multiprocessing.connection import Connection
from typing import NoReturn


def in_child(function: Callable[[], bytes]) -> bytes:
    """Return what a function returns in a child process, which ends with it.

    If the child dies instead, this process dies in the same way, so that whoever watches it learns the cause.

    Args:
        function: It catches its own exceptions; the process has one thread when it is called.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    ours, theirs = Pipe(duplex=False)
    child = os.fork()
    if child == 0:
        ours.close()
        _answer(function, theirs)
    theirs.close()
    # A child that is asked to end may take its time; this process ends after it, and in the same way.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ended = os.pidfd_open(child)
    try:
        # Not the pipe alone: a process that a plugin left behind may keep it open.
        connection.wait([ours, ended])
        answer = ours.recv_bytes() if ours.poll() else None
    except EOFError:
        answer = None
    finally:
        os.close(ended)
        ours.close()
    _, status = os.waitpid(child, 0)
    return answer if answer is not None else _die(status)


def streamed(function: Callable[[Callable[[bytes], None]], None]) -> Iterator[bytes]:
    """Yield what a function in a child process sends, piece by piece; none is empty.

    If the child dies instead, this process dies in the same way.

    Args:
        function: It gets what sends a piece, and catches its own exceptions; the process has computed nothing when it is
            called.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    ours, theirs = Pipe(duplex=False)
    child = os.fork()
    if child == 0:
        ours.close()
        _answer(lambda: _through(function, theirs), theirs)
    theirs.close()
    ended, whole = os.pidfd_open(child), False
    try:
        while not whole:
            connection.wait([ours, ended])
            if not ours.poll():
                break
            piece = ours.recv_bytes()
            whole = not piece
            if piece:
                yield piece
    except EOFError:
        pass
    finally:
        os.close(ended)
        ours.close()
    _, status = os.waitpid(child, 0)
    if not whole:
        _die(status)


def _through(function: Callable[[Callable[[bytes], None]], None], pipe: Connection) -> bytes:
    function(pipe.send_bytes)
    return b""


def _answer(function: Callable[[], bytes], pipe: Connection) -> NoReturn:
    status = 1
    try:
        pipe.send_bytes(function())
        status = 0
    finally:
        sys.stderr.flush()
        os._exit(status)  # without waiting for threads that a plugin left running


def _die(status: int) -> NoReturn:
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), -code)
        signal.pause()  # a signal to oneself may arrive later
    os._exit(code)
