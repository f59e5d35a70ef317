"""Figures in README and docs: where they stand, and whether a result backs them.

A figure is a number with a unit of measurement (`3.3 points`, `96 %`, `2 times`, `a minute`), a
count of a count (`16 of 18`), and in the sections of MEASURED also a bare fraction (`0.42`). It is
backed if its block names a result whose revision is clean, and a number of that result rounds to
it. A block is a paragraph, a list item, a heading, a row of a table, or a comment after a command.

- A block names a result in backticks: `searcher`, or `a` for `cells/a`.
- A table's rows also have the names of the paragraph before it.
- `<!-- results: searcher -->` in a block, or on the line before it, names without being seen.
- `<!-- settings: 5 seconds, 20 % -->` there says that these numbers were chosen, not measured;
  `<!-- settings of the section: 20 % -->` says it for all that follows in a section.

`benchmarks/results/unproven.txt` has a line for each block with figures that nothing backs:
`PAGE: NUMBER OF SUCH FIGURES: FIRST WORDS`. This prints the lines as they must be:

    python -m tests.docs.figures
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.record import RESULTS, ROOT, Result, read_all

MEASURED = {
    "README.md": ("Does it win?",),
    "docs/measured.md": ("Searchers", "Whole searches", "Parts of a training"),
    "docs/does-it-win.md": (
        *("Six cells", "More rivals", "Accuracy for the cost", "Ensembles and soups"),
        *("The part of luck", "Earlier measurements"),
    ),
}
"""Sections in which a fraction needs no unit to be a figure."""
WORDS = {
    **{"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8},
    **{"nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "fifteen": 15, "twenty": 20, "thirty": 30},
}
SCALES = {
    **{"%": (1, 100), "percent": (1, 100), "point": (1, 100), "ms": (1, 1000), "s": (1, 0.001)},
    **{"min": (1, 1 / 60), "h": (1, 1 / 60, 1 / 3600), "GB": (1, 0.001)},
}
"""Factors from the numbers of a result, whose keys say their units, to figures with a unit."""

NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?"
ANY = rf"(?:{NUMBER}|(?:{'|'.join(WORDS)})(?=\s))"
UNIT = r"(?:%|percent|points?|×(?!\s*\d)|times|ms|s|seconds?|min|minutes?|h|hours?|days?|[KMG]B)"
START, END = r"(?<![\w.:/])(?<![\w.]-)", r"(?!\w|\.\d)"
PATTERNS = (
    re.compile(rf"{START}(?P<number>{NUMBER}) of (?P<unit>{NUMBER}){END}"),
    re.compile(rf"{START}(?P<number>{ANY})\s?(?P<unit>{UNIT}){END}"),
    # `2 to 4 points`, `1.5, 2 and 3 %`: each has the unit of the last.
    re.compile(
        rf"{START}(?P<number>{ANY})(?=(?:(?:,| to| and| or) {ANY})+\s?(?P<unit>{UNIT}){END})"
    ),
    # `trials a minute` is a rate, and no time.
    re.compile(
        r"(?<!evaluations )(?<!trials )(?<!images )(?<!\w)(?P<number>an?) "
        r"(?P<unit>minute|hour|day)(?!\w)"
    ),
)
FRACTION = re.compile(rf"{START}(?P<number>\d+(?:,\d{3})*\.\d+)(?P<unit>){END}(?!-\d)")


@dataclass(frozen=True)
class Figure:
    """A number in a text.

    Attributes:
        text: as it is written.
        number: its digits, or its word.
        unit: its unit; for `16 of 18` the second number, and nothing for a bare fraction.
    """

    text: str
    number: str
    unit: str

    def backed_by(self, known: Iterable[float]) -> bool:
        """Whether one of the numbers rounds to this one."""
        value, half = value_of(self.number)
        if self.unit[:1].isdigit():
            return {value, value_of(self.unit)[0]} <= set(known)
        factors = (factors for unit, factors in SCALES.items() if self.unit.startswith(unit))
        scales = next(factors, (1,))
        return any(abs(n * scale - value) <= 1.0001 * half for n in known for scale in scales)


@dataclass(frozen=True)
class Block:
    """A piece of a page that is read as one.

    Attributes:
        page: its file, relative to the root.
        section: its heading of the second level.
        text: without comments, on one line.
        names: results that it may name.
        settings: numbers that were chosen.
    """

    page: str
    section: str
    text: str
    names: frozenset[str]
    settings: frozenset[str]

    def figures(self) -> list[Figure]:
        """Its figures, settings aside."""
        prose = re.sub(r"`[^`]*`|\]\([^)]*\)|arXiv [\d.]+", " _ ", self.text)
        measured = self.section in MEASURED.get(self.page, ())
        found: dict[int, Figure] = {}
        for pattern in (*PATTERNS, *([FRACTION] if measured else [])):
            for match in pattern.finditer(prose):
                figure = Figure(match[0], match["number"], match["unit"])
                if figure.text not in self.settings:
                    found.setdefault(match.start(), figure)
        return [figure for _, figure in sorted(found.items())]

    def unbacked(self, results: Mapping[str, Result]) -> list[Figure]:
        """The figures that no result with a clean revision backs, of those that it names."""
        named = (results.get(name) or results.get(f"cells/{name}") for name in self.names)
        known = {n for result in named if result and not result.doubt for n in numbers(result)}
        return [figure for figure in self.figures() if not figure.backed_by(known)]


def value_of(number: str) -> tuple[float, float]:
    """A number and half of its last digit; of `1,800` and `540` the zeros may be none."""
    if number in ("a", "an", *WORDS):
        return WORDS.get(number, 1), 0.5
    digits = number.replace(",", "")
    _, _, decimals = digits.partition(".")
    zeros = 0 if decimals else min(len(digits) - len(digits.rstrip("0")), max(0, len(digits) - 2))
    return float(digits), 0.5 * 10.0 ** (zeros - len(decimals))


def numbers(result: Result) -> set[float]:
    """All numbers of a result, those in its texts too, without their signs."""
    text = json.dumps([line for _, line in result.runs])
    return {float(each) for each in re.findall(r"\d+\.?\d*(?:e-?\d+)?", text)}


def blocks(page: str, text: str) -> Iterator[Block]:
    """The blocks of a page in Markdown; code is none, but comments after its commands are."""
    section, chosen, above, before, of_table = "", frozenset[str](), frozenset[str](), "", ""
    for piece in pieces(text):
        if re.fullmatch(r"\s*<!--.*-->\s*", piece):
            before += piece
            chosen |= said(piece, "settings of the section")
            continue
        if piece.startswith("## "):
            section, chosen = piece[3:].strip(), frozenset()
        row = piece.lstrip().startswith("|")
        of_table = (before or of_table) if row else ""
        notes, before = piece + (of_table or before), ""
        plain = bare(piece)
        names = said(notes, "results") | frozenset(re.findall(r"`([^`]+)`", plain))
        above = above if row else names
        if not re.fullmatch(r"[|\s:-]*", plain):
            yield Block(page, section, plain, names | above, said(notes, "settings") | chosen)


def pieces(text: str) -> Iterator[str]:
    """Paragraphs, items, headings, rows, comments of one line: each as it is written."""
    piece: list[str] = []
    fence = False
    for line in [*text.splitlines(), ""]:
        begins = re.match(r"\s*(```|\||#|[-*] |\d+\. |<!--.*-->$)", line)
        if piece and (fence or begins or not line.strip()):
            yield "\n".join(piece)
            piece = []
        if line.lstrip().startswith("```"):
            fence = not fence
        elif fence:
            command, _, comment = line.partition(" # ")
            if comment and command.startswith("$ "):
                yield comment
        elif begins and begins[1][0] in "|#<":
            yield line
        elif line.strip():
            piece.append(line)


def bare(piece: str) -> str:
    """A piece on one line, without comments and marks."""
    text = re.sub(r"<!--.*?-->", " ", piece, flags=re.S).replace("**", "")
    text = re.sub(r"^\s*([-*] |#+ |\d+\. |\|)", "", text)
    return " ".join(text.split()).removesuffix(" |")


def said(text: str, about: str) -> frozenset[str]:
    """The entries of comments `<!-- ABOUT: A, B -->`."""
    found = re.findall(rf"<!-- {about}: (.*?) -->", text, flags=re.S)
    return frozenset(" ".join(entry.split()) for each in found for entry in each.split(", "))


def all_blocks(root: Path = ROOT) -> list[Block]:
    """The blocks of README and of docs, without the pages that programs write."""
    paths = [*sorted(root.glob("*.md")), *sorted((root / "docs").glob("*.md"))]
    pages = {path.relative_to(root).as_posix(): path.read_text() for path in paths}
    for made in ("docs/results.md", "docs/models.md", "docs/configuration.md"):
        pages.pop(made, None)
    return [block for page, text in pages.items() for block in blocks(page, text)]


def first_words(block: Block, others: Sequence[Block]) -> str:
    """The fewest words, six or more, with which no other block of the page begins."""
    rivals = [other.text for other in others if other.page == block.page and other is not block]
    words = block.text.split(" ")
    starts = (" ".join(words[:count]) for count in range(6, len(words)))
    unique = (start for start in starts if not any(rival.startswith(start) for rival in rivals))
    return next(unique, block.text)


def unproven(found: Sequence[Block], results: Mapping[str, Result]) -> dict[str, list[Figure]]:
    """The figures that nothing backs, by `PAGE: FIRST WORDS` of their block."""
    lines: dict[str, list[Figure]] = {}
    for block in found:
        if figures := block.unbacked(results):
            key = f"{block.page}: {first_words(block, found)}"
            lines.setdefault(key, []).extend(figures)
    return lines


def listed(text: str) -> dict[str, int]:
    """The lines of `unproven.txt`; those that begin with # are for readers."""
    lines = [line.split(": ", 2) for line in text.splitlines() if line and line[0] != "#"]
    return {f"{page}: {words}": int(number) for page, number, words in lines}


def problems(found: Mapping[str, Sequence[Figure]], allowed: Mapping[str, int]) -> list[str]:
    """The reasons why the list is wrong: figures that it lacks, and lines that it must lose."""
    said = []
    for key, figures in found.items():
        texts = ", ".join(figure.text for figure in figures)
        if len(figures) > allowed.get(key, 0):
            said.append(f"{key} …: no result with a clean revision backs one or more of {texts}")
        elif len(figures) < allowed[key]:
            said.append(f"{key} …: unproven.txt allows {allowed[key]}, lower it to {len(figures)}")
    said += [f"{key} …: remove it from unproven.txt" for key in allowed if key not in found]
    return said


def main() -> None:
    """Print the lines."""
    for key, figures in unproven(all_blocks(), read_all(RESULTS)).items():
        page, _, words = key.partition(": ")
        print(f"{page}: {len(figures)}: {words}")


if __name__ == "__main__":
    main()
