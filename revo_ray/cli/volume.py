"""`--verbose` and `--quiet`, which stand before or behind the name of a command."""

from __future__ import annotations

import functools
import inspect
import logging
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import typer

from revo_ray.cli.console import mode
from revo_ray.monitor.terminal import CleanFormatter

Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose", "-v", help="Show the logs of libraries too, and the traceback of an error."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show results and errors only.")]


def set_volume(verbose: bool, quiet: bool) -> None:
    """Print more, or less; of both, more."""
    mode.verbose = mode.verbose or verbose
    mode.quiet = (mode.quiet or quiet) and not mode.verbose
    # Its cache folder may be missing; it takes another, and says so at length.
    logging.getLogger("matplotlib").setLevel(logging.INFO if mode.verbose else logging.ERROR)
    if mode.verbose:
        handler = logging.StreamHandler()
        handler.setFormatter(CleanFormatter("%(levelname)s %(name)s: %(message)s"))
        logging.basicConfig(level=logging.INFO, handlers=[handler])
        logging.getLogger("revo_ray").setLevel(logging.DEBUG)
    elif mode.quiet:
        logging.getLogger().setLevel(logging.ERROR)
        warnings.simplefilter("ignore")


def with_volume(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command both options."""

    @functools.wraps(command)
    def run(*, verbose: bool, quiet: bool, **given: Any) -> Any:
        set_volume(verbose, quiet)
        return command(**given)

    added = {"verbose": Verbose, "quiet": Quiet}
    own = inspect.signature(command, eval_str=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    more = [
        inspect.Parameter(name, keyword, default=False, annotation=kind)
        for name, kind in added.items()
    ]
    vars(run)["__signature__"] = own.replace(parameters=[*own.parameters.values(), *more])
    run.__annotations__ = {**command.__annotations__, **added}
    return run
