"""Writing a file whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from museum_plugin.errors import OutputError

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_atomically(path: Path, data: bytes) -> None:
    """Write to a temporary file in the same folder, flush it to disk, and put it in place of `path`.

    Raises:
        OutputError: the folder or file cannot be written; a file that was there is untouched.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:  # also when stopped right here
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def unwritable(path: Path, error: OSError, kept: str = "") -> OutputError:
    """The error for a place that cannot be written, with what to do about it.

    Args:
        kept: what of it is as it was, for the end of the message.
    """
    advice = "free some space" if error.errno in _NO_SPACE else "check the path and its permissions"
    end = f" ({kept})" if kept else ""
    return OutputError(f"{path}: cannot be written: {error.strerror or error}; {advice}{end}")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
