"""Invalid images and augmentations: exit code 2 and one line with what would be right."""

import numpy as np
import pytest
from PIL import Image

from ffcore.cli.main import main


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A directory with vectors, and with Tiny-ImageNet that has a damaged JPEG."""
    np.savez(tmp_path / "vectors.npz", x_train=np.zeros((60, 9)), y_train=np.arange(60) % 5)
    for name in ("train/n01/images/n01_0.JPEG", "train/n01/images/n01_1.JPEG", "val/images/val_0.JPEG"):
        path = tmp_path / "tiny" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64)).save(path)
    path = tmp_path / "tiny/train/n01/images/n01_1.JPEG"
    path.write_bytes(path.read_bytes()[:300])
    (tmp_path / "tiny/val/val_annotations.txt").write_text("val_0.JPEG\tn01\t0\t0\t9\t9\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FFCORE_DATA", str(tmp_path / "home"))
    return tmp_path


def refused(override, capsys, recipe="digits/ff", *more):
    code = main(
        ["run", recipe, "--run-dir", "run", "trainer.max_epochs=1", "trainer.threads=1", *more, override]
    )
    err = capsys.readouterr().err
    assert code == 2, err
    assert err.startswith("error: ")
    assert err.count("\n") == 1, err
    return err


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("data={kind: tiny-imagenet, root: nowhere}", ["data.root: nowhere: there is no such directory"]),
        ("data={kind: tiny-imagenet, root: tiny}", ["n01_1.JPEG: not a readable image"]),
        ("data={kind: tiny-imagenet, download: true}", ["data.download", "cache"]),
        ("data.augment=[{kind: resized-crop, scale: [0.5, 0.1]}]", ["data.augment.0", "in order"]),
        ("data.augment=[{kind: colour-jitter, hue: 0.7}]", ["data.augment.0", "hue", "0.5"]),
        ("data.augment=[{kind: shift, border: wrap}]", ["data.augment.0", "border", "reflect"]),
        (
            "data={kind: arrays, path: vectors.npz, augment: [flip]}",
            ["data.augment.0: expected images", "(9,)"],
        ),
        (
            "data.augment=[{kind: shift, pixels: 8, border: reflect}]",
            ["data.augment.0", "at most 7 pixels", "8x8"],
        ),
    ],
)
def test_invalid_images_raise_and_nothing_is_written(data, expected, place, capsys):
    err = refused(data, capsys)
    for part in expected:
        assert part in err
    assert not (place / "run").exists()
    assert not (place / "home").exists() or not list((place / "home").iterdir())


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("network.0.channels=24", ["channel-partition", "C = 24", "K = 10", "20 or 30"]),
        ("network.0.kernel=4", ["network.0", "kernel: 4 is even"]),
        (
            "network=[{kind: conv, channels: 10, stride: 4, repeat: 3}]",
            ["network.0", "stride: 4 is larger than"],
        ),
        ("network=[{kind: resnet17, widths: [10, 30]}]", ["network.0", "[10, 20]"]),
        ("network=[{kind: resnet18}]", ["network.0.kind", "'resnet18'"]),
        ("network=[{kind: resnet17, width: [10, 20]}]", ["network.0.width", "widths"]),
        ("network=[{kind: resnet17, widths: [10, 20], repeat: 2}]", ["network.0.repeat"]),
        ("data.groups=[0, 1]", ["data.groups", "2 numbers for 10 classes"]),
        ("block.goodness.hierarchy=data", ["hierarchy", "data.groups"]),
        ("block.objective.kind=logistic", ["block.objective", "class"]),
        ("network.0.groups=3", ["network.0", "3 groups do not divide"]),
    ],
)
def test_invalid_channel_networks_raise(override, expected, place, capsys):
    err = refused(
        override, capsys, "digits/channel", "block.goodness={kind: channel-partition}", "block.penalties=null"
    )
    for part in expected:
        assert part in err
    assert not (place / "run").exists()
