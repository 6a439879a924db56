"""What the user expects of a base model (--v2, --v_parameterization) against what the base says of itself."""

from __future__ import annotations

import logging

from museum_plugin.base.family import Family
from museum_plugin.config.schema import BaseConfig
from museum_plugin.errors import BaseModelError

log = logging.getLogger("museum")


def asked_prediction_type(family: Family, found: str, told: bool, asked: BaseConfig) -> str:
    """epsilon | v_prediction: what the base says; where it says nothing, what the user says; else the family's usual.

    Args:
        found: the prediction type of its noise schedule.
        told: whether its files say so; else it is a guess.
    Raises:
        BaseModelError: the base contradicts --v2 or --v_parameterization.
    """
    path, is_v2 = asked.path, family.is_v2
    if asked.v2 is not None and asked.v2 != is_v2:
        raise BaseModelError(
            f"{path}: found an {family.name.upper()} model, but v2 is {str(asked.v2).lower()}; remove v2"
        )
    if asked.v_parameterization is not None:
        wanted = "v_prediction" if asked.v_parameterization else "epsilon"
        if told and found != wanted:
            said = str(asked.v_parameterization).lower()
            raise BaseModelError(
                f"{path}: the model says that it predicts {found}, but v_parameterization is {said}; "
                "remove v_parameterization"
            )
        return wanted
    if is_v2 and not told:
        log.warning(
            "%s: does not say whether it predicts v or epsilon; taken as %s, as SD2 at 768 does. For SD2-base give "
            "--v_parameterization=false", path, found,
        )  # fmt: skip
    return found
