"""Files given as options, for example pre-trained weights, identified by their content."""

from __future__ import annotations

import hashlib
from pathlib import Path

from asdbench.errors import ConfigError


def pinned_file(path: str, sha256: str = "", *, option: str, hint: str) -> tuple[str, str]:
    """Return the absolute path of a file and the SHA-256 of its content in hex.

    A configuration that keeps both makes the content part of the recipe: another file under the same path is another
    model, and a job with this recipe refuses it.

    Args:
        path: As typed by the user.
        sha256: Required SHA-256 in hex; empty: any.
        option: Name of the option, for the message.
        hint: What to give instead, for the message.

    Raises:
        ConfigError: There is no such file, or it has other content.
    """
    file = Path(path).expanduser()
    if not path or not file.is_file():
        raise ConfigError(f"{option}={path!r} is not a file; {hint}")
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if sha256 and digest != sha256.lower():
        raise ConfigError(
            f"{option}={path!r} has SHA-256 {digest}, not {sha256}: give the original file, or leave out {option}_sha256"
        )
    return str(file.resolve()), digest
