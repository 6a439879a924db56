"""Conversions take what is harmless and refuse the rest with where, found, allowed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from museum_plugin.config import convert, pairs
from museum_plugin.config.read import existing, read_table
from museum_plugin.config.refusal import did_you_mean, shown
from museum_plugin.errors import ConfigError


@pytest.mark.parametrize(
    ("convert", "value", "meant"),
    [
        (convert.to_float, 1, 1.0),
        (convert.to_float, "1e-4", 1e-4),
        (convert.to_int, 75.0, 75),
        (convert.to_int, "75", 75),
        (convert.to_int, "75.0", 75),
        (convert.to_int, str(2**63 - 1), 2**63 - 1),
        (convert.to_bool, True, True),
        (convert.to_bool, "False", False),
        (convert.to_bool, 1, True),
        (convert.to_text, 20240101, "20240101"),
        (convert.to_name, " ukiyoe ", "ukiyoe"),
        (convert.to_path, "a/b", Path("a/b")),
        (convert.to_resolution, 512, (512, 512)),
        (convert.to_resolution, "512", (512, 512)),
        (convert.to_resolution, "512, 768", (512, 768)),
        (convert.to_resolution, [512, 768.0], (512, 768)),
        (convert.to_rates, [1e-5, "1e-5"], 1e-5),
        (convert.to_rates, "1e-5", 1e-5),
        (convert.to_rates, [1e-5, "2e-5"], (1e-5, 2e-5)),
        (convert.to_share_or_count, "10%", 0.1),
        (convert.to_share_or_count, 0.1, 0.1),
        (convert.to_share_or_count, 100.0, 100),
        (convert.to_positive_or_off, 0, None),
        (convert.to_positive_or_off, "5", 5.0),
        (convert.to_count_or_off, 0, None),
        (convert.to_count_or_off, "100", 100),
        (pairs.to_weights, ["function_lock=3", "feature=0.5"], {"function_lock": 3.0, "feature": 0.5}),
        (pairs.to_weights, {"function_lock": "3"}, {"function_lock": 3.0}),
        (pairs.to_arguments, ["betas=0.9,0.99"], {"betas": (0.9, 0.99)}),
        (pairs.to_arguments, ["fused=true", 'mode="a=b"'], {"fused": True, "mode": "a=b"}),
        (
            pairs.to_arguments,
            ["rules='1:2,0.1=3'", 'name="it\'s = 1=2"'],
            {"rules": "1:2,0.1=3", "name": "it's = 1=2"},
        ),
        (pairs.to_arguments, "weight_decay=0.1", {"weight_decay": 0.1}),
        (pairs.to_arguments, {"betas": [0.9, 0.99]}, {"betas": (0.9, 0.99)}),
        (pairs.to_arguments, [], {}),
    ],
)
def test_harmless_types_are_converted(convert: Callable[[object, str], object], value: object, meant: object) -> None:
    result = convert(value, "here")

    assert result == meant
    assert type(result) is type(meant) or isinstance(meant, (int, float))


PAIRS = "name=value pairs or a table"
LITERAL = "a number, True, False, None, a list of these, or a text in quotes"
SIZES = '512, "512,768" or [512, 768] (width, height in pixels)'


@pytest.mark.parametrize(
    ("convert", "value", "allowed"),
    [
        (convert.to_float, "fast", "a number"),
        (convert.to_float, True, "a number"),
        (convert.to_float, "nan", "a number"),
        (convert.to_float, float("inf"), "a number"),
        (convert.to_int, 7.5, "a whole number"),
        (convert.to_int, False, "a whole number"),
        (convert.to_int, "inf", "a whole number"),
        (convert.to_int, 2**63, "a whole number"),
        (convert.to_bool, "maybe", "true, false"),
        (convert.to_bool, 2, "true, false"),
        (convert.to_text, ["a"], "a text"),
        (convert.to_name, "  ", "a name that is not empty"),
        (convert.to_path, "", "a path"),
        (convert.to_path, "a\0b", "a path"),
        (convert.to_resolution, "512x512", SIZES),
        (convert.to_resolution, [512], SIZES),
        (convert.to_resolution, [1, 2, 3], SIZES),
        (convert.to_resolution, None, SIZES),
        (convert.to_rates, [], "one number, or one for each text encoder"),
        (convert.to_rates, "fast", "a number"),
        (convert.to_share_or_count, "many", 'a whole number of steps, a share below 1 such as 0.1, or "10%"'),
        (convert.to_share_or_count, 1.5, 'a whole number of steps, a share below 1 such as 0.1, or "10%"'),
        (convert.to_share_or_count, -1, 'a whole number of steps, a share below 1 such as 0.1, or "10%"'),
        (convert.to_count_or_off, -1, "a whole number, 0 for off"),
        (pairs.to_weights, ["feature"], "name=number pairs or a table of numbers"),
        (pairs.to_arguments, 3, PAIRS),
        (pairs.to_arguments, ["=3"], PAIRS),
    ],
)
def test_anything_else_is_refused(convert: Callable[[object, str], object], value: object, allowed: str) -> None:
    with pytest.raises(ConfigError) as error:
        convert(value, "run.toml: key")

    assert str(error.value) == f"run.toml: key: found {value!r}, allowed: {allowed}"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (["mode=fast"], "'fast'"),
        (["mode={1}"], "{1}"),
        (["mode=1e999"], "inf"),
        ({"mode": date(2024, 1, 1)}, "datetime.date(2024, 1, 1)"),
    ],
)
def test_an_optimizer_argument_is_a_plain_literal(value: object, found: str) -> None:
    with pytest.raises(ConfigError) as error:
        pairs.to_arguments(value, "--optimizer_args")

    assert str(error.value) == f"--optimizer_args: mode: found {found}, allowed: {LITERAL}"


@pytest.mark.parametrize(("value", "length"), [("x" * 500, 60), (10**6000, len("a int"))], ids=["text", "int"])
def test_a_message_repeats_no_endless_value(value: object, length: int) -> None:
    assert len(shown(value)) == length


@pytest.mark.parametrize(
    ("name", "hint"),
    [("learnig_rate", '; did you mean "learning_rate"?'), ("zzz", ""), ("sead", '; did you mean "seed"?')],
)
def test_the_nearest_name_is_offered(name: str, hint: str) -> None:
    assert did_you_mean(name, ["learning_rate", "seed"]) == hint


def test_a_table_is_read_with_and_without_byte_order_mark(tmp_path: Path) -> None:
    for name, text in (("a.toml", "seed = 1"), ("a.json", '{"seed": 1}')):
        for mark in ("", "\ufeff"):
            (tmp_path / name).write_text(mark + text, encoding="utf-8")
            assert read_table(tmp_path / name, "--config_file") == {"seed": 1}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.toml", b"seed = ", "not valid TOML: Invalid value"),
        ("a.json", b"{", "not valid JSON: "),
        ("a.json", b"[1]", "found [1], allowed: a table of keys and values"),
        ("a.json", b"[" * 100_000, "not valid JSON: "),
        ("a.toml", b"x = " + b"9" * 5000, "not valid TOML: "),
        ("a.toml", b"\xff\xfe", "byte 0 is not UTF-8; save the file as UTF-8"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(ConfigError) as error:
        read_table(tmp_path / name, "--config_file")

    assert str(error.value).startswith(f"{tmp_path / name}: {message}")


def test_a_missing_table_is_refused() -> None:
    with pytest.raises(ConfigError, match='^--config_file: no file "nowhere.toml"$'):
        read_table(Path("nowhere.toml"), "--config_file")


def test_a_path_beside_the_file_is_second_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "beside" / "img").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    assert existing(Path("img"), Path("beside")) == Path("beside/img")
    assert existing(Path("gone"), Path("beside")) == Path("gone")
    (tmp_path / "img").mkdir()
    assert existing(Path("img"), Path("beside")) == Path("img")
