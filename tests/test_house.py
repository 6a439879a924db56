"""Facts about the house that no reviewer should have to look for."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAX_FILE_LINES = 320
MAX_FUNCTION_LINES = 70
MAX_FILE_BYTES = 17_000_000

# Brackets keep these lines from matching themselves.
MACHINE_PATH = re.compile(
    r"(?<![\w.])/(?:[r]oot|[w]ork|[f]arm)/|(?<![\w.])/(?:[h]ome|[U]sers)/(?!you\b|user\b)\w|[A-Z]:\\+[U]sers\\"
)
REGISTRY_HOST = re.compile(r"[p]ypi[.]org|[p]ythonhosted|[n]pmjs[.]org|[d]eb[.]debian")
VAGUE_NAME = re.compile(r"(?:^|_)(?:utils?|helpers?|managers?|misc)(?:_|$)")


def house_files() -> list[Path]:
    """The files that git has or would take; in an unpacked archive, all that lie outside hidden and cache folders."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if (ROOT / ".git").exists():
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
        return [path for name in listed if name and (path := ROOT / name).is_file()]
    skipped = re.compile(r"^\.(?!ci|pre-commit|git(?:ignore|attributes))|^__pycache__$|^venv$|\.pyc$|\.egg-info$")
    found = (path for path in ROOT.rglob("*") if path.is_file())
    return [path for path in found if not any(skipped.search(part) for part in path.relative_to(ROOT).parts)]


def text_of(path: Path) -> str:
    """The file as text; "" for a binary file."""
    content = path.read_bytes()
    return "" if b"\0" in content[:8192] else content.decode("utf-8", errors="replace")


def lines_with(pattern: re.Pattern[str], text: str) -> list[int]:
    return [number for number, line in enumerate(text.splitlines(), start=1) if pattern.search(line)]


def too_long(source: str) -> Iterator[str]:
    """What of a Python source passes the limits of a room that can be lived in."""
    lines = len(source.splitlines())
    if lines > MAX_FILE_LINES:
        yield f"{lines} lines, at most {MAX_FILE_LINES}: split it where it has two jobs"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                yield f"{node.name} has {length} lines, at most {MAX_FUNCTION_LINES}"


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("pattern", [MACHINE_PATH, REGISTRY_HOST], ids=["machine path", "registry host"])
def test_no_file_names_the_machine_it_was_made_on(pattern: re.Pattern[str]) -> None:
    found = [f"{relative(path)}:{line}" for path in house_files() for line in lines_with(pattern, text_of(path))]
    assert not found, ", ".join(found)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("open('/{}/data')".format("work"), True),
        ("see /{}/venv/bin".format("root"), True),
        ("path = /{}/anna/x".format("home"), True),
        ("C:\\{}\\anna".format("Users"), True),
        ("/{}/you/museums".format("home"), False),
        ("https://example.com/{}/page".format("work"), False),
        ("the framework/{}/".format("root"), False),
    ],
)
def test_machine_paths_are_recognised(line: str, found: bool) -> None:
    assert bool(lines_with(MACHINE_PATH, line)) is found


def test_no_file_is_too_big_for_git() -> None:
    sizes = {relative(path): path.stat().st_size for path in house_files()}
    big = [f"{name}: {size / 1e6:.1f} MB" for name, size in sizes.items() if size > MAX_FILE_BYTES]
    assert not big, f"more than {MAX_FILE_BYTES / 1e6:.0f} MB: {', '.join(big)}"


def test_every_name_says_what_is_inside() -> None:
    vague = [
        relative(path)
        for path in house_files()
        if any(VAGUE_NAME.search(part.split(".")[0]) for part in path.relative_to(ROOT).parts)
    ]
    assert not vague, f"name these after what they hold: {', '.join(vague)}"


@pytest.mark.parametrize(
    ("name", "vague"),
    [
        ("utils", True),
        ("image_util", True),
        ("memory_manager", True),
        ("misc", True),
        ("utility", False),
        ("keys", False),
    ],
)
def test_vague_names_are_recognised(name: str, vague: bool) -> None:
    assert bool(VAGUE_NAME.search(name)) is vague


def test_rooms_and_functions_stay_liveable() -> None:
    sources = [path for path in house_files() if path.suffix == ".py"]
    found = [f"{relative(path)}: {fault}" for path in sources for fault in too_long(text_of(path))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("source", "faults"),
    [
        ("x = 1\n" * MAX_FILE_LINES, 0),
        ("x = 1\n" * (MAX_FILE_LINES + 1), 1),
        ("def f():\n" + "    x = 1\n" * (MAX_FUNCTION_LINES - 1), 0),
        ("def f():\n" + "    x = 1\n" * MAX_FUNCTION_LINES, 1),
        ("class A:\n    async def f():\n" + "        x = 1\n" * MAX_FUNCTION_LINES, 1),
    ],
)
def test_long_rooms_and_functions_are_recognised(source: str, faults: int) -> None:
    assert len(list(too_long(source))) == faults


def test_changelog_has_an_unreleased_part_that_tells_what_changes_results() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    unreleased = re.search(r"^## \[Unreleased\]\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL)
    assert unreleased, "CHANGELOG.md: no '## [Unreleased]'"
    assert "### Changes results\n" in unreleased[1]


def test_requirements_need_neither_torchvision_nor_an_index_of_their_own() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        lines = [line for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        wrong = [line for line in lines if re.search(r"torchvision|^\s*-|://|@", line)]
        assert not wrong, f"{name}: {wrong}"
