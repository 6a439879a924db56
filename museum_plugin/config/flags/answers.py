"""Flags of sd-scripts that are not needed here: what is done instead, one line each."""

from __future__ import annotations

_EXACT = "a state holds its step, epoch and order of pictures: --resume goes on exactly there, nothing is skipped"
_TEXT = (
    "a style's prompts pass through its slot, which learns, so they are encoded in every step; the bank's prompts are "
    "encoded once where the text encoders are not taught"
)
ANSWERS = {
    "cache_text_encoder_outputs": _TEXT,
    "cache_text_encoder_outputs_to_disk": _TEXT,
    "skip_until_initial_step": _EXACT,
    "initial_step": _EXACT,
    "initial_epoch": _EXACT,
    "save_model_as": "safetensors is always written: every WebUI reads it, and it can hold no program",
    "console_log_simple": "messages are plain lines always",
}
"""Flag -> what a run says where somebody asks for it."""
