"""`python -m revo_ray`, and the command that an installation makes of it."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress

from revo_ray.cli.main import main


def run() -> None:
    """The command line in a process of its own.

    It ends at once, after what is registered with `atexit`: Python would first take torch's modules
    apart, for a second, and wait for a thread that still imports them.
    """
    status = 1
    try:
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # whoever read it is gone
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    run()
