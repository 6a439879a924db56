"""Museum: one LoRA file that learns many styles, one after another, without forgetting."""

__version__ = "0.1.0"
