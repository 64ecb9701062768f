"""A network that learns handwritten digits in C alone, from random weights."""

import subprocess

import numpy as np
import torch

import ffcore
from ffcore.data.digits import Digits
from ffcore.exports.c99 import write_c
from tests.exports.c99.conftest import FAST, STRICT, compiler, digits_net

DRIVER = """
#include <stdint.h>
#include <stdio.h>
#include "digits.h"
#define TRAIN %(train)d
#define TEST %(test)d
static float x[(TRAIN + TEST) * DIGITS_INPUTS];
static int32_t y[TRAIN + TEST];

int main(void)
{
    uint32_t random = 1u;
    float scores[DIGITS_CLASSES];
    int right = 0;
    FILE *file = fopen("samples.bin", "rb");
    if (file == NULL || fread(x, sizeof x, 1, file) != 1 || fread(y, sizeof y, 1, file) != 1) {
        return 1;
    }
    for (int epoch = 0; epoch < 6; ++epoch) {
        for (int n = 0; n < TRAIN; ++n) {
            digits_learn(x + n * DIGITS_INPUTS, y[n], digits_wrong_label(y[n], &random), NULL);
        }
    }
    for (int n = TRAIN; n < TRAIN + TEST; ++n) {
        right += digits_predict(x + n * DIGITS_INPUTS, scores) == y[n];
    }
    printf("%%d\\n", right);
    return 0;
}
"""


def test_a_program_of_c_alone_learns_digits(tmp_path):
    sets = Digits().load()
    order = np.random.default_rng(0).permutation(len(sets.train.y))
    x = np.concatenate([sets.train.x[order], sets.test.x]).astype(np.float32) / 16
    y = np.concatenate([sets.train.y[order], sets.test.y]).astype(np.int32)
    (tmp_path / "samples.bin").write_bytes(x.tobytes() + y.tobytes())
    torch.manual_seed(0)
    net = digits_net(network=[{"kind": "dense", "units": 64}, {"kind": "dense", "units": 64}])
    optimizers = ffcore.optimizers(net, torch.optim.Adam, lr=1e-3)
    write_c(net, tmp_path, name="digits", optimizer=optimizers)
    (tmp_path / "main.c").write_text(DRIVER % {"train": len(order), "test": len(sets.test.y)})
    command = [compiler(), *STRICT, *FAST, "main.c", "digits.c", "-o", "main", "-lm"]
    subprocess.run(command, cwd=tmp_path, check=True)
    done = subprocess.run(["./main"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert int(done.stdout) / len(sets.test.y) > 0.85
