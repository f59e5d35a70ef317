"""The command line: `revo-ray` and `python -m revo_ray`."""

from __future__ import annotations

import io
import sys
import traceback
from collections.abc import Callable
from typing import Annotated

import typer

from revo_ray.cli.completion import whole_words
from revo_ray.cli.console import begin, complain, mode, say, tell
from revo_ray.cli.data_commands import inspect
from revo_ray.cli.list_commands import methods, models
from revo_ray.cli.model_commands import export, predict
from revo_ray.cli.report_commands import report, watch
from revo_ray.cli.search_commands import search, study, submit
from revo_ray.cli.train_command import train
from revo_ray.cli.volume import Quiet, Verbose, set_volume, with_volume
from revo_ray.errors import SearchError, UserError, printable
from revo_ray.monitor.terminal import clean_warnings


def _show_version(value: bool) -> None:
    if value:
        from revo_ray.cli.version import version_lines

        for line in version_lines():
            say(line)
        raise typer.Exit


app = typer.Typer(
    name="revo-ray",
    help="Find how fast each layer of a pretrained vision model should learn.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (search, study, submit, watch, report, train, export, predict, methods, models):
    app.command()(with_volume(command))
data = typer.Typer(help="Look at a data set before a search.", no_args_is_help=True)
data.command()(with_volume(inspect))
app.add_typer(data, name="data")


@app.callback()
def options(
    verbose: Verbose = False,
    quiet: Quiet = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Show the versions of the libraries and the devices of this machine.",
            callback=_show_version,
            is_eager=True,
        ),
    ] = False,
) -> None:
    """Take the options that stand before the name of a command."""
    set_volume(verbose, quiet)


def main() -> None:
    """Run the command line and exit: 0 done, 2 wrong input, 3 not completed, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # an ASCII terminal gets every line, escaped
            stream.reconfigure(errors="backslashreplace")
    begin()
    clean_warnings()
    try:
        with whole_words():
            status = app(prog_name="revo-ray", standalone_mode=False)
    except UserError as error:
        status = _fail(error, 2)
    except (SearchError, OSError) as error:
        status = _fail(error, 3)
    except (KeyboardInterrupt, typer.Abort):
        status = _tell_error("interrupted", 130)
    except Exception as error:
        # Usage errors of click print themselves.
        show: Callable[[], None] | None = getattr(error, "show", None)
        if show is None:
            raise
        show()
        mode.json = mode.json or "--json" in sys.argv
        text = getattr(error, "format_message", error.__str__)()
        status = _tell_error(text, int(getattr(error, "exit_code", 2)))
    sys.exit(status or 0)


def _fail(error: Exception, status: int) -> int:
    if mode.verbose:
        complain("".join(traceback.format_exception(error)))
    complain(f"revo-ray: {printable(str(error))}")
    return _tell_error(str(error), status)


def _tell_error(error: str, status: int) -> int:
    """Print the JSON document of a command that failed before it had a result."""
    if mode.json and not mode.told:
        tell({"error": error, "exit": status})
    return status
