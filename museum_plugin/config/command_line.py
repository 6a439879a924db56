"""The words of a command line -> values by flag name, not yet checked. The only file that sees argparse."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from functools import cache
from typing import Any, NoReturn

from museum_plugin.config.convert import to_bool
from museum_plugin.config.flags import BY_NAME, FLAGS, LISTS, MEANT, NOT_HONOURED, TABLES, Flag, is_known, unknown
from museum_plugin.config.problems import Problems
from museum_plugin.config.refusal import shown
from museum_plugin.errors import ConfigError

log = logging.getLogger("museum")


class _Parser(argparse.ArgumentParser):
    """argparse whose complaints are ConfigErrors."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"command line: {message.removeprefix('argument ')}")


@cache
def _parser() -> _Parser:
    parser = _Parser(
        prog="train_museum.py",
        usage="%(prog)s --dataset_config DATASET.toml [--museum MUSEUM.safetensors] [flags]",
        description="Teaches one LoRA file one style after another. Every flag is also a key of a --config_file.",
        epilog=f"{len(NOT_HONOURED)} more sd-scripts flags are accepted; a run says which of them it does not honour.",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    groups = {section: parser.add_argument_group(section) for section in dict.fromkeys(f.section for f in FLAGS)}
    for flag in FLAGS:
        groups[flag.section].add_argument(f"--{flag.name}", help=_help(flag), **_shape(flag))
    for name, known in NOT_HONOURED.items():
        many: dict[str, Any] = {"nargs": "*"} if str(known["type"]).endswith("*") else {}
        yes_no: dict[str, Any] = {"nargs": "?", "const": True} if known["type"] == "bool" else {}
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS, **many, **yes_no)
    return parser


def _shape(flag: Flag) -> dict[str, Any]:
    """How many words follow the flag. Types are checked later, the same way as those of config files."""
    if flag.name == "config_file":
        return {"action": "append", "metavar": "FILE"}
    if flag.convert is to_bool:
        return {"nargs": "?", "const": True, "metavar": "false"}
    if flag.name in (*TABLES, *LISTS):
        return {"nargs": "*", "metavar": "NAME=VALUE" if flag.name in TABLES else "VALUE"}
    return {"metavar": "|".join(flag.choices) if 0 < len(flag.choices) < 5 else "VALUE"}


def _help(flag: Flag) -> str:
    choices = f"; one of {', '.join(flag.choices)}" if len(flag.choices) >= 5 else ""
    default = f" (default: {flag.default})" if flag.default not in (None, False, ()) else ""
    return (flag.help + choices + default).replace("%", "%%")


def typed_flags(argv: Sequence[str], problems: Problems) -> dict[str, Any]:
    """Flag name -> what stood behind it, for the flags that are there; words that are no flag are noted as problems."""
    namespace, rest = argparse.Namespace(), list[str]()
    with problems:
        namespace, rest = _parser().parse_known_args([_in_full(word) for word in argv])
    if rest and not rest[0].startswith("--"):
        problems.note(ConfigError(f"command line: found {shown(rest[0])}, allowed: flags, which begin with --"))
    for name in (word.partition("=")[0] for word in rest if word.startswith("--")):
        problems.note(unknown(name[2:], name))
    return vars(namespace)


def _in_full(word: str) -> str:
    """A flag that is cut short and can be only one, as sd-scripts takes it: --max_train_epoch is --max_train_epochs."""
    name, equals, value = word.removeprefix("--").partition("=")
    if not word.startswith("--") or not name or is_known(name) or name in MEANT:
        return word
    meant = [flag for flag in (*BY_NAME, *NOT_HONOURED) if flag.startswith(name)]
    if len(meant) != 1:
        return word
    log.info("--%s: taken as --%s", name, meant[0])
    return f"--{meant[0]}{equals}{value}"
