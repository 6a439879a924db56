"""Where pictures and captions are, and how they are shown. A dataset file has most of these too."""

from __future__ import annotations

from museum_plugin.config.convert import to_bool, to_float, to_int, to_path, to_resolution, to_text
from museum_plugin.config.flags.flag import Flag

FLAGS: tuple[Flag, ...] = (
    Flag("config_file", "files", to_path,
         "TOML of flags; may be given several times, a later one wins, the command line wins over all"),
    Flag("output_config", "files", to_bool,
         "write the settings into the last --config_file, which may not be there yet, and leave"),
    Flag("dataset_config", "files", to_path,
         "dataset file (.toml or .json); its values win over the data flags", is_input=True),
    Flag("train_data_dir", "files", to_path,
         "without --dataset_config: a folder of folders named `<repeats>_<class tokens>`", is_input=True),
    Flag("resolution", "dataset.resolution", to_resolution, "pixels: 512 or 512,768 (width, height)"),
    Flag("train_batch_size", "dataset.batch_size", to_int, "pictures a step"),
    Flag("enable_bucket", "dataset.enable_bucket", to_bool, "keep aspect ratios by sorting pictures into buckets"),
    Flag("min_bucket_reso", "dataset.min_bucket_reso", to_int, "shortest bucket side, pixels"),
    Flag("max_bucket_reso", "dataset.max_bucket_reso", to_int, "longest bucket side, pixels"),
    Flag("bucket_reso_steps", "dataset.bucket_reso_steps", to_int, "bucket sides are multiples of this, pixels"),
    Flag("bucket_no_upscale", "dataset.bucket_no_upscale", to_bool, "never enlarge a picture"),
    Flag("caption_extension", "subset.caption_extension", to_text, "file extension of captions"),
    Flag("caption_separator", "subset.caption_separator", to_text, "what stands between tags"),
    Flag("caption_prefix", "subset.caption_prefix", to_text, "text put before every caption"),
    Flag("caption_suffix", "subset.caption_suffix", to_text, "text put after every caption"),
    Flag("shuffle_caption", "subset.shuffle_caption", to_bool, "shuffle tags at every access"),
    Flag("keep_tokens", "subset.keep_tokens", to_int, "number of leading tags that are never shuffled or dropped"),
    Flag("caption_dropout_rate", "subset.caption_dropout_rate", to_float,
         "share of steps with an empty caption, 0 to 1"),
    Flag("caption_tag_dropout_rate", "subset.caption_tag_dropout_rate", to_float, "share of tags left out, 0 to 1"),
    Flag("flip_aug", "subset.flip_aug", to_bool, "mirror pictures at random"),
    Flag("random_crop", "subset.random_crop", to_bool, "crop at random instead of at the centre"),
    Flag("color_aug", "subset.color_aug", to_bool, "vary colours a little"),
)  # fmt: skip
