"""The page's sections about styles: what was kept, the retention matrix, trigger confusion, the ledger."""

from __future__ import annotations

import math
from html import escape

from museum_plugin.judge.charts import bar, heat_map
from museum_plugin.judge.matrix import percent
from museum_plugin.judge.page_content import PageContent
from museum_plugin.judge.retention import BASE, MEASURABLE
from museum_plugin.museum.ledger import StyleRecord


def styles_section(content: PageContent) -> str:
    """What each style keeps of its first score, with the other measures below."""
    rows = "".join(_style_row(content, record) for record in content.ledger.styles)
    return (
        '<section><h2>What was kept of each style</h2><p class="note">The bar is the score now, the mark is the score '
        f'right after the style was learned.</p><ul class="styles">{rows}</ul></section>'
    )


def _style_row(content: PageContent, record: StyleRecord) -> str:
    verdict, name = content.findings.verdict, record.name
    title = f'<b>{escape(name)}</b> <code class="trigger">{escape(record.trigger)}</code>'
    if name not in verdict.scores:
        return f'<li><span class="name">{title}</span><span></span><span class="kept">–</span></li>'
    now, was = verdict.scores[name], content.findings.learned.get(name)
    if was is None:
        kept = "new"
    elif was < MEASURABLE:
        kept = "too near the base to tell"
    else:
        kept = f"{percent(verdict.kept({name: was})[name])} kept"
    return (
        f'<li><span class="name">{title}</span>{bar(now, was)}<span class="kept">{kept}</span>'
        f'<span class="more">{escape(_more(content, name))}</span></li>'
    )


def _more(content: PageContent, name: str) -> str:
    findings = content.findings
    now, was = findings.verdict.scores[name], findings.learned.get(name)
    parts = [f"score {now:.2f}" if was is None else f"score {was:.2f} → {now:.2f}"]
    if name in findings.prediction_drift:
        parts.append(f"predictions moved {findings.prediction_drift[name]:.2f}")
    if name in findings.statistics_shift:
        parts.append(f"pictures moved {findings.statistics_shift[name]:.2f} of the way to the base")
    if name in findings.verdict.effect_kept:
        kept, moved = findings.verdict.effect_kept[name], findings.verdict.pictures_moved[name]
        parts.append(f"since it was learned: {percent(max(0.0, kept))} of its effect kept, pictures moved {moved:.2f}")
    parts.append(f"{percent(findings.confusion[name][name])} seen as {name}")
    if name in findings.memorization:
        memory = findings.memorization[name]
        parts.append(f"{memory.copies} of {len(memory.ratios)} pictures look like copies")
    if name in content.seen:
        parts.append(f"by {content.backbone}: {content.seen[name].sentence()}")
    return " · ".join(parts)


def matrix_section(content: PageContent) -> str:
    """The retention matrix as a heat map."""
    names, matrix = content.ledger.retention_matrix()
    values = [[math.nan if score is None else score for score in row] for row in matrix]
    picture = heat_map(names, names, values, title="Retention matrix")
    return (
        '<section><h2>Retention matrix</h2><p class="note">A row for each lesson: the score of every style after it. '
        f'Read down a column: a style that fades is being forgotten.</p><div class="scroll">{picture}</div></section>'
    )


def confusion_section(content: PageContent) -> str:
    """As what each trigger's pictures are seen, as a heat map."""
    confusion = content.findings.confusion
    columns = [*confusion, BASE]
    values = [[row.get(column, 0.0) for column in columns] for row in confusion.values()]
    picture = heat_map(
        list(confusion), columns, values, title="Trigger confusion", figure=lambda share: f"{100 * share:.0f} %"
    )
    return (
        '<section><h2>Trigger confusion</h2><p class="note">Each row: pictures of one trigger, and as which style they '
        f'are seen. All is well where the diagonal is dark.</p><div class="scroll">{picture}</div></section>'
    )


def ledger_section(content: PageContent) -> str:
    """The record of the styles, and what the museum is."""
    ledger = content.ledger
    head = ("#", "style", "trigger", "taught", "steps", "pictures", "method")
    cells = [
        (str(number), r.name, r.trigger, r.taught_at[:10], f"{r.steps:,}", str(r.pictures), r.method)
        for number, r in enumerate(ledger.styles, start=1)
    ]
    numeric = {0, 4, 5}

    def line(tag: str, row: tuple[str, ...]) -> str:
        marks = [' class="number"' if i in numeric else "" for i in range(len(row))]
        return "<tr>" + "".join(f"<{tag}{m}>{escape(c)}</{tag}>" for m, c in zip(marks, row, strict=True)) + "</tr>"

    exhibition = {name: value for name, value in ledger.extra.get("exhibition", {}).items() if name != "prompts"}
    facts = {
        "id": ledger.museum_id,
        "base": f"{ledger.base.name} ({ledger.base.family}, {ledger.base.prediction_type})",
        "LoRA": f"rank {ledger.network.rank}, alpha {ledger.network.alpha:g}, {len(ledger.network.targets)} modules",
        "drawn": ", ".join(f"{name} {value}" for name, value in exhibition.items()),
        "compared with": content.before_name or "the base model",
    }
    told = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    return (
        '<section><h2>Ledger</h2><div class="scroll"><table class="ledger"><thead>'
        f"{line('th', head)}</thead><tbody>{''.join(line('td', row) for row in cells)}</tbody></table></div>"
        f"<dl>{told}</dl></section>"
    )
