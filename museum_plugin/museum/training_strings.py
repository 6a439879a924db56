"""How the newest style was taught, as sd-scripts and ModelSpec write it into a header. Pure functions of its record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import PurePath
from typing import Any

from museum_plugin.museum.ledger import StyleRecord

DATA = "data"
"""Field of a record: how many pictures there were, and in which sizes."""
_FLAGS = (
    "learning_rate", "unet_lr", "text_encoder_lr", "lr_scheduler", "lr_warmup_steps", "max_train_steps", "clip_skip",
    "gradient_accumulation_steps", "mixed_precision", "min_snr_gamma", "noise_offset", "zero_terminal_snr", "loss_type",
    "seed", "max_token_length", "gradient_checkpointing", "cache_latents", "network_dropout", "scale_weight_norms",
    "max_grad_norm", "prior_loss_weight", "multires_noise_iterations", "multires_noise_discount",
    "adaptive_noise_scale", "noise_offset_random_strength", "ip_noise_gamma", "ip_noise_gamma_random_strength",
    "huber_schedule", "huber_scale", "huber_c", "validation_seed", "validation_split",
)  # fmt: skip
"""Flags that stand in the header under their own name after "ss_"."""
_FILES = {"ss_sd_model_name": "pretrained_model_name_or_path", "ss_vae_name": "vae"}
"""Of these flags only the name of the file or folder is told. Source: sd-scripts."""
_COMMENT = "ss_training_comment"
_LONGEST = 2**16
"""Characters of a string of another trainer; its lists of tags would outgrow what readers of headers allow."""


def training_strings(record: StyleRecord) -> dict[str, str]:
    """Key of the header -> text; only what the record knows."""
    given, data = record.settings, record.extra.get(DATA)
    strings = {f"ss_{name}": str(given[name]) for name in _FLAGS if given.get(name) is not None}
    strings |= {key: PurePath(str(given[flag])).name for key, flag in _FILES.items() if given.get(flag)}
    if given.get("optimizer_type"):
        options = ",".join(map(str, given.get("optimizer_args") or ()))
        strings["ss_optimizer"] = f"{given['optimizer_type']}({options})" if options else str(given["optimizer_type"])
    if given.get("debiased_estimation_loss") is not None:
        strings["ss_debiased_estimation"] = str(given["debiased_estimation_loss"])
    if given.get("network_args"):
        strings["ss_network_args"] = json.dumps(given["network_args"], sort_keys=True)
    if record.steps:
        strings["ss_steps"] = str(record.steps)
        with suppress(ValueError):  # of a ledger that somebody else wrote
            strings["ss_training_finished_at"] = str(datetime.fromisoformat(record.taught_at).timestamp())
    return {**strings, **_of_data(data if isinstance(data, dict) else {}, record.steps), **_modelspec(given)}


def lasting_strings(metadata: Mapping[str, str]) -> dict[str, str]:
    """What a header keeps when another style is taught: not what was said of how the one before was taught."""
    return {key: text for key, text in metadata.items() if not key.startswith("ss_") or key == _COMMENT}


def host_strings(metadata: Mapping[str, object]) -> dict[str, str]:
    """What another trainer says of its run, as far as it may stand in a museum's header.

    Not its modelspec, which the ledger knows better, not the arguments of its network module, which hold paths, and no
    endless lists of tags.
    """
    found = {key: str(text) for key, text in metadata.items() if key.startswith("ss_") and key != "ss_network_args"}
    if "ss_datasets" in found:
        found["ss_datasets"] = _without_tags(found["ss_datasets"])
    return {key: text for key, text in found.items() if len(text) <= _LONGEST}


def _without_tags(text: str) -> str:
    try:
        given = json.loads(text)
        return json.dumps([{key: each[key] for key in each if key != "tag_frequency"} for each in given])
    except (ValueError, TypeError):
        return text


def data_facts(
    sizes: Mapping[str, int], *, reg_images: int, batches_per_epoch: int, batches_per_step: int, datasets: list[Any]
) -> dict[str, Any]:
    """What a record keeps of a style's pictures, under DATA.

    Args:
        sizes: "WIDTHxHEIGHT" -> pictures of an epoch, repeats counted, without those of regularisation.
        datasets: as sd-scripts' ss_datasets, without tags; empty where another trainer tells them itself.
    """
    told = {"datasets": datasets} if datasets else {}
    return {
        "images": sum(sizes.values()),
        "reg_images": reg_images,
        "sizes": dict(sizes),
        "batches_per_epoch": batches_per_epoch,
        "batches_per_step": batches_per_step,
        **told,
    }


def _of_data(data: dict[str, Any], steps: int) -> dict[str, str]:
    sizes = data.get("sizes")
    if not isinstance(sizes, dict) or not sizes:
        return {}
    batches = int(data["batches_per_epoch"])
    buckets = [[int(side) for side in size.split("x")] for size in sizes]
    counts = [int(count) for count in sizes.values()]
    info = {str(i): {"resolution": buckets[i], "count": counts[i]} for i in range(len(buckets))}
    most = max(range(len(buckets)), key=lambda i: counts[i])
    epochs = -(-steps * int(data["batches_per_step"]) // batches) if batches else 0
    return {
        "ss_num_train_images": str(data["images"]),
        "ss_num_reg_images": str(data["reg_images"]),
        "ss_num_batches_per_epoch": str(batches),
        "ss_epoch": str(epochs),
        "ss_num_epochs": str(epochs),
        "ss_resolution": f"({buckets[most][0]}, {buckets[most][1]})",
        "ss_bucket_info": json.dumps({"buckets": info}),
        "modelspec.resolution": f"{buckets[most][0]}x{buckets[most][1]}",
        **_of_datasets(data.get("datasets") or []),
    }


def _of_datasets(datasets: list[Any]) -> dict[str, str]:
    folders: dict[str, dict[str, int]] = {}
    for subset in (subset for dataset in datasets for subset in dataset["subsets"] if not subset["is_reg"]):
        name, count = subset["image_dir"], 2
        while name in folders:
            name, count = f"{subset['image_dir']} ({count})", count + 1
        folders[name] = {"n_repeats": subset["num_repeats"], "img_count": subset["img_count"]}
    return (
        {"ss_datasets": json.dumps(datasets, sort_keys=True), "ss_dataset_dirs": json.dumps(folders)}
        if datasets
        else {}
    )


def _modelspec(given: dict[str, Any]) -> dict[str, str]:
    """ModelSpec 1.0.1: the text encoder's layer from the end, and the steps of noise, where flags say so."""
    found = {}
    if isinstance(given.get("clip_skip"), int):
        found["modelspec.encoder_layer"] = str(given["clip_skip"])
    low, high = given.get("min_timestep"), given.get("max_timestep")
    if low or high:
        found["modelspec.timestep_range"] = f"{low or 0},{high or 1000}"
    return found
