"""The figures of `benchmarks/forgetting.py` as a table, as JSON, and against the bars."""

from __future__ import annotations

from statistics import mean, stdev
from typing import Any

from benchmarks.apart import APART, SEPARATE
from benchmarks.lessons import JOINT
from benchmarks.result import Result

_WIDTHS = {"learned": 10, "at end": 9, "kept": 8, "forgetting": 12, "transfer": 10, "plasticity": 12, "no trigger": 12}
_REST = 11
REFERENCES = (JOINT, SEPARATE)
"""No method of one file that gets its styles one by one."""


def gathered(results: list[Result], measured: dict[str, float]) -> dict[str, dict[str, list[float]]]:
    """Method -> measure -> its value in each run.

    "plasticity" is what is learned as a share of what `separate` learns, and "product" is that times what is kept,
    both under the same seed and order.

    Args:
        measured: seconds of a step, for methods whose results hold none.
    """
    alone = {(r.seed, r.order): r.learned for r in results if r.method == SEPARATE}
    found: dict[str, dict[str, list[float]]] = {}
    for result in results:
        figures = result.figures()
        if "s/step" not in figures and result.method in measured:
            figures["s/step"] = measured[result.method]
        most = alone.get((result.seed, result.order))
        if most:
            figures["plasticity"] = result.learned / most
            figures["product"] = result.learned / most * figures["kept"]
        for name, value in figures.items():
            found.setdefault(result.method, {}).setdefault(name, []).append(value)
    return found


def summary(found: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    """Method -> measure -> mean, and standard deviation over runs where there are several."""
    return {
        method: {
            name: {"mean": mean(values), "spread": stdev(values) if len(values) > 1 else None, "runs": values}
            for name, values in figures.items()
        }
        for method, figures in found.items()
    }


def table(found: dict[str, dict[str, list[float]]]) -> str:
    """A line for each method: means over its runs; a blank where nothing is known."""
    names = [*_WIDTHS, "product", "confusion", "content", "KiB", "s/step"]
    names = [name for name in names if any(name in figures for figures in found.values())]
    lines = [f"{'method':10}{'runs':>5}" + "".join(f"{name:>{_WIDTHS.get(name, _REST)}}" for name in names)]
    for method, figures in found.items():
        cells = "".join(_cell(figures.get(name), _WIDTHS.get(name, _REST), 0 if name == "KiB" else 3) for name in names)
        lines.append(f"{method:10}{len(figures['learned']):5}{cells}".rstrip())
    return "\n".join(lines)


def _cell(values: list[float] | None, width: int, digits: int) -> str:
    return " " * width if values is None else f"{mean(values):{width}.{digits}f}"


def bars(found: dict[str, dict[str, list[float]]]) -> str:
    """What `museum` has to hold, as far as it was measured, and whether it does."""
    ours = {name: mean(values) for name, values in found.get("museum", {}).items()}
    plain = {name: mean(values) for name, values in found.get("finetune", {}).items()}
    if not ours:
        return ""
    lines = [_bar("score at the end / just learned", ours["kept"], ">=", 0.95)]
    if plain:
        lines.append(_bar("plasticity / finetune's", ours["learned"] / max(plain["learned"], 1e-9), ">=", 0.85))
    if "plasticity" in ours:
        lines.append(_bar("plasticity / separate LoRAs'", ours["plasticity"], ">=", 0.9))
    lines.append(_bar("no trigger, of the base's rate", ours["no trigger"], ">=", 0.98))
    if "content" in ours:
        lines.append(_bar("content, of the base's rate", ours["content"], ">=", 0.9))
    if "s/step" in ours and "s/step" in plain:
        lines.append(_bar("step time / finetune's", ours["s/step"] / plain["s/step"], "<=", 1.5))
    others = {m: mean(f["product"]) for m, f in found.items() if "product" in f and m not in ("museum", *REFERENCES)}
    if others and "product" in ours:
        best, runs = max(others, key=lambda method: others[method]), found["museum"]["product"]
        spread = max(stdev(values) if len(values) > 1 else 0.0 for values in (runs, found[best]["product"]))
        lines.append(_bar(f"kept x plasticity, ahead of {best}", ours["product"] - others[best], ">=", spread))
    return "\n".join(lines)


def _bar(name: str, value: float, sign: str, bar: float) -> str:
    holds = value >= bar if sign == ">=" else value <= bar
    return f"museum: {name:38}{value:8.3f}   {sign} {bar:.3g}   {'holds' if holds else 'does not hold'}"


def taught_in_a_row(method: str) -> bool:
    """Whether a method has steps of its own that can be timed."""
    return method != JOINT and method not in APART
