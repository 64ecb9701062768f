"""The table of bytes in the header, beside the sizes of the symbols of a compiled file."""

import re
import shutil
import subprocess

import pytest
import torch

import ffcore
from ffcore.exports.c99 import write_c
from tests.exports.c99.conftest import compile_c, digits_net, projection_net

WAYS = {
    "learns by Adam": (digits_net, {}),
    "learns by SGD": (digits_net, {"optimizer": torch.optim.SGD}),
    "constant weights": (digits_net, {"learn": False}),
    "int8": (digits_net, {"learn": False, "weights": "int8"}),
    "projection": (projection_net, {}),
    "projection, sums in float64": (projection_net, {"sums": "float64"}),
    "projection, constant weights": (projection_net, {"learn": False}),
}


def symbols(path):
    """Sizes of arrays and variables, by whether they are in RAM; of these, what has initial values."""
    listed = subprocess.run(
        ["nm", "-S", "-t", "d", str(path)], capture_output=True, text=True, check=True
    ).stdout
    sizes = {"ram": 0, "flash": 0}
    for size, kind in re.findall(r"^\d+ (\d+) ([bBdDrR]) \S+$", listed, re.MULTILINE):
        sizes["ram"] += int(size) * (kind in "bBdD")
        sizes["flash"] += int(size) * (kind in "dDrR")
    return sizes


@pytest.mark.parametrize(("make", "options"), WAYS.values(), ids=WAYS)
def test_bytes_are_those_of_the_symbols(tmp_path, make, options):
    if shutil.which("nm") is None:
        pytest.skip("no nm on this machine")
    net = make()
    if "optimizer" in options:
        options = {"optimizer": ffcore.optimizers(net, options["optimizer"], lr=0.1, momentum=0.5)}
    header, source = write_c(net, tmp_path, **options)
    found = symbols(compile_c(source, tmp_path / "net.o", "-c", "-O0"))
    text = header.read_text()
    stated = {kind.lower(): int(n) for kind, n in re.findall(r"FFNET_(RAM|FLASH)_BYTES (\d+)", text)}
    assert stated == found
    total = re.search(r"^ \* +(\d+) +(\d+)  together$", text, re.MULTILINE)
    assert [int(n) for n in total.groups()] == [found["ram"], found["flash"]]


def test_no_other_function_than_those_of_math_and_string_is_called(tmp_path):
    for make in (digits_net, projection_net):
        _, source = write_c(make(), tmp_path / make.__name__)
        made = compile_c(source, tmp_path / f"{make.__name__}.o", "-c", "-O2")
        listed = subprocess.run(["nm", "-u", str(made)], capture_output=True, text=True, check=True).stdout
        outside = set(re.findall(r"U (\w+)", listed))
        assert outside <= {
            "expf",
            "expm1f",
            "fmaxf",
            "log1pf",
            "sqrtf",
            "tanhf",
            "memcpy",
            "memset",
            "_GLOBAL_OFFSET_TABLE_",
        }


def test_the_same_network_gives_the_same_files(tmp_path):
    net = digits_net()
    texts = [[path.read_bytes() for path in write_c(net, tmp_path / folder)] for folder in ("a", "b")]
    assert texts[0] == texts[1]
