"""Lines that are drawn again in place on a terminal, and the memory of GPUs."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from subprocess import DEVNULL, PIPE, Popen

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Column
from rich.text import Text

GPU_SECONDS = 5.0
"""Seconds between two calls of nvidia-smi."""


class LiveLines:
    """A bar with a line beside it and lines below. A console that is no terminal shows nothing.

    Args:
        console: the console; None shows nothing.
        total: amount at which the bar is full.
    """

    def __init__(self, console: Console | None, total: float) -> None:
        self._live: Live | None = None
        if console is None or not console.is_terminal:
            return
        one_line = Column(no_wrap=True, overflow="ellipsis")
        text = TextColumn("{task.description}", markup=False, table_column=one_line)
        self._bar = Progress(SpinnerColumn(), BarColumn(bar_width=24), text, console=console)
        self._task = self._bar.add_task("", total=total)
        self._more: Sequence[str] = ()
        self._live = Live(
            get_renderable=self.picture, console=console, transient=True, refresh_per_second=8
        )
        self._live.start()

    @property
    def shown(self) -> bool:
        """Whether the lines are on a terminal."""
        return self._live is not None

    def update(self, done: float, first: str, more: Sequence[str] = ()) -> None:
        """Show other lines; empty ones are left out."""
        if self._live is not None:
            self._bar.update(self._task, completed=done, description=first)
            self._more = [line for line in more if line]

    def close(self) -> None:
        """Take the lines off the terminal."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def picture(self) -> Group:
        """The lines as they stand on the terminal."""
        lines = (Text(f"  {line}", overflow="ellipsis", no_wrap=True) for line in self._more)
        return Group(self._bar, *lines)


class GpuMemory:
    """Memory of this machine's GPUs in use by all programs.

    nvidia-smi runs in a process of its own: a CUDA context in the driver would take GPU memory.
    """

    def __init__(self) -> None:
        self._program = shutil.which("nvidia-smi")
        self._asked: Popen[str] | None = None
        self._asked_at = float("-inf")
        self._text = ""

    def __call__(self) -> str:
        """The last answer, `GPU memory 31.2 of 79.6 GiB`; empty without a GPU."""
        if self._asked is not None and self._asked.poll() is not None:
            self._text = gpu_text(self._asked.communicate()[0])
            self._asked = None
        now = time.monotonic()
        if self._program and self._asked is None and now - self._asked_at >= GPU_SECONDS:
            self._asked_at = now
            query = ["--query-gpu=memory.used,memory.total", "--format=csv,noheader,nounits"]
            self._asked = Popen(
                [self._program, *query], stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, text=True
            )
        return self._text

    def close(self) -> None:
        """End the process of nvidia-smi, if there is one."""
        if self._asked is not None:
            self._asked.kill()
            self._asked.communicate()
            self._asked = None


def gpu_text(answer: str) -> str:
    """Put nvidia-smi's answer into words: a line `used, total` in MiB for each GPU."""
    try:
        lines = [line.split(",") for line in answer.splitlines() if line.strip()]
        pairs = [(float(used), float(total)) for used, total in lines]
        each = [f"{used / 1024:.1f} of {total / 1024:.1f}" for used, total in pairs]
    except ValueError:  # [N/A], on machines whose GPU shares memory with the CPU
        return ""
    if len(each) > 4:
        fullest = max(pairs, key=lambda pair: pair[0] / pair[1])
        return f"GPU memory at most {fullest[0] / 1024:.1f} of {fullest[1] / 1024:.1f} GiB"
    return f"GPU memory {', '.join(each)} GiB" if each else ""
