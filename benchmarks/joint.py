"""`joint`, the upper reference: all styles taught at once, which no user can do who gets them one by one."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.lessons import JOINT, TRIGGERS, first_lesson
from museum_plugin.config.arguments import parse_command_line
from museum_plugin.config.schema import RunConfig, StyleData
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.slots import Slot
from museum_plugin.train.loop import teach_style
from museum_plugin.train.stop import StopRequest


def teach_jointly(run: RunConfig, styles: list[str]) -> Museum:
    """Train on the pictures of all styles, mixed, each with its own trigger, for as many steps as the styles together.

    Args:
        run: the configuration of one style; its data are replaced.
    Returns:
        The museum, detached.
    """
    words = tuple(TRIGGERS[style] for style in styles)
    datasets = []
    for style, word in zip(styles, words, strict=True):
        for dataset in parse_command_line([f"--dataset_config=examples/styles/{style}.toml"]).styles[0].datasets:
            subsets = tuple(replace(subset, caption_suffix=f"in {word} style") for subset in dataset.subsets)
            datasets.append(replace(dataset, subsets=subsets))
    data = StyleData(JOINT, " ".join(words), tuple(datasets))
    run = replace(
        run,
        styles=(data,),
        slot=replace(run.slot, vectors=len(words)),
        training=replace(run.training, steps=run.training.steps * len(styles)),
    )
    with first_lesson(run) as (room, lesson):
        # Captions name their style themselves, so nothing is to be added to them.
        teach_style(room, replace(lesson, phrase=""), StopRequest())
    museum = room.museum
    slot = museum.slots.slots.pop(JOINT)
    for i, style in enumerate(styles):
        vectors = tuple(vector[i : i + 1].detach().clone() for vector in slot.vectors)
        museum.slots.add(Slot(style, (words[i],), (slot.token_ids[i],), vectors))
    return museum
