"""A process that has imported no plugin, for work that no plugin may change: what one replaces on import stays here.

The command forks it before it imports the first plugin, which costs nothing; elsewhere, for example in a notebook, a fresh
interpreter is started. Either serves until this process ends, and answers each question in a child, so that what one
answer imports is unknown to the next.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import pickle
import signal
import sys
import threading
import traceback
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from asdbench.errors import AsdbenchError, RunError
from asdbench.jobs.processes import changed_environment, die_with
from asdbench.jobs.sealed import in_child
from asdbench.plugin.registry import any_loaded

START = "from asdbench.jobs.pristine import serve_on; serve_on({descriptor}, parent={parent})"


@dataclass(frozen=True, kw_only=True)
class _Raised:
    """An answer that is an error of ours."""

    error: AsdbenchError


@dataclass(frozen=True, kw_only=True)
class _Question:
    """A function to call."""

    function: str | None
    """``module:function``; None: only import the module."""
    argument: bytes = b""
    folder: str = ""
    """Current folder of the process that asks; paths may be relative to it."""
    module: str
    """To be imported first, in the serving process, for all later answers."""


class Pristine:
    """The connection to the process, which is started on first use."""

    def __init__(self) -> None:
        self._pipe: Connection | None = None
        self._process = 0
        self._lock = threading.Lock()

    def fork(self) -> None:
        """Fork the process from this one, which has few modules yet and one thread; a process that is there stays.

        Nothing happens if a plugin has been imported here. Modules that are no plugins are the caller's concern.
        """
        if self._pipe is not None or any_loaded():
            return
        parent = os.getpid()
        ours, theirs = Pipe()
        self._process = os.fork()
        if not self._process:
            ours.close()
            _serve(theirs, parent=parent)
        theirs.close()
        self._pipe = ours

    def load(self, module: str) -> None:
        """Let the process import a module of the harness while this one goes on."""
        self._connected().send(_Question(function=None, module=module))

    def ask(self, function: str, argument: Any) -> Any:
        """Return what a function returns in a child of the process.

        Args:
            function: ``module:function`` of the harness; it takes one argument.
            argument: It and the answer are pickled, so they must be made of classes of the harness and of libraries.

        Raises:
            AsdbenchError: The function raised it.
            RunError: The function raised another error, whose traceback is on standard error, or the process died.
        """
        with self._lock:
            try:
                answer = self._answer(function, pickle.dumps(argument))
            except BaseException as error:  # also Ctrl-C: whatever it is doing, nobody waits for it any more
                self.stop()
                if isinstance(error, EOFError | OSError):
                    raise RunError(f"the process that runs {function} died") from error
                raise
        if isinstance(answer, _Raised):
            raise answer.error
        return answer

    def _answer(self, function: str, argument: bytes) -> Any:
        pipe = self._connected()
        module = function.partition(":")[0]
        pipe.send(_Question(function=function, argument=argument, folder=str(Path.cwd()), module=module))
        return pickle.loads(pipe.recv_bytes())

    def _connected(self) -> Connection:
        if self._pipe is None:
            ours, theirs = Pipe()
            self._process = _fresh(theirs, parent=os.getpid())
            theirs.close()
            self._pipe = ours
        return self._pipe

    def stop(self) -> None:
        """End the process, with the child that is answering."""
        if self._pipe is None:
            return
        self._pipe.close()
        self._pipe = None
        # It may have ended, or not lead its group yet; then it ends with the pipe.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)


PRISTINE = Pristine()
"""One for each process is enough: it imports nothing that an answer could depend on."""


def serve_on(descriptor: int, *, parent: int) -> NoReturn:
    """Serve on a descriptor that this interpreter was started with."""
    _serve(Connection(descriptor), parent=parent)


def _fresh(pipe: Connection, *, parent: int) -> int:
    """Start an interpreter that serves on a pipe, and return its process id."""
    import subprocess  # a command forks instead

    words = [sys.executable, "-c", START.format(descriptor=pipe.fileno(), parent=parent)]
    # It must import the same code as this process, wherever that was found; and it has no linear algebra for threads.
    with changed_environment(
        {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"}
    ):
        started = subprocess.Popen(words, pass_fds=[pipe.fileno()], stdin=subprocess.DEVNULL)
    started.returncode = 0  # ``stop`` waits for it, or it ends with this process
    return started.pid


def _serve(pipe: Connection, *, parent: int) -> NoReturn:
    """Answer questions until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C ends
    os.setpgrp()
    os.dup2(2, 1)  # standard output carries results
    try:
        while True:
            question: _Question = pipe.recv()
            importlib.import_module(question.module)
            if question.function is not None:
                pipe.send_bytes(in_child(functools.partial(_answered, question, parent=parent)))
    except (EOFError, OSError):  # the parent is gone, or wants no answer any more
        os._exit(0)
    except BaseException:  # noqa: BLE001 - its last word: the parent only learns that it died
        traceback.print_exc()
    finally:
        os._exit(1)


def _answered(question: _Question, *, parent: int) -> bytes:
    die_with(parent)
    os.chdir(question.folder)
    assert question.function is not None
    module, _, name = question.function.partition(":")
    try:
        return pickle.dumps(getattr(sys.modules[module], name)(pickle.loads(question.argument)))
    except AsdbenchError as error:
        return pickle.dumps(_Raised(error=error))
    # The border of this process: the parent cannot see the traceback of any other error.
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        return pickle.dumps(_Raised(error=RunError(f"{question.function} failed; see its traceback above")))
