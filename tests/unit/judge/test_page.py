"""The page about a museum: what it says, that it needs nothing beside it, and that it can be read."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from museum_plugin.judge.charts import bar, heat_map, line_chart, nice_ceiling
from museum_plugin.judge.page import page
from tests.unit.judge.pages import PROMPTS, content_of

VOID = {"meta", "img", "br", "line", "rect", "circle", "polyline", "polygon"}


class Reader(HTMLParser):
    """Texts, tags and attributes of a page; refuses tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def read() -> Reader:
    return Reader(page(content_of()))


def test_it_needs_nothing_beside_it(read: Reader) -> None:
    for tag, attributes in read.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed")
        for name in ("src", "href", "srcset", "data"):
            assert (attributes.get(name) or "data:image/webp;").startswith("data:image/webp;")
    style = page(content_of()).split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    policy = [a["content"] for t, a in read.tags if t == "meta" and a.get("http-equiv")]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_it_tells_of_every_style_and_every_measure(read: Reader) -> None:
    for expected in (
        "The old styles are still there",
        "ink keeps 90 % (0.80 -> 0.72)",
        "neon <b> is new: 0.80",
        "90 % kept",
        "score 0.80 → 0.72 · predictions moved 0.21 · pictures moved 0.31 of the way to the base · 100 % seen as ink",
        "1 of 2 pictures look like copies",
        "word-neon <b>",
        "average forgetting",
        "mine-0001.safetensors.bak",
        "1,400",
        "rank 4, alpha 4, 1 modules",
    ):
        assert expected in read.text


def test_names_and_prompts_cannot_become_tags(read: Reader) -> None:
    assert not [tag for tag, _ in read.tags if tag in ("b>", "dog")]
    assert PROMPTS[0] in read.text


def test_every_picture_is_there_and_says_what_it_shows(read: Reader) -> None:
    titles = [attributes["alt"] for tag, attributes in read.tags if tag == "img"]
    first = [title for title in titles if title and title.endswith(PROMPTS[0])]
    assert [title.partition(":")[0] for title in first] == [
        "base",
        "no trigger, before",
        "ink, before",
        "no trigger, now",
        "ink, now",
        "neon <b>, now",
    ]
    assert titles[-2:] == ["ink, drawn", "ink, training picture"]
    assert len(titles) == 2 * len(first) + 2


def test_without_a_museum_before_there_is_one_row_a_prompt() -> None:
    read = Reader(page(content_of(with_before=False)))
    titles = [attributes["alt"] for tag, attributes in read.tags if tag == "img"]
    assert [title for title in titles if title and title.endswith(PROMPTS[1])] == [
        f"{column}: {PROMPTS[1]}" for column in ("base", "no trigger", "ink", "neon <b>")
    ]
    assert "before" not in [text.strip() for text in read.texts]


def test_a_ruined_museum_says_so_first() -> None:
    text = Reader(page(content_of(now=0.1))).text
    assert "The gate would refuse this museum" in text
    assert "ink keeps 12 % of its score (gate_kept: 60 %)" in text


def test_a_first_style_has_nothing_to_forget() -> None:
    content = content_of(("ink",), with_before=False)
    content = replace(content, findings=replace(content.findings, memorization={}), losses={})
    text = Reader(page(content)).text
    assert "The first style is in" in text
    for absent in ("average forgetting", "Scores after each lesson", "Nearest training pictures", "Losses"):
        assert absent not in text


def test_a_style_that_was_never_judged_is_shown_as_unknown() -> None:
    content = content_of(("ink", "neon", "dots"))
    verdict = content.findings.verdict
    scores = {name: score for name, score in verdict.scores.items() if name != "ink"}
    verdict = replace(verdict, names=("neon", "dots"), scores=scores)
    confusion = {name: row for name, row in content.findings.confusion.items() if name != "ink"}
    findings = replace(content.findings, verdict=verdict, learned={"neon": 0.8}, confusion=confusion, memorization={})
    styles = tuple(replace(r, scores={n: s for n, s in r.scores.items() if n != "ink"}) for r in content.ledger.styles)
    read = Reader(page(replace(content, findings=findings, ledger=replace(content.ledger, styles=styles))))
    assert "–" in [text.strip() for text in read.texts]


def test_a_heat_map_writes_its_figures_on_their_shades() -> None:
    svg = heat_map(["a", "b"], ["x", "a long name"], [[0.0], [1.0, float("nan")]], title="T")
    assert re.findall(r'class="figure"[^>]*>([^<]*)<', svg) == ["0.00", "1.00"]
    assert svg.count("<rect") == 3
    assert 'class="unknown"' in svg
    assert "<title>a long name</title>" in svg
    shown = heat_map(["a"], ["x"], [[0.5]], title="T", figure=lambda value: f"{value:.0%}")
    assert ">50%<" in shown
    with pytest.raises(ValueError, match="rows"):
        heat_map(["a"], ["x"], [[0.5], [0.5]], title="T")


def test_lines_are_told_apart_without_their_colors() -> None:
    svg = line_chart({f"s{i}": [(0.0, 0.1 * i), (1.0, 0.5)] for i in range(8)}, title="T", x_label="step")
    legend = svg.split('<ul class="legend">')[1].split("<li>")[1:]
    looks = [re.sub(r"c\d", "", key.split("</svg>")[0]) for key in legend]
    assert len(set(looks)) == 8


def test_a_chart_places_its_points() -> None:
    svg = line_chart({"s": [(10.0, 0.0), (20.0, 2.0)]}, title="T", x_label="step", top=2.0)
    (first, last), *_ = re.findall(r'stroke-dasharray="" points="([\d.]+,[\d.]+) ([\d.]+,[\d.]+)"/><circle', svg)
    assert (first, last) == ("44.0,210.0", "428.0,12.0")
    assert ">15<" in svg
    with pytest.raises(ValueError, match="needs a point"):
        line_chart({}, title="T", x_label="step")


@pytest.mark.parametrize(("value", "expected"), [(0, 1), (0.03, 0.05), (0.2, 0.2), (1.01, 2), (7, 10), (230, 250)])
def test_axes_end_at_round_numbers(value: float, expected: float) -> None:
    assert nice_ceiling(value) == pytest.approx(expected)


def test_a_bar_ends_where_the_score_does() -> None:
    assert 'class="value" width="25.0"' in bar(0.25)
    assert "was" not in bar(0.25)
    assert 'class="was" x1="80.0"' in bar(0.25, 0.8)
    assert 'class="value" width="100.0"' in bar(1.5)
