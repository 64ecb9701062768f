from __future__ import annotations

import json
import os
import resource
import shutil
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ffcore.data import packed
from ffcore.data.loader import DeviceLoader
from ffcore.data.tiny_imagenet import TinyImageNet
from ffcore.errors import UserError

SHADES = {"n02": 40, "n01": 200}


def draw(path: Path, shade: int, size: tuple[int, int] = (64, 64), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, shade if mode == "L" else (shade, 0, 0)).save(path, "JPEG", quality=95)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes, three training images and one test image each, and files that the reader ignores."""
    folder = tmp_path / "root" / "tiny-imagenet-200"
    for wnid, shade in SHADES.items():
        for number in range(3):
            draw(folder / f"train/{wnid}/images/{wnid}_{number}.JPEG", shade + number)
        (folder / f"train/{wnid}/{wnid}_boxes.txt").write_text("boxes")
        draw(folder / f"val/images/val_{wnid}.JPEG", shade + 10)
    draw(folder / "test/images/test_0.JPEG", 1)
    (folder / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in SHADES))
    (folder / "words.txt").write_text("n00\tthing\nn01\tcat, true cat\nn02\tdog\n")
    annotate(folder, [("val_n02.JPEG", "n02"), ("val_n01.JPEG", "n01")])
    return folder.parent


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default directory of decoded images."""
    monkeypatch.setenv("FFCORE_DATA", str(tmp_path / "home"))
    return tmp_path / "home"


def annotate(folder: Path, lines: list[tuple[str, str]]) -> None:
    text = "".join(f"{name}\t{wnid}\t0\t0\t9\t9\n" for name, wnid in lines)
    (folder / "val/val_annotations.txt").write_text(text)


def official(root: Path) -> Path:
    return root / "tiny-imagenet-200"


def the_file(home: Path) -> Path:
    (file,) = home.glob("*.bytes")
    return file


def test_the_official_layout_is_read_with_validation_as_test_split(root: Path) -> None:
    data = TinyImageNet(str(root)).load()
    assert (data.name, data.classes, data.shape) == ("tiny-imagenet", ("cat", "dog"), (3, 64, 64))
    assert (data.shape, data.num_classes) == TinyImageNet(str(root)).peek()
    assert data.train.y.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_allclose(data.train.x[:, 0, 0, 0], [200, 201, 202, 40, 41, 42], atol=2)
    assert data.test.y.tolist() == [1, 0]  # in the order of the annotations
    np.testing.assert_allclose(data.test.x[:, 0, 0, 0], [50, 210], atol=2)
    assert data.train.x.max(initial=0, where=np.array([False, True, True])[:, None, None]) <= 2
    assert set(data.provenance) == {"train", "val", "val_annotations.txt"}


def test_only_chosen_classes_are_read_and_decoded(root: Path, home: Path) -> None:
    data = TinyImageNet(str(root), classes=["n02"]).load()
    assert (data.classes, data.train.y.tolist(), data.test.y.tolist()) == (("dog",), [0, 0, 0], [0])
    np.testing.assert_allclose(data.train.x[:, 0, 0, 0], [40, 41, 42], atol=2)
    assert TinyImageNet(classes=["n02"]).peek() == ((3, 64, 64), 1)
    before = the_file(home)
    assert TinyImageNet(str(root), classes=["n02", "n01"]).load().classes == ("cat", "dog")
    assert before.is_file()  # the cache of one choice of classes is kept


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], "one or more IDs, each once"),
        (["n01", "n01"], r"each once; got \['n01', 'n01'\]"),
        (["n01", "n3"], "'n3' is not a class of .*tiny-imagenet-200; known: n01, n02"),
    ],
)
def test_invalid_choices_of_classes_raise(root: Path, classes: list[str], message: str) -> None:
    with pytest.raises(UserError, match=f"data.classes: .*{message}"):
        TinyImageNet(str(root), classes=classes).load()


