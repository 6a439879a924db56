"""`finetune`: plain sequential training of the shared LoRA. The lower reference: it forgets at once."""

WEIGHTS: dict[str, float] = {}
