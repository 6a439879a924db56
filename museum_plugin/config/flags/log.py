"""Messages, logs, and the header of the file."""

from __future__ import annotations

from museum_plugin.config.convert import to_bool, to_path, to_picture, to_spoken, to_text
from museum_plugin.config.flags.flag import Flag

FLAGS: tuple[Flag, ...] = (
    Flag("log_prefix", "log.prefix", to_text, "logs go to a folder of their own in logging_dir: this and the time"),
    Flag("log_tracker_name", "log.tracker_name", to_text, "name of the logs (default: output_name)"),
    Flag("log_tracker_config", "log.tracker_config", to_path,
         "TOML file with a table for each log, [tensorboard] or [wandb], of what it is told besides", is_input=True),
    Flag("log_config", "log.with_settings", to_bool, "write the settings of the run into its logs, without paths"),
    Flag("wandb_run_name", "log.wandb_run_name", to_text, "name of this run at wandb"),
    Flag("wandb_api_key", "log.wandb_api_key", to_text,
         "key of an account at wandb, in place of `wandb login`; written nowhere", is_secret=True),
    Flag("console_log_level", "log.console_level", to_text,
         "least serious messages that are shown", ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")),
    Flag("console_log_file", "log.console_file", to_path, "write messages into this file instead of showing them"),
    Flag("metadata_title", "metadata.title", to_text, "title in the file's header (default: output_name)"),
    Flag("metadata_author", "metadata.author", to_text, "author in the file's header"),
    Flag("metadata_description", "metadata.description", to_text, "description in the file's header"),
    Flag("metadata_license", "metadata.license", to_text, "license in the file's header"),
    Flag("metadata_tags", "metadata.tags", to_text, "tags in the file's header, separated by commas"),
    Flag("metadata_usage_hint", "metadata.usage_hint", to_text,
         "hint for users in the file's header (default: all triggers)"),
    Flag("metadata_thumbnail", "metadata.thumbnail", to_picture,
         "picture in the file's header: a file, or a data URL", is_input=True),
    Flag("metadata_merged_from", "metadata.merged_from", to_text, "models that were merged, in the file's header"),
    Flag("metadata_trigger_phrase", "metadata.trigger_phrase", to_text,
         "trigger phrase in the file's header (default: that of the newest style)"),
    Flag("metadata_preprocessor", "metadata.preprocessor", to_text, "preprocessor in the file's header"),
    Flag("metadata_is_negative_embedding", "metadata.is_negative_embedding", to_spoken,
         "whether this is a negative embedding, in the file's header"),
    Flag("training_comment", "metadata.comment", to_text, "comment in the file's header"),
    Flag("no_metadata", "metadata.no_metadata", to_bool,
         "leave ledger and texts out of files of steps and epochs and of a plain LoRA; a museum needs them"),
    Flag("save_precision", "metadata.precision", to_text,
         "of files of steps and epochs and of a plain LoRA; a museum is always float", ("float", "fp16", "bf16")),
)  # fmt: skip