def test_pixels_are_those_that_pillow_decodes(root: Path) -> None:
    file = official(root) / "train/n01/images/n01_0.JPEG"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)).save(file)
    with Image.open(file) as image:
        right = np.asarray(image).transpose(2, 0, 1)
    np.testing.assert_array_equal(TinyImageNet(str(root)).load().train.x[0], right)


def test_the_directory_itself_may_be_the_root(root: Path) -> None:
    assert len(TinyImageNet(str(official(root))).load().train) == 6


def test_without_lists_the_directories_are_the_classes(root: Path) -> None:
    (official(root) / "wnids.txt").unlink()
    (official(root) / "words.txt").unlink()
    assert TinyImageNet(str(root)).load().classes == ("n01", "n02")
    assert TinyImageNet(str(root)).peek() is None


def test_classes_of_one_name_get_their_ids(root: Path) -> None:
    (official(root) / "words.txt").write_text("n01\tcrane, bird\nn02\tcrane, machine\n")
    assert TinyImageNet(str(root)).load().classes == ("crane (n01)", "crane (n02)")


def test_grey_jpegs_become_colour(root: Path) -> None:
    draw(official(root) / "train/n01/images/n01_1.JPEG", 99, mode="L")
    x = TinyImageNet(str(root)).load().train.x
    assert (x[1] == 99).all()


def test_decoded_images_are_used_again(root: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    once = TinyImageNet(str(root)).load()
    monkeypatch.setattr("ffcore.data.packed._write", None)
    again = TinyImageNet(str(root)).load()
    np.testing.assert_array_equal(once.train.x, again.train.x)
    np.testing.assert_array_equal(once.test.x, again.test.x)
    assert once.provenance == again.provenance
    file = the_file(home)
    assert file.stat().st_size == 8 * 3 * 64 * 64
    assert sorted(p.name for p in home.iterdir()) == [file.name, file.with_suffix(".json").name]


def test_another_spelling_of_the_root_uses_the_same_cache(
    root: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = TinyImageNet(str(root)).load()
    monkeypatch.chdir(root)
    for other in (".", "tiny-imagenet-200", "../root"):
        assert TinyImageNet(other).load().provenance == once.provenance
    assert the_file(home)


def test_images_are_mapped_and_changes_stay_in_memory(root: Path, home: Path) -> None:
    data = TinyImageNet(str(root)).load()
    assert isinstance(data.train.x, np.memmap)
    before = the_file(home).read_bytes()
    loader = DeviceLoader(data.train, scale=data.scale, batch_size=6, shuffle=False)
    assert loader._x.data_ptr() == data.train.x.ctypes.data  # not copied
    data.train.x[:] = 7
    assert torch.allclose(next(iter(loader)).x, torch.tensor(7 / 255))
    assert the_file(home).read_bytes() == before


def test_the_cache_may_be_elsewhere_and_two_sets_do_not_share_it(
    root: Path, tmp_path: Path, home: Path
) -> None:
    shutil.copytree(root, tmp_path / "other")
    for where in (root, tmp_path / "other"):
        TinyImageNet(str(where), cache=str(tmp_path / "new/cache")).load()
    assert len(list((tmp_path / "new/cache").glob("*.bytes"))) == 2
    assert not home.exists()


def change(root: Path, home: Path) -> None:
    draw(official(root) / "train/n01/images/n01_0.JPEG", 100)


def add(root: Path, home: Path) -> None:
    draw(official(root) / "train/n02/images/n02_9.JPEG", 100)


def cut_short(root: Path, home: Path) -> None:
    the_file(home).write_bytes(the_file(home).read_bytes()[:-1])


def flip_a_bit(root: Path, home: Path) -> None:
    data = bytearray(the_file(home).read_bytes())
    data[5000] ^= 1
    the_file(home).write_bytes(data)


def lose_header(root: Path, home: Path) -> None:
    the_file(home).with_suffix(".json").unlink()


def garble_header(root: Path, home: Path) -> None:
    the_file(home).with_suffix(".json").write_text("[")


def empty_header(root: Path, home: Path) -> None:
    the_file(home).with_suffix(".json").write_text("[]")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (change, "the source files have changed"),
        (add, "the source files have changed"),
        (cut_short, "its length is 98303 bytes, not 98304"),
        (flip_a_bit, "its checksum is wrong"),
        (lose_header, "its header is missing or damaged"),
        (garble_header, "its header is missing or damaged"),
        (empty_header, "its header is missing or damaged"),
    ],
)
def test_an_unusable_cache_is_made_again_with_a_warning(root: Path, home: Path, damage, reason: str) -> None:
    TinyImageNet(str(root)).load()
    damage(root, home)
    with pytest.warns(UserWarning, match=rf"\.bytes: {reason}.*; the images are decoded again"):
        made = TinyImageNet(str(root)).load()
    again = TinyImageNet(str(root)).load()  # and is silent now
    np.testing.assert_array_equal(made.train.x, again.train.x)
    fresh = TinyImageNet(str(root), cache=str(home / "fresh")).load()
    np.testing.assert_array_equal(made.train.x, fresh.train.x)
    assert made.provenance == again.provenance == fresh.provenance


