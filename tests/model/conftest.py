"""Typed commands, as every test of a model types them."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from revo_ray.cli.main import main

Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """Type a command; gives exit status, output and errors."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["revo-ray", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        return (int(str(ended.value.code)), *capsys.readouterr())

    return run
