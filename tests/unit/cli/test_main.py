"""Finding a command, and how a mistake is told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from museum_plugin.__main__ import main
from museum_plugin.cli import COMMANDS
from museum_plugin.museum.ledger import FORMAT_VERSION
from tests.unit.cli.museums import ROOT, museum_command


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_alone_it_shows_the_commands_with_one_line_each(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, command in COMMANDS.items():
        assert [line for line in lines if line.split()[:1] == [name] and line.endswith(command.summary)]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_its_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([name, "--help"])
    assert left.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"usage: python -m museum_plugin {name}" in text
    assert COMMANDS[name].summary[1:] in text


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (
            ["lst"],
            2,
            f"unknown command 'lst'; did you mean \"list\"?; allowed: {', '.join(COMMANDS)}",
        ),
        (["--list"], 2, "unknown command '--list'"),
        (["list"], 2, "the following arguments are required: PATH"),
        (["show", "mine.safetensors", "--styl", "ink"], 2, "unknown argument '--styl'; did you mean \"--style\"?"),
        (["list", "a.safetensors", "b.safetensors"], 2, "unknown argument 'b.safetensors'"),
        (["list", "nowhere.safetensors"], 5, "nowhere.safetensors: no such file"),
        (["show", "."], 5, "not a file; give the path of a museum file"),
        (["sample", "nowhere.safetensors", "--prompt", "a cat"], 5, "nowhere.safetensors: no such file"),
        (["sample", "m", "--steps", "0"], 2, "--steps: found '0', allowed: a whole number from 1 to 1000"),
        (["sample", "m", "--seed", "-1"], 2, "--seed"),
        (["sample", "m", "--number", "two"], 2, "--number: found 'two', allowed: a whole number, 1 or more"),
        (["sample", "m", "--guidance", "nan"], 2, "--guidance: found 'nan', allowed: a number, 0 or more"),
        (["rollback", "nowhere.safetensors"], 5, "no earlier version is kept"),
        (["rollback", "nowhere.safetensors", "--list"], 5, "nowhere.safetensors: no such file"),
        (["rollback", "m", "--to", "1", "--list"], 2, "--list: not allowed with argument --to"),
    ],
)
def test_a_mistake_is_told_in_a_line_with_its_exit_code(
    words: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == code
    spoken = capsys.readouterr()
    assert spoken.err.startswith("error: ")
    assert told in spoken.err
    assert spoken.err.count("\n") <= 2
    assert spoken.out == ""


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == "0.1.0"


def test_ctrl_c_leaves_without_a_traceback(
    museum: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("museum_plugin.cli.list_styles.run", interrupted)
    assert main(["list", str(museum)]) == 130
    assert capsys.readouterr().err == "stopped\n"


def test_an_unknown_command_is_told_by_the_real_thing() -> None:
    done = museum_command("smaple")
    assert done.returncode == 2
    assert done.stderr == (
        f"error: unknown command 'smaple'; did you mean \"sample\"?; allowed: {', '.join(COMMANDS)}\n"
    )


def test_a_reader_that_stops_reading_is_no_error(museum: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "museum_plugin", "list", museum],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        told = process.stderr.read()
    assert (process.returncode, told) == (0, b"")


def test_a_damaged_or_newer_file_is_refused(museum: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = museum.read_bytes()
    museum.write_bytes(whole[:500])
    assert main(["list", str(museum)]) == 5
    assert "cut short or damaged" in capsys.readouterr().err

    header = whole[8 : 8 + int.from_bytes(whole[:8], "little")]
    newer = json.loads(header)
    text = newer["__metadata__"]["museum"]
    old, new = (f'"format_version":{v}' for v in (FORMAT_VERSION, FORMAT_VERSION + 1))
    assert old in text
    newer["__metadata__"]["museum"] = text.replace(old, new)
    changed = json.dumps(newer, ensure_ascii=False).encode()
    museum.write_bytes(len(changed).to_bytes(8, "little") + changed + whole[8 + len(header) :])
    assert main(["list", str(museum)]) == 5
    assert "written by a newer Museum" in capsys.readouterr().err
