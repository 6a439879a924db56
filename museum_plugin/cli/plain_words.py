"""`export --for plain`: the base model, and what is learned on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

from museum_plugin.base.text_encoding import TextEncoding
from museum_plugin.cli.museum_base import base_to_draw_with
from museum_plugin.export.plain_words import PlainPlan, PlainWords, learn_plain_words
from museum_plugin.museum.file import MuseumContent
from museum_plugin.museum.store import museum_of


def plain_words_of(path: Path, content: MuseumContent, chosen: Path | None) -> Callable[[Sequence[str]], PlainWords]:
    """What teaches a museum's text encoders the words of its slots, once it is asked for.

    Args:
        path: the museum file.
        chosen: the base model that the user named.
    """

    def learned(styles: Sequence[str]) -> PlainWords:
        museum = museum_of(content, base_to_draw_with(path, content.ledger, chosen), path)
        text = TextEncoding.from_dict(content.ledger.styles[-1].settings)
        plan = PlainPlan()
        with museum.attached(), tqdm(total=plan.steps, desc="plain words", leave=False, disable=None) as bar:
            return learn_plain_words(museum, styles, text, plan, lambda _: bar.update())

    return learned
