"""``python -m ffcore.edge``."""

import signal
import subprocess
import sys

import numpy as np
import pytest

from ffcore.edge import Learner, load
from ffcore.edge.__main__ import main
from tests.edge.bundles import data, edit


@pytest.fixture
def files(make_bundle, tmp_path, monkeypatch):
    """A bundle and data, in the current directory."""
    make_bundle()
    for name, n, seed in (("data.npz", 40, 0), ("test.npz", 20, 1)):
        x, y = data(n, seed)
        np.savez(tmp_path / name, x=x, y=y)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *args):
    code = main([str(each) for each in args])
    out, err = capsys.readouterr()
    return code, out, err


def fails(capsys, *args, code=2):
    made, out, err = run(capsys, *args)
    assert (made, out) == (code, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def test_info_shows_what_a_bundle_holds(files, capsys):
    edit(files / "bundle", operators={"learn.onnx": {"Add": 3, "Mul": 2}}, cost={"learn": 1024})
    code, out, err = run(capsys, "info", "bundle")
    assert (code, err) == (0, "")
    assert "by hand, made by ffcore 0.1.0\nsamples    1 x 2 x 3 float32, inputs of the network\n" in out
    assert "\ntargets    class, 3\n" in out
    assert "learning   3 epochs, batches of 8, seed 1\nweight     156 bytes\n" in out
    assert "5 nodes of 2 operators\n" in out
    assert "cost       1,024 multiplications a sample to learn\n" in out


def test_learn_prints_a_line_for_each_epoch_and_writes_the_state(files, capsys):
    code, out, err = run(capsys, "learn", "bundle", "data.npz", "--test", "test.npz", "--out", "state.npz")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line[:7] for line in lines] == ["epoch 1", "epoch 2", "epoch 3"]
    learner = Learner(load("bundle"))
    result = learner.learn(*data(40), epochs=3)[-1]
    accuracy = learner.evaluate(*data(20, 1))
    assert lines[-1].startswith(
        f"epoch 3  first {result.losses['first']:.4f}  out {result.losses['out']:.4f}  "
    )
    assert lines[-1].endswith(f" s  test accuracy {accuracy:.4f}")
    learner.save("own.npz")
    assert (files / "own.npz").read_bytes() == (files / "state.npz").read_bytes()
    made = run(capsys, "evaluate", "bundle", "test.npz", "--state", "state.npz")
    assert made == (0, f"accuracy {accuracy:.6g}\n", "")


def test_resume_continues_to_the_epochs_in_all(files, capsys):
    run(capsys, "learn", "bundle", "data.npz", "--out", "whole.npz", "--seed", 4, "--batch-size", 16)
    run(
        capsys,
        "learn",
        "bundle",
        "data.npz",
        "--out",
        "s.npz",
        "--seed",
        4,
        "--batch-size",
        16,
        "--epochs",
        1,
    )
    again = ("learn", "bundle", "data.npz", "--resume", "s.npz", "--out", "s.npz", "--batch-size", 16)
    assert "s.npz has the seed 4" in fails(capsys, *again, "--seed", 5)
    code, out, _ = run(capsys, *again)
    assert (code, len(out.splitlines())) == (0, 2)
    assert (files / "s.npz").read_bytes() == (files / "whole.npz").read_bytes()
    assert "s.npz: has learned 3 epochs already; use a larger --epochs" in fails(capsys, *again)


def test_existing_files_are_not_replaced_unless_asked(files, capsys):
    for verb, name in (("learn", "s.npz"), ("predict", "p.csv")):
        (files / name).write_text("mine")
        assert f"--out {name}: exists already" in fails(capsys, verb, "bundle", "data.npz", "--out", name)
        assert (files / name).read_text() == "mine"
        assert run(capsys, verb, "bundle", "data.npz", "--out", name, "--overwrite")[0] == 0
        assert (files / name).read_bytes() != b"mine"


def test_predict_writes_names_of_classes(files, capsys):
    names = np.array(["zero", "one", "two"])
    right = ["prediction", *names[Learner(load("bundle")).predict(data(40)[0])]]
    assert run(capsys, "predict", "bundle", "data.npz") == (0, "\n".join(right) + "\n", "")
    run(capsys, "predict", "bundle", "data.npz", "--out", "p.csv")
    assert (files / "p.csv").read_text().splitlines() == right


def test_predict_writes_a_column_for_each_value(files, capsys):
    edit(files / "bundle", target="values", golden=None)
    lines = run(capsys, "predict", "bundle", "data.npz")[1].splitlines()
    assert lines[0] == "zero,one,two"
    np.testing.assert_allclose(
        [float(v) for v in lines[1].split(",")], Learner(load("bundle")).predict(data(40)[0])[0]
    )


