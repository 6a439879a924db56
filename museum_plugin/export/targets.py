"""What is written for which client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from museum_plugin.config.refusal import did_you_mean
from museum_plugin.errors import ConfigError

ALL = "all"


@dataclass(frozen=True)
class Target:
    """What goes into the folder of one client."""

    name: str
    clients: tuple[str, ...] = ()
    """Who must load the LoRA file; names of `clients.CLIENTS`."""
    with_lora: bool = True
    with_store: bool = True
    """The packed slots, with which the file stays a museum that can grow."""
    with_bundle: bool = False
    """`bundle_emb.<phrase>`: A1111 and SD.Next find the slots in the LoRA file."""
    with_table: bool = False
    """A patch on the token embeddings: ComfyUI finds the slots in the LoRA file."""
    for_invoke: bool = False
    """An empty key, beside which InvokeAI bears the patch on the token embeddings; nothing helps for SDXL."""
    with_sidecars: bool = False
    """`embeddings/<phrase>.safetensors`, for clients that find no slots in a LoRA file."""
    with_plain_words: bool = False
    """Layers of the text encoders that make the plain words mean what the slots do; needs the base model."""


TARGETS = {
    target.name: target
    for target in (
        Target(
            "webui",
            ("comfyui", "a1111", "sdnext", "forge", "forge-neo"),
            with_bundle=True,
            with_table=True,
            for_invoke=True,
            with_sidecars=True,
        ),
        Target("comfyui", ("comfyui",), with_table=True),
        Target("a1111", ("a1111",), with_bundle=True),
        Target("sdnext", ("sdnext",), with_bundle=True),
        Target("forge", ("forge", "forge-neo"), with_sidecars=True),
        Target("invoke", ("invoke",), with_sidecars=True),
        Target("diffusers", ("diffusers",), with_store=False, with_sidecars=True),
        Target(
            "plain",
            ("comfyui", "a1111", "sdnext", "forge", "forge-neo", "invoke", "diffusers"),
            with_store=False,
            with_plain_words=True,
        ),
        Target("sidecars", with_lora=False, with_store=False, with_sidecars=True),
    )
}
"""What the user types -> what is written; the first one suits most clients at once."""


def chosen_targets(names: Sequence[str]) -> tuple[Target, ...]:
    """The targets of these names, each once; "all" is every one that has a LoRA file and needs no base model.

    Raises:
        ConfigError: no such target; names the nearest.
    """
    found: dict[str, Target] = {}
    for name in names:
        if name == ALL:
            found |= {each: target for each, target in TARGETS.items() if _in_all(target)}
        elif name not in TARGETS:
            known = [*TARGETS, ALL]
            raise ConfigError(f"--for: found {name!r}, allowed: {', '.join(known)}{did_you_mean(name, known)}")
        else:
            found[name] = TARGETS[name]
    return tuple(found.values())


def _in_all(target: Target) -> bool:
    return target.with_lora and not target.with_plain_words