def test_a_cache_that_cannot_be_opened_is_made_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    TinyImageNet(str(root)).load()
    calls, mapped = [], packed._mapped

    def refuse_once(*args):
        calls.append(args)
        if len(calls) == 1:
            raise PermissionError(13, "Permission denied")
        return mapped(*args)

    monkeypatch.setattr(packed, "_mapped", refuse_once)
    with pytest.warns(UserWarning, match="Permission denied; the images are decoded again"):
        assert len(TinyImageNet(str(root)).load().train) == 6


def test_a_full_disk_gives_one_line_and_leaves_nothing(root: Path, home: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(UserError, match=r"\.bytes: cannot be written: File too large; set data\.cache"):
            TinyImageNet(str(root)).load()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(home.iterdir())
    assert len(TinyImageNet(str(root)).load().train) == 6


def test_without_space_for_the_header_no_images_are_left(
    root: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(json, "dumps", full)
    with pytest.raises(UserError, match="cannot be written: No space left on device"):
        TinyImageNet(str(root)).load()
    assert not list(home.iterdir())


def test_a_directory_that_cannot_be_made_gives_one_line(root: Path, home: Path) -> None:
    home.write_text("a file")
    with pytest.raises(UserError, match=r"\.bytes: cannot be written: .*; set data\.cache=DIRECTORY"):
        TinyImageNet(str(root)).load()


def test_only_drafts_of_killed_processes_are_removed(root: Path, home: Path) -> None:
    TinyImageNet(str(root)).load()
    stem = the_file(home).stem
    drafts = [home / f".{stem}-old.tmp", home / f".{stem}-new.tmp", home / ".other-old.tmp"]
    for draft in drafts:
        draft.write_text("half")
    long_ago = time.time() - 2 * packed.ABANDONED_S
    for draft in (drafts[0], drafts[2]):
        os.utime(draft, (long_ago, long_ago))
    TinyImageNet(str(root)).load()
    assert [draft.exists() for draft in drafts] == [False, True, True]


def test_nothing_is_printed_without_a_terminal(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TinyImageNet(str(root)).load()
    assert capfd.readouterr() == ("", "")


def test_an_empty_root_raises_with_the_expected_files_and_a_hint(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"no directory train in .*tiny-imagenet-200 or .*cs231n.*data\.root="
    ):
        TinyImageNet(str(tmp_path)).load()
    assert TinyImageNet(str(tmp_path)).peek() is None


def reorganised(folder: Path) -> None:
    (folder / "val/images").rename(folder / "val/n01")


def more(folder: Path, *lines: tuple[str, str]) -> None:
    annotate(folder, [("val_n02.JPEG", "n02"), ("val_n01.JPEG", "n01"), *lines])


def write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


FIRST = "train/n01/images/n01_0.JPEG"
FAULTS = {
    "no val": (lambda f: shutil.rmtree(f / "val"), r"val/images: missing; .*official layout"),
    "val sorted by class": (reorganised, r"val/images: missing; .*data\.kind=image-folder"),
    "no annotations": (lambda f: (f / "val/val_annotations.txt").unlink(), r"val_annotations\.txt: missing"),
    "no class": (lambda f: (f / "wnids.txt").write_text("\n"), r"wnids\.txt: expected classes, found none"),
    "a class twice": (lambda f: (f / "wnids.txt").write_text("n01\nn01\nn02"), "has n01 more than once"),
    "a class not in train": (lambda f: shutil.rmtree(f / "train/n02"), "train/n02: the directory is missing"),
    "a class not listed": (
        lambda f: (f / "wnids.txt").write_text("n01\n"),
        r"train/n02: not a class of wnids",
    ),
    "a class without images folder": (
        lambda f: (f / "train/n02/images").rename(f / "train/n02/pictures"),
        "train/n02/images: the directory is missing",
    ),
    "a class without images": (
        lambda f: [p.unlink() for p in (f / "train/n02/images").iterdir()],
        "train/n02/images: has no images",
    ),
    "a class not in val": (
        lambda f: [(f / "val/images/val_n02.JPEG").unlink(), annotate(f, [("val_n01.JPEG", "n01")])],
        r"val_annotations\.txt: no image of class n02",
    ),
    "an unknown class": (
        lambda f: more(f, ("val_n01.JPEG", "n77")),
        r"txt: line 3: 'n77' of val_n01\.JPEG is not a class",
    ),
    "an unknown file": (lambda f: more(f, ("val_7.JPEG", "n01")), r"line 3: val_7\.JPEG is not in .*images"),
    "a file twice": (
        lambda f: more(f, ("val_n01.JPEG", "n01")),
        r"line 3: val_n01\.JPEG .* or is listed twice",
    ),
    "a broken line": (
        lambda f: (f / "val/val_annotations.txt").write_text("val_n01.JPEG n01\n"),
        r"line 1: '' of val_n01\.JPEG n01 is not a class",
    ),
    "an unlabelled image": (
        lambda f: draw(f / "val/images/val_9.JPEG", 1),
        r"val_9\.JPEG: has no line in .*val_annotations\.txt; number of such images: 1",
    ),
    "another size": (lambda f: draw(f / FIRST, 1, (32, 64)), r"n01_0\.JPEG: is 32x64 pixels; expected 64x64"),
    "a cut JPEG": (
        lambda f: write(f / FIRST, (f / FIRST).read_bytes()[:-40]),
        r"n01_0\.JPEG: not a readable image",
    ),
    "an empty JPEG": (lambda f: write(f / FIRST, b""), r"n01_0\.JPEG: not a JPEG image"),
    "no JPEG": (
        lambda f: Image.new("RGB", (64, 64)).save(f / FIRST, "PNG"),
        r"n01_0\.JPEG: not a JPEG image$",
    ),
    "a folder for a JPEG": (
        lambda f: [(f / FIRST).unlink(), (f / FIRST).mkdir()],
        r"n01_0\.JPEG: cannot be read: Is a directory",
    ),
    "a link to nowhere": (
        lambda f: [(f / FIRST).unlink(), (f / FIRST).symlink_to("nowhere")],
        r"n01_0\.JPEG: cannot be read: No such file",
    ),
}


@pytest.mark.parametrize(("damage", "message"), FAULTS.values(), ids=FAULTS)
def test_files_out_of_place_raise_with_their_name(root: Path, home: Path, damage, message: str) -> None:
    damage(official(root))
    with pytest.raises(UserError, match=message) as error:
        TinyImageNet(str(root)).load()
    assert "\n" not in str(error.value)
    assert not home.exists() or not list(home.iterdir())
