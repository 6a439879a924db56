"""A museum that knows one style, for runs that must fail without touching it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.recipes.school import Done, School

CODES = {"config": 2, "data": 3, "base": 4, "museum": 5, "training": 6, "output": 7}
Teach = Callable[[list[str]], Done]


@dataclass(frozen=True)
class Refusal:
    """Runs commands that must be refused."""

    school: School
    teach: Teach

    def __call__(self, kind: str, *named: str, flags: tuple[str, ...] = (), styles: tuple[str, ...] = ("neon",)) -> str:
        """One message of at most two lines that says all of `named`; the museum is as it was. Returns the message."""
        before = snapshot(self.school.museum)

        done = self.teach(self.school.command(*flags, styles=styles))

        message = "\n".join(done.errors)
        assert done.code == CODES[kind], done.err
        assert done.err.count("error: ") == 1
        assert 1 <= len(done.errors) <= 2, message
        assert "Traceback" not in done.err + done.out
        for text in named:
            assert text in message, message
        assert snapshot(self.school.museum) == before, "the earlier museum was touched"
        return message


def snapshot(museum: Path) -> dict[str, bytes]:
    """The museum file and its history."""
    if not museum.exists():
        return {}
    history = museum.with_name(f"{museum.stem}.history")
    kept = sorted(history.iterdir()) if history.is_dir() else []
    return {str(path): path.read_bytes() for path in (museum, *kept)}


def changed_base(base: Path, folder: Path) -> Path:
    """A copy of a base that a test may spoil."""
    shutil.copytree(base, folder, copy_function=os.link)
    for path in folder.rglob("*"):
        if path.is_file():  # a link would be spoiled together with the original
            content = path.read_bytes()
            path.unlink()
            path.write_bytes(content)
    return folder
