"""Continual-learning methods: a method is a set of weighted terms, one file each.

    method.py    the interface of a term
    bank.py      what the previous museum draws and predicts, for the terms that need it
    material.py  what a style's terms are given before its first step
    moments.py   what old prompts feed the LoRA's modules
    finetune.py  no term at all
    paper.py     style distillation, weight and feature regularisation
    museum.py    the default
    ewc.py       elastic weight consolidation, a baseline; fisher.py measures what it weighs by
    lwf.py       learning without forgetting, a baseline; new_pictures.py makes what it compares
    clora.py     C-LoRA's self-regularisation, a baseline
    olora.py     O-LoRA's orthogonal rank blocks, a baseline

A new method is one file with its terms and WEIGHTS, and one line in each table here.
"""

from __future__ import annotations

from museum_plugin.config.schema import MethodConfig
from museum_plugin.errors import ConfigError
from museum_plugin.methods import clora, ewc, finetune, lwf, museum, olora, paper
from museum_plugin.methods.method import Term

METHODS: dict[str, dict[str, float]] = {
    "finetune": finetune.WEIGHTS,
    "paper": paper.WEIGHTS,
    "museum": museum.WEIGHTS,
    "ewc": ewc.WEIGHTS,
    "lwf": lwf.WEIGHTS,
    "clora": clora.WEIGHTS,
    "olora": olora.WEIGHTS,
}
"""Method -> weight of each of its terms."""

TERMS: dict[str, type[Term]] = {
    term.name: term
    for term in (
        paper.StyleDistillation,
        paper.WeightRegularization,
        paper.FeatureRegularization,
        museum.FunctionLock,
        museum.FeatureLock,
        ewc.ElasticWeights,
        lwf.OldPredictions,
        clora.SelfRegularization,
        olora.Orthogonality,
    )
}
"""Every term by name; any method can be given any of them by `term_weights`."""


def grows(config: MethodConfig) -> bool:
    """Whether a run opens a rank block for each style, so that `network_dim` is the rank of a block.

    What is unknown opens none; `build_terms` refuses it.
    """
    weights = {**METHODS.get(config.name, {}), **config.weights}
    return any(weight and name in TERMS and TERMS[name].grows for name, weight in weights.items())


def build_terms(method: str, weights: dict[str, float]) -> dict[str, tuple[Term, float]]:
    """The terms of a method with their weights; `weights` go over the method's own, 0 drops a term.

    Raises:
        ConfigError: the method or a term is unknown.
    """
    if method not in METHODS:
        raise ConfigError(f"method: found {method!r}, allowed: {', '.join(METHODS)}")
    unknown = sorted(set(weights) - set(TERMS))
    if unknown:
        raise ConfigError(f"term_weights: found {unknown[0]!r}, allowed: {', '.join(TERMS)}")
    merged = {**METHODS[method], **weights}
    return {name: (TERMS[name](), weight) for name, weight in merged.items() if weight != 0}
