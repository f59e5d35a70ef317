"""Model cards of a hostile run: its values are text, and neither tags nor links nor keys."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.security.commands import revo

pytestmark = pytest.mark.slow

TAG, LINK = "<img src=x onerror=alert(1)>", "[win](https://evil.example/x)"
HOSTILE = f"a` | {TAG} | {LINK} https://evil.example/y"


def tokens(markdown: str) -> list[Token]:
    """All parts of a page, as a site shows it that lets HTML through."""
    found = MarkdownIt("commonmark", {"html": True}).enable("table").parse(markdown)
    return [part for token in found for part in (token, *(token.children or ()))]


def check(card: str) -> None:
    """No value of the run is live."""
    front, body = card.removeprefix("---\n").split("\n---\n", 1)
    assert {line.partition(":")[0] for line in front.splitlines() if line[0] not in "#- "} == {
        *("library_name", "pipeline_tag", "tags")
    }
    shown = tokens(body)
    assert "evil.example" in "".join(token.content for token in shown)
    for token in shown:
        assert token.type not in ("html_block", "html_inline", "image"), token.content
        assert "evil.example" not in str(token.attrs)
    outside = re.sub("`[^`\n]*`", "", body)
    assert "evil.example" not in outside  # sites make links of addresses too


def spoil(run: Path) -> None:
    """Write hostile values wherever an export takes its facts from."""
    config = (run / "config.yaml").read_text()
    value = json.dumps(HOSTILE)
    config = config.replace("method:\n", f"method:\n  evil: {value}\n  {value}: 1\n")
    config = config.replace("  versions:\n", f"  versions:\n    {value}: {value}\n")
    config = config.replace("  revision: ", f"  revision: {value} #")
    (run / "config.yaml").write_text(config)
    for path in (*run.glob("best/config.json"), *run.glob("ensemble/config.json")):
        card = json.loads(path.read_text())
        card["units"] = [f"{HOSTILE} {unit}" for unit in card["units"]]
        card["classes"] = [f"{HOSTILE} {name}" for name in card["classes"]]
        path.write_text(json.dumps(card))


def test_values_of_a_run_are_no_html_and_no_links(run: Path) -> None:
    spoil(run)
    done = revo("export", run, "--to", "safetensors", "--out", "made", folder=run.parent)
    assert done.returncode == 0, done.stderr
    check((run.parent / "made" / "README.md").read_text())
