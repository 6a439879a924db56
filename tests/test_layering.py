"""A file imports from its own layer or a lower one. Read from the source, so nothing is imported here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "museum_plugin"
LAYERS = (
    "errors",
    "config",
    "losses",
    "data",
    "base",
    "museum",
    "methods",
    "judge",
    "export",
    "train",
    "kohya",
    "cli",
)  # lowest first; a folder or a file of the package each
TOP = "train_museum"  # stands on every layer; nothing in the package imports it
POCKET = "pocket"  # stands beside the layers: may import them, and only these folders may import it
MAY_IMPORT_POCKET = (POCKET, "benchmarks", "examples", "tests")
OUTSIDE = ("benchmarks", "examples", "tests", TOP)


def room_of(path: Path, root: Path) -> str:
    """The layer, `pocket`, or top-level folder that a source file belongs to; "" is the package's own `__init__.py`."""
    parts = path.relative_to(root).with_suffix("").parts
    if parts[0] != PACKAGE:
        return parts[0]
    return {"__init__": "", "__main__": "cli"}.get(parts[1], parts[1])


def imported_modules(path: Path, root: Path) -> Iterator[tuple[int, str]]:
    """Every import of a file, also inside functions, as (line, dotted module or dotted name)."""
    package = path.relative_to(root).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            # `from museum_plugin import museum` names the layer only in what it imports.
            names = [f"{module}.{alias.name}" for alias in node.names] if module == PACKAGE else [module]
            yield from ((node.lineno, name) for name in names)


def forbidden(room: str, module: str) -> str | None:
    """Why code of `room` may not import `module`, or None if it may."""
    parts = module.split(".")
    inside = room in (*LAYERS, POCKET, "")
    if parts[0] in OUTSIDE:
        return f"{room or PACKAGE} may not import {parts[0]}, which uses the package" if inside else None
    if parts[0] != PACKAGE or len(parts) == 1:
        return None
    target = parts[1]
    if target == POCKET and room not in MAY_IMPORT_POCKET:
        return f"{room or PACKAGE} may not import {module}: only {', '.join(MAY_IMPORT_POCKET)} may"
    if room == "" and target in (*LAYERS, POCKET):
        return f"{PACKAGE}/__init__.py may not import {module}: it stands below every layer"
    if room in LAYERS and target in LAYERS and LAYERS.index(target) > LAYERS.index(room):
        allowed = ", ".join(LAYERS[: LAYERS.index(room) + 1])
        return f"layer {room} may not import {module}: {target} lies above it; allowed: {allowed}"
    return None


def violations(root: Path) -> list[str]:
    """One line for each import in the wrong direction, and for each part of the package that has no layer."""
    sources = [path for path in sorted(root.glob("*.py")) if path.stem == TOP]
    for folder in (PACKAGE, "benchmarks", "examples"):
        sources += sorted((root / folder).rglob("*.py"))
    found = []
    for path in sources:
        room = room_of(path, root)
        where = path.relative_to(root).as_posix()
        if room not in (*LAYERS, POCKET, "", *OUTSIDE):
            found.append(f"{where}: {room} has no place in LAYERS ({', '.join(LAYERS)})")
            continue
        reasons = ((line, forbidden(room, module)) for line, module in imported_modules(path, root))
        found += [f"{where}:{line}: {reason}" for line, reason in reasons if reason]
    return found


def test_imports_point_downwards() -> None:
    found = violations(ROOT)
    assert not found, "\n".join(found)


def test_every_package_folder_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / PACKAGE).rglob("*.py")}
    missing = [folder.relative_to(ROOT).as_posix() for folder in folders if not (folder / "__init__.py").is_file()]
    assert not missing, f"without __init__.py: {', '.join(sorted(missing))}"


def plant(root: Path, where: str, source: str) -> list[str]:
    path = root / where
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, encoding="utf-8")
    return violations(root)


@pytest.mark.parametrize(
    ("where", "source", "reason"),
    [
        ("museum_plugin/losses/snr.py", "import museum_plugin.train.loop", "train lies above it"),
        ("museum_plugin/losses/snr.py", "from museum_plugin.base import load", "base lies above it"),
        ("museum_plugin/losses/snr.py", "from museum_plugin import museum", "museum lies above it"),
        ("museum_plugin/losses/snr.py", "from ..train import loop", "train lies above it"),
        ("museum_plugin/losses/snr.py", "from .. import train", "train lies above it"),
        ("museum_plugin/losses/deep/snr.py", "from ...cli import main", "cli lies above it"),
        ("museum_plugin/losses/snr.py", "def late():\n    import museum_plugin.cli", "cli lies above it"),
        ("museum_plugin/errors.py", "from museum_plugin.config import schema", "config lies above it"),
        ("museum_plugin/kohya.py", "from museum_plugin.cli import main", "cli lies above it"),
        ("museum_plugin/__init__.py", "from museum_plugin.train import loop", "below every layer"),
        ("museum_plugin/data/dataset.py", "from museum_plugin.pocket import MODEL_DIR", "only pocket, benchmarks"),
        ("train_museum.py", "import museum_plugin.pocket", "only pocket, benchmarks"),
        ("museum_plugin/cli/main.py", "import train_museum", "may not import train_museum"),
        ("museum_plugin/cli/main.py", "from tests.conftest import x", "may not import tests"),
        ("museum_plugin/pictures/load.py", "import os", "pictures has no place in LAYERS"),
        ("museum_plugin/extra.py", "import os", "extra has no place in LAYERS"),
    ],
)
def test_a_planted_violation_is_named(tmp_path: Path, where: str, source: str, reason: str) -> None:
    (message,) = plant(tmp_path, where, source)
    assert message.startswith(where)
    assert reason in message


@pytest.mark.parametrize(
    ("where", "source"),
    [
        ("museum_plugin/train/loop.py", "from museum_plugin.losses import snr\nfrom ..config import schema"),
        ("museum_plugin/train/loop.py", "from . import step\nfrom .step import predict\nimport torch"),
        ("museum_plugin/__main__.py", "from museum_plugin.cli import main"),
        ("museum_plugin/pocket/train.py", "from museum_plugin.pocket import scenes\nfrom museum_plugin.data import x"),
        ("benchmarks/speed.py", "import museum_plugin.pocket, museum_plugin.train.loop"),
        ("train_museum.py", "from museum_plugin.cli import main\nfrom museum_plugin import __version__"),
    ],
)
def test_imports_in_the_right_direction_pass(tmp_path: Path, where: str, source: str) -> None:
    assert plant(tmp_path, where, source) == []
