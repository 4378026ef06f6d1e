"""What the site has beyond the pages in ``docs``: files of the package that pages link to.

Links are written for the repository, where they lead to the files themselves; here they are turned
to where the same content is in the site.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).parents[1]
BROUGHT = {  # file of the repository: page or file of the site
    "src/napari_sam2/checkpoints/nano.md": "nano.md",
    "src/napari_sam2/training/nano.toml": "nano.toml",
    "src/napari_sam2/training/nano_continued.toml": "nano_continued.toml",
    "src/napari_sam2/training/nano_gpu.toml": "nano_gpu.toml",
    "src/napari_sam2/training/nano_parts.toml": "nano_parts.toml",
    "src/napari_sam2/training/nano_outlines.toml": "nano_outlines.toml",
    "src/napari_sam2/training/nano_divisions.toml": "nano_divisions.toml",
    "src/napari_sam2/training/nano_memory.toml": "nano_memory.toml",
    "src/napari_sam2/training/nano_longer.toml": "nano_longer.toml",
    "src/napari_sam2/training/nano_films.toml": "nano_films.toml",
    "src/napari_sam2/training/nano_full_size.toml": "nano_full_size.toml",
}
ELSEWHERE = {**BROUGHT, "src/napari_sam2/training/config.py": "api.md#training-files"}
_LINK = re.compile(r"(?<=\]\()[^)#\s:]+")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Bring the files in."""
    for path, uri in BROUGHT.items():
        files.append(File.generated(config, uri, abs_src_path=str(REPOSITORY / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links that lead out of ``docs``."""
    sources = {uri: path for path, uri in BROUGHT.items()}
    uri = page.file.src_uri
    folder = posixpath.dirname(sources.get(uri, f"docs/{uri}"))

    def turned(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, match[0]))
        if uri in sources and target.startswith("docs/"):
            return target.removeprefix("docs/")
        return ELSEWHERE.get(target, match[0])

    return _LINK.sub(turned, markdown)
