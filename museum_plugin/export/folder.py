"""A folder that is written whole or not at all, and in which nobody else's file is lost."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from museum_plugin.config.files import unwritable
from museum_plugin.errors import OutputError

MANIFEST = "museum-export.json"
"""Lists our files in the folder and their sha256, so that we know them again."""
Parts = Sequence[bytes | memoryview]


def write_folder(folder: Path, files: Mapping[str, Parts], *, force: bool = False) -> None:
    """Write files into a new folder and put it in place of the one that is there.

    What an earlier call wrote there is replaced; any other file is kept, and one whose name is needed stops the call.

    Args:
        folder: its parents are created; a link is followed.
        files: path inside the folder, with "/" -> bytes in order.
        force: also replace files of others.
    Raises:
        OutputError: a file of somebody else's is in the way, or nothing can be written; all is as it was.
    """
    real = Path(os.path.realpath(folder))
    temporary = real.with_name(f".{real.name}.{uuid.uuid4().hex}.tmp")
    old = temporary.with_suffix(".old")
    try:
        _recover(real)
        kept = _foreign(real) if real.exists() else {}
        manifest = {name: _digest(parts) for name, parts in files.items()}
        everything = {**files, MANIFEST: [json.dumps(manifest, indent=1, ensure_ascii=False).encode()]}
        _refuse_foreign(folder, [name for name in kept if _needed(name, everything)], force=force)
        for name, parts in everything.items():
            _write(temporary / name, parts)
        for name, path in kept.items():
            if not _needed(name, everything):
                _link(path, temporary / name)
        if real.exists():
            os.rename(real, old)
        try:
            os.rename(temporary, real)
        except OSError:
            if old.exists():
                os.rename(old, real)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise unwritable(folder, error, "what was there is unchanged") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _needed(name: str, files: Mapping[str, Parts]) -> bool:
    """Whether a file stands where one of ours goes: under its name, or as a folder above or below it."""
    return any(name == other or name.startswith(f"{other}/") or other.startswith(f"{name}/") for other in files)


def _refuse_foreign(folder: Path, names: Sequence[str], *, force: bool) -> None:
    if names and not force:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise OutputError(
            f"{folder / names[0]}{more}: not written by this command, or changed since; nothing was overwritten: move "
            "it away, give another --output_dir, or --force"
        )


def _foreign(real: Path) -> dict[str, Path]:
    """The files of a folder that we did not write, or that were changed since.

    Raises:
        NotADirectoryError: it is a file.
    """
    if not real.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    manifest = _manifest(real)
    found = {}
    for path in sorted(real.rglob("*")):
        name = path.relative_to(real).as_posix()
        if (path.is_dir() and not path.is_symlink()) or (name == MANIFEST and manifest):
            continue
        if name not in manifest or path.is_symlink() or manifest[name] != _file_digest(path):
            found[name] = path
    return found


def _manifest(real: Path) -> dict[str, str]:
    try:
        found = json.loads((real / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _recover(real: Path) -> None:
    """What a killed call left: half a folder is removed, one that was just moved away comes back."""
    if not real.parent.is_dir():
        real.parent.mkdir(parents=True, exist_ok=True)
        return
    leftover = re.compile(rf"\.{re.escape(real.name)}\.[0-9a-f]{{32}}\.(tmp|old)")
    for entry in sorted(real.parent.iterdir()):
        match = leftover.fullmatch(entry.name)
        if match and match[1] == "old" and not real.exists():
            os.rename(entry, real)
        elif match and (match[1] == "tmp" or _manifest(real)):
            shutil.rmtree(entry, ignore_errors=True)


def _digest(parts: Parts) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, parts: Parts) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())


def _link(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):  # no hard links here
        os.link(path, target, follow_symlinks=False)
        return
    shutil.copy2(path, target, follow_symlinks=False)
