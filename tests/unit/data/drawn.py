"""Folders of small drawn pictures, and the configuration that points at them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from museum_plugin.config.schema import DatasetConfig, StyleData, SubsetConfig


def draw(path: Path, size: tuple[int, int] = (64, 64), *, seed: int = 0) -> Path:
    """Write a noise picture in the format that the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def draw_folder(folder: Path, sizes: list[tuple[int, int]], *, captions: bool = True) -> Path:
    """Pictures 00.png, 01.png... of these sizes, each with a caption file."""
    for number, size in enumerate(sizes):
        draw(folder / f"{number:02d}.png", size, seed=number)
        if captions:
            (folder / f"{number:02d}.caption").write_text(f"picture {number}, red, round, small", encoding="utf-8")
    return folder


def dataset_of(*subsets: SubsetConfig, **settings: object) -> DatasetConfig:
    """A dataset of 64x64 pixels without buckets, unless the settings say otherwise."""
    return DatasetConfig(subsets, **{"resolution": (64, 64), **settings})  # type: ignore[arg-type]


def bucketed(*subsets: SubsetConfig, **settings: object) -> DatasetConfig:
    """A dataset of 64x64 pixels with buckets from 32 to 128 in steps of 16."""
    limits = {"enable_bucket": True, "min_bucket_reso": 32, "max_bucket_reso": 128, "bucket_reso_steps": 16}
    return dataset_of(*subsets, **{**limits, **settings})


def style_of(*datasets: DatasetConfig, name: str | None = "ink") -> StyleData:
    return StyleData(name, None, datasets)


def area_mean(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixels (H, W, ...) in another (width, height): each the exact mean of what it covers."""

    def shares(old: int, new: int) -> np.ndarray:
        edges = [old * k / new for k in range(new + 1)]
        covered = [[max(0.0, min(hi, j + 1) - max(lo, j)) for j in range(old)] for lo, hi in pairwise(edges)]
        return np.array(covered) * new / old

    down, across = shares(pixels.shape[0], size[1]), shares(pixels.shape[1], size[0])
    return np.einsum("ij,jk...,lk->il...", down, pixels.astype(np.float64), across)
