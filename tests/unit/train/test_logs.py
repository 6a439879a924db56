"""What logs are told besides the losses."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from museum_plugin.config.schema import LogConfig, MetadataConfig
from museum_plugin.errors import ConfigError
from museum_plugin.train.header import chosen_metadata
from museum_plugin.train.logs import log_options


def options(folder: Path, text: str, **more: object) -> dict[str, dict[str, object]]:
    path = folder / "logs.toml"
    path.write_text(text, encoding="utf-8")
    return log_options(LogConfig(tracker_config=path, **more))  # type: ignore[arg-type]


def test_a_table_for_each_log_beside_the_name_of_the_run(tmp_path: Path) -> None:
    assert log_options(LogConfig()) == {}
    assert log_options(LogConfig(wandb_run_name="one")) == {"wandb": {"name": "one"}}
    told = options(tmp_path, "[wandb]\ngroup = 'a'\n[tensorboard]\nflush_secs = 9\n", wandb_run_name="one")
    assert told == {"wandb": {"name": "one", "group": "a"}, "tensorboard": {"flush_secs": 9}}
    assert options(tmp_path, "[wandb]\nname = 'two'\n", wandb_run_name="one") == {"wandb": {"name": "two"}}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[wandbs]\n", "found 'wandbs', .*did you mean \"wandb\""),
        ("wandb = 3", "wandb: found 3"),
        ("=", "not valid TOML"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        options(tmp_path, text)


def test_a_thumbnail_is_a_picture(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), "red").save(tmp_path / "a.dat", format="WEBP")
    url = chosen_metadata(MetadataConfig(thumbnail=tmp_path / "a.dat"))["modelspec.thumbnail"]
    assert url.startswith("data:image/webp;base64,UklGR")
    assert chosen_metadata(MetadataConfig(thumbnail="data:image/png;base64,x")) == {
        "modelspec.thumbnail": "data:image/png;base64,x"
    }
    (tmp_path / "b.png").write_bytes(b"no picture")
    Image.effect_noise((4000, 4000), 99).save(tmp_path / "large.bmp")
    for name, told in (
        ("b.png", "cannot be read as a picture"),
        ("gone.png", "cannot be"),
        ("large.bmp", "allowed: up"),
    ):
        with pytest.raises(ConfigError, match=f"metadata_thumbnail: .*{name}: .*{told}"):
            chosen_metadata(MetadataConfig(thumbnail=tmp_path / name))
