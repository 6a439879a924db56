"""Read captions, vary them, put the style's phrase in."""

from __future__ import annotations

import io
import random
import re
from pathlib import Path

from museum_plugin.config.schema import SubsetConfig
from museum_plugin.errors import DataError


def caption_file(picture: Path, subset: SubsetConfig) -> Path:
    """Where the caption of a picture is looked for: same folder, same stem, the subset's extension."""
    extension = subset.caption_extension
    return picture.with_name(picture.stem + (extension if extension.startswith(".") else "." + extension))


def read_caption(picture: Path, subset: SubsetConfig) -> str:
    """The first line of the caption file; without a file the class tokens, else nothing.

    An empty caption file is an empty caption. Source: sd-scripts. Ours: a byte order mark is dropped.

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
    return io.StringIO(text.removeprefix("\ufeff"), newline=None).readline().strip()


def augment_caption(caption: str, subset: SubsetConfig, rng: random.Random) -> str:
    """One random variant of a caption.

    Prefix and suffix; then dropout of the whole caption; then, if tags are shuffled or dropped: the first `keep_tokens`
    tags (the prefix counts) stay, the others are shuffled, each is dropped with its rate, all are joined by ", ".

    Source: sd-scripts.
    """
    caption = " ".join(part for part in (subset.caption_prefix, caption, subset.caption_suffix) if part)
    if subset.caption_dropout_rate > 0 and rng.random() < subset.caption_dropout_rate:
        return ""
    if not subset.shuffle_caption and subset.caption_tag_dropout_rate == 0:
        return caption
    tags = [tag.strip() for tag in caption.split(subset.caption_separator)]
    kept, loose = tags[: subset.keep_tokens], tags[subset.keep_tokens :]
    if subset.shuffle_caption:
        rng.shuffle(loose)
    if subset.caption_tag_dropout_rate > 0:
        loose = [tag for tag in loose if rng.random() >= subset.caption_tag_dropout_rate]
    return ", ".join(kept + loose)


def with_trigger(caption: str, phrase: str) -> str:
    """The caption with the style's phrase in it: unchanged if the phrase already stands there as whole words.

    Upper and lower case are the same, as they are for CLIP's tokenizer. Source: ours.
    """
    words = r"\s+".join(re.escape(word) for word in phrase.split())
    if re.search(rf"(?<!\w){words}(?!\w)", caption, re.IGNORECASE):
        return caption
    return f"{caption} in {phrase} style" if caption.strip() else f"{phrase} style"
