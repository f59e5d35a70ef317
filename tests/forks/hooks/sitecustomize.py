"""Python loads this in every process that tests start; see `tests/forks/client.py`.

A process that would begin with ten seconds of imports lets the server of forks make another one,
which has them, and stands for it from then on: it passes signals on, and ends as that one ends. If
there is no server, it goes on by itself.
"""

import os
import sys

SERVER = os.environ.get("TESTS_FORKS")
WORDS = [word for place, word in enumerate(sys.orig_argv) if (place, word) != (1, "-u")]
READ_AT_LOAD = {"ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE", "MKL_CBWR"}
"""Variables that libraries read when they are loaded, and that a fork would miss."""


OF_RAY = (
    *("/workers/setup_worker.py", "/workers/default_worker.py", "/_private/log_monitor.py"),
    *("/dashboard/dashboard.py", "/dashboard/agent.py", "/runtime_env/agent/main.py"),
    "/autoscaler/_private/monitor.py",
)


def is_long_to_start(words: list[str]) -> bool:
    """Whether a command line is one of Ray's, or of `python -m revo_ray`."""
    return words[1:3] == ["-m", "revo_ray"] or (len(words) > 1 and words[1].endswith(OF_RAY))


def stand_for_a_fork(server: str) -> None:
    """Do not return, unless there is no server."""
    import json
    import signal
    import socket

    known: list[int] = []
    waiting: list[int] = []

    def pass_on(number: int, frame: object) -> None:
        waiting.append(number)
        while known and waiting:
            try:
                os.kill(known[0], waiting.pop(0))
            except ProcessLookupError:
                pass

    with socket.socket(socket.AF_UNIX) as line:
        try:
            line.connect(server)
        except OSError:
            return
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, pass_on)
        request = json.dumps([WORDS, dict(os.environ), os.getcwd()]).encode()
        socket.send_fds(line, [len(request).to_bytes(4, "big")], [0, 1, 2])
        line.sendall(request)
        with line.makefile() as answers:
            if answer := answers.readline():
                known.append(int(answer))
                while waiting:
                    pass_on(waiting.pop(0), None)
            status = int(answers.readline() or -signal.SIGKILL)
    if status < 0:
        if status != -signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


if SERVER and is_long_to_start(WORDS) and not READ_AT_LOAD & os.environ.keys():
    stand_for_a_fork(SERVER)
if "FAULTS_FOLDER" in os.environ:
    import faults_watch  # noqa: F401
