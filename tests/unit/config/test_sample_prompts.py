"""Preview prompts: lines with options, TOML, JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from museum_plugin.config.sample_prompts import prompts_in, read_prompt_file
from museum_plugin.config.schema import PromptOptions
from museum_plugin.errors import ConfigError

ALL = PromptOptions("low quality, worst", 512, 768, 28, 7.5, 1, "euler_a")


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_prompts_without_options_have_none(tmp_path: Path) -> None:
    path = written(tmp_path, "p.txt", "# mine\na cat\n\n  high-contrast house -- old\n")
    assert read_prompt_file(path)[1] == ()
    assert read_prompt_file(path)[0][0] == "a cat"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "p.txt",
            "a cat --n low quality, worst --w 512 --h 768 --d 1 --l 7.5 --s 28 --ss euler_a\na house\n",
        ),
        ("upper.txt", "a cat --N low quality, worst --W 512 --H 768 --D 1 --L 7.5 --S 28 --SS euler_a\na house\n"),
        (
            "p.toml",
            "[prompt]\nwidth = 512\nheight = 768\nsample_steps = 28\n[[prompt.subset]]\nprompt = 'a cat'\n"
            "negative_prompt = 'low quality, worst'\nseed = 1\nscale = 7.5\nsample_sampler = 'euler_a'\n",
        ),
        (
            "p.json",
            json.dumps(
                [
                    {
                        "prompt": "a cat",
                        "negative_prompt": "low quality, worst",
                        "width": 512,
                        "height": 768,
                        "seed": 1,
                        "scale": 7.5,
                        "sample_steps": 28,
                        "sample_sampler": "euler_a",
                    },
                    "a house",
                ]
            ),
        ),
    ],
)
def test_every_option_of_every_form(tmp_path: Path, name: str, text: str) -> None:
    prompts, options = read_prompt_file(written(tmp_path, name, text))
    assert (prompts[0], options[0]) == ("a cat", ALL)
    assert (prompts[1:], options[1:]) in [((), ()), (("a house",), (PromptOptions(),))]


def test_a_table_without_subsets_is_one_prompt_and_subsets_win(tmp_path: Path) -> None:
    one = read_prompt_file(written(tmp_path, "one.toml", "[prompt]\nprompt = 'a cat'\nseed = 4\n"))
    assert one == (("a cat",), (PromptOptions(seed=4),))
    two = "[prompt]\nseed = 4\n[[prompt.subset]]\nprompt = 'a'\nseed = 5\n[[prompt.subset]]\nprompt = 'b'\n"
    assert [o.seed for o in read_prompt_file(written(tmp_path, "two.toml", two))[1]] == [5, 4]


def test_options_for_other_models_are_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(tmp_path, "p.txt", "a cat --g 3.5 --cn x.png --w 64\na dog --g 2\n")
    assert read_prompt_file(path)[1][0] == PromptOptions(width=64)
    assert caplog.messages == [f"{path}: options that mean nothing to these models: --g, --cn"]


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("p.txt", "a cat\na dog --w wide", "prompt 2: --w: found 'wide', allowed: a whole number"),
        ("p.txt", "a cat --ss eular", "prompt 1: --ss: found 'eular', allowed: ddim"),
        ("p.txt", "a cat --s 0", "prompt 1: steps: found 0, must be 1 or more"),
        ("p.txt", "a cat --d -1", "prompt 1: seed: found -1"),
        ("p.txt", "# only\n", "no prompt in"),
        ("p.toml", "a = 1\n", "found no [prompt]"),
        ("p.json", "{}", "allowed: a list"),
        ("p.json", "[3]", "prompt 1: found 3"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, name: str, text: str, named: str) -> None:
    with pytest.raises(ConfigError) as error:
        read_prompt_file(written(tmp_path, name, text))
    assert str(tmp_path) in str(error.value)
    assert named in str(error.value)


def test_a_missing_file_is_refused() -> None:
    with pytest.raises(ConfigError, match='^sample_prompts: no file "nowhere.txt"'):
        read_prompt_file(Path("nowhere.txt"))


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        ("(best quality), 1girl --n lowres --w 512 --d 1337", ("(best quality), 1girl --n lowres --w 512 --d 1337",)),
        ("a red cat\n\n# old\n  a dog --s 9\n", ("a red cat", "a dog --s 9")),
        ("a red cat", ("a red cat",)),
        ("1girl --w 512", ("1girl --w 512",)),
        ("red cat " * 100, (("red cat " * 100).strip(),)),
    ],
)
def test_prompts_may_stand_where_a_file_is_named(text: str, prompts: tuple[str, ...]) -> None:
    assert prompts_in(text, None) == prompts


@pytest.mark.parametrize(
    "text", ["prompts.txt", "my prompts.txt", "C:\new\\prompts.txt", "C:\\my prompts.json", "prompts", "", "a\0 b"]
)
def test_what_is_named_like_a_file_is_no_prompt(text: str) -> None:
    assert prompts_in(text, None) is None


def test_a_file_that_is_there_is_one_whatever_its_name(tmp_path: Path) -> None:
    written(tmp_path, "a red cat", "a dog")
    assert prompts_in("a red cat", tmp_path) is None
    assert prompts_in("a red cat", tmp_path / "elsewhere") == ("a red cat",)
