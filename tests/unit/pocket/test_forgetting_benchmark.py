"""What `benchmarks/forgetting.py` makes of results, and the LoRAs it puts together."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.apart import in_one_file, summed
from benchmarks.forgetting import ORDERS, styles_in
from benchmarks.forgetting_plot import _COLORS, draw_plot
from benchmarks.forgetting_table import bars, gathered, summary, table
from benchmarks.never_ending import Growth
from benchmarks.never_ending import table as table_of_growth
from benchmarks.result import Result, read_result, write_result
from museum_plugin.base.load import BaseModel
from museum_plugin.museum.museum import Museum
from museum_plugin.pocket.styles import STYLES
from tests.tiny_museums import prediction, shake, tiny_museum

MATRIX = [[0.8], [0.6, 0.9], [0.4, 0.7, 1.0]]
STORED = Path(__file__).parents[3] / "benchmarks" / "results" / "forgetting"


def result(method: str = "museum", *, seed: int = 0, matrix: list[list[float]] = MATRIX, **more: object) -> Result:
    found = Result(method, seed, ["a", "b", "c"], matrix, [1.0, 1.0, 0.9], [0.5, 0.4, 0.6], base_flat=1.0)
    for name, value in more.items():
        setattr(found, name, value)
    return found


def test_figures_by_hand() -> None:
    found = result(confusion=[0, 0.1, 0.2], base_objects=1.0, file_bytes=[512, 2048], step_seconds=[0.1, 0.3])
    assert found.figures() == pytest.approx(
        {
            "learned": 0.9,
            "at end": 0.7,
            "kept": 0.7 / 0.9,
            "forgetting": (0.4 + 0.2) / 2,
            "transfer": -(0.4 + 0.2) / 2,
            "no trigger": 0.9,
            "confusion": 0.2,
            "content": 0.5,
            "KiB": 2,
            "s/step": 0.3,
        }
    )
    assert set(result().figures()) == {"learned", "at end", "kept", "forgetting", "transfer", "no trigger"}
    joint = result("joint", matrix=[MATRIX[-1]])
    assert joint.learned == joint.kept == pytest.approx(0.7)
    assert joint.forgetting == joint.transfer == 0


def test_results_of_earlier_versions_are_read_and_new_ones_come_back(tmp_path: Path) -> None:
    files = sorted(STORED.glob("*-[0-9]*.json"))
    assert len(files) >= 12
    for file in files:
        found = read_result(file)
        assert found.name == file.stem
        assert 0 < found.kept <= 1
    write_result(result(order="second", confusion=[0.1]), tmp_path)
    assert read_result(tmp_path / "museum-0-second.json") == result(order="second", confusion=[0.1])


def test_plasticity_is_against_the_same_style_taught_alone_under_the_same_seed() -> None:
    alone = [[1.0], [1.0, 1.0], [1.0, 1.0, 1.0]]
    runs = [result(), result("separate", matrix=alone), result(seed=1)]
    found = gathered(runs, {"museum": 0.2})
    assert found["museum"]["plasticity"] == pytest.approx([0.9]), "nothing was taught alone under the other seed"
    assert found["museum"]["product"] == pytest.approx([0.7])
    assert found["museum"]["s/step"] == [0.2, 0.2]
    assert "s/step" not in found["separate"]
    assert summary(found)["museum"]["learned"] == {"mean": pytest.approx(0.9), "spread": 0, "runs": [0.9, 0.9]}
    assert summary(found)["separate"]["learned"]["spread"] is None
    head, museum, separate = table(found).splitlines()
    assert head.split()[:3] == ["method", "runs", "learned"]
    assert museum.split()[:4] == ["museum", "2", "0.900", "0.700"]
    assert len(separate) < len(museum)


def test_bars_hold_or_do_not() -> None:
    alone = [[1.0], [1.0, 1.0], [1.0, 1.0, 1.0]]
    worse = [[0.8], [0.1, 0.8], [0.1, 0.1, 0.8]]
    runs = [result(), result("separate", matrix=alone), result("ewc", matrix=worse), result("lwf", matrix=[*worse])]
    lines = bars(gathered(runs, {})).splitlines()
    assert lines[0].split("end / just learned")[1].split() == ["0.778", ">=", "0.95", "does", "not", "hold"]
    assert any("plasticity / separate" in line and line.endswith(" holds") for line in lines)
    assert "ahead of ewc" in lines[-1]
    assert lines[-1].split()[-4:] == ["0.367", ">=", "0", "holds"]
    assert bars(gathered([result("ewc")], {})) == ""


def test_the_second_order_is_another_order_of_all_styles() -> None:
    assert sorted(ORDERS["second"]) == sorted(STYLES)
    assert styles_in("shipped", 3) == tuple(STYLES)[:3]
    assert sorted(styles_in("second", 3)) == sorted(tuple(STYLES)[:3])
    for count in range(2, len(STYLES) + 1):
        assert styles_in("second", count) != styles_in("shipped", count)


def test_the_plot_shows_every_method() -> None:
    runs = [
        result(),
        result("finetune", matrix=[[0.5], [0.1, 0.5], [0.1, 0.1, 0.5]]),
        result("joint", matrix=[MATRIX[-1]]),
    ]
    seen = set(draw_plot(runs).get_flattened_data())
    assert {_COLORS[name] for name in ("museum", "finetune", "joint")} <= seen
    assert _COLORS["ewc"] not in seen
    assert len(set(_COLORS.values())) == len(_COLORS)


@pytest.fixture(scope="module")
def pair(base: BaseModel) -> list[Museum]:
    museums = [tiny_museum(base, "ink"), tiny_museum(base, "neon")]
    for seed, museum in enumerate(museums):
        shake(museum.network, torch.Generator().manual_seed(seed))
    return museums


def test_a_sum_of_loras_is_what_all_of_them_attached_draw(base: BaseModel, pair: list[Museum]) -> None:
    whole = summed(pair, base)
    with pair[0].network.attached(), pair[1].network.attached():
        expected = prediction(base)
    with whole.network.attached():
        torch.testing.assert_close(prediction(base), expected, atol=1e-5, rtol=1e-4)
    assert whole.styles() == ("ink", "neon")
    for museum in pair:
        (name,) = museum.styles()
        assert torch.equal(whole.slots.slots[name].vectors[0], museum.slots.slots[name].vectors[0])


def test_a_merged_file_holds_the_nearest_change_of_one_loras_rank(
    base: BaseModel, pair: list[Museum], tmp_path: Path
) -> None:
    one = in_one_file(pair, base, tmp_path / "sum.safetensors", merge=False)
    merged = in_one_file(pair, base, tmp_path / "merged.safetensors", merge=True)
    assert (one.network.rank, merged.network.rank) == (4, 2)
    for key, layer in merged.network.layers.items():
        found, whole = layer.low_rank(), one.network.layers[key].low_rank()
        u, s, v = torch.linalg.svd((whole.scale * whole.up @ whole.down).detach().double(), full_matrices=False)
        nearest = (u[:, :2] * s[:2]) @ v[:2]
        torch.testing.assert_close(
            (found.scale * found.up @ found.down).detach().double(), nearest, atol=1e-5, rtol=1e-4
        )
    single = in_one_file(pair[:1], base, tmp_path / "single.safetensors", merge=True)
    assert single.network.rank == 2


def test_twenty_styles_are_told_style_by_style() -> None:
    growth = Growth(
        "museum", 0, ["ink", "neon"], {"ink": 0.8, "neon": 0.5}, {1: [0.8], 2: [0.6, 0.5]}, {1: 1.0, 2: 0.5}
    )
    growth.step_seconds, growth.style_seconds, growth.file_bytes = [0.2, 0.3], [50.0, 80.0], [1024, 2048]
    lines = [line.split() for line in table_of_growth([growth]).splitlines()]
    assert ["museum", "1.00", "0.85"] in lines, "of 0.8 and 0.5 there are 0.6 and 0.5 left"
    assert ["museum", "learned", "1", "2"] in lines
    assert ["ink", "0.80", "0.80", "0.60"] in lines
    assert ["neon", "0.50", "0.50"] in lines
