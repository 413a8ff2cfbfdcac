"""What `mkdocs build` asks of us: the pages of the reference, files outside of ``docs/``, and links to them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import places
import reference
from markdown_text import slug_of


def on_config(config: Any) -> Any:
    """Give headings the anchors that they have on GitHub."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = slug_of
    return config


def on_files(files: Any, *, config: Any) -> Any:
    """Add the pages that are made from the code, and the files outside of ``docs/`` that are linked."""
    from mkdocs.structure.files import File

    root = Path(config.config_file_path).parent
    found = places.linked(root)
    for path, place in found.items():
        text = places.text_of(path, places=found, root=root)
        if path.startswith(places.BOARDS):
            continue
        if text is not None:
            files.append(File.generated(config, place, content=text))
        else:
            files.append(File.generated(config, place, abs_src_path=str(root / path)))
    for file, place in places.board_files(root):
        files.append(File.generated(config, place, abs_src_path=str(file)))
    style = root / places.DOCS / "_site" / "style.css"
    files.append(File.generated(config, "assets/style.css", abs_src_path=str(style)))
    for place, text in reference.pages().items():
        files.append(File.generated(config, place, content=text))
    config.extra["places"] = found
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Turn links to files of the repository into links on the site."""
    found: Mapping[str, str] = config.extra["places"]
    if page.file.generated_by:  # its links are right already
        return markdown
    root = Path(config.config_file_path).parent
    return places.on_site(markdown, f"{places.DOCS}/{page.file.src_uri}", places=found, root=root)
