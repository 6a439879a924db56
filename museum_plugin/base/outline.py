"""What a base model, a folder or a checkpoint file, tells without loading its networks."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from museum_plugin.base.expectation import asked_prediction_type
from museum_plugin.base.folder import BaseOutline, folder_fingerprint, read_base_folder
from museum_plugin.base.hub import found_base
from museum_plugin.base.single_file import sketch_single_file
from museum_plugin.base.text_encoders import TEXT_LEVEL, check_widths
from museum_plugin.config.schema import BaseConfig


def read_outline(asked: BaseConfig) -> BaseOutline:
    """What is known of the base that is asked for.

    Raises:
        BaseModelError: what `load_base` refuses, as far as it shows here.
    """
    name, asked = asked.path.resolve().name, replace(asked, path=found_base(asked.path))
    outline = _outline_of_file(asked) if asked.path.is_file() else read_base_folder(asked.path)
    outline = replace(outline, name=name)
    told = outline.sketch is None or outline.sketch.told_prediction
    return replace(outline, prediction_type=asked_prediction_type(outline.family, outline.prediction_type, told, asked))


def outline_fingerprint(base: BaseOutline) -> str | None:
    """The fingerprint that `load_base` finds; of the weights, only the sampled values are read.

    None where the weights of a folder are not in safetensors files of the usual names.

    Raises:
        BaseModelError: a weight file is damaged.
    """
    if base.sketch is None:
        return folder_fingerprint(base.path)
    from museum_plugin.base.load import tensor_sample

    digest = hashlib.sha256()
    for part in (base.sketch.unet, *base.sketch.text_encoders):
        tensors = {name.removeprefix(TEXT_LEVEL): tensor for name, tensor in part.tensors.items()}
        for name, tensor in sorted(tensors.items()):
            digest.update(tensor_sample(name, tensor))
    return digest.hexdigest()


def _outline_of_file(asked: BaseConfig) -> BaseOutline:
    sketch = sketch_single_file(asked.path, asked.tokenizer_cache_dir)
    texts = [text.network.config for text in sketch.text_encoders]
    check_widths(asked.path, sketch.unet.network.config, [text.to_dict() for text in texts])
    return BaseOutline(
        path=asked.path,
        name=asked.path.resolve().name,
        family=sketch.family,
        prediction_type=sketch.scheduler.config.prediction_type,
        timesteps=sketch.scheduler.config.num_train_timesteps,
        text_layers=min(text.num_hidden_layers for text in texts),
        tokenizers=sketch.tokenizers,
        sketch=sketch,
    )
