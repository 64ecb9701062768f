from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ffcore.data.folder import ImageFolder
from ffcore.errors import UserError

SHADES = {"cat": 10, "dog": 200}


def draw(path: Path, shade: int, size: tuple[int, int] = (6, 4), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = shade if mode in ("L", "I;16") else (shade, 0, 0)
    Image.new(mode, size, colour).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes, two training images and one test image each, 6 wide and 4 high."""
    root = tmp_path / "pets"
    for name, shade in SHADES.items():
        for file in ("train/{}/1.png", "train/{}/2.BMP", "test/{}/3.png"):
            draw(root / file.format(name), shade)
        (root / "train" / name / "notes.txt").write_text("no image")
    return root


def test_images_are_read_by_class(root: Path) -> None:
    data = ImageFolder(str(root)).load()
    assert (data.name, data.classes, data.shape) == ("pets", ("cat", "dog"), (3, 4, 6))
    assert (len(data.train), len(data.test)) == (4, 2)
    assert data.train.y.tolist() == [0, 0, 1, 1]
    assert data.train.x[:, 0, 0, 0].tolist() == [10, 10, 200, 200]
    assert not data.train.x[:, 1:].any()


def test_val_replaces_a_missing_test(root: Path) -> None:
    (root / "test").rename(root / "val")
    assert list(ImageFolder(str(root)).load().provenance) == ["train", "val"]


def test_images_are_resized_and_made_grey(root: Path) -> None:
    draw(root / "train/cat/wide.png", 10, size=(20, 4), mode="L")
    data = ImageFolder(str(root), size=5, grey=True).load()
    assert data.shape == (1, 5, 5)
    assert len(data.train) == 5


def test_provenance_follows_the_bytes(root: Path) -> None:
    before = ImageFolder(str(root)).load().provenance
    draw(root / "test/dog/3.png", 201)
    after = ImageFolder(str(root)).load().provenance
    assert before["train"] == after["train"]
    assert before["test"] != after["test"]


def test_images_of_different_sizes_raise(root: Path) -> None:
    draw(root / "train/dog/1.png", 200, size=(5, 4))
    with pytest.raises(UserError, match=r"dog/1\.png: is 5x4 pixels but .*cat/1\.png is 6x4; set data\.size"):
        ImageFolder(str(root)).load()


def test_splits_of_different_sizes_raise(root: Path) -> None:
    for name in SHADES:
        draw(root / f"test/{name}/3.png", 1, size=(5, 4))
    with pytest.raises(UserError, match="train samples are"):
        ImageFolder(str(root)).load()


def test_a_corrupt_image_is_named(root: Path) -> None:
    file = root / "train/dog/1.png"
    for data in (b"", b"no image", file.read_bytes()[:50]):
        file.write_bytes(data)
        with pytest.raises(UserError, match=r"dog/1\.png: not a readable image"):
            ImageFolder(str(root)).load()


def test_an_image_of_more_than_8_bits_is_named(root: Path) -> None:
    draw(root / "train/dog/1.png", 1000, mode="I;16")
    with pytest.raises(UserError, match=r"dog/1\.png: has more than 8 bits"):
        ImageFolder(str(root)).load()


def test_an_empty_class_is_named(root: Path) -> None:
    (root / "test/dog/3.png").unlink()
    with pytest.raises(UserError, match="test/dog: has no images"):
        ImageFolder(str(root)).load()


@pytest.mark.parametrize(("gone", "kept"), [("train", "test"), ("test", "train")])
def test_a_class_missing_from_a_split_is_named(root: Path, gone: str, kept: str) -> None:
    shutil.rmtree(root / gone / "dog")
    with pytest.raises(
        UserError, match=f"{gone}/dog: the class directory is missing, but .*{kept}/dog exists"
    ):
        ImageFolder(str(root)).load()


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="train: the directory is missing"):
        ImageFolder(str(tmp_path)).load()
    (tmp_path / "train").mkdir()
    with pytest.raises(UserError, match="train: has no class directories"):
        ImageFolder(str(tmp_path)).load()


def test_pixels_are_those_of_the_file(root: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(root / "train/cat/1.png")
    np.testing.assert_array_equal(ImageFolder(str(root)).load().train.x[0], pixels.transpose(2, 0, 1))


def test_images_in_nested_directories_are_refused(root: Path) -> None:
    draw(root / "train/dog/more/9.png", 200)
    with pytest.raises(UserError, match=r"dog/more: its images would not be read"):
        ImageFolder(str(root)).load()
    (root / "train/dog/more/9.png").rename(root / "train/dog/9.png")
    assert len(ImageFolder(str(root)).load().train) == 5


def test_names_that_are_not_utf8_are_refused_as_classes_and_read_as_files(root: Path) -> None:
    (root / "train/dog/1.png").rename(root / "train/dog/\udcff.png")
    assert len(ImageFolder(str(root)).load().train) == 4
    (root / "train/dog").rename(root / "train/\udcff")
    with pytest.raises(UserError, match=r"'\\udcff' cannot be a class: its name is not in UTF-8"):
        ImageFolder(str(root)).load()


def test_a_named_pipe_among_the_images_is_named(root: Path) -> None:
    os.mkfifo(root / "train/dog/9.png")
    with pytest.raises(UserError, match=r"9\.png: cannot be read: Is a named pipe"):
        ImageFolder(str(root)).load()


def test_a_truncated_large_image_is_named_without_a_warning(root: Path) -> None:
    file = root / "train/dog/1.png"
    draw(file, 1, size=(10_000, 10_000), mode="L")
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(UserError, match=r"1\.png: not a readable image") as raised:
        ImageFolder(str(root)).load()
    assert "BytesIO" not in str(raised.value)


def test_images_that_do_not_fit_into_memory_are_refused_before_they_are_decoded(root: Path) -> None:
    with pytest.raises(UserError, match=r"train: its images have .*TiB, more than half of the memory"):
        ImageFolder(str(root), size=10**6).load()
