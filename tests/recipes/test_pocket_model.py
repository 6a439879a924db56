"""The embedded default is a real model, and the demo is a real run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline

from benchmarks.pocket_pictures import show
from museum_plugin.base.load import BaseModel, load_base
from museum_plugin.museum.triggers import choose_words, slot_words
from museum_plugin.pocket import MODEL_DIR
from museum_plugin.pocket.classifier import accuracy, draw_exam, load_classifier
from museum_plugin.pocket.scenes import held_out_scenes

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return load_base(MODEL_DIR)


def test_it_is_small_and_of_sd1s_family(base: BaseModel) -> None:
    size = sum(file.stat().st_size for file in MODEL_DIR.rglob("*") if file.is_file())
    assert size <= 16 * 2**20
    assert base.family.name == "sd1"
    assert base.latent_factor == 8
    assert base.prediction_type == "epsilon"


def test_every_slot_word_can_be_a_trigger(base: BaseModel) -> None:
    for word in slot_words():
        assert choose_words(base, word, 1, taken=()) == (word,)


def test_diffusers_own_pipeline_draws_with_it() -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(MODEL_DIR, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    picture = pipeline("a red cat in a meadow", num_inference_steps=2, height=128, width=128).images[0]
    assert picture.size == (128, 128)


def test_the_classifier_is_right_on_drawn_pictures() -> None:
    found = accuracy(load_classifier(), draw_exam(240, seed=12345))
    assert found["object"] > 0.97
    assert found["color"] > 0.97
    assert found["style"] > 0.95


@pytest.mark.slow
def test_it_draws_what_captions_it_never_saw_ask_for(base: BaseModel) -> None:
    with torch.no_grad():
        shown = show(base, load_classifier(), held_out_scenes(), "", seed=7)
    assert shown.object_rate() > 0.6
    assert shown.color_rate() > 0.7
    assert shown.style_rate("flat") > 0.6


@pytest.mark.slow
def test_the_demo_runs_as_a_new_user_would_run_it(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "train_museum.py",
        "--config_file",
        "presets/demo.toml",
        "--max_train_steps",
        "2",
        "--gate",
        "off",
    ]
    command += ["--museum", str(tmp_path / "demo.safetensors"), "--output_dir", str(tmp_path)]
    command += ["--replay_per_style", "2", "--replay_neutral", "2", "--replay_sampling_steps", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "demo.safetensors") in done.stdout
    for line in done.stdout.splitlines():
        if line.startswith(("matrix", "grid")):
            assert Path(line.split()[1]).is_file()
    matrix = json.loads(next(tmp_path.glob("*-03-*-matrix.json")).read_text())
    assert matrix["names"] == ["ink", "neon", "mosaic"]
    assert "python -m museum_plugin sample" in done.stdout
