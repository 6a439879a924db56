"""The id of a museum that begins: it decides which slot words the museum takes first."""

from __future__ import annotations

import hashlib
import itertools
from contextlib import suppress
from pathlib import Path

from museum_plugin.errors import MuseumFileError
from museum_plugin.museum.file import read_ledger
from museum_plugin.museum.triggers import SHELF, Reader, known_words, walk

_TRIES = 64


def new_museum_id(path: Path, base: Reader, *named: str) -> str:
    """An id for the museum that `path` will hold: 32 hex digits, the same for the same museums in its folder.

    Of the ids that follow from the arguments it is the first one whose six first slot words no other museum in the
    folder holds, or has before it; where none is free, the one that shares the fewest. No chance is in it, so all
    processes of a run, and a dry run before it, find the same.

    Args:
        path: only its name counts, and what lies beside it.
        base: whose tokenizers say which words there are.
        named: what else tells this museum from others, such as its base and its first style.
    """
    words, busy = known_words(base), _words_beside(path, base)
    texts = ("/".join((path.stem, *named, str(number))) for number in itertools.count())
    ids = [hashlib.sha256(text.encode()).hexdigest()[:32] for text in itertools.islice(texts, _TRIES)]
    return min(ids, key=lambda museum_id: len(busy.intersection(walk(museum_id, words)[:SHELF])))


def _words_beside(path: Path, base: Reader) -> set[str]:
    """What the other museums in the folder hold, and take next."""
    found: set[str] = set()
    for beside in sorted(path.parent.glob("*.safetensors")):
        with suppress(MuseumFileError):  # mostly other LoRAs
            if beside.name != path.name:
                ledger = read_ledger(beside)
                held = [*(word for record in ledger.styles for word in record.words), *ledger.retired_words]
                found.update(held, walk(ledger.museum_id, known_words(base))[: max(SHELF, len(held))])
    return found
