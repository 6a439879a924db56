"""The page's sections of pictures: the grid, and drawn pictures beside the training pictures they come nearest to."""

from __future__ import annotations

import base64
import io
from html import escape

from PIL import Image

from museum_plugin.judge.memorization import COPIED
from museum_plugin.judge.page_content import PageContent
from museum_plugin.judge.retention import BASE

_LONGEST = 288
"""Pixels of the longer side in the page: twice what is shown, for sharp screens."""
_QUALITY = 88


def embedded(picture: Image.Image, title: str) -> str:
    """A picture inside the page."""
    small = picture.convert("RGB")
    small.thumbnail((_LONGEST, _LONGEST), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=_QUALITY)
    data = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<img src="data:image/webp;base64,{data}" width="{small.width}" height="{small.height}" '
        f'alt="{escape(title)}" title="{escape(title)}">'
    )


def grid_section(content: PageContent) -> str:
    """A row for each prompt, a column for each who draws; before and now where there is a museum before."""
    columns = list(content.now)
    heads = "".join(_column_head(content, column) for column in columns)
    corner = '<th aria-label="which museum"></th>' if content.before else ""
    rows = "".join(_prompt_rows(content, columns, i) for i in range(len(content.prompts)))
    told = "The same seeds in every column"
    if content.before:
        told += f", by the museum before ({escape(content.before_name)}) and by this one"
    return (
        f'<section><h2>Pictures</h2><p class="note">{told}.</p><div class="scroll"><table class="grid" '
        f'style="--columns: {len(columns)}">'
        f"<thead><tr>{corner}{heads}</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _column_head(content: PageContent, column: str) -> str:
    phrase = content.phrase(column)
    code = f"<code>{escape(phrase)}</code>" if phrase else "<code>&nbsp;</code>"
    return f'<th scope="col">{escape(column)}{code}</th>'


def _prompt_rows(content: PageContent, columns: list[str], i: int) -> str:
    prompt = content.prompts[i]
    width = len(columns) + bool(content.before)
    title = f'<tr class="prompt"><th colspan="{width}"><span>{escape(prompt) or "(no words)"}</span></th></tr>'

    def cell(column: str, when: str) -> str:
        return f"<td>{embedded(content.now[column][i], f'{column}{when}: {prompt}')}</td>"

    if not content.before:
        return f"{title}<tr>{''.join(cell(column, '') for column in columns)}</tr>"
    before = "".join(
        f"<td>{embedded(content.before[column][i], f'{column}, before: {prompt}')}</td>"
        if column in content.before
        else f'<td rowspan="2">{embedded(content.now[column][i], f"{column}: {prompt}")}</td>'
        if column == BASE
        else "<td>–</td>"
        for column in columns
    )
    now = "".join(cell(column, ", now") for column in columns if column != BASE)
    return f'{title}<tr><th class="when">before</th>{before}</tr><tr><th class="when">now</th>{now}</tr>'


def memory_section(content: PageContent) -> str:
    """Of each style with training pictures, the drawn picture that comes nearest to one; nothing without any."""
    pairs = []
    for name, found in content.findings.memorization.items():
        if name not in content.training:
            continue
        i = min(range(len(found.ratios)), key=found.ratios.__getitem__)
        drawn, trained = content.now[name][i], content.training[name][found.nearest[i]]
        word = "looks like a copy" if found.ratios[i] < COPIED else "is no copy"
        caption = f"{name}: drawn, and the nearest training picture; at {found.ratios[i]:.2f} it {word}"
        pairs.append(
            f"<figure>{embedded(drawn, f'{name}, drawn')}{embedded(trained, f'{name}, training picture')}"
            f"<figcaption>{escape(caption)}</figcaption></figure>"
        )
    if not pairs:
        return ""
    return (
        '<section><h2>Nearest training pictures</h2><p class="note">1 = as far as one training picture from the next, '
        f'0 = the same picture; below {COPIED:g} it looks like a copy.</p><div class="pairs">{"".join(pairs)}</div>'
        "</section>"
    )
