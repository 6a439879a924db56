"""What a check tells of pictures and captions: numbers, and the worst picture by name."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from museum_plugin.data.buckets import Placement
from museum_plugin.data.captions import caption_file, whole_caption, with_trigger
from museum_plugin.data.dataset import Picture, StyleDataset

_FREQUENT = 8


@dataclass(frozen=True)
class BucketCount:
    """How many pictures are trained at one size."""

    width: int
    height: int
    pictures: int
    shown: int
    """In an epoch, repeats counted."""


@dataclass(frozen=True)
class Cropping:
    """Which share of the pictures is lost at their edges, 0 to 1."""

    mean: float
    worst: float
    worst_picture: Path | None


@dataclass(frozen=True)
class CaptionSurvey:
    """What the captions of a style are like, those of regularisation pictures left out."""

    written: int
    """With a caption file, or with a text in the metadata file."""
    class_tokens: int
    """Without, but with class tokens in place of it."""
    missing: int
    """With neither."""
    duplicates: int
    """Captions that say the same as an earlier one."""
    with_trigger: int
    """Those that say the style's phrase themselves; it is put into all others."""
    distinct_tags: int
    frequent_tags: tuple[tuple[str, int], ...]
    """Tag, and how many captions have it; the most frequent of those that are in several."""
    token_limit: int | None
    """What a text encoder reads of a prompt; None: not known without the base model."""
    too_long: int | None
    """Prompts, with the style's phrase, that it does not read to the end."""
    most_tokens: int | None
    longest_caption: Path | None
    """The picture of the longest prompt."""


def cropped_share(placement: Placement) -> float:
    """Which share of a picture's area its bucket does not show."""
    return 1 - math.prod(placement.bucket) / math.prod(placement.resized)


def cropping(pictures: Sequence[Picture]) -> Cropping:
    """Mean and worst over the pictures; of equals the first."""
    if not pictures:
        return Cropping(0.0, 0.0, None)
    shares = [cropped_share(picture.placement) for picture in pictures]
    worst = shares.index(max(shares))
    return Cropping(sum(shares) / len(shares), shares[worst], pictures[worst].path)


def bucket_counts(dataset: StyleDataset) -> tuple[BucketCount, ...]:
    """The sizes that are trained, narrowest first."""
    shown = dataset.times_shown()
    pictures: Counter[tuple[int, int]] = Counter()
    times: Counter[tuple[int, int]] = Counter()
    for position, picture in enumerate(dataset.pictures):
        pictures[picture.placement.bucket] += 1
        times[picture.placement.bucket] += shown[position]
    return tuple(BucketCount(*size, pictures[size], times[size]) for size in sorted(pictures))


def survey_captions(
    pictures: Sequence[Picture], phrase: str, count_tokens: Callable[[list[str]], list[int]] | None, token_limit: int
) -> CaptionSurvey:
    """Look at the captions as they are learned, without anything drawn at random.

    Args:
        phrase: the style's words; "" if there are none.
        count_tokens: prompts -> tokens of each, without those at begin and end; None: nobody can.
        token_limit: how many of them the text encoder reads.
    """
    pictures = [picture for picture in pictures if not picture.subset.is_reg]
    captions = [whole_caption(picture.caption, picture.subset) for picture in pictures]
    files = [_is_written(picture) for picture in pictures]
    stand_ins = sum(
        p.subset.metadata_file is None and bool(p.subset.class_tokens) and not found
        for p, found in zip(pictures, files, strict=True)
    )
    said = Counter(caption for caption in captions if caption)
    tags = Counter(tag for p, c in zip(pictures, captions, strict=True) for tag in _tags(c, p.subset.caption_separator))
    prompts = [with_trigger(caption, phrase) for caption in captions] if phrase else captions
    lengths = count_tokens(prompts) if count_tokens is not None and prompts else []
    longest = max(range(len(lengths)), key=lengths.__getitem__, default=None)
    known = count_tokens is not None
    return CaptionSurvey(
        written=sum(files),
        class_tokens=stand_ins,
        missing=len(files) - sum(files) - stand_ins,
        duplicates=said.total() - len(said),
        with_trigger=sum(p == c for p, c in zip(prompts, captions, strict=True)) if phrase else 0,
        distinct_tags=len(tags),
        frequent_tags=tuple((tag, count) for tag, count in tags.most_common(_FREQUENT) if count > 1),
        token_limit=token_limit if known else None,
        too_long=sum(length > token_limit for length in lengths) if known else None,
        most_tokens=max(lengths, default=0) if known else None,
        longest_caption=None if longest is None else pictures[longest].path,
    )


def _is_written(picture: Picture) -> bool:
    """Whether the user wrote a caption; one in a metadata file stands in no file of its own."""
    if picture.subset.metadata_file is not None:
        return bool(picture.caption)
    return caption_file(picture.path, picture.subset).is_file()


def _tags(caption: str, separator: str) -> list[str]:
    """Each tag once, in order."""
    return [tag for tag in dict.fromkeys(part.strip() for part in caption.split(separator)) if tag]
