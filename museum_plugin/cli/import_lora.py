"""`import`: begin a museum with a LoRA of another program."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from museum_plugin.base.folder import BaseOutline, empty_networks
from museum_plugin.base.load import load_base
from museum_plugin.base.outline import outline_fingerprint, read_outline
from museum_plugin.cli.parser import BASE_FLAG
from museum_plugin.cli.text_lines import counted, printable
from museum_plugin.config.convert import to_name
from museum_plugin.config.schema import BaseConfig
from museum_plugin.errors import ConfigError
from museum_plugin.museum.file import MuseumContent, write_museum
from museum_plugin.museum.importing import FLAG, NamedStyle, imported_content
from museum_plugin.museum.ledger import BaseRecord
from museum_plugin.museum.lora_reading import read_lora_file
from museum_plugin.museum.new_id import new_museum_id


def add_arguments(parser: ArgumentParser) -> None:
    """What `import` takes."""
    add = parser.add_argument
    add(
        "lora",
        metavar="LORA",
        type=Path,
        help="a LoRA of kohya, LyCORIS (locon), peft, diffusers or ComfyUI: a file or folder",
    )
    add("--museum", metavar="NEW", type=Path, required=True, help="the museum file to write (.safetensors)")
    add(f"--{BASE_FLAG}", type=Path, metavar="BASE", required=True, help="the base model the LoRA was trained on")
    add("--style", metavar="NAME", help="the style the LoRA draws; it is kept when further styles are taught")
    add("--trigger", metavar="WORDS", help="the phrase it was trained with; goes with --style")
    add("--partly", action="store_true", help="leave out modules that a museum has no place for")
    add("--v_parameterization", action="store_true", default=None, help="the base predicts v, where it does not say so")
    add("--tokenizer_cache_dir", type=Path, metavar="FOLDER", help="where the tokenizer of a checkpoint file is")


def run(given: Namespace) -> None:
    """Read the LoRA, write the museum, and say how to go on.

    Raises:
        ConfigError: the LoRA cannot be read or does not fit the base, or the museum is there already.
        BaseModelError: the base model cannot be read.
        OutputError: the museum cannot be written.
    """
    path, style = given.museum, _style(given)
    if path.exists():
        raise ConfigError(f"{FLAG}: {path} is there already; importing begins a new museum, so give another path")
    asked = BaseConfig(
        given.pretrained_model_name_or_path,
        v_parameterization=given.v_parameterization,
        tokenizer_cache_dir=given.tokenizer_cache_dir,
    )
    outline = read_outline(asked)
    file = read_lora_file(given.lora, FLAG, outline.family.text_parts)
    museum_id = new_museum_id(path, outline, outline.name, style.name if style else "")
    networks = empty_networks(outline)
    content = imported_content(file, _base(outline, asked), networks, museum_id, style, partly=given.partly)
    write_museum(path, content, keep_history=0)
    for line in _lines(path, content, style):
        print(printable(line))


def _style(given: Namespace) -> NamedStyle | None:
    if (given.style is None) != (given.trigger is None):
        there, missing = ("--trigger", "--style") if given.style is None else ("--style", "--trigger")
        raise ConfigError(f"{there}: goes with {missing}: the name of the style, and the phrase the LoRA learned it by")
    if given.style is None:
        return None
    trigger = " ".join(to_name(given.trigger, "--trigger").split())
    return NamedStyle(to_name(given.style, "--style"), trigger, given.pretrained_model_name_or_path)


def _base(outline: BaseOutline, asked: BaseConfig) -> BaseRecord:
    fingerprint = outline_fingerprint(outline) or load_base(asked.path, asked).fingerprint
    return BaseRecord(fingerprint, outline.family.name, outline.prediction_type, outline.name)


def _lines(path: Path, content: MuseumContent, style: NamedStyle | None) -> list[str]:
    network = content.ledger.network
    ranks = sorted({network.shape(target)[0] for target in network.targets})
    told = f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {ranks[0]} to {ranks[-1]}, mostly {network.rank}"
    lines = [
        f"{path}: {counted(len(network.targets), 'module')}, {told}",
        f"teach it with --network_dim {network.rank} --network_alpha {network.alpha:g}",
    ]
    if style is None:
        return [*lines, "no style was named: nothing keeps what the LoRA draws while further styles are taught"]
    return [*lines, f"style {style.name}, trigger {style.trigger}: kept while further styles are taught"]
