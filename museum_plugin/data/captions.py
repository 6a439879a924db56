"""Read captions, vary them, put the style's phrase in."""

from __future__ import annotations

import io
import math
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from museum_plugin.config.schema import SubsetConfig
from museum_plugin.errors import DataError

_JOIN = ", "
_REMEMBERED = 24
"""Captions of a style that the museum keeps."""
_FIELDS_OF_A_FACE = 4
"""Face-detection tools append this many `_` fields to the name of a picture they cut out."""
_OPEN, _CLOSE = "\x00", "\x01"
"""Stand for escaped braces while wildcards are replaced; a text file of captions holds no such characters."""


@dataclass(frozen=True)
class Progress:
    """How far the training of a style is; some captions depend on it."""

    epoch: int = 1
    """From 1."""
    step: int = 0
    """Optimizer steps that are done."""
    steps: int = 0
    """Optimizer steps in all."""


@dataclass(frozen=True)
class _Tags:
    """The parts of a caption: tags before and after the loose ones never move and are never dropped."""

    before: list[str]
    loose: list[str]
    after: list[str]


def caption_file(picture: Path, subset: SubsetConfig) -> Path:
    """Where the caption of a picture is: same folder, same stem, the subset's extension.

    Where there is none, the one of the stem without its last four `_` fields, if that exists: pictures cut out by face
    detection share the caption of the whole. Source: sd-scripts.
    """
    extension = subset.caption_extension
    extension = extension if extension.startswith(".") else "." + extension
    file = picture.with_name(picture.stem + extension)
    fields = picture.stem.split("_")
    whole = picture.with_name("_".join(fields[:-_FIELDS_OF_A_FACE]) + extension)
    return whole if len(fields) > _FIELDS_OF_A_FACE and not file.exists() and whole.exists() else file


def read_caption(picture: Path, subset: SubsetConfig) -> str:
    r"""The first line of the caption file; without a file the class tokens, else nothing.

    With `enable_wildcard` all lines that are not blank, joined by "\n". An empty caption file is an empty caption.
    Source: sd-scripts. Ours: a byte order mark is dropped.

    Raises:
        DataError: the file is not UTF-8, or may not be read.
    """
    file = caption_file(picture, subset)
    try:
        text = file.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return subset.class_tokens or ""
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file}: the caption is not UTF-8 (byte {error.start} is 0x{error.object[error.start]:02x}); "
            "save it as UTF-8"
        ) from None
    except OSError as error:
        raise DataError(f"{file}: the caption cannot be read ({error.strerror}); allow reading it") from None
    lines = io.StringIO(text.removeprefix("\ufeff"), newline=None)
    if not subset.enable_wildcard:
        return lines.readline().strip()
    return "\n".join(line.strip() for line in lines if line.strip())


def augment_caption(caption: str, subset: SubsetConfig, rng: random.Random, progress: Progress | None = None) -> str:
    r"""One random variant of a caption.

    In this order: the whole caption is dropped by its rate or its epoch; one line is taken (at random with
    `enable_wildcard`, else the first); prefix and suffix; `{a|b}`; tags are truncated by the warm-up, shuffled, dropped
    and joined by ", ", whatever `caption_separator` is; `secondary_separator` becomes `caption_separator`.

    Source: sd-scripts. Ours: prefix and suffix go to the line that was taken, so that none is lost, and no
    `keep_tokens_separator` is left in a caption, even when nothing is shuffled.

    Args:
        caption: lines are separated by "\n".
        rng: nothing is drawn for what is not asked for.
        progress: for the warm-up and the epochs without captions; without it the first step of the first epoch.
    """
    progress = progress or Progress()
    dropped = subset.caption_dropout_rate > 0 and rng.random() < subset.caption_dropout_rate
    every = subset.caption_dropout_every_n_epochs
    if dropped or (every > 0 and progress.epoch % every == 0):
        return ""
    caption = _decorated(_line(caption, subset, rng), subset)
    if subset.enable_wildcard:
        caption = replace_wildcards(caption, rng)
    if _has_tags(caption, subset):
        caption = _join(_vary_tags(_split_tags(caption, subset), subset, rng, progress))
    return _without_secondary(caption, subset)


def plain_caption(caption: str, subset: SubsetConfig) -> str:
    """What a caption says, as one line without anything that only steers its variation.

    The first line, the first of each `{a|b}`, no separators of ours. No prefix or suffix. Source: ours.
    """
    return _first_variant(caption.split("\n")[0], subset)


