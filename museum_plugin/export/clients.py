"""What each client does with a LoRA file, as one rule a client: pure functions of names, shapes and metadata.

The rules are those of ComfyUI 0.3.64, A1111 1.10.1, Forge of mid 2025, Forge Neo, SD.Next and InvokeAI of mid 2026,
diffusers 0.42 (given the path of the file) and sd-scripts 0.10.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from museum_plugin.base.family import FAMILIES
from museum_plugin.export.outline import Outline
from museum_plugin.export.tensors import CLIP_VOCABULARY, INVOKE_KEY
from museum_plugin.museum.file import HEADER_LIMIT

IN_FILE, SIDECAR, NOT_AT_ALL = "in the file", "with side-cars", "not at all"
_TOLD = {IN_FILE: "triggers work", SIDECAR: "triggers work with side-cars", NOT_AT_ALL: "triggers do not work"}
FORGE_EXTRA_KEYS = 12
"""Keys without a place that Forge forgives; with one more it refuses the file."""
_INVOKE_NAME = re.compile(r"[a-zA-Z0-9., _-]+")
"""What InvokeAI finds between < and >."""
_INVOKE_WIDTHS = {768: "sd1", 1024: "sd2", 1280: "sdxl", 2048: "sdxl"}
_DEEP_BLOCK = re.compile(r"lora_unet_\w+_transformer_blocks_([2-9]|\d\d)_")


@dataclass(frozen=True)
class Verdict:
    """What one client does with a file."""

    client: str
    loads: bool
    triggers: str
    """IN_FILE, SIDECAR or NOT_AT_ALL: where the client finds what the triggers mean."""
    unmatched: int
    """Keys that it has no place for."""
    reasons: tuple[str, ...] = ()
    """Why it refuses, or what it will complain of."""


@dataclass(frozen=True)
class Client:
    """A program that loads LoRA files."""

    name: str
    title: str
    rule: Callable[[Outline], Verdict]


def verdicts(outline: Outline) -> tuple[Verdict, ...]:
    """What every client does with a file, in the order of `CLIENTS`."""
    found = tuple(client.rule(outline) for client in CLIENTS.values())
    if outline.has_plain_words:
        return tuple(replace(verdict, triggers=IN_FILE) if verdict.loads else verdict for verdict in found)
    return found


def verdict_lines(found: Iterable[Verdict]) -> list[str]:
    """A line for each client: does it load the file, do triggers work, and why."""
    lines = []
    for verdict in found:
        state = f"loads, {_TOLD[verdict.triggers]}" if verdict.loads else "refuses it"
        reasons = f" ({'; '.join(verdict.reasons)})" if verdict.reasons else ""
        lines.append(f"{CLIENTS[verdict.client].title:<11} {state}{reasons}")
    return lines


def _verdict(client: str, *, refused: Iterable[str], in_file: bool, unmatched: int, notes: Iterable[str]) -> Verdict:
    why, told = tuple(refused), tuple(notes)
    triggers = NOT_AT_ALL if why else IN_FILE if in_file else SIDECAR
    return Verdict(client, not why, triggers, unmatched, why or told)


def comfyui(outline: Outline) -> Verdict:
    """Patches any weight of a text encoder by its own name; warns of each other key, and loads the rest."""
    encoders = FAMILIES[outline.family].slot_encoders
    wrong = [encoder for encoder in encoders if not _fits(outline.tables.get(encoder, {}))]
    tables = sum(len(outline.tables.get(encoder, {})) for encoder in encoders if encoder not in wrong)
    unmatched = len(outline.shapes) - len(outline.layers) - tables
    half = [f"no whole patch of the embedding table of {encoder}" for encoder in wrong if outline.tables]
    in_file = not wrong and bool(outline.triggers)
    spaced = [] if in_file else [trigger for trigger in outline.triggers if " " in trigger]
    renamed = [
        f"side-car {trigger!r} needs a name without spaces: it is called by embedding:NAME" for trigger in spaced
    ]
    return _verdict(
        "comfyui",
        refused=(),
        in_file=in_file,
        unmatched=unmatched,
        notes=[*half, *_warnings(unmatched), *_long_header(outline), *renamed],
    )


def a1111(outline: Outline) -> Verdict:
    """Reads bundled embeddings; an error in one of them, or in a layer that it knows, drops the whole LoRA."""
    refused = list(_table_errors(outline))
    two = {"clip_l", "clip_g"}
    for name, leaves in outline.bundle.items():
        if len(leaves) > 1 and not (outline.family == "sdxl" and set(leaves) == two):
            refused.append(f"bundled embedding {name!r} has {len(leaves)} tensors: {', '.join(sorted(leaves))}")
    unmatched = len(outline.shapes) - len(outline.layers) - sum(map(len, outline.bundle.values()))
    return _verdict(
        "a1111",
        refused=refused,
        in_file=_bundle_fires(outline),
        unmatched=unmatched,
        notes=[*_silent_triggers(outline), *_warnings(unmatched, lines=0), *_unknown_version(outline)],
    )


def sdnext(outline: Outline) -> Verdict:
    """Reads bundled embeddings, by the first dot of their name; told to load with diffusers, it goes by that rule."""
    unmatched = len(outline.shapes) - len(outline.layers) - sum(map(len, outline.bundle.values()))
    return _verdict(
        "sdnext",
        refused=_table_errors(outline),
        in_file=_bundle_fires(outline),
        unmatched=unmatched,
        notes=[*_silent_triggers(outline), *_warnings(unmatched, lines=1)],
    )


def forge(outline: Outline) -> Verdict:
    """Counts the keys without a place, whatever they are, and refuses the file beyond twelve."""
    unmatched = len(outline.shapes) - len(outline.layers)
    too_many = unmatched > FORGE_EXTRA_KEYS
    refused = [f"{unmatched} keys without a place, at most {FORGE_EXTRA_KEYS} are allowed"] if too_many else []
    architecture = outline.metadata.get("modelspec.architecture", "")
    unknown = outline.family == "sd1" and not architecture.startswith("stable-diffusion-v1")
    notes = ["modelspec.architecture does not say SD1.5: hidden where LoRAs are listed by version"] if unknown else []
    return _verdict(
        "forge", refused=refused, in_file=False, unmatched=unmatched, notes=[*_warnings(unmatched, lines=1), *notes]
    )


def forge_neo(outline: Outline) -> Verdict:
    """Refuses a file of which more than half has no place."""
    unmatched = len(outline.shapes) - len(outline.layers)
    half = unmatched * 2 > len(outline.shapes)
    refused = [f"{unmatched} of {len(outline.shapes)} keys have no place, at most half may"] if half else []
    return _verdict(
        "forge-neo", refused=refused, in_file=False, unmatched=unmatched, notes=_warnings(unmatched, lines=1)
    )


def invoke(outline: Outline) -> Verdict:
    """Drops what begins with bundle_emb; of the rest every key must be of a layer of a kind that it knows.

    Keys go together up to their first dot, so what is not a layer passes beside a "diff"; for SDXL it never does.
    """
    kept = [key for key in outline.shapes if not key.startswith("bundle_emb")]
    strange = [key for key in kept if key not in outline.layers]
    if outline.family == "sdxl":
        refused = [f"a key of no SDXL layer: {strange[0]}"] if strange else []
        original = ("lora_unet_input_blocks_", "lora_unet_middle_block_", "lora_unet_output_blocks_")
        unet = [key for key in outline.layers if key.startswith("lora_unet_")]
        if len({key.startswith(original) for key in unet}) > 1:
            refused.append("layers under the names of the original code and of diffusers in one file")
    else:
        known = {key.partition(".")[0] for key in kept if key == INVOKE_KEY}
        bad = [key for key in strange if key.partition(".")[0] not in known]
        refused = [f"a key of an unknown kind of layer: {bad[0]}"] if bad else []
    names = [trigger for trigger in outline.triggers if not _INVOKE_NAME.fullmatch(trigger)]
    notes = [f"side-car {name!r} needs another name, of letters a to z, digits and . , _ -" for name in names]
    taken_for = _invoke_base(outline)
    if taken_for != outline.family:
        told = f"taken for {taken_for}" if taken_for else "base not known"
        notes.append(f"{told}: set {outline.family} in the model manager")
    return _verdict("invoke", refused=refused, in_file=False, unmatched=len(strange), notes=notes)


def _invoke_base(outline: Outline) -> str | None:
    """The family by the first layer in the order of names whose width tells it; SDXL also by its deep blocks.

    It means the width of text states, but takes a projection of time steps for one as well.
    """
    for key in sorted(outline.layers):
        module, _, part = key.partition(".")
        of_unet = module.startswith("lora_unet_") and module.endswith(("_attn2_to_k", "_attn2_to_v", "time_emb_proj"))
        if part == "lora_down.weight" and (of_unet or (module.startswith("lora_te_") and "_self_attn_" in module)):
            return _INVOKE_WIDTHS.get(outline.shapes[key][1])
    return "sdxl" if any(map(_DEEP_BLOCK.match, outline.modules)) else None


def diffusers(outline: Outline) -> Verdict:
    """`load_lora_weights(path)`: drops keys with "dora_scale" first; every other one must be of a layer.

    It says so only of a key without "lora" in its name; beside any other one, it takes no layer for kohya's.
    """
    kept = [key for key in outline.shapes if "dora_scale" not in key]
    strange = [key for key in kept if key not in outline.layers]
    loud = [key for key in strange if "lora" not in key]
    silent = f"loads nothing, without a word, because of {strange[0]}" if strange else ""
    refused = [f"a key that is no LoRA layer's: {loud[0]}" if loud else silent] if strange else []
    dropped = len(outline.shapes) - len(kept)
    notes = [f"{_keys(dropped)} left out with a warning about DoRA"] if dropped else []
    for prefix in ("lora_te", "lora_te1", "lora_te2"):
        text = [module for module in outline.modules if module.startswith(f"{prefix}_text_model_encoder_")]
        queries = [module for module in text if module.endswith("_q_proj")]
        if queries and not any(module.endswith("_out_proj") for module in text):
            notes.append(f"{len(queries)} layers q_proj of {prefix} are dropped, since the file has no out_proj")
    return _verdict("diffusers", refused=refused, in_file=False, unmatched=len(strange) + dropped, notes=notes)


def sd_scripts(outline: Outline) -> Verdict:
    """Takes what it has a place for, and lists the rest."""
    unmatched = len(outline.shapes) - len(outline.layers)
    return _verdict("sd-scripts", refused=(), in_file=False, unmatched=unmatched, notes=_warnings(unmatched, lines=1))


def _fits(table: dict[str, tuple[int, ...]]) -> bool:
    up, down = table.get("lora_up", ()), table.get("lora_down", ())
    return len(up) == len(down) == 2 and up[0] == CLIP_VOCABULARY and up[1] == down[0]


def _bundle_fires(outline: Outline) -> bool:
    return bool(outline.triggers) and not list(_silent_triggers(outline, any_bundle=False))


def _silent_triggers(outline: Outline, *, any_bundle: bool = True) -> Iterator[str]:
    """Triggers that do not fire, where the file bundles embeddings at all."""
    if any_bundle and not outline.bundle:
        return
    two_encoders = outline.family == "sdxl"
    for trigger in outline.triggers:
        if "." in trigger:
            yield f"trigger {trigger!r} has a dot, which ends its name"
        elif not (trigger[:1].isalnum() and trigger[-1:].isalnum()):
            yield f"trigger {trigger!r} does not begin and end with a letter or digit, so it does not fire"
        elif trigger not in outline.bundle:
            yield f"trigger {trigger!r} is not bundled"
        elif two_encoders and set(outline.bundle[trigger]) != {"clip_l", "clip_g"}:
            yield f"trigger {trigger!r} is not bundled for both text encoders, clip_l and clip_g"


def _table_errors(outline: Outline) -> Iterator[str]:
    if outline.table_as_layer:
        yield f"an embedding table under a layer's name: {min(outline.table_as_layer)}"


def _unknown_version(outline: Outline) -> Iterator[str]:
    told = outline.metadata
    version = "sdxl" if told.get("ss_base_model_version", "").startswith("sdxl_") else "sd1"
    if version == "sd1" and told.get("ss_v2") == "True":
        version = "sd2"
    if not told or version != outline.family:
        yield "ss_base_model_version and ss_v2 do not tell its version: hidden where LoRAs are listed by version"


def _warnings(unmatched: int, *, lines: int | None = None) -> Iterator[str]:
    if unmatched and lines == 0:
        yield f"{_keys(unmatched)} not used, without a word"
    elif unmatched:
        count = unmatched if lines is None else lines
        yield f"{_keys(unmatched)} not used: {count} {'warning' if count == 1 else 'warnings'}"


def _keys(count: int) -> str:
    return "1 key" if count == 1 else f"{count} keys"


def _long_header(outline: Outline) -> Iterator[str]:
    if outline.header_bytes >= HEADER_LIMIT:
        yield f"a header of {outline.header_bytes} bytes, more than the viewer reads"


CLIENTS = {
    client.name: client
    for client in (
        Client("comfyui", "ComfyUI", comfyui),
        Client("a1111", "A1111", a1111),
        Client("sdnext", "SD.Next", sdnext),
        Client("forge", "Forge", forge),
        Client("forge-neo", "Forge Neo", forge_neo),
        Client("invoke", "InvokeAI", invoke),
        Client("diffusers", "diffusers", diffusers),
        Client("sd-scripts", "sd-scripts", sd_scripts),
    )
}
