"""Where a run writes what."""

from __future__ import annotations

from pathlib import Path

from museum_plugin.config.schema import OutputConfig, RunConfig


def museum_file(output: OutputConfig) -> Path:
    """The museum that grows, or the plain LoRA that is written."""
    return output.museum or output.output_dir / f"{output.output_name}.safetensors"


def checkpoint_file(output: OutputConfig) -> Path:
    """The state of an unfinished style."""
    return output.output_dir / f"{output.output_name}.unfinished.pt"


def run_stem(run: RunConfig, style: str) -> str:
    """How the files of a style begin: with the name of the run, and the style's where the run teaches several."""
    return f"{run.output.output_name}-{style}" if len(run.styles) > 1 else run.output.output_name


def grid_file(output: OutputConfig, number: int, style: str) -> Path:
    """The pictures of all styles after style `number`, counted from 1."""
    return output.output_dir / f"{output.output_name}-{number:02d}-{style}-grid.png"


def page_file(output: OutputConfig, number: int, style: str) -> Path:
    """The page about the museum after style `number`."""
    return output.output_dir / f"{output.output_name}-{number:02d}-{style}.html"


def matrix_file(output: OutputConfig, number: int, style: str) -> Path:
    """The retention matrix after style `number`; its numbers lie beside it as .json."""
    return output.output_dir / f"{output.output_name}-{number:02d}-{style}-matrix.png"


def latents_folder(output: OutputConfig) -> Path:
    """Latents that are kept on disk."""
    return output.output_dir / "latents"
