"""What a museum draws each time it is judged: settled by its first lesson, and then the same for ever."""

from __future__ import annotations

from dataclasses import replace

from museum_plugin.base.sampler import SamplingPlan
from museum_plugin.config.schema import RunConfig
from museum_plugin.judge.as_learned import with_as_learned
from museum_plugin.judge.retention import Exhibition, look_at
from museum_plugin.museum.importing import METHOD
from museum_plugin.museum.ledger import AS_LEARNED, Ledger, StyleRecord
from museum_plugin.museum.museum import Museum

_EXHIBITED = 6


def with_exhibition(ledger: Ledger, run: RunConfig, captions: tuple[str, ...], plan: SamplingPlan) -> Ledger:
    """What is drawn for judging is settled by the first style, so that later verdicts can be compared with it.

    Args:
        captions: of the first style, without trigger; used where the run has no preview prompts.
    """
    if "exhibition" in ledger.extra:
        return ledger
    stride = max(1, len(captions) // _EXHIBITED)
    prompts = run.preview.prompts or captions[::stride]
    prompts = (prompts or ("",))[:_EXHIBITED]
    described = {"prompts": list(prompts), "seed": run.training.seed, **plan.to_dict()}
    return replace(ledger, extra={**ledger.extra, "exhibition": described})


def exhibition_of(ledger: Ledger) -> Exhibition:
    """What this museum draws for every verdict."""
    described = dict(ledger.extra["exhibition"])
    prompts, seed = tuple(described.pop("prompts")), described.pop("seed")
    return Exhibition(prompts, tuple(seed + i for i in range(len(prompts))), SamplingPlan.from_dict(described))


def is_unmeasured(record: StyleRecord) -> bool:
    """Whether a style came with another LoRA, or from an earlier Museum, and nothing has been taught since."""
    return AS_LEARNED not in record.extra and (_is_imported(record) or bool(record.signature))


def _is_imported(record: StyleRecord) -> bool:
    return record.method == METHOD and not record.signature


def measured(museum: Museum, ledger: Ledger) -> Ledger:
    """The ledger with what unmeasured styles do now: from here on they are held to that.

    Of imported ones it is a score of 1, since their own pictures, by which other styles are measured, are not known.

    Args:
        museum: attached, before the first lesson.
        ledger: with an exhibition.
    """
    seen = look_at(museum, exhibition_of(ledger), [record.name for record in ledger.styles if is_unmeasured(record)])
    styles = []
    for record in ledger.styles:
        if _is_imported(record):
            record = replace(record, signature=seen[record.name].drawn.to_dict(), scores={record.name: 1.0})
        styles.append(with_as_learned(record, seen[record.name]) if record.name in seen else record)
    return replace(ledger, styles=tuple(styles))
