"""What is wrong: the first thing stops a run; a check wants to know all of it."""

from __future__ import annotations

from types import TracebackType

from museum_plugin.errors import MuseumError


class Problems:
    """Where the errors of a part go: raised at once, or, if they are gathered, kept while the work goes on.

    `with problems:` ends at an error inside; a gathered one is kept, and the work goes on after the block.
    """

    def __init__(self, *, gather: bool = False) -> None:
        self.gather = gather
        self.found: list[MuseumError] = []
        """What was kept, each message once, in the order in which it was met."""

    def note(self, error: MuseumError) -> None:
        """Keep an error, or raise it."""
        if not self.gather:
            raise error
        if str(error) not in [str(known) for known in self.found]:
            self.found.append(error)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        if not self.gather or not isinstance(error, MuseumError):
            return False
        self.note(error)
        return True
