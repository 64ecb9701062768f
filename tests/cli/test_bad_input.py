"""Bad input: exit code 2, one line that names it and what would be right, and nothing written."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import ffcore
from ffcore.cli.main import main
from ffcore.plugin import manager

HOOK = "from ffcore.plugin import hookimpl\n@hookimpl\ndef "
RUN = ["run", "digits/ff", "trainer.max_epochs=1", "trainer.threads=1"]
TRAIN = "train-images-idx3-ubyte"


def idx(path, array):
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(head + array.astype(np.uint8).tobytes())


def lay_out(folder: Path) -> None:
    """Make the files of the cases: data, existing files, plugins."""
    for name in ("full", "empty", "cut", "swapped", "twice/a", "twice/b"):
        (folder / name).mkdir(parents=True)
    (folder / "full" / "note.txt").write_text("here first")
    (folder / "file").write_text("x")
    for part, count in (("train", 30), ("t10k", 10)):
        for where in ("cut", "swapped"):
            idx(folder / where / f"{part}-images-idx3-ubyte", np.zeros((count, 28, 28)))
            idx(folder / where / f"{part}-labels-idx1-ubyte", np.arange(count) % 10)
    whole = (folder / "cut" / TRAIN).read_bytes()
    (folder / "cut" / TRAIN).write_bytes(whole[:1000])
    shutil.copy(folder / "swapped" / "train-labels-idx1-ubyte", folder / "swapped" / TRAIN)
    rng = np.random.default_rng(0)
    np.savez(folder / "narrow.npz", x_train=rng.random((60, 3)), y_train=np.arange(60) % 5)
    np.savez(folder / "one.npz", x_train=rng.random((60, 3)), y_train=np.zeros(60, int))
    (folder / "raises.py").write_text("raise RuntimeError('no luck')\n")
    (folder / "hollow.py").write_text("x = 1\n")
    (folder / "bare.py").write_text(
        f"{HOOK}ffcore_register(registry): registry.body('bare', 'torch.nn:ReLU')\n"
    )
    (folder / "clash.py").write_text(
        f"{HOOK}ffcore_register(registry): registry.goodness('sum-squares', 'torch.nn:ReLU')\n"
    )
    for name in "ab":
        shutil.copy(folder / "bare.py", folder / "twice" / name / "same.py")
    (folder / "broken.yaml").write_text("name: [1\n")
    (folder / "list.yaml").write_text("- 1\n")
    (folder / "loop.yaml").write_text("base: loop.yaml\n")


@pytest.fixture
def place(tmp_path, monkeypatch):
    lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    manager.use(None)


def listing(folder):
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts
    }


def refused(argv, folder, capsys):
    """Run ``ffcore argv``, check that it writes nothing, and return its line on stderr."""
    before = listing(folder)
    code = main(argv)
    out, err = capsys.readouterr()
    assert code == 2, err or out
    assert err.startswith("error: ")
    assert err.count("\n") == 1, err
    assert err.endswith("\n")
    assert out == ""
    assert listing(folder) == before
    return err


def run(*more):
    return [*RUN, *more]


def network(*items):
    return run(f"network=[{', '.join(items)}]")


CASES = {
    "a verb of another program": (
        ["compare", "a", "b"],
        "No such command 'compare'; use 'ffcore report RUN RUN'.",
    ),
    "a misspelt verb": (["evl", "a"], "No such command 'evl'; did you mean 'eval'? "),
    # the recipe's file
    "unknown recipe": (["run", "digits/fff"], "'digits/fff'", "did you mean 'digits/ff'"),
    "no such file": (["run", "mine.yaml"], "no recipe file 'mine.yaml'"),
    "broken YAML": (["run", "broken.yaml"], "broken.yaml:2", "broken YAML"),
    "a list": (["run", "list.yaml"], "list.yaml:1", "a recipe is a mapping"),
    "its own base": (["run", "loop.yaml"], "loop.yaml", "its own base"),
    "unknown recipe, shown": (["show", "mnist/fff"], "'mnist/fff'", "did you mean 'mnist/ff'"),
    # keys
    "unknown key": (run("trainr.bar=false"), "trainr", "did you mean 'trainer'"),
    "unknown nested key": (run("trainer.max_epoch=2"), "trainer.max_epoch", "did you mean 'max_epochs'"),
    "unknown option": (run("network.0.unit=9"), "network.0.unit", "did you mean 'units'"),
    "a key from Lightning": (run("trainer.gradient_clip_val=1"), "here it is called 'clip'"),
    "missing option": (run("data.kind=arrays"), "data.path: is missing"),
    # kinds
    "unknown body": (run("network.0.kind=dens"), "network.0.kind: 'dens'", "did you mean 'dense'"),
    "unknown goodness": (run("block.goodness=sumsquares"), "block.goodness", "did you mean 'sum-squares'"),
    "unknown algorithm": (
        run("algorithm.kind=ff"),
        "algorithm.kind: 'ff'",
        "known: backprop, ",
    ),
    "unknown optimiser": (run("optimizer=adamm"), "optimizer: 'adamm'", "did you mean 'adam'"),
    "unknown schedule": (run("lr_schedule=cos"), "lr_schedule: 'cos'", "did you mean 'cosine'"),
    "unknown data": (run("data.kind=digit"), "data.kind: 'digit'", "did you mean 'digits'"),
    # values
    "word for number": (run("optimizer.lr=fast"), "optimizer.lr: 'fast'", "valid number"),
    "truth for number": (
        [*RUN[:2], "trainer.max_epochs=true"],
        "trainer.max_epochs: True",
        "should be a number",
    ),
    "negative rate": (run("optimizer.lr=-1"), "optimizer.lr: -1", "greater than or equal to 0"),
    "no epochs": ([*RUN[:2], "trainer.max_epochs=0"], "trainer.max_epochs: 0", "greater than or equal to 1"),
    "half an epoch": ([*RUN[:2], "trainer.max_epochs=1.5"], "trainer.max_epochs: 1.5", "valid integer"),
    "batch of none": (run("data.batch_size=0"), "data.batch_size: 0", "greater than or equal to 1"),
    "negative seed": (run("seed=-1"), "seed: -1", "greater than or equal to 0"),
    "not a number": (run("optimizer.lr=.nan"), "optimizer.lr: nan", "finite"),
    "half precision": (run("trainer.precision=16-mixed"), "trainer.precision", "use bf16-mixed"),
    "descending epochs": (run("lr_schedule={kind: step, epochs: [3, 2]}"), "lr_schedule.epochs", "ascend"),
    "validation of all": (run("data.validation=1437"), "data.validation", "below the 1437 training samples"),
    "validation of more": (run("data.validation=2000"), "data.validation", "below the 1437 training samples"),
    "validation of 150 %": (run("data.validation=1.5"), "data.validation: 1.5", "fraction"),
    "best without validation": (
        run("trainer.select=best", "data.validation=0"),
        "trainer.select: 'best'",
        "data.validation is 0",
    ),
    # where to compute
    "devices": (run("trainer.devices=999"), "trainer.devices: 999", "this machine has"),
    "two machines": (run("trainer.num_nodes=2"), "trainer.num_nodes: 2", "MASTER_ADDR"),
    "ranks without samples": (
        run("trainer.devices=2", "data.batch_size=1"),
        "data.batch_size: 1: 2 ranks",
        "at least 2",
    ),
    "a strategy of one": (
        run("trainer.strategy=ff_local"),
        "trainer.strategy: 'ff_local'",
        "trainer.devices",
    ),
    "a strategy": (run("trainer.strategy=ddp"), "trainer.strategy: 'ddp' is not a strategy", "ff_local"),
    "a TPU": (run("trainer.accelerator=tpu"), "trainer.accelerator: 'tpu': this machine has none"),
    # overrides
    "no equals sign": (run("epochs"), "'epochs' is not an override", "path=value"),
    "no path": (run("=3"), "'=3' is not an override", "path=value"),
    "no such index": (run("network.7.units=3"), "network is a list of 1", "'7'"),
    "into a number": (run("seed.x=3"), "seed is 1", "no key 'x'"),
    "half a list": (run("network=[1"), "network=[1", "broken YAML"),
    # parts that do not fit together
    "no blocks": (run("network=[]"), "network: []", "at least 1 item"),
    "no objective": (run("block.objective=null"), "no objective", "dense1"),
    "no parameters": (
        ["--plugin", "bare.py", *network("{kind: bare}")],
        "network",
        "no block has trainable parameters",
    ),
    "wrong form of goodness": (
        run("block.goodness=logits"),
        "block.objective: Logistic reads goodness of form 'energy'",
        "Logits gives form 'class'",
    ),
    "logits of other classes": (
        run("block.goodness=logits", "block.objective=cross-entropy"),
        "block dense1 has activity (500,) for 10 classes",
    ),
    "hard negatives alone": (run("algorithm.negatives=hard"), "algorithm: negatives", "no readout"),
    "contribution of no readout": (run("contribution=readout"), "contribution", "add one under `readouts`"),
    "readout of no block": (
        run("readouts.r={kind: softmax, taps: [dense9]}"),
        "there is no block 'dense9'",
        "did you mean 'dense",
    ),
    "one name twice": (network(*["{kind: dense, units: 9, name: a}"] * 2), "network.1.name: 'a' is taken"),
    "readout named as block": (run("readouts.dense1=softmax"), "'dense1' is taken"),
    "name with a dot": (network("{kind: dense, units: 9, name: a.b}"), "network.0.name: 'a.b'", "letters"),
    "readout with a dot": (run("readouts={a.b: softmax}"), "'a.b'", "letters, digits, _ and -"),
    "penalty with a dot": (
        run("block.penalties={a.b: peer-normalisation}"),
        "'a.b'",
        "letters, digits, _ and -",
    ),
    "unequal sum": (
        network("{kind: residual, items: [{kind: dense, units: 9}]}"),
        "network.0",
        "cannot add (9,)",
        "merge: concat",
    ),
    "too few epochs": (run("schedule=greedy"), "3 blocks need 3 epochs", "the run has 1: set"),
    "too few spans": (run("schedule={kind: interleaved, spans: [[0, 1]]}"), "1 spans for 3 blocks"),
    # data
    "more classes than features": (
        run("data={kind: arrays, path: narrow.npz}"),
        "5 classes do not fit into 3 input features",
    ),
    "one class": (run("data={kind: arrays, path: one.npz}"), "at least 2 classes"),
    "no arrays": (run("data={kind: arrays, path: gone.npz}"), "gone.npz: no such file", "data.path"),
    "not arrays": (run("data={kind: arrays, path: file}"), "file: not an .npz file"),
    "root without files": (["run", "mnist/ff", "data.root=empty"], TRAIN, "empty", "data.download=true"),
    "no root": (
        ["run", "mnist/ff", "data.root=gone", "data.download=false"],
        "data.root: gone: there is no such directory",
        "data.download=true",
    ),
    "truncated": (["run", "mnist/ff", "data.root=cut"], f"cut/{TRAIN}", "expected 23536 bytes", "found 1000"),
    "labels for images": (["run", "mnist/ff", "data.root=swapped"], f"swapped/{TRAIN}", "(N, 28, 28)"),
    # callbacks and loggers
    "a callback without its options": (
        run("trainer.callbacks=[EarlyStopping]"),
        "trainer.callbacks.0.options: missing",
        "'monitor'",
    ),
    "nonsense for a callback": (
        run("trainer.callbacks=[{kind: Timer, options: {duration: soon}}]"),
        "trainer.callbacks.0: 'Timer' cannot be constructed",
    ),
    "callbacks of one key": (
        run("trainer.callbacks=[Timer, Timer]"),
        "trainer.callbacks.1",
        "as trainer.callbacks.0",
    ),
    "nonsense for a logger": (
        run("trainer.loggers=[{kind: csv, options: {flush_logs_every_n_steps: 0, prefix: 1, root: 2}}]"),
        "trainer.loggers.0.options",
        "'root'",
    ),
    # the run directory
    "folder in use": (run("--run-dir", "full"), "run directory full", "not empty", "name a new directory"),
    "a file": (run("--run-dir", "file"), "run directory file", "is a file"),
    "below a file": (run("--run-dir", "file/run"), "run directory file/run", "Not a directory"),
    # plugins
    "raising plugin": (["--plugin", "raises.py", *RUN], "'raises.py' is broken", "RuntimeError: no luck"),
    "missing plugin": (["--plugin", "gone.py", *RUN], "no plugin file 'gone.py'"),
    "plugin without hooks": (["--plugin", "hollow.py", *RUN], "'hollow.py'", "@hookimpl"),
    "two plugins of one name": (
        ["--plugin", "twice/a/same.py", "--plugin", "twice/b/same.py", *RUN],
        "'twice/b/same.py'",
        "called 'same' already",
    ),
    "two goodnesses of one name": (
        ["--plugin", "clash.py", *RUN],
        "goodness 'sum-squares' is registered twice",
        "'ff' and 'clash'",
    ),
    # the command line
    "no recipe": (["run"], "Missing argument 'RECIPE'", "ffcore run --help"),
    "unknown verb": (["rnu"], "'rnu'", "ffcore --help"),
    "unknown switch": (run("--fast"), "'--fast'", "ffcore run --help"),
    "unknown split": (["eval", "empty", "--split", "tset"], "'tset'", "'test'", "'val'"),
    "no run": (["eval", "empty"], "empty: not a run directory", "config.yaml"),
    "nothing": (["eval", "gone"], "gone: not a run directory", "config.yaml"),
}


@pytest.mark.parametrize(
    ("argv", "expected"), [(argv, expected) for argv, *expected in CASES.values()], ids=CASES
)
def test_bad_input_gives_one_line(argv, expected, place, capsys):
    err = refused(argv, place, capsys)
    for part in expected:
        assert part in err


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["show", "digits/fff"], "did you mean"),
        (["run", "mnist/ff", "data.root=cut"], "expected 23536 bytes"),
    ],
    ids=["light", "heavy"],
)
def test_bad_input_gives_one_line_in_a_separate_process(argv, expected, place):
    before = listing(place)
    done = subprocess.run(
        [sys.executable, "-m", "ffcore", *argv], cwd=place, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert expected in done.stderr
    assert listing(place) == before


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ffcore.run.train.write_report", lambda *args: None)
        options = {"data.validation": 0, "network.0.units": 16, "trainer.max_epochs": 1, "trainer.threads": 1}
        return ffcore.train("digits/ff", run_dir=tmp_path_factory.mktemp("run") / "run", **options).path


def truncate(folder):
    path = folder / "checkpoints" / "last.ckpt"
    path.write_bytes(path.read_bytes()[:2000])


def widen(folder):
    path = folder / "config.yaml"
    path.write_text(path.read_text().replace("units: 16", "units: 17"))


DAMAGE = {
    "checkpoint cut off": (truncate, [], "last.ckpt", "the checkpoint cannot be loaded"),
    "checkpoint gone": (
        lambda f: (f / "checkpoints" / "last.ckpt").unlink(),
        [],
        "last.ckpt",
        "does not exist",
    ),
    "checkpoint of something else": (
        lambda f: shutil.copy(f / "results.json", f / "checkpoints" / "last.ckpt"),
        [],
        "last.ckpt",
        "the checkpoint cannot be loaded",
    ),
    "config changed": (widen, [], "last.ckpt does not fit config.yaml", "size mismatch"),
    "config broken": (lambda f: (f / "config.yaml").write_text("name: [1"), [], "config.yaml", "broken YAML"),
    "no validation split": (None, ["--split", "val"], "no validation split", "--split test"),
    "another option": (None, ["seed=2"], "'seed=2'", "only the source of the data"),
    "data of another shape": (
        None,
        ["data={kind: arrays, path: narrow.npz}"],
        "5 classes of (3,)",
        "10 of (1, 8, 8)",
    ),
}


def newer(folder):
    path = folder / "checkpoints" / "last.ckpt"
    state = torch.load(path, weights_only=True)
    state["ffcore"] |= {"format": 99, "version": "9.9"}
    torch.save(state, path)


def edit(folder):
    path = folder / "config.yaml"
    path.write_text(path.read_text().replace("lr: 0.001", "lr: 0.5", 1))


UNFINISHED = {
    "newer checkpoint": (newer, "made by ffcore 9.9 in format 99", "install a newer ffcore"),
    "config edited": (edit, "config.yaml has been changed", "optimizer.lr is 0.5, not 0.001"),
    "checkpoint cut off": (truncate, "last.ckpt", "the checkpoint cannot be loaded"),
    "damaged results": (
        lambda f: (f / "results.json").touch(),
        "is not JSON",
        "delete results.json to resume",
    ),
}


@pytest.mark.parametrize(
    ("damage", "expected"), [(damage, expected) for damage, *expected in UNFINISHED.values()], ids=UNFINISHED
)
def test_resume_raises_for_damaged_runs(damage, expected, trained, place, capsys):
    shutil.copytree(trained, place / "copy")
    (place / "copy/results.json").unlink()
    (place / "copy/checkpoints/previous.ckpt").unlink(missing_ok=True)
    damage(place / "copy")
    err = refused(["run", "--resume", "copy"], place, capsys)
    for part in expected:
        assert part in err


def test_resume_reports_a_damaged_checkpoint_in_one_line(trained, undrawn, place, capsys):
    shutil.copytree(trained, place / "copy")
    (place / "copy/results.json").unlink()
    shutil.copy(place / "copy/checkpoints/last.ckpt", place / "copy/checkpoints/previous.ckpt")
    truncate(place / "copy")
    assert main(["run", "--resume", "copy"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("copy/checkpoints/last.ckpt: the checkpoint cannot be loaded: ")
    assert out.splitlines()[0].endswith("; resuming from the checkpoint before it")


@pytest.mark.parametrize(
    ("damage", "more", "expected"),
    [(d, more, expected) for d, more, *expected in DAMAGE.values()],
    ids=DAMAGE,
)
def test_eval_raises_for_damaged_runs(damage, more, expected, trained, place, capsys):
    shutil.copytree(trained, place / "copy")
    if damage is not None:
        damage(place / "copy")
    err = refused(["eval", "copy", *more], place, capsys)
    for part in expected:
        assert part in err
