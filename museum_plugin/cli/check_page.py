"""What `check` prints: facts that fit 100 columns, then warnings and problems, a line each however long."""

from __future__ import annotations

from museum_plugin.cli.check_first_look import first_look_lines
from museum_plugin.cli.check_memory import memory_lines
from museum_plugin.cli.check_report import Report, StyleReport
from museum_plugin.cli.text_lines import counted, entry, indented, printable, table

WIDTH = 100
"""Columns of a terminal."""


def report_lines(report: Report) -> list[str]:
    """The whole page."""
    known = ", ".join(report.known_styles) or "none"
    lines = [
        *_entry("base", report.base),
        *_entry("museum", f"{report.museum}; holds: {known}" if report.museum else "none: a plain LoRA"),
        *(_entry("goes on", report.resumes) if report.resumes else []),
        *_entry("time", report.expected_time),
    ]
    for style in report.styles:
        lines += ["", *style_lines(style)]
    lines += ["", "what is written", *_indented_entries(report.files)]
    if report.clients:
        lines += ["", "the museum file in other programs", *[f"  {printable(text)}" for text in report.clients]]
    if report.capacity:
        lines += ["", "how full the museum is", *[f"  {printable(text)}" for text in report.capacity]]
    if report.memory:
        rows = [line for title, text in memory_lines(report.memory) for line in entry(title, text, width=WIDTH - 2)]
        lines += ["", "memory on a card, a forecast", *indented(rows)]
    if report.first_look:
        rows = [line for title, text in first_look_lines(report.first_look) for line in _entry(title, text)]
        lines += ["", f"what {report.first_look.style} leaves of older styles, a forecast", *indented(rows)]
    for title, texts in (("warnings", report.warnings), ("problems", report.problems)):
        lines += ["", f"{title}: {len(texts) or 'none'}", *[f"  {printable(text)}" for text in texts]]
    return lines


def style_lines(style: StyleReport) -> list[str]:
    """What is known of one style."""
    rows = {
        "pictures": _pictures(style),
        "cropped": _cropped(style),
        "captions": _captions(style),
        "tokens": _tokens(style),
        "tags": _tags(style),
        "length": _length(style),
        **style.files,
    }
    if style.is_taught:
        trigger = f", trigger {style.trigger}" if style.trigger else ""
        return [*_entry("style", f"{style.name}: in the museum already, skipped{trigger}")]
    heading = f"{style.name}: new, trigger {style.trigger or 'none'}"
    buckets = [(f"{b.width}x{b.height}", str(b.pictures), str(b.shown)) for b in style.buckets]
    shown = table([("bucket", "pictures", "shown an epoch"), *buckets], right=(0, 1, 2)) if buckets else []
    return [*_entry("style", heading), *_indented_entries(rows), *indented(shown)]


def _pictures(style: StyleReport) -> str:
    repeats = ", ".join(f"{count} with {counted(times, 'repeat')}" for times, count in style.repeats)
    prior = f"; {style.regularization_pictures} for regularisation" if style.regularization_pictures else ""
    held = f"; {style.validation_pictures} held out for validation" if style.validation_pictures else ""
    return f"{style.pictures}{f' ({repeats})' if repeats else ''}{prior}{held}; {style.shown} shown an epoch"


def _cropped(style: StyleReport) -> str:
    lost = style.cropping
    worst = f", worst {lost.worst:.1%} ({lost.worst_picture})" if lost.worst > 0 else ""
    return f"{lost.mean:.1%} of a picture is lost on average{worst}"


def _captions(style: StyleReport) -> str:
    found = style.captions
    parts = [f"{found.written} written", f"{found.class_tokens} by class tokens", f"{found.missing} missing"]
    parts.append(f"{found.duplicates} say the same as another")
    if style.trigger:
        parts.append(f"{found.with_trigger} say the trigger themselves")
    return ", ".join(parts)


def _tokens(style: StyleReport) -> str:
    found = style.captions
    if found.token_limit is None:
        return "not known without the base model"
    where = f" ({found.longest_caption})" if found.longest_caption else ""
    return f"{found.most_tokens} in the longest{where}, {found.token_limit} are read; {found.too_long} too long"


def _tags(style: StyleReport) -> str:
    found = style.captions
    frequent = ", ".join(f"{tag[:30]} {count}" for tag, count in found.frequent_tags)
    return f"{found.distinct_tags} different" + (f"; most frequent: {frequent}" if frequent else "")


def _length(style: StyleReport) -> str:
    if style.epochs is None:
        return counted(style.steps, "step")
    batches = f"{style.batches_per_epoch} batches" if style.batches_per_epoch != 1 else "1 batch"
    return f"{counted(style.steps, 'step')} = {style.epochs:.3g} epochs of {batches}"


def _entry(title: str, text: str) -> list[str]:
    return entry(title, text, width=WIDTH)


def _indented_entries(rows: dict[str, str]) -> list[str]:
    return indented(line for title, text in rows.items() for line in entry(title, text, width=WIDTH - 2))
