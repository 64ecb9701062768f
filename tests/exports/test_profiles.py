"""Graphs of few operators, for simple engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ffcore.errors import UserError
from ffcore.exports import export, profiles
from tests.exports.conftest import network

pytest.importorskip("onnxruntime")


def test_onehot_codes_are_exact() -> None:
    y = torch.tensor([0, 3, 1])
    assert profiles.onehot(y, 4, torch.float32).tolist() == torch.eye(4)[y].tolist()


@pytest.mark.thorough
def test_a_step_keeps_to_the_operators_of_the_profile(tmp_path: Path) -> None:
    folder = export(network("local error signals"), tmp_path / "b", profile="minimal", rows=5)
    used = json.loads((folder / "bundle.json").read_text())["operators"]
    assert used.keys() == {"predict.onnx", "learn.onnx"}
    assert set().union(*used.values()) <= profiles.PROFILES["minimal"]


def test_operators_beside_the_profile_are_named() -> None:
    with pytest.raises(UserError, match=r"learn.onnx needs operators .* minimal does not have: Where \(2\)"):
        profiles.refuse_operators("minimal", {"learn.onnx": {"Add": 1, "Where": 2}})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"profile": "tiny"}, "profile: should be minimal, not 'tiny'"),
        ({"profile": "minimal"}, "rows: the profile minimal needs a fixed number of rows"),
        ({"profile": "minimal", "rows": 2, "int8": True}, "int8: not together with a profile"),
        ({"to": "torch", "int8": True}, "int8: applies to ONNX only"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        export(network("local error signals"), tmp_path / "b", **options)
