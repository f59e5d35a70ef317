"""`make docs` builds a site that needs no network: every page, the search, the public names."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.test_docs import ROOT

DOCS = ROOT / "docs"
NAMES = sorted(path.stem for path in DOCS.glob("*.md"))
WRITTEN_BY_PROGRAMS = {"configuration", "models", "results"}
ONLY_INCLUDED = {"changelog", "contributing"}
RESOURCE = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*?\ssrc=[\"']([^\"']*)|<link\b[^>]*?\shref=[\"']([^\"']*)"
    r"|url\(\s*[\"']?([^\"')]*)|@import\s+[\"']([^\"']*)"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as the Makefile builds it."""
    said = subprocess.run(
        ["make", "--dry-run", "docs"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    (options,) = re.findall(r"-m sphinx (.*) docs build/docs$", said, flags=re.M)
    assert "--fail-on-warning" in options
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", *options.split(), str(DOCS), str(target)]
    # The proxy is nobody: a build that asked for anything would fail.
    environment = os.environ | dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return target


def resources(text: str) -> set[str]:
    """Addresses of scripts, styles, fonts and pictures, those within styles too."""
    return {found for match in RESOURCE.findall(text) for found in match if found}


def test_resources_are_found() -> None:
    text = '<script async src="https://a/b.js"></script><link rel="x" href=\'c.css\'/><a href="d">'
    assert resources(text) == {"https://a/b.js", "c.css"}
    assert resources('@import "e.css"; src: url(//f/g.woff)') == {"e.css", "//f/g.woff"}


@pytest.mark.slow
def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    files = [path for path in site.rglob("*") if path.suffix in (".html", ".css")]
    assert len(files) > len(NAMES)
    for path in files:
        far = [each for each in resources(path.read_text()) if re.match(r"(\w+:)?//", each)]
        assert not far, f"{path.name}: {far}"


@pytest.mark.slow
def test_every_page_stands_in_the_table_of_contents_and_in_the_search(site: Path) -> None:
    contents = (site / "index.html").read_text()
    index = (site / "searchindex.js").read_text()
    (found,) = re.findall(r'"docnames": ?\[(.*?)\]', index)
    assert set(re.findall(r'"([^"]+)"', found)) == set(NAMES)
    for name in set(NAMES) - {"index"}:
        assert f'href="{name}.html"' in contents, name
        assert (site / f"{name}.html").exists()
    assert (site / "search.html").exists()


@pytest.mark.slow
def test_public_names_have_a_reference(site: Path) -> None:
    page = (site / "api.html").read_text()
    public = {name for package in ("", "methods", "tune") for name in names_of(package)}
    assert {"run_search", "CMAMVSearch", "Method"} <= public
    told = r'id="[\w.]+\.{0}"|<td>.*<span class="pre">{0}</span>'
    assert not {name for name in public if not re.search(told.format(name), page)}


def names_of(package: str) -> list[str]:
    """`__all__` of a package, which is not imported: Ray and torch would take seconds."""
    tree = ast.parse((ROOT / "revo_ray" / package / "__init__.py").read_text())
    (listed,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    found: list[str] = ast.literal_eval(listed)
    return found


@pytest.mark.parametrize("name", sorted({*NAMES} - WRITTEN_BY_PROGRAMS - ONLY_INCLUDED))
def test_a_page_is_neither_a_stub_nor_a_book(name: str) -> None:
    assert 60 <= len((DOCS / f"{name}.md").read_text().splitlines()) <= 250
