"""Files that an option names, such as pre-trained weights: what counts is their content."""

from __future__ import annotations

import hashlib
from pathlib import Path

from asdbench.errors import ConfigError


def pinned_file(path: str, sha256: str = "", *, option: str, hint: str) -> tuple[str, str]:
    """Return the whole path of a file, and the SHA-256 of its content in hex.

    A configuration that keeps both makes the content a part of the recipe: another file under the same path is
    another model, and a job that is handed the recipe refuses it.

    Args:
        path: As the user typed it.
        sha256: What the content must have, in hex; empty: any.
        option: Name of the option, for the message.
        hint: What to give, for the message.

    Raises:
        ConfigError: There is no such file, or its content is another one.
    """
    file = Path(path).expanduser()
    if not path or not file.is_file():
        raise ConfigError(f"{option}={path!r} is not a file; {hint}")
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if sha256 and digest != sha256.lower():
        raise ConfigError(
            f"{option}={path!r} has SHA-256 {digest}, not {sha256}: give the file that it was, or leave out {option}_sha256"
        )
    return str(file.resolve()), digest
