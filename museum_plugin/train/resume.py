"""Where a style goes on: from the state that `--resume` names, or from where an earlier run was broken off."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from museum_plugin.base.load import BaseModel
from museum_plugin.config.flags import describe
from museum_plugin.config.schema import OutputConfig, RunConfig, StyleData
from museum_plugin.data.dataset import StyleDataset
from museum_plugin.errors import ConfigError
from museum_plugin.museum.file import read_museum
from museum_plugin.museum.ledger import Ledger
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.new_id import new_museum_id
from museum_plugin.museum.store import open_museum
from museum_plugin.museum.triggers import Reader
from museum_plugin.train.checkpoint import DIGESTS, Origin, read_state, require_same, unfinished_style
from museum_plugin.train.identity import pictures_in_words, settings_identity
from museum_plugin.train.paths import checkpoint_file


def museum_of_state(output: OutputConfig, base: BaseModel) -> Museum | None:
    """The museum that the state of `--resume` was begun with; None where it began a new one, or without `--resume`.

    Raises:
        ConfigError: there is no such state.
        MuseumFileError: it belongs to another base.
    """
    with _file_of_state(output) as path:
        return open_museum(path, base) if path is not None else None


def id_to_begin_with(run: RunConfig, base: Reader) -> str:
    """The id of a museum that this run begins: that of the state it goes on from, else a new one.

    Raises:
        ConfigError: a state is damaged.
    """
    if run.output.museum is None:
        return uuid.uuid4().hex
    for path in (checkpoint_file(run.output), run.output.resume):
        told = read_state(path).get("museum_id") if path is not None and path.exists() else None
        if told:
            return str(told)
    first = run.styles[0].name if run.styles else None
    return new_museum_id(run.output.museum, base, run.base.path.name, first or "")


def ledger_of_state(output: OutputConfig) -> Ledger | None:
    """The ledger of that museum.

    Raises:
        ConfigError: there is no such state.
    """
    with _file_of_state(output) as path:
        return read_museum(path).ledger if path is not None else None


@contextmanager
def _file_of_state(output: OutputConfig) -> Iterator[Path | None]:
    content = None
    if output.resume is not None and output.museum is not None:
        content = read_state(output.resume).get("museum_file")
    if content is None or output.museum is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / output.museum.name
        path.write_bytes(content.numpy().tobytes())
        yield path


def check_resume(output: OutputConfig, finished: Iterable[str], to_teach: Iterable[str]) -> None:
    """Refuse a state whose style this run does not teach.

    Args:
        finished: the styles of the museum.
        to_teach: names of styles; "" for a plain LoRA.
    Raises:
        ConfigError: there is no such state, or its style is another.
    """
    if output.resume is None:
        return
    style, names = read_state(output.resume)["style"], list(to_teach)
    if style in names:
        return
    if style in finished:
        raise ConfigError(
            f"{output.resume}: style {style!r} of this state is finished in {output.museum} already; roll the museum "
            "back, or give --museum a new path: the state knows the museum it was begun with"
        )
    allowed = ", ".join(name or "a plain LoRA" for name in names) or "none, every style is taught"
    raise ConfigError(f"{output.resume}: found a state of {style or 'a plain LoRA'}, allowed in this run: {allowed}")


def check_settings(state: dict[str, Any], run: RunConfig, style: StyleData, dataset: StyleDataset) -> None:
    """Refuse a state of other flags or pictures; museum and base, whose digests need their weights, count as equal.

    Raises:
        ConfigError: names the first difference.
    """
    own = settings_identity(describe(replace(run, styles=(style,))))
    pictures, *others = DIGESTS
    own |= {pictures: dataset.fingerprint, **{name: state["identity"].get(name) for name in others}}
    words = {pictures: pictures_in_words(dataset)}
    require_same(state, Origin(state["style"], own, words))


def state_to_go_on_from(
    output: OutputConfig, unfinished: Path, origin: Origin, finished: tuple[str, ...]
) -> dict[str, Any]:
    """The latest state of this style; {} to begin it.

    Args:
        unfinished: where a run that was broken off left its state.
        finished: the styles of the museum; a state of one of them was left behind and counts as none.
    Raises:
        ConfigError: a state is damaged, or of another run; names the first difference.
    """
    left = read_state(unfinished) if unfinished.exists() else {}
    if left and left["style"] in finished:
        left = {}
    if left and left["style"] != origin.style:
        raise unfinished_style(unfinished, left["style"])
    if output.resume is not None:
        told = read_state(output.resume)
        if told["style"] == origin.style:
            require_same(told, origin)
            if left:
                require_same(left, origin, f"go on from {output.resume}")
            return left if left and left["step"] > told["step"] else told
    if left:
        require_same(left, origin)
    return left
