"""Separators, wildcards, warm-up and epochs without captions."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from museum_plugin.config.schema import SubsetConfig
from museum_plugin.data.captions import (
    Progress,
    augment_caption,
    caption_file,
    plain_caption,
    read_caption,
    replace_wildcards,
    warmed_up_tags,
)
from museum_plugin.data.dataset import StyleDataset
from museum_plugin.errors import ConfigError
from tests.unit.data.drawn import dataset_of, draw_folder, style_of

MARK = "|||"


def subset(**settings) -> SubsetConfig:
    return SubsetConfig(Path("pictures"), **settings)


def variants(caption: str, progress: Progress | None = None, **settings) -> Counter[str]:
    rng = random.Random(0)
    return Counter(augment_caption(caption, subset(**settings), rng, progress) for _ in range(200))


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a, b ||| c, d", {"a, b, c, d", "a, b, d, c"}),
        ("a ||| c, d ||| e, f", {"a, c, d, e, f", "a, d, c, e, f"}),
        ("a ||| c, d ||| e ||| f", {"a, c, d, e, f", "a, d, c, e, f"}),
        ("||| c, d", {"c, d", "d, c"}),
        ("a, ||| , c,, d |||", {"a, c, d", "a, d, c"}),
        ("c, d", {"c, d", "d, c"}),
    ],
)
def test_what_stands_around_the_separators_stays(caption: str, expected: set[str]) -> None:
    assert set(variants(caption, shuffle_caption=True, keep_tokens_separator=MARK)) == expected


def test_the_separator_never_reaches_the_model() -> None:
    assert set(variants("a, b ||| c ||| d", keep_tokens_separator=MARK)) == {"a, b, c, d"}
    assert set(variants("a,b", keep_tokens_separator=MARK)) == {"a,b"}, "nothing to take out: as written"


def test_where_the_separator_stands_keep_tokens_does_not_count() -> None:
    settings = {"shuffle_caption": True, "keep_tokens": 1, "keep_tokens_separator": MARK}
    assert set(variants("a, b ||| c, d", **settings)) == {"a, b, c, d", "a, b, d, c"}
    assert set(variants("a, b, c", **settings)) == {"a, b, c", "a, c, b"}


def test_kept_suffix_tags_are_never_dropped() -> None:
    assert set(variants("a ||| b, c ||| d", keep_tokens_separator=MARK, caption_tag_dropout_rate=1.0)) == {"a, d"}


def test_tags_joined_by_the_secondary_separator_stay_together() -> None:
    settings = {"secondary_separator": ";;;"}
    assert set(variants("a, b;;;c", shuffle_caption=True, **settings)) == {"a, b,c", "b,c, a"}
    assert set(variants("a, b;;;c", **settings)) == {"a, b,c"}
    assert set(variants("a. b;;;c", caption_separator=".", **settings)) == {"a. b.c"}


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a {red|blue} cat", {"a red cat", "a blue cat"}),
        ("{a|b}{c|d}", {"ac", "ad", "bc", "bd"}),
        ("a {{literal}} cat", {"a {literal} cat"}),
        ("{{{a|b}", {"{a", "{b"}),
        ("{only} {}", {"only {}"}),
        ("{a|}x", {"ax", "x"}),
    ],
)
def test_wildcards_are_replaced_and_doubled_braces_are_braces(caption: str, expected: set[str]) -> None:
    assert set(variants(caption, enable_wildcard=True)) == expected
    assert set(variants(caption)) == {caption}
    assert replace_wildcards(caption, None) in expected


def test_a_random_line_gets_prefix_and_suffix() -> None:
    settings = {"caption_prefix": "ink,", "caption_suffix": "{x|y}"}
    assert set(variants("one\ntwo", enable_wildcard=True, **settings)) == {
        "ink, one x", "ink, one y", "ink, two x", "ink, two y",
    }  # fmt: skip
    assert set(variants("one\ntwo", **settings)) == {"ink, one {x|y}"}


def test_all_lines_are_read_only_for_wildcards(tmp_path: Path) -> None:
    (tmp_path / "a.caption").write_bytes(b"\xef\xbb\xbfone \r\n\r\n two\n")
    assert read_caption(tmp_path / "a.png", subset(enable_wildcard=True)) == "one\ntwo"
    assert read_caption(tmp_path / "a.png", subset()) == "one"


@pytest.mark.parametrize(
    ("step", "shown"),
    # 2 + floor(step * (6 - 2) / 8)
    [(0, 2), (1, 2), (2, 3), (4, 4), (7, 5), (8, 6), (100, 6)],
)
@pytest.mark.parametrize("warmup", [8, 0.5])
def test_tags_are_added_one_by_one(warmup: float, step: int, shown: int) -> None:
    settings = {"token_warmup_step": warmup, "token_warmup_min": 2}
    now = Progress(step=step, steps=16)
    assert min(6, warmed_up_tags(6, subset(**settings), now)) == shown
    assert set(variants("a,b,c,d,e,f", now, **settings)) == {", ".join("abcdef"[:shown])}


def test_the_warm_up_leaves_kept_tags_alone_and_ends_with_all() -> None:
    settings = {"token_warmup_step": 10, "token_warmup_min": 0, "keep_tokens_separator": MARK}
    assert set(variants("a ||| b, c ||| d", Progress(step=0), **settings)) == {"a, d"}
    assert set(variants("a ||| b, c ||| d", Progress(step=10), **settings)) == {"a, b, c, d"}
    assert warmed_up_tags(1, subset(token_warmup_step=10, token_warmup_min=5), Progress(step=9)) >= 1


def test_every_nth_epoch_counted_from_one_has_no_captions() -> None:
    def caption(epoch: int) -> str:
        settings = subset(caption_dropout_every_n_epochs=3, caption_prefix="ink")
        return augment_caption("a", settings, random.Random(0), Progress(epoch=epoch))

    assert [caption(epoch) for epoch in range(1, 7)] == ["ink a", "ink a", "", "ink a", "ink a", ""]


def test_keys_that_are_not_used_draw_nothing() -> None:
    """Captions of earlier versions stay the same, draw for draw."""
    rng = random.Random(5)
    settings = subset(shuffle_caption=True, caption_tag_dropout_rate=0.3, caption_dropout_rate=0.2, keep_tokens=1)
    found = [augment_caption("a, b, c, d", settings, rng, Progress(7, 3, 9)) for _ in range(20)]

    rng, expected = random.Random(5), []
    for _ in range(20):
        if rng.random() < 0.2:
            expected.append("")
            continue
        loose = ["b", "c", "d"]
        rng.shuffle(loose)
        expected.append(", ".join(["a", *(tag for tag in loose if rng.random() >= 0.3)]))
    assert found == expected


@settings(max_examples=200)
@given(
    st.lists(st.lists(st.sampled_from(["a", "b c", "(d)", "e"]), max_size=3), min_size=3, max_size=5),
    st.booleans(),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([0, 5]),
    st.integers(0, 2**32),
)
def test_kept_tags_stand_first_and_last_whatever_happens_between(
    groups: list[list[str]], shuffle: bool, dropped: float, warmup: int, seed: int
) -> None:
    before, loose, *after = groups
    varied = subset(
        keep_tokens_separator=MARK,
        shuffle_caption=shuffle,
        caption_tag_dropout_rate=dropped,
        token_warmup_step=warmup,
    )
    caption = MARK.join(", ".join(group) for group in groups)
    tags = [tag for tag in augment_caption(caption, varied, random.Random(seed), Progress(step=2)).split(", ") if tag]
    kept = [tag for group in after for tag in group]
    assert tags[: len(before)] == before
    assert tags[len(tags) - len(kept) :] == kept
    between = Counter(tags[len(before) : len(tags) - len(kept)])
    assert between <= Counter(loose)
    if not (dropped or warmup):
        assert between == Counter(loose)


@pytest.mark.parametrize(
    ("caption", "settings", "expected"),
    [
        ("a,  b", {}, "a,  b"),
        ("one {a|b}\ntwo", {"enable_wildcard": True}, "one a"),
        ("a ||| b, c", {"keep_tokens_separator": MARK, "shuffle_caption": True}, "a, b, c"),
        ("a;;;b", {"secondary_separator": ";;;"}, "a,b"),
        ("a", {"caption_prefix": "ink", "caption_dropout_rate": 1.0}, "a"),
    ],
)
def test_a_plain_caption_is_one_line_of_content(caption: str, settings: dict, expected: str) -> None:
    assert plain_caption(caption, subset(**settings)) == expected


def test_a_face_cut_out_of_a_picture_shares_its_caption(tmp_path: Path) -> None:
    face = tmp_path / "my_cat_1_20_30_40.png"
    (tmp_path / "my_cat.caption").write_text("a cat")
    assert read_caption(face, subset()) == "a cat"
    (tmp_path / "my_cat_1_20_30_40.caption").write_text("its face")
    assert caption_file(face, subset()).name == "my_cat_1_20_30_40.caption"
    assert caption_file(tmp_path / "my_cat_1_20.png", subset()).name == "my_cat_1_20.caption"


@pytest.mark.parametrize("name", ["token_warmup_min", "token_warmup_step", "caption_dropout_every_n_epochs"])
def test_less_than_nothing_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: found -1, must be 0 or more"):
        subset(**{name: -1})


def test_a_dataset_tells_epoch_and_step_to_its_captions(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path, [(64, 64)] * 2)

    def captions(index: int, step: int = 0, **settings) -> list[str]:
        data = StyleDataset(style_of(dataset_of(SubsetConfig(folder, **settings))))
        return data.batch(index, 0, step=step, steps=10).captions

    assert [captions(index, caption_dropout_every_n_epochs=2)[0] == "" for index in range(6)] == [
        False, False, True, True, False, False,
    ]  # fmt: skip
    shown = [len(captions(0, step, token_warmup_step=0.8)[0].split(", ")) for step in (0, 4, 8)]
    assert shown == [1, 2, 4]
