"""Takes rights away from this process for good, with Landlock of the Linux kernel (5.13 and later), through ctypes.

https://docs.kernel.org/userspace-api/landlock.html describes the system calls and their structures.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Iterable
from pathlib import Path

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""System calls; equal on all architectures."""
ASK_VERSION = 1
BENEATH_A_PATH = 1
NO_NEW_PRIVILEGES = 38
CAPABILITIES_VERSION = 0x20080522
EXECUTE, WRITE_FILE, READ_FILE, READ_FOLDER = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REFER, TRUNCATE = 1 << 13, 1 << 14
ALL = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1}
"""Rights to files by version of Landlock; later versions add control of devices, which GPUs need."""
READING = EXECUTE | READ_FILE | READ_FOLDER
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE
"""The rights that make sense for a path that is no folder; the kernel refuses others."""
TCP = 0b11
"""To listen and to connect."""
TCP_SINCE, SCOPES_SINCE = 4, 6
SCOPES = 0b11
"""No abstract sockets of processes outside, and no signals to them."""


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("rights", ctypes.c_uint64), ("folder", ctypes.c_int32)]


def version() -> int:
    """Return the version of Landlock that the kernel has; 0: none, or it is switched off."""
    found: int = _library().syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(ASK_VERSION))
    return max(0, found)


def restrict(*, readable: Iterable[Path], writable: Iterable[Path]) -> None:
    """Leave this thread, and all that it starts, nothing but some files.

    From version 4 of Landlock on it can no longer use TCP, from version 6 on no longer signal processes outside. It can
    never read or write the memory of those.

    Args:
        readable: Files and folders to read and execute; those that do not exist are passed over.
        writable: The same, also to write.

    Raises:
        OSError: The kernel has no Landlock, or refuses.
    """
    found = version()
    if not found:
        raise OSError(errno.EOPNOTSUPP, "the kernel has no Landlock")
    library, rights = _library(), ALL[min(found, max(ALL))]
    rules = _Ruleset(rights, TCP if found >= TCP_SINCE else 0, SCOPES if found >= SCOPES_SINCE else 0)
    size = ctypes.sizeof(_Ruleset) - 8 * ((found < TCP_SINCE) + (found < SCOPES_SINCE))
    ruleset = _checked(
        library.syscall(CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint32(0))
    )
    try:
        for paths, allowed in ((readable, rights & READING), (writable, rights)):
            for path in paths:
                with contextlib.suppress(FileNotFoundError):
                    _allow(path, ruleset=ruleset, rights=allowed)
        _checked(library.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0))
        _drop_capabilities(library)
        _checked(library.syscall(RESTRICT_SELF, ruleset, ctypes.c_uint32(0)))
    finally:
        os.close(ruleset)


def _allow(path: Path, *, ruleset: int, rights: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = _Beneath(rights if path.is_dir() else rights & OF_FILES, place)
        call = (ADD_RULE, ruleset, ctypes.c_int(BENEATH_A_PATH), ctypes.byref(rule), ctypes.c_uint32(0))
        _checked(_library().syscall(*call))
    finally:
        os.close(place)


def _drop_capabilities(library: ctypes.CDLL) -> None:
    """Give up what root may do beyond other users: with it, Landlock leaves the memory maps of processes in /proc open."""
    header, none = (ctypes.c_uint32 * 2)(CAPABILITIES_VERSION, 0), (ctypes.c_uint32 * 6)()
    _checked(library.capset(ctypes.byref(header), ctypes.byref(none)))


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
