"""Text of `docs/models.md`, from the record of `benchmarks.models` and from nothing else."""

from __future__ import annotations

from typing import Any

from benchmarks.page import OWN_PAGE, date, table
from benchmarks.record import ROOT, Result

MODELS_PAGE = ROOT / "docs" / "models.md"

INTRODUCTION = """\
# Networks

Look up here whether a network trains, how many units it has, and whether it exports to ONNX.
`revo-ray models NAME` lists all names that `model.name` takes.

`make models` checks the smallest member of each family, built without pretrained weights.
`make results` writes this page from `benchmarks/results/models.json`; do not edit it.

Each family below has these properties:

- every parameter is in exactly one unit, at `model.granularity` `layer`, `block` and `stage`;
- the units stand in the order in which autograd sees their first use;
- two steps of training move every unit that trains, and leave each bit of the others as it was,
  buffers included; every other unit is frozen, then the others;
- no block or stage holds 85 % of the parameters outside the head, or a warning says so;
- an exported folder (`safetensors`) loads again with the same bits; a file for ONNX has the same
  logits within 1e-4 of the largest.

Parameters are in millions, with a head for ten classes. The image size, in pixels, is that of the
pretrained weights, or 224 where that is above 384.
"""


def models_page(result: Result) -> str:
    """The page."""
    _, line = result.runs[0]
    found: list[dict[str, Any]] = line[OWN_PAGE]
    parts = [INTRODUCTION, _totals(result, line)]
    for library in ("timm", "torchvision"):
        own = [finding for finding in found if finding["family"].startswith(f"{library}/")]
        rows = [_row(finding) for finding in own if "left_out" not in finding]
        head = ["family", "smallest member", "parameters", "layer", "block", "stage"]
        parts += [f"## {library}\n", table([*head, "image size", "notes"], rows)]
    without = [finding for finding in found if "left_out" in finding]
    rows = [
        [finding["family"], _code(finding.get("model")), finding["left_out"]] for finding in without
    ]
    if rows:
        parts += ["## Left out\n", table(["family", "smallest member", "cause"], rows)]
    without = [finding for finding in found if finding.get("onnx")]
    rows = [[f["family"], _code(f["model"]), _plain(f["onnx"])] for f in without]
    if rows:
        parts += ["## Without ONNX\n", table(["family", "smallest member", "cause"], rows)]
    unused = [[f["family"], _names(f["unused"])] for f in found if f.get("unused")]
    if unused:
        parts += [
            "## Parameters without use\n",
            "The forward pass of these networks does not use them, so they never move.\n",
            table(["family", "parameters"], unused),
        ]
    return "\n".join(parts)


def _totals(result: Result, line: dict[str, Any]) -> str:
    known = result.record["machine"]
    versions = ", ".join(f"{name} {known[name]}" for name in ("torch", "torchvision", "timm"))
    held = " and ".join(
        f"{line[f'{library}_held']} of {line[f'{library}_families']} families of {library}"
        for library in ("timm", "torchvision")
    )
    networks = line["in_onnx"] + line["not_in_onnx"]
    return (
        f"On {date(result)}, with {versions}, all of this held for {held}. {line['left_out']} were "
        f"left out. ONNX takes {line['in_onnx']} of {networks} networks.\n"
    )


def _row(finding: dict[str, Any]) -> list[str]:
    if "layer" not in finding:
        problems = "; ".join(map(_plain, finding["problems"][:2]))
        return [finding["family"], _code(finding.get("model")), *"–––––", f"**{problems}**"]
    notes = [
        *([f"{finding['heads']} heads"] if finding["heads"] > 1 else []),
        *(f"`{granularity}` warns: unbalanced" for granularity in finding["unbalanced"]),
        *(["stages follow the modules"] if finding["by_modules"] else []),
        *([f"{len(finding['unused'])} parameters without use"] if finding["unused"] else []),
        *([f"{_names(finding['unmoved'])} do not move"] if finding["unmoved"] else []),
        *(["no ONNX"] if finding["onnx"] else []),
        *(f"**{_plain(problem)}**" for problem in finding["problems"][:2]),
    ]
    return [
        finding["family"].partition("/")[2],
        f"`{finding['model']}`",
        f"{finding['parameters'] / 1e6:.1f}",
        *(str(finding[key]) for key in ("layer", "block", "stage", "image_size")),
        ", ".join(notes),
    ]


def _names(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def _code(name: str | None) -> str:
    return f"`{name}`" if name else "–"


def _plain(text: str) -> str:
    """A text that Markdown leaves as it is."""
    return f"`{text.replace('`', '').replace('|', '/')}`"
