"""What the documents promise is there: the files and headings that they point to, the flags that they tell to type."""

import re
import subprocess
import sys
from functools import cache

import pytest
from conftest import ROOT

DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "checkpoints/*.md", "data/*.md", "benchmarks/*.md")
    for path in ROOT.glob(pattern)
)
# `python train.py`, `python -m texturenet.evaluate matched`, ...
PROGRAM = re.compile(
    r"python (stylize\.py|train\.py|-m (?:texturenet\.evaluate|data\.draw) [a-z]+|-m (?:texturenet|benchmarks)[.\w]*)"
)
FLAG = re.compile(r"(?<=\s)--[a-z]\w*")


def _text(document: str) -> str:
    return (ROOT / document).read_text()


def _anchors(document: str) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", _text(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def _commands(document: str) -> list[tuple[str, str]]:
    """(program, what follows it) of each command of ours; a line that ends with a backslash goes on."""
    lines = _text(document).replace("\\\n", " ").splitlines()
    found = []
    for text in (part for line in lines for part in re.split(r"`|\||  #|;|&&", line)):
        if match := PROGRAM.search(text):
            found.append((match[1], text[match.end() :]))
    return found


@cache
def _flags(program: str) -> frozenset[str]:
    ended = subprocess.run(
        [sys.executable, *program.split(), "--help"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    return frozenset(re.findall(r"--\w+", ended.stdout))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", _text(document)):
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = (ROOT / document).parent / name if name else ROOT / document
        assert target.exists(), link
        if anchor:
            assert anchor in _anchors(target.resolve().relative_to(ROOT).as_posix()), link


def test_every_picture_is_shown() -> None:
    shown = "".join(map(_text, DOCUMENTS))
    for picture in (ROOT / "docs").glob("*.[jp][pn]g"):
        assert f"({picture.name})" in shown or f"(docs/{picture.name})" in shown, picture.name


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_have_flags_that_there_are(document: str) -> None:
    for program, rest in _commands(document):
        for flag in FLAG.findall(rest):
            assert flag in _flags(program), f"python {program}{rest}"
