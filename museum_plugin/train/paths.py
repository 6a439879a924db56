"""Where a run writes what."""

from __future__ import annotations

from pathlib import Path

from museum_plugin.config.schema import OutputConfig


def museum_file(output: OutputConfig) -> Path:
    """The museum that grows, or the plain LoRA that is written."""
    return output.museum or output.output_dir / f"{output.output_name}.safetensors"


def checkpoint_file(output: OutputConfig) -> Path:
    """The state of an unfinished style."""
    return output.output_dir / f"{output.output_name}.unfinished.pt"


def between_file(output: OutputConfig, step: int) -> Path:
    """The museum in the middle of a style, named as sd-scripts names it."""
    return output.output_dir / f"{output.output_name}-step{step:08d}.safetensors"


def grid_file(output: OutputConfig, number: int, style: str) -> Path:
    """The pictures of all styles after style `number`, counted from 1."""
    return output.output_dir / f"{output.output_name}-{number:02d}-{style}-grid.png"


def matrix_file(output: OutputConfig, number: int, style: str) -> Path:
    """The retention matrix after style `number`; its numbers lie beside it as .json."""
    return output.output_dir / f"{output.output_name}-{number:02d}-{style}-matrix.png"


def preview_file(output: OutputConfig, style: str, step: int, number: int, seed: int) -> Path:
    """One preview, drawn after `step` steps of a style."""
    return output.output_dir / "sample" / f"{output.output_name}_{style}_{step:06d}_{number:02d}_{seed}.png"


def latents_folder(output: OutputConfig) -> Path:
    """Latents that are kept on disk."""
    return output.output_dir / "latents"
