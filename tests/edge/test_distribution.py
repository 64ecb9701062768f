"""The distribution for devices holds ffcore.edge alone."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import ffcore
import ffcore.edge

EDGE = Path(ffcore.edge.__file__).parent
ROOT = EDGE.parents[1]


def test_it_needs_numpy_and_onnxruntime_only():
    own, whole = (tomllib.loads((d / "pyproject.toml").read_text())["project"] for d in (EDGE, ROOT))
    assert own["dependencies"] == ["numpy>=1.26", "onnxruntime>=1.18"]
    assert own["requires-python"] == whole["requires-python"]
    assert (EDGE / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


@pytest.mark.slow
def test_the_wheel_holds_the_runtime_and_no_init_of_ffcore(tmp_path):
    pytest.importorskip("hatchling")
    # -P: the directory has a random.py
    command = [sys.executable, "-P", "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=EDGE, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"ffcore_edge-{ffcore.__version__}-py3-none-any.whl"
    names = zipfile.ZipFile(wheel).namelist()
    modules = {f"ffcore/edge/{path.name}" for path in EDGE.glob("*.py")} | {"ffcore/edge/py.typed"}
    assert {name for name in names if ".dist-info/" not in name} == modules
    assert any(name.endswith("licenses/LICENSE") for name in names)
