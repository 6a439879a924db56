"""What `check` finds out: the same checks as before training, none of which stops at the first problem."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from museum_plugin.base.folder import BaseOutline
from museum_plugin.base.text_encoding import TextEncoding, count_tokens
from museum_plugin.cli.check_capacity import capacity_of
from museum_plugin.cli.check_first_look import FirstLook, first_look
from museum_plugin.cli.check_memory import MemoryReport, memory_of
from museum_plugin.cli.check_model import clients_of, known_ledger, museum_id_of, outline_of, resumed
from museum_plugin.config.arguments import gather_command_line
from museum_plugin.config.problems import Problems
from museum_plugin.config.schema import RunConfig
from museum_plugin.data.dataset import StyleDataset
from museum_plugin.data.images import unreadable
from museum_plugin.data.inspection import (
    BucketCount,
    CaptionSurvey,
    Cropping,
    bucket_counts,
    cropping,
    survey_captions,
)
from museum_plugin.data.picture import check_mask
from museum_plugin.errors import NoRoomError, NotFiniteError
from museum_plugin.museum.history import history_folder
from museum_plugin.museum.ledger import Ledger
from museum_plugin.train.batch_order import BatchOrder
from museum_plugin.train.calendar import Calendar, calendar_for, preview_due, saves_due
from museum_plugin.train.paths import (
    checkpoint_file,
    grid_file,
    latents_folder,
    matrix_file,
    museum_file,
    run_stem,
)
from museum_plugin.train.plan import PlannedStyle, plan_styles
from museum_plugin.train.start import (
    check_run,
)

log = logging.getLogger("museum")
UNKNOWN_TIME = "not known before the first steps (--forecast)"


@dataclass(frozen=True)
class StyleReport:
    """What is known of one style before it is taught."""

    name: str
    is_taught: bool
    """The museum has it already: it is skipped."""
    trigger: str | None
    """The word(s) it will get, or has; None: a plain LoRA, or not known because of a problem."""
    pictures: int
    """That can be used; regularisation pictures are not among them."""
    regularization_pictures: int
    validation_pictures: int
    """Held out, never trained on."""
    repeats: tuple[tuple[int, int], ...]
    """num_repeats, and how many pictures have it."""
    shown: int
    """Pictures in an epoch, repeats counted."""
    buckets: tuple[BucketCount, ...]
    cropping: Cropping
    captions: CaptionSurvey
    batches_per_epoch: int
    steps: int
    """Optimizer steps."""
    epochs: float | None
    files: dict[str, str]
    """What is written after it or while it is learned -> where."""


@dataclass(frozen=True)
class Report:
    """All that `check` says."""

    base: str
    museum: str | None
    known_styles: tuple[str, ...]
    """Those that the museum holds already."""
    resumes: str | None
    """The style that goes on from a checkpoint, and where."""
    expected_time: str
    styles: tuple[StyleReport, ...]
    files: dict[str, str]
    """What the whole run writes -> where."""
    clients: tuple[str, ...]
    """What each program that draws does with the museum file as it is now, one line each; none where there is none."""
    capacity: tuple[str, ...]
    """How full the museum is, and what can be done; none where there is no museum yet."""
    memory: MemoryReport | None
    """What a card will need; None: not known."""
    first_look: FirstLook | None
    """What loading the base and a few steps tell; None where that was not asked for, or nothing is to be taught."""
    warnings: tuple[str, ...]
    problems: tuple[str, ...]
    """What training would refuse, one line each."""


def examine(argv: Sequence[str], vram: float | None = None, *, look: bool = False) -> Report:
    """Read, open and compare everything that a run with this command line would use.

    Args:
        vram: GiB of the card that is asked about; None: the one that is there.
        look: also load the base model and look at the first steps, where nothing else is wrong.
    """
    problems, warnings = Problems(gather=True), list[str]()
    with _heard(warnings):
        run = gather_command_line(argv, problems)
        check_run(run, problems)
        base = outline_of(run, problems)
        ledger = known_ledger(run, base, problems)
        datasets, whole = _datasets(run, problems)
        known = {record.name: record for record in ledger.styles} if ledger else {}
        pairs = list(zip(run.styles, datasets, strict=True))
        comparable = [pair for pair, sound in zip(pairs, whole, strict=True) if sound or pair[0].name not in known]
        museum_id = museum_id_of(run, base, ledger, problems)
        planned = plan_styles(ledger, base, comparable, run.slot.vectors, problems, museum_id)
        plans = {id(p.style): p for p in planned}
        styles = []
        number = len(known)
        for style, dataset in pairs:
            plan = plans.get(id(style), PlannedStyle(style, dataset, is_taught=True))
            number += not plan.is_taught
            trigger = known[style.name].trigger if style.name in known else " ".join(plan.words) or None
            styles.append(_style_report(run, plan, trigger, base, number))
        resumes, memory, seen = None, None, None
        to_teach = [plan for plan in plans.values() if not plan.is_taught]
        with problems:
            resumes = resumed(run, to_teach, tuple(known), problems)
        if base is not None and not problems.found:
            memory = _forecast(run, base, to_teach, ledger, vram)
        with problems:
            seen = _looked(run, to_teach) if look and not problems.found else None
    return Report(
        base=f"{base.name} ({base.family.name}, {base.prediction_type})" if base else str(run.base.path),
        museum=str(run.output.museum) if run.output.museum else None,
        known_styles=tuple(known),
        resumes=resumes,
        expected_time=seen.time if seen else UNKNOWN_TIME,
        styles=tuple(styles),
        files=_files(run),
        clients=clients_of(run),
        capacity=capacity_of(run, base),
        memory=memory,
        first_look=seen,
        warnings=tuple(dict.fromkeys([*warnings, *_thoughts(styles)])),
        problems=tuple(" ".join(str(error).split()) for error in problems.found),
    )


def _forecast(
    run: RunConfig, base: BaseOutline, plans: list[PlannedStyle], ledger: Ledger | None, vram: float | None
) -> MemoryReport | None:
    try:
        return memory_of(run, base, plans, ledger, vram)
    except Exception as error:  # it stands on inner parts of torch; a run needs none of them
        log.warning("memory: it could not be forecast here: %s", error)
        return None


def _looked(run: RunConfig, plans: list[PlannedStyle]) -> FirstLook | None:
    """A first look; where it fails for lack of memory or by its numbers, a warning: a run may still be possible."""
    try:
        return first_look(run, plans)
    except (NoRoomError, NotFiniteError) as error:
        log.warning("--forecast: %s", error)
        return None


@contextmanager
def _heard(warnings: list[str]) -> Iterator[None]:
    """While inside, our own warnings are collected instead of shown, and all else we say is dropped."""
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: warnings.append(" ".join(record.getMessage().split()))  # type: ignore[method-assign]
    passed_on = log.propagate
    log.addHandler(handler)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = passed_on


def _datasets(run: RunConfig, problems: Problems) -> tuple[list[StyleDataset], list[bool]]:
    """The usable pictures of each style, all decoded once with their masks, and whether nothing is wrong with them."""
    datasets, whole = [], []
    for style in run.styles:
        before = len(problems.found)
        dataset = StyleDataset(style, prior_loss_weight=run.loss.prior_loss_weight, problems=problems)
        for error in unreadable(dataset.files()):
            problems.note(error)
        for picture in [*dataset.pictures, *dataset.held_out()]:
            with problems:
                check_mask(picture)
        datasets.append(dataset)
        whole.append(len(problems.found) == before)
    return datasets, whole


def _style_report(
    run: RunConfig, plan: PlannedStyle, trigger: str | None, base: BaseOutline | None, number: int
) -> StyleReport:
    dataset = plan.dataset
    learned = [picture for picture in dataset.pictures if not picture.subset.is_reg]
    batches = dataset.batches_per_epoch
    calendar = calendar_for(run.training, BatchOrder(max(1, batches), run.training.gradient_accumulation_steps))
    return StyleReport(
        name=plan.style.name or "LoRA",
        is_taught=plan.is_taught,
        trigger=trigger,
        pictures=len(learned),
        regularization_pictures=len(dataset.pictures) - len(learned),
        validation_pictures=len(dataset.held_out()),
        repeats=tuple(sorted(Counter(picture.subset.num_repeats for picture in learned).items())),
        shown=sum(dataset.times_shown().values()),
        buckets=bucket_counts(dataset),
        cropping=cropping(dataset.pictures),
        captions=_captions(dataset, trigger or "", base, TextEncoding.of(run.base)),
        batches_per_epoch=batches,
        steps=calendar.steps,
        epochs=calendar.steps / calendar.steps_per_epoch if batches else None,
        files={} if plan.is_taught else _style_files(run, plan, number, calendar),
    )


def _captions(dataset: StyleDataset, phrase: str, base: BaseOutline | None, text: TextEncoding) -> CaptionSurvey:
    count = partial(count_tokens, base.tokenizers[0], text=text) if base else None
    return survey_captions(dataset.pictures, phrase, count, text.max_token_length)


def _style_files(run: RunConfig, plan: PlannedStyle, number: int, calendar: Calendar) -> dict[str, str]:
    output, name = run.output, plan.style.name
    stem, steps = run_stem(run, name or ""), range(calendar.steps + 1)
    files = {}
    if name:
        files["grid"], files["matrix"] = str(grid_file(output, number, name)), str(matrix_file(output, number, name))
    drawn = [due for done in steps if (due := preview_due(run.preview, calendar, done))]
    if drawn:
        files["previews"] = f"{output.output_dir / 'sample' / f'{stem}_{drawn[0]}_00_*.png'}, {len(drawn)} times"
    saved = [save for done in steps[1:] for save in saves_due(output, calendar, done)]
    if saved:
        files["saves"] = f"{output.output_dir / f'{stem}{saved[0].suffix}.safetensors'}, {len(saved)} times"
    return files


def _files(run: RunConfig) -> dict[str, str]:
    output = run.output
    path = museum_file(output)
    kept = f"{history_folder(path)}, {output.keep_history} earlier versions at most"
    files = {"museum" if output.museum else "LoRA": str(path), "history": kept if output.keep_history else "none"}
    if output.museum and output.export_for:
        stems = [str(output.output_dir / f"{path.stem}-{name}") for name in output.export_for]
        files["export"] = f"{', '.join(stems)}, at the end"
    files["checkpoint"] = f"{checkpoint_file(output)}, until the style is finished"
    if run.training.cache_latents_to_disk:
        files["latents"] = str(latents_folder(output))
    folder = f"{output.logging_dir}/{output.output_name}" if output.logging_dir else "wandb"
    files["logs"] = f"{folder}, for {output.log_with}" if output.log_with else "none"
    return files


def _thoughts(styles: Sequence[StyleReport]) -> list[str]:
    """What training accepts but a user may not have meant."""
    found = []
    for style in (style for style in styles if not style.is_taught):
        captions = style.captions
        if captions.too_long:
            found.append(
                f"{style.name}: {captions.too_long} captions are longer than the {captions.token_limit} tokens that "
                f"are read, the longest has {captions.most_tokens} ({captions.longest_caption}); shorten them"
            )
        if style.epochs is not None and style.epochs < 1:
            found.append(
                f"{style.name}: {style.steps} steps are less than one epoch, so some pictures are never seen; "
                "give more max_train_steps"
            )
    return found