def test_mistakes_are_one_line_and_exit_with_2(files, capsys):
    np.savez("pickle.npz", x=np.array([{}]), y=np.zeros(1))
    np.savez("only_x.npz", x=np.zeros(3))
    (files / "broken.npz").write_bytes((files / "data.npz").read_bytes()[:200])
    assert "not a bundle" in fails(capsys, "info", "data.npz")
    assert "nowhere.npz: no such file" in fails(capsys, "learn", "bundle", "nowhere.npz")
    assert "only_x.npz: has no array y" in fails(capsys, "learn", "bundle", "only_x.npz")
    assert "pickle.npz: x is a pickle, which could run code" in fails(capsys, "learn", "bundle", "pickle.npz")
    assert "not a complete .npz file" in fails(capsys, "evaluate", "bundle", "broken.npz")
    assert "epochs: should be an integer of at least 1, not 0" in fails(
        capsys, "learn", "bundle", "data.npz", "--epochs", 0
    )
    assert "batch_size: should be" in fails(capsys, "learn", "bundle", "data.npz", "--batch-size", 0)
    assert "the directory nowhere does not exist" in fails(
        capsys, "learn", "bundle", "data.npz", "--out", "nowhere/s.npz"
    )


def test_a_bundle_that_differs_learns_only_without_the_check(files, capsys):
    edit(files / "bundle", golden={"file": "golden.npz", "tolerance": 1e-12, "fill": {}})
    assert "load without the check" in fails(capsys, "learn", "bundle", "data.npz")
    assert run(capsys, "learn", "bundle", "data.npz", "--no-check", "--drop-sessions")[0] == 0


def test_learning_that_stops_exits_with_1_and_keeps_the_old_file(files, capsys):
    edit(files / "bundle", rates=[[3e38] * 17])
    (files / "s.npz").write_text("old")
    err = fails(capsys, "learn", "bundle", "data.npz", "--out", "s.npz", "--overwrite", code=1)
    assert "is not finite; the old state of all blocks is kept" in err or "the loss is" in err
    assert (files / "s.npz").read_text() == "old"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_the_run_resumes_bit_for_bit(files, capsys, number, code):
    learn = [sys.executable, "-m", "ffcore.edge", "learn", "bundle", "data.npz", "--out", "s.npz"]
    process = subprocess.Popen(
        [*learn, "--epochs", "1000000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.readline()
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert "s.npz is saved; resume with --resume s.npz" in err
    assert err.count("\n") == 1
    resumed, whole = Learner(load("bundle")), Learner(load("bundle"))
    resumed.resume("s.npz")
    epochs = resumed.progress.epoch + 2
    whole.learn(*data(40), epochs=epochs)
    resumed.learn(*data(40), epochs=2)
    assert resumed.progress == whole.progress
    for name, array in whole.items():
        assert resumed.value(name).tobytes() == array.tobytes()


def test_save_every_writes_the_state_during_an_epoch(files, monkeypatch):
    saved = []
    monkeypatch.setattr(Learner, "save", lambda self, path: saved.append(self.progress.steps))
    main(["learn", "bundle", "data.npz", "--out", "s.npz", "--save-every", "3", "--epochs", "2"])
    assert saved == [3, 6, 9, 10]


def test_the_runtime_imports_only_the_standard_library_numpy_and_onnxruntime(files):
    code = (
        "import sys; before = set(sys.modules)\n"
        "from ffcore.edge import Learner, load\n"
        "from ffcore.edge.__main__ import main\n"
        "main(['learn', 'bundle', 'data.npz', '--out', 's.npz'])\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)\n"
        "bad = {'torch', 'pydantic', 'click', 'onnx', 'yaml', 'pluggy', 'rich', 'scipy'}\n"
        "assert not bad & set(sys.modules), bad & set(sys.modules)\n"
        "print(sorted(n for n in new if not n.startswith('_')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(eval(done.stdout.splitlines()[-1])) <= {
        *("ffcore", "numpy", "onnxruntime", "cython_runtime"),
        *(
            "flatbuffers",
            "google",
            "packaging",
            "coloredlogs",
            "humanfriendly",
            "sympy",
            "mpmath",
        ),  # of onnxruntime
    }


def test_the_runtime_imports_nothing_from_the_rest_of_ffcore():
    import ast
    from pathlib import Path

    import ffcore.edge

    for path in Path(ffcore.edge.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                top = name.split(".")[0]
                own = name == "ffcore.edge" or name.startswith("ffcore.edge.")
                assert own or top in {*sys.stdlib_module_names, "numpy", "onnxruntime"}, (path.name, name)
