"""Ours: the museum, its styles, slots, and how old styles are kept."""

from __future__ import annotations

from museum_plugin.config.convert import to_bool, to_exports, to_float, to_int, to_name, to_path
from museum_plugin.config.flags.flag import Flag
from museum_plugin.config.pairs import to_weights

FLAGS: tuple[Flag, ...] = (
    Flag("museum", "output.museum", to_path,
         "the museum file that grows; without it a plain LoRA is trained", is_input=True),
    Flag("keep_history", "output.keep_history", to_int, "how many earlier versions of the museum file are kept"),
    Flag("export_for", "output.export_for", to_exports,
         "what the museum is published for at the end of a run, in output_dir: sidecars (embeddings and texts), webui, "
         "comfyui, a1111, sdnext, forge, invoke, diffusers; all; plain (the words work with no slot loaded); none"),
    Flag("style", "style.name", to_name,
         "name of the style to teach, or which one of a dataset file that names several; default: the "
         "dataset file's name"),
    Flag("trigger", "style.trigger", to_name,
         "the word(s) a user types for the style; auto (default with a museum): the next free slot word"),
    Flag("slot_vectors", "slot.vectors", to_int, "embeddings, and slot words, a style gets"),
    Flag("slot_init", "slot.init", to_name, "what the slot starts from: an ordinary word, or own: its own direction"),
    Flag("slot_lr", "slot.learning_rate", to_float, "learning rate of the slot; 0 keeps it at its start"),
    Flag("slot_dropout", "slot.dropout", to_float,
         "share of pictures learned with the plain slot words, so that the style also works where no slot is loaded"),
    Flag("method", "method.name", to_name,
         "how old styles are kept: museum, paper, finetune (not at all), or a baseline: ewc, lwf, clora, olora"),
    Flag("term_weights", "method.weights", to_weights,
         "weights of the method's terms, each as name=number (in TOML also a table); 0 switches a term off"),
    Flag("replay_per_style", "replay.per_style", to_int, "latents drawn for each old style"),
    Flag("replay_limit", "replay.limit", to_int,
         "latents drawn for all old styles together, which share them evenly"),
    Flag("replay_neutral", "replay.neutral", to_int, "latents drawn without any trigger"),
    Flag("replay_batch_size", "replay.batch_size", to_int,
         "latents of the bank in every step (default: one for two pictures; beside one, in every second step)"),
    Flag("replay_apart", "replay.apart", to_bool,
         "give latents of the bank a pass of their own: then it needs hardly more memory than the pictures do"),
    Flag("replay_sampling_steps", "replay.sampling_steps", to_int, "denoising steps for each latent of the bank"),
    Flag("gate", "gate.mode", to_name,
         "on: a museum that lost too much does not replace the one before, it is kept beside it; off: it does",
         choices=("on", "off")),
    Flag("gate_effect", "gate.effect", to_float,
         "share of its effect on predictions, as it was when it was learned, that every old style must keep"),
    Flag("gate_pictures", "gate.pictures", to_float,
         "how far an old style's pictures may move since it was learned, as a share of its way from the base"),
    Flag("gate_kept", "gate.kept", to_float,
         "share of its score that every old style must keep (default: not asked; 0.6 where it is not known what the "
         "style did when it was learned)"),
    Flag("gate_drift", "gate.drift", to_float,
         "how far pictures without a trigger may move, as a share of the way to a style"),
    Flag("gate_neutral", "gate.neutral", to_float,
         "how far predictions without a trigger may move, as a share of what a style does to them"),
    Flag("gate_learned", "gate.learned", to_float, "score that the new style must reach"),
    Flag("gate_extra_steps", "gate.extra_steps", to_int,
         "steps that may follow where the gate objects, with a heavy lock; only then the museum is refused"),
    Flag("judge_every", "gate.judge_every", to_int,
         "steps between small verdicts while a style is learned; they are logged and kept in its record"),
    Flag("stop_when_learned", "gate.stop_when_learned", to_float,
         "score at which a style is taught no longer, if the gate has nothing against the rest; needs judge_every"),
    Flag("replay_guidance", "replay.guidance", to_float, "classifier-free guidance scale of the bank"),
)  # fmt: skip
