"""Registry of methods: those of revo-ray, of plugin modules and of installed packages."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from pydantic import ValidationError

from revo_ray.errors import UserError
from revo_ray.finetune.plan import Plan, Policy
from revo_ray.methods.method import Method
from revo_ray.methods.plugins import load_plugin
from revo_ray.methods.revo import RevoBinary, RevoContinuous, RevoMixed
from revo_ray.settings.override import retyped
from revo_ray.settings.places import places_at
from revo_ray.settings.schema import MethodConfig, TrainConfig
from revo_ray.settings.wanted import faults
from revo_ray.words import did_you_mean, nearest, shown

BUILT_IN: tuple[type[Method], ...] = (RevoContinuous, RevoBinary, RevoMixed)

DOCUMENTED_KEYS = frozenset({"algorithm", "scale", "encoding", "global_lr"})
"""Keys of `method:` that every file may have, whichever methods are installed."""

ENTRY_POINTS = "revo_ray.methods"


def load_methods(plugins: Iterable[str] = ("baselines",)) -> dict[str, type[Method]]:
    """Every method by name: built in, of plugin modules, of entry points.

    A plugin module has a `METHODS` sequence of `Method` classes. `load_plugin` says where it may
    lie.

    Raises:
        UserError: a plugin cannot be imported, or has no such sequence.
    """
    found: dict[str, type[Method]] = {method.name: method for method in BUILT_IN}
    for plugin in plugins:
        try:
            methods = [_checked(method) for method in load_plugin(plugin).METHODS]
        except (Exception, SystemExit) as error:  # a plugin is anyone's code
            raise UserError(
                f"cannot load methods from {shown(plugin)}: {error}", key="plugins"
            ) from None
        found.update((method.name, method) for method in methods)
    for method in _installed():
        found.setdefault(method.name, method)
    return found


@cache
def _installed() -> tuple[type[Method], ...]:
    """Methods that other packages give as entry points."""
    found = []
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            found.append(_checked(entry.load()))
        except Exception as error:  # a broken package must not stop searches that do not use it
            warnings.warn(f"cannot load the method {entry.name!r}: {error}", stacklevel=2)
    return tuple(found)


def _checked(method: Any) -> type[Method]:
    if not (isinstance(method, type) and issubclass(method, Method) and hasattr(method, "name")):
        raise TypeError(f"{method!r} is not a class of Method with a name")
    return method


def make_method(
    config: MethodConfig, plugins: Iterable[str] = ("baselines",), train: TrainConfig | None = None
) -> Method:
    """The configured method, with its options checked.

    Keys that belong to other methods are passed over, so that one file fits several methods.

    Args:
        config: name and options of the method.
        plugins: modules with more methods.
        train: training options; some defaults follow its optimizer. None: the defaults.

    Raises:
        UserError: no such method, a key that no method has, or a value that does not fit.
    """
    known = load_methods(plugins)
    if config.name not in known:
        hint = did_you_mean(nearest(config.name, sorted(known)))
        raise UserError(
            f"no method {shown(config.name)}{hint} (there are {', '.join(sorted(known))})",
            key="method.name",
        )
    method = known[config.name]
    others = DOCUMENTED_KEYS.union(*(other.Options.model_fields for other in known.values()))
    foreign = others - set(method.Options.model_fields)
    own = {
        key: _typed(key, value, method)
        for key, value in config.options.items()
        if key not in foreign
    }
    try:
        options = method.Options.model_validate(own, context={"train": train})
    except ValidationError as error:
        raise _option_error(error, method) from None
    return method(options)


def find_policy(plan: Plan, plugins: Iterable[str] = ("baselines",)) -> Policy | None:
    """The per-epoch policy that a plan names, or None if it names none.

    Raises:
        ValueError: no method of that name, or it has no policy.
    """
    if plan.policy is None:
        return None
    options = dict(plan.policy)
    method = load_methods(plugins).get(options.pop("method"))
    policy = method.policy(options) if method else None
    if policy is None:
        raise ValueError(f"no method has the policy {dict(plan.policy)!r}")
    return policy


def _typed(key: str, value: Any, method: type[Method]) -> Any:
    """The value of an option, which was read before its type was known."""
    try:
        return retyped(value, places_at(method.Options, [key]))
    except UserError as error:
        raise UserError(error.args[0], key=f"method.{key}") from None


def _option_error(error: ValidationError, method: type[Method]) -> UserError:
    fault = faults(error, method.Options)[0]
    key = f"method.{fault.path[0]}" if fault.path else "method"
    if fault.kind == "unknown" and len(fault.path) == 1:
        keys = [
            f"method.{name}"
            for name in nearest(fault.path[0], [*method.Options.model_fields, "name"])
        ]
        return UserError(f"{method.name} has no such key{did_you_mean(keys)}", key=key)
    return UserError(str(fault), key=key)
