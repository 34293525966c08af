"""A hook of mkdocs: the documents link to files of the repository, as readers of the repository want it; the site takes
these files in. README.md is its first page.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES = ["ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md"]
_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README as index.md, the PAGES, and each file that any of all these links to."""
    files.append(File.generated(config, "index.md", abs_src_path=str(ROOT / "README.md")))
    sources = ["README.md", *PAGES, *(f"docs/{file.src_uri}" for file in files if file.src_uri.endswith(".md"))]
    wanted = set(PAGES)
    while sources:
        source = sources.pop()
        if source.endswith(".md") and (ROOT / source).is_file():
            targets = {_target(source, found[2]) for found in _LINK.finditer(_prose(ROOT / source))}
            new = {target for target in targets if target and not target.startswith("docs/")} - wanted
            wanted |= new
            sources += new
    for name in sorted(wanted - {"README.md"}):
        if (ROOT / name).is_file():
            files.append(File.generated(config, f"repository/{name}", abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links between files of the repository as links between files of the site; a folder's name stays, unlinked."""
    own = page.file.src_uri
    source = "README.md" if own == "index.md" else own.removeprefix("repository/")
    source = source if own == "index.md" or own.startswith("repository/") else f"docs/{own}"

    def rewritten(found: re.Match[str]) -> str:
        target = _target(source, found[2])
        if target is None or (ROOT / target).is_dir():
            return found[0] if target is None else f"]({posixpath.relpath('index.md', posixpath.dirname(own) or '.')})"
        on_site = target.removeprefix("docs/") if target.startswith("docs/") else f"repository/{target}"
        on_site = "index.md" if target == "README.md" else on_site
        return f"{found[1]}{posixpath.relpath(on_site, posixpath.dirname(own) or '.')}{found[3] or ''}{found[4]}"

    return _LINK.sub(rewritten, markdown)


def _prose(file: Path) -> str:
    return _FENCE.sub("", file.read_text(encoding="utf-8"))


def _target(source: str, link: str) -> str | None:
    """The file of the repository that a document's link means; None for an address or an anchor."""
    if re.match(r"[a-z]+:|/", link):
        return None
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
