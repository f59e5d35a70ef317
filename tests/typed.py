"""Commands as a user types them, run in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """Type a command; gives exit status, output and errors."""
    from revo_ray.cli.main import main

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["revo-ray", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return (int(str(ended.value.code or 0)), *capsys.readouterr())

    return run
