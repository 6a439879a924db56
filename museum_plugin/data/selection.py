"""Which pictures of the subsets are trained on: those that are large enough, and are not held out for validation."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path

from museum_plugin.config.problems import Problems
from museum_plugin.config.schema import DatasetConfig, SubsetConfig
from museum_plugin.data.buckets import Size
from museum_plugin.data.captions import whole_caption
from museum_plugin.data.picture import Batch, Picture
from museum_plugin.errors import DataError

log = logging.getLogger("museum")

Sources = Mapping[SubsetConfig, dict[Path, Size]]
"""The pictures of each subset with their sizes."""


def large_enough(
    sources: Sources, dataset: DatasetConfig, problems: Problems | None = None
) -> dict[SubsetConfig, dict[Path, Size]]:
    """The subsets of a dataset without the pictures of no more pixels than `skip_image_resolution`.

    Source: sd-scripts, which compares areas.

    Args:
        problems: where errors go; None raises the first one.
    Raises:
        DataError: none is left in a subset.
    """
    own = {subset: sources[subset] for subset in dataset.subsets}
    if dataset.skip_image_resolution is None:
        return own
    width, height = dataset.skip_image_resolution
    kept = {
        subset: {path: size for path, size in sizes.items() if size[0] * size[1] > width * height}
        for subset, sizes in own.items()
    }
    for subset, sizes in kept.items():
        if own[subset] and not sizes:
            told = (
                f"skip_image_resolution: all {len(own[subset])} pictures of {subset.metadata_file or subset.image_dir} "
                f"have no more pixels than {width}x{height}; give a smaller one"
            )
            (problems or Problems()).note(DataError(told))
    total = len(set().union(*own.values()))
    if skipped := total - len(set().union(*kept.values())):
        log.info("%d of %d pictures have no more pixels than %dx%d and are skipped", skipped, total, width, height)
    return kept


def held_out(datasets: Iterable[tuple[DatasetConfig, Sources]], digest: Callable[[Path], str]) -> frozenset[Path]:
    """The pictures that are never trained on (`validation_split`).

    Subset by subset the pictures are shuffled by `validation_seed` and the last round(n * split) are held out. Pictures
    with the same bytes stay on one side, in whatever subset and dataset they are: where a whole group is too many, it
    is trained on. Regularisation pictures are not split.

    Source: sd-scripts. Ours: without a seed it is 0, a picture is never on both sides, and copies count as one.

    Args:
        datasets: each with the pictures of its subsets that are large enough.
        digest: of a picture's bytes; not called where nothing is held out.
    """
    datasets = list(datasets)
    if all(dataset.validation_split == 0 for dataset, _ in datasets):
        return frozenset()
    known = cache(digest)
    is_held: dict[str, bool] = {}
    for dataset, sources in datasets:
        for subset in dict.fromkeys(subset for subset in dataset.subsets if not subset.is_reg):
            order = list(sources[subset])
            random.Random(dataset.validation_seed or 0).shuffle(order)
            _split(Counter(map(known, reversed(order))), round(len(order) * dataset.validation_split), is_held)
    every = {path for _, sources in datasets for paths in sources.values() for path in paths}
    return frozenset(path for path in every if is_held.get(known(path), False))


def _split(copies: Counter[str], wanted: int, is_held: dict[str, bool]) -> None:
    """Decide for each group of equal pictures, in their order; what was decided before stays so."""
    count = sum(copies[content] for content in copies if is_held.get(content, False))
    for content, number in copies.items():
        if content not in is_held:
            is_held[content] = count + number <= wanted
            count += number * is_held[content]


def without(pictures: list[Picture], held: frozenset[Path]) -> list[Picture]:
    """The pictures that are not held out.

    Raises:
        DataError: there were some and all are held out.
    """
    kept = [picture for picture in pictures if picture.path not in held]
    if pictures and not kept:
        raise DataError(
            f"validation_split: all {len(pictures)} pictures of {pictures[0].path.parent} are held out, so there is "
            "nothing to learn from; give a smaller one"
        )
    return kept


def validation_batches(pictures: list[Picture], dataset: DatasetConfig) -> tuple[Batch, ...]:
    """Held-out pictures in batches of one size, in order, with whole captions; none without `validation_split`."""
    if dataset.validation_split == 0:
        return ()
    buckets: dict[Size, list[Picture]] = {}
    for picture in pictures:
        buckets.setdefault(picture.placement.bucket, []).append(picture)
    batches = []
    for members in buckets.values():
        for start in range(0, len(members), dataset.batch_size):
            part = members[start : start + dataset.batch_size]
            captions = [whole_caption(picture.caption, picture.subset) for picture in part]
            batches.append(Batch(part, captions, [False] * len(part)))
    return tuple(batches)