def contents_of(written: Iterable[tuple[str, SubsetConfig]], trigger: str) -> tuple[str, ...]:
    """What pictures show, without their style's trigger: up to 24 different captions, spread over all. Source: ours.

    Args:
        written: each picture's caption, and how it is read.
        trigger: the style's slot words; "" if there is none.
    """
    captions = tuple(dict.fromkeys(content_of(caption, subset, trigger) for caption, subset in written))
    stride = max(1, len(captions) // _REMEMBERED)
    return captions[::stride][:_REMEMBERED]


def content_of(caption: str, subset: SubsetConfig, trigger: str) -> str:
    """What one picture shows, without its style's trigger."""
    words = r"\s+".join(re.escape(word) for word in trigger.split())
    phrase = rf"(,?\s*\b(in|by)\s+)?(?<!\w){words}(?!\w)(\s+style)?" if words else r"(?!)"
    bare = re.sub(phrase, "", plain_caption(caption, subset), flags=re.IGNORECASE)
    return " ".join(bare.split()).strip(" ,")


def whole_caption(caption: str, subset: SubsetConfig) -> str:
    """As `augment_caption` with nothing drawn, shuffled, dropped or truncated: for pictures that are only looked at.

    Source: ours.
    """
    return _first_variant(_decorated(caption.split("\n")[0], subset), subset)


def _first_variant(line: str, subset: SubsetConfig) -> str:
    if subset.enable_wildcard:
        line = replace_wildcards(line, None)
    if subset.keep_tokens_separator and subset.keep_tokens_separator in line:
        line = _join(_split_tags(line, subset))
    return _without_secondary(line, subset)


def replace_wildcards(text: str, rng: random.Random | None) -> str:
    """Each `{a|b|c}` becomes one of its parts; `{{` and `}}` stand for braces. Source: sd-scripts.

    Args:
        rng: None takes the first part.
    """
    text = text.replace("{{", _OPEN).replace("}}", _CLOSE)

    def part(match: re.Match[str]) -> str:
        parts = match.group(1).split("|")
        return rng.choice(parts) if rng else parts[0]

    return re.sub(r"\{([^}]+)\}", part, text).replace(_OPEN, "{").replace(_CLOSE, "}")


def warmed_up_tags(count: int, subset: SubsetConfig, progress: Progress) -> int:
    """How many of `count` loose tags are shown during `token_warmup_step`: from `token_warmup_min` up to all.

        floor(step (count - min) / warmup) + min

    Source: sd-scripts; a `token_warmup_step` below 1 is a share of the steps in all, rounded down.
    """
    warmup = subset.token_warmup_step
    warmup = math.floor(warmup * progress.steps) if warmup < 1 else warmup
    if not warmup or progress.step >= warmup:
        return count
    return math.floor(progress.step * ((count - subset.token_warmup_min) / warmup)) + subset.token_warmup_min


def _line(caption: str, subset: SubsetConfig, rng: random.Random) -> str:
    if "\n" not in caption:
        return caption
    lines = caption.split("\n")
    return rng.choice(lines) if subset.enable_wildcard else lines[0]


def _decorated(caption: str, subset: SubsetConfig) -> str:
    return " ".join(part for part in (subset.caption_prefix, caption, subset.caption_suffix) if part)


def _has_tags(caption: str, subset: SubsetConfig) -> bool:
    """Whether a caption is treated as tags at all; else it stays as written."""
    varied = subset.shuffle_caption or subset.token_warmup_step > 0 or subset.caption_tag_dropout_rate > 0
    return varied or bool(subset.keep_tokens_separator and subset.keep_tokens_separator in caption)


def _split_tags(caption: str, subset: SubsetConfig) -> _Tags:
    """With `keep_tokens_separator` the parts around it: before, loose, after; else the first `keep_tokens` stay."""
    mark, separator = subset.keep_tokens_separator, subset.caption_separator
    if mark and mark in caption:
        parts = [*caption.split(mark, 2), ""][:3]
        parts[2] = parts[2].replace(mark, separator)
        before, loose, after = ([tag.strip() for tag in part.split(separator) if tag.strip()] for part in parts)
        return _Tags(before, loose, after)
    tags = [tag.strip() for tag in caption.strip().split(separator)]
    return _Tags(tags[: subset.keep_tokens], tags[subset.keep_tokens :], [])


def _vary_tags(tags: _Tags, subset: SubsetConfig, rng: random.Random, progress: Progress) -> _Tags:
    loose = tags.loose[: warmed_up_tags(len(tags.loose), subset, progress)]
    if subset.shuffle_caption:
        rng.shuffle(loose)
    if subset.caption_tag_dropout_rate > 0:
        loose = [tag for tag in loose if rng.random() >= subset.caption_tag_dropout_rate]
    return _Tags(tags.before, loose, tags.after)


def _join(tags: _Tags) -> str:
    return _JOIN.join(tags.before + tags.loose + tags.after)


def _without_secondary(caption: str, subset: SubsetConfig) -> str:
    secondary = subset.secondary_separator
    return caption.replace(secondary, subset.caption_separator) if secondary else caption


def with_trigger(caption: str, phrase: str) -> str:
    """The caption with the style's phrase in it: unchanged if the phrase already stands there as whole words.

    Upper and lower case are the same, as they are for CLIP's tokenizer. Source: ours.
    """
    words = r"\s+".join(re.escape(word) for word in phrase.split())
    if re.search(rf"(?<!\w){words}(?!\w)", caption, re.IGNORECASE):
        return caption
    if words.rpartition(r"\s+")[2].lower() != "style":
        phrase += " style"
    return f"{caption} in {phrase}" if caption.strip() else phrase
