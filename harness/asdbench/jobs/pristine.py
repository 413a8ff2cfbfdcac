"""A process that has imported no plugin, for work that no plugin may change: what one replaces on import stays here.

The command forks it before it imports the first plugin, which costs nothing; elsewhere, for example in a notebook, a fresh
interpreter is started. Either serves until this process ends, and answers each question in a child, so that what one
answer imports is unknown to the next.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from asdbench.errors import AsdbenchError, RunError
from asdbench.jobs.processes import changed_environment, die_with
from asdbench.jobs.sealed import in_child
from asdbench.plugin.entries import Lazy
from asdbench.plugin.registry import any_loaded

CONCLUDE = "asdbench.results.conclusion:conclude"
"""Evaluates a run; named and not imported, because it needs data frames, which planning must not load."""
GRADE = "asdbench.results.objective:grades_of"
"""Grades trials of tuning; named for the same reason."""
CALL = "asdbench.jobs.pristine:call"
"""Calls a function of the plugin that a command belongs to, in the child alone."""
START = (
    "from asdbench.jobs.pristine import serve_on; serve_on({descriptor}, parent={parent}, allowed={allowed})"
)
VALUES: Mapping[str, frozenset[str]] = {
    "builtins": frozenset({"set", "frozenset", "complex", "bytearray", "slice", "range"}),
    "collections": frozenset({"OrderedDict", "defaultdict", "deque"}),
    "copyreg": frozenset({"_reconstructor", "__newobj__"}),
    "msgspec._utils": frozenset({"rebuild"}),
    "numpy": frozenset({"dtype", "ndarray"}),
    "numpy._core.multiarray": frozenset({"_reconstruct", "scalar"}),
    "numpy._core.numeric": frozenset({"_frombuffer"}),
    "pathlib": frozenset({"Path", "PosixPath", "PurePosixPath"}),
}
"""Besides the classes of the harness, what a question may be made of: nothing that runs the code of a plugin."""


@dataclass(frozen=True, kw_only=True)
class _Raised:
    """An answer that is an error of ours."""

    error: AsdbenchError


class _Question(msgspec.Struct, frozen=True, kw_only=True):
    """A function to call. Not pickled: a pickle may name any code, and the process must not import a plugin."""

    function: str
    """``module:function``; its module is imported for all later answers."""
    argument: bytes = b""
    """Pickled; empty: only import the module."""
    folder: str = ""
    """Current folder of the process that asks, since paths may be relative to it; empty: it has none."""


class _Values(pickle.Unpickler):
    """Reads arguments that are made of plain values and classes of the harness."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """Return a class that an argument may name.

        Raises:
            RunError: It may not.
        """
        ours = module_name.startswith("asdbench.")
        if ours or global_name in VALUES.get(module_name, ()):
            found = super().find_class(module_name, global_name)
            if not ours or isinstance(found, type):
                return found
        raise RunError(
            f"what is to be evaluated names {module_name}.{global_name}, which is neither a plain value nor of the harness"
        )


class Pristine:
    """The connection to the process, which is started on first use.

    Args:
        allowed: The functions that it calls, by ``module:function``; no question adds one.
    """

    def __init__(self, *allowed: str) -> None:
        self.allowed = allowed
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
            _serve(theirs, parent=parent, allowed=self.allowed)
        theirs.close()
        self._pipe = ours

    def load(self, function: str) -> None:
        """Let the process import the module of a function while this one goes on."""
        with contextlib.suppress(OSError):  # if it has died, ``ask`` says so
            _send(self._connected(), _Question(function=function))

    def ask(self, function: str, argument: Any) -> Any:
        """Return what a function returns in a child of the process.

        Args:
            function: One of those that are allowed; it takes one argument.
            argument: It is pickled, made of classes of the harness and of plain values (``VALUES``). So is the answer.

        Raises:
            AsdbenchError: The function raised it.
            RunError: The function raised another error, whose traceback is on standard error, or the process died.
        """
        question = _Question(function=function, argument=pickle.dumps(argument), folder=_current_folder())
        with self._lock:
            try:
                pipe = self._connected()
                _send(pipe, question)
                answer = pickle.loads(pipe.recv_bytes())
            except BaseException as error:  # also Ctrl-C: whatever it is doing, nobody waits for it any more
                self.stop()
                if isinstance(error, EOFError | OSError):
                    raise RunError(f"the process that runs {function} died") from error
                raise
        if isinstance(answer, _Raised):
            raise answer.error
        return answer

    def _connected(self) -> Connection:
        if self._pipe is None:
            ours, theirs = Pipe()
            self._process = _fresh(theirs, parent=os.getpid(), allowed=self.allowed)
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


PRISTINE = Pristine(CONCLUDE, GRADE, CALL)
"""One for each process is enough: it imports nothing that an answer could depend on."""


def without_plugins(function: Lazy, argument: Any) -> Any:
    """Return what a function returns in a process that has imported no plugin but the function's.

    Args:
        function: It takes one argument.
        argument: Plain values, and classes of the harness. The answer is pickled.

    Raises:
        AsdbenchError: The function raised it.
        RunError: The function raised another error, whose traceback is on standard error, or the process died.
    """
    return PRISTINE.ask(CALL, (function, argument))


def call(asked: tuple[Lazy, Any]) -> Any:
    """Call a function with its argument; runs in the child."""
    function, argument = asked
    return function.load()(argument)


def serve_on(descriptor: int, *, parent: int, allowed: Sequence[str]) -> NoReturn:
    """Serve on a descriptor that this interpreter was started with."""
    _serve(Connection(descriptor), parent=parent, allowed=allowed)


def _send(pipe: Connection, question: _Question) -> None:
    pipe.send_bytes(msgspec.msgpack.encode(question))


def _current_folder() -> str:
    try:
        return str(Path.cwd())
    except FileNotFoundError:  # somebody has removed it
        return ""


def _fresh(pipe: Connection, *, parent: int, allowed: Sequence[str]) -> int:
    """Start an interpreter that serves on a pipe, and return its process id."""
    import subprocess  # a command forks instead

    start = START.format(descriptor=pipe.fileno(), parent=parent, allowed=list(allowed))
    words = [sys.executable, "-P", "-c", start]  # no module of the current folder
    # It must import the same code as this process, wherever that was found; and it has no linear algebra for threads.
    with changed_environment(
        {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"}
    ):
        started = subprocess.Popen(words, pass_fds=[pipe.fileno()], stdin=subprocess.DEVNULL)
    started.returncode = 0  # ``stop`` waits for it, or it ends with this process
    return started.pid


def _serve(pipe: Connection, *, parent: int, allowed: Sequence[str]) -> NoReturn:
    """Answer questions until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C ends
    os.setpgrp()
    os.dup2(2, 1)  # standard output carries results
    try:
        while True:
            question = msgspec.msgpack.decode(pipe.recv_bytes(), type=_Question)
            if question.function not in allowed:
                raise RunError(f"{question.function} is none of the functions that are called here")
            importlib.import_module(question.function.partition(":")[0])
            if question.argument:
                pipe.send_bytes(in_child(functools.partial(_answered, question, parent=parent)))
    except (EOFError, OSError):  # the parent is gone, or wants no answer any more
        os._exit(0)
    except BaseException:  # noqa: BLE001 - its last word: the parent only learns that it died
        traceback.print_exc()
    finally:
        os._exit(1)


def _answered(question: _Question, *, parent: int) -> bytes:
    die_with(parent)
    module, _, name = question.function.partition(":")
    try:
        if question.folder:
            os.chdir(question.folder)
        argument = _Values(io.BytesIO(question.argument)).load()
        return pickle.dumps(getattr(sys.modules[module], name)(argument))
    except AsdbenchError as error:
        return pickle.dumps(_Raised(error=error))
    # The border of this process: the parent cannot see the traceback of any other error.
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        return pickle.dumps(_Raised(error=RunError(f"{question.function} failed; see its traceback above")))
