"""The texts beside an export: NAME.json for WebUIs, NAME.txt for people. Pure functions of the ledger."""

from __future__ import annotations

import json
from collections.abc import Sequence

from museum_plugin.data.captions import with_trigger
from museum_plugin.export.targets import Target
from museum_plugin.museum.ledger import Ledger, StyleRecord

_VERSIONS = {"sd1": "SD1", "sd2": "SD2", "sdxl": "SDXL"}
_EXAMPLE = "a cat"
_WEIGHT = 1.0


def card_json(ledger: Ledger, name: str, description: str) -> bytes:
    """What A1111 and Forge show of a LoRA: the newest style's words to click, all styles in the notes.

    Args:
        ledger: with at least one style.
        description: "" for one of our own.
    """
    styles = ledger.styles
    told = {
        "description": description or f"{name}: one LoRA, styles: {', '.join(record.name for record in styles)}",
        "sd version": _VERSIONS[ledger.base.family],
        "activation text": _in_style(styles[-1]),
        "preferred weight": _WEIGHT,
        "negative text": "",
        "notes": "\n".join(f"{record.name}: {_in_style(record)}" for record in styles),
    }
    return (json.dumps(told, ensure_ascii=False, indent=4) + "\n").encode("utf-8", "replace")


def card_text(ledger: Ledger, name: str, target: Target, verdict_lines: Sequence[str]) -> bytes:
    """How to load and prompt, for each client that this folder is for.

    Args:
        name: of the LoRA file, without suffix.
        verdict_lines: what each client does with the LoRA file; none where there is none.
    """
    styles = ledger.styles
    base = f"{ledger.base.name} ({_VERSIONS[ledger.base.family]})"
    lines = [f"{name}: {len(styles)} styles for {base} and models made from it", ""]
    lines += [f"  {record.trigger:<20} {record.name}" for record in styles]
    lines += ["", "How to prompt:", *_prompt_lines(styles[-1], name, ledger.base.family, target)]
    if any(len(record.words) > 1 for record in styles):
        lines += ["", "A trigger of several words is typed as it stands, with its spaces."]
    if verdict_lines:
        lines += ["", f"What each client does with {name}.safetensors:", *[f"  {line}" for line in verdict_lines]]
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


def _prompt_lines(record: StyleRecord, name: str, family: str, target: Target) -> list[str]:
    trigger, lora = record.trigger, f"{name}.safetensors"
    prompt, called = with_trigger(_EXAMPLE, trigger), f"<lora:{name}:{_WEIGHT:g}> "
    others = "Forge" if target.with_lora else "A1111, Forge, SD.Next"
    said = {
        "comfyui": _comfyui_lines(record, lora, prompt, target),
        "a1111": [f"A1111, SD.Next: {lora} in models/Lora, then: {called}{prompt}"],
        "forge": [f"{others}: {lora} in models/Lora, embeddings/* in embeddings, then: {called}{prompt}"],
        "invoke": [f"Invoke: install {lora} and embeddings/*, then: {prompt.replace(trigger, f'<{trigger}>')}"],
        "diffusers": ["diffusers:", *[f"  {line}" for line in _diffusers_lines(record, lora, family)]],
    }
    shown = {"sdnext": ["a1111"], "webui": ["comfyui", "a1111", "forge", "invoke"]}
    if target.with_plain_words:
        return [
            f"  ComfyUI: {lora} in models/loras, a LoRA node for model and clip, then: {prompt}",
            f"  A1111, SD.Next, Forge: {lora} in models/Lora, then: {called}{prompt}",
            f"  Invoke: install {lora}, then: {prompt}",
            f'  diffusers: pipe.load_lora_weights("{lora}"), then: pipe("{prompt}")',
        ]
    names = shown.get(target.name, [target.name]) if target.with_lora else ["comfyui", "forge", "invoke"]
    return [f"  {line}" for each in names for line in said[each]]


def _comfyui_lines(record: StyleRecord, lora: str, prompt: str, target: Target) -> list[str]:
    """A side-car is called by name, and a name ends at its first space."""
    if target.with_table:
        return [f"ComfyUI: {lora} in models/loras, a LoRA node for model and clip, then: {prompt}"]
    name = "-".join(record.words)
    called = prompt.replace(record.trigger, f"embedding:{name}") if record.words else prompt
    renamed = f", {record.trigger}.safetensors renamed to {name}.safetensors" if len(record.words) > 1 else ""
    where = f"{lora} in models/loras, embeddings/* in models/embeddings{renamed}, a LoRA node for model and clip"
    return [f"ComfyUI: {where}, then: {called}"]


def _diffusers_lines(record: StyleRecord, lora: str, family: str) -> list[str]:
    """Code: an embedding of several vectors wants a token for each."""
    token = json.dumps(record.words[0] if len(record.words) == 1 else list(record.words))
    parts, more = {"emb_params": ""}, list[str]()
    if family == "sdxl":
        parts = {
            "clip_l": ", text_encoder=pipe.text_encoder, tokenizer=pipe.tokenizer",
            "clip_g": ", text_encoder=pipe.text_encoder_2, tokenizer=pipe.tokenizer_2",
        }
        # As published, this encoder is pooled at the highest token id, which an added word would have.
        more = ["pipe.text_encoder_2.text_model.eos_token_id = pipe.tokenizer_2.eos_token_id"]
    return [
        "from safetensors.torch import load_file",
        f'pipe.load_lora_weights("{lora}")',
        f'vectors = load_file("embeddings/{record.trigger}.safetensors")',
        *[f'pipe.load_textual_inversion(vectors["{key}"], token={token}{where})' for key, where in parts.items()],
        *more,
        f'pipe("{with_trigger(_EXAMPLE, record.trigger)}")',
    ]


def _in_style(record: StyleRecord) -> str:
    return with_trigger("", record.trigger)
