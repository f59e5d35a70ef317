"""Entry point of `python -m revo_ray` and of the installed command `revo-ray`."""

import atexit
import os
import sys

from revo_ray.current_folder import leave_out_current_folder


def run() -> None:
    """Run the command line, call the `atexit` functions, and end the process at once.

    Python's own exit would spend a second on torch's modules, and wait for a thread that still
    imports them.
    """
    leave_out_current_folder()  # before the imports below
    import traceback

    from revo_ray.cli.console import complain
    from revo_ray.cli.environment import prepare
    from revo_ray.cli.main import main
    from revo_ray.cli.streams import keep_open, lost

    status = 1
    keep_open()
    prepare()
    try:
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException as error:
        complain("".join(traceback.format_exception(error)))
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        lost(stream)
    os._exit(status)


if __name__ == "__main__":
    run()
