"""The points of a style's curve."""

from __future__ import annotations

import json

import pytest

from museum_plugin.judge.course import Point, point_of
from museum_plugin.judge.retention import Verdict


def test_a_point_holds_what_is_kept_of_the_styles_that_can_tell() -> None:
    scores = {"ink": 0.4, "faint": 0.1, "neon": 0.3}
    verdict = Verdict(tuple(scores), scores, 0.07, {}, {})

    point = point_of(verdict, {"ink": 0.8, "faint": 0.15}, "neon", 50)

    assert point == Point(50, 0.3, {"ink": pytest.approx(0.5)}, 0.07)  # type: ignore[dict-item]
    assert str(point) == "0.30, ink keeps 50 %, no trigger: drift 0.07"


def test_a_point_survives_json() -> None:
    point = Point(50, 0.3, {"ink": 0.5}, 0.07)
    assert Point.from_dict(json.loads(json.dumps(point.to_dict()))) == point
