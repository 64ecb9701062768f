"""Relative paths of a recipe become absolute when a run begins."""

import shlex

from ffcore.recipe.load import load
from ffcore.run.places import absolute

PROCESS = "{kind: process, command: '{python} s.py cat'}"


def test_files_of_data_boxes_and_commands_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("s.py", "m.onnx", "x.npz"):
        (tmp_path / name).touch()
    boxes = f"[{{kind: blackbox, box: {PROCESS}}}, {{kind: blackbox, box: {{kind: onnx, path: m.onnx}}}}]"
    recipe = load("digits/ff", [f"network={boxes}", "data={kind: arrays, path: x.npz}"])
    made = absolute(recipe).model_dump(mode="json")
    assert made["data"]["path"] == str(tmp_path / "x.npz")
    assert made["network"][1]["box"]["path"] == str(tmp_path / "m.onnx")
    own = str(tmp_path / "s.py")
    assert made["network"][0]["box"]["command"] == shlex.join(["{python}", own, "cat"])


def test_a_recipe_without_relative_paths_stays_the_same():
    recipe = load("digits/ff", ["data={kind: arrays, path: gone.npz}"])
    assert absolute(recipe) == recipe
