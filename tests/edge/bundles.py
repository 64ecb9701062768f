"""Bundles made by hand: a dense block, a softmax or ridge layer on it, and the same step in NumPy.

x' = x + 0.1 · noise             (N, D)
h = x' W1ᵀ                       (N, H)   loss/first = mean h²,            W1 ← W1 - rate · 0.01 · ∂/∂W1
s = h W2ᵀ + b                    (N, K)   loss/out = mean -log softmax(s), W2 ← W2 - rate · 0.5 · ∂/∂W2
"""

import hashlib
import json

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper, save

SHAPE, D, H, K = (1, 2, 3), 6, 4, 3
LR, SLOW = 0.5, 0.01
NOISE = "random/noise/0"
_TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64, "float64": TensorProto.DOUBLE}


def weights(target="class", closed=False):
    rng = np.random.default_rng(3)
    made = {
        "first.weight": rng.normal(size=(H, D)).astype(np.float32),
        "out.weight": rng.normal(size=(K, H)).astype(np.float32),
        "out.bias": rng.normal(size=K).astype(np.float32),
    }
    if closed:
        made |= {"sums/out/a": np.zeros((H + 1, H + 1)), "sums/out/b": np.zeros((H + 1, K))}
        made["sums/out/count"] = np.zeros((), np.int64)
    return made


def data(n=40, seed=0):
    """Samples that a linear layer can tell apart."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, K, n)
    x = rng.normal(scale=0.3, size=(n, *SHAPE)).astype(np.float32)
    x.reshape(n, -1)[np.arange(n), y] += 2
    return x, y


def by_hand(state, x, y, rate=1.0, noise=None):
    """The step in float64: the new state, and the losses."""
    x = x.reshape(len(x), -1).astype(float) + (0 if noise is None else 0.1 * noise)
    w1, w2, b = (state[n].astype(float) for n in ("first.weight", "out.weight", "out.bias"))
    h = x @ w1.T
    s = h @ w2.T + b
    p = np.exp(s - s.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    g = (p - np.eye(K)[y]) / len(x)
    new = {
        "first.weight": w1 - rate * SLOW * 2 / h.size * h.T @ x,
        "out.weight": w2 - rate * LR * g.T @ h,
        "out.bias": b - rate * LR * g.sum(0),
    }
    return new, {"first": (h**2).mean(), "out": -np.log(p[np.arange(len(x)), y]).mean()}


def scores_by_hand(state, x):
    x = x.reshape(len(x), -1).astype(float)
    return x @ state["first.weight"].astype(float).T @ state["out.weight"].astype(float).T + state["out.bias"]


def _first():
    return [
        ("Flatten", ["x"], ["flat"]),
        ("Mul", [NOISE, "tenth"], ["little"]),
        ("Add", ["flat", "little"], ["noisy"]),
        ("Gemm", ["noisy", "first.weight"], ["cut/h"], {"transB": 1}),
        ("Mul", ["cut/h", "cut/h"], ["square"]),
        ("ReduceMean", ["square"], ["loss/first"], {"keepdims": 0}),
        ("Size", ["cut/h"], ["size"]),
        ("Cast", ["size"], ["sizef"], {"to": TensorProto.FLOAT}),
        ("Gemm", ["cut/h", "noisy"], ["outer"], {"transA": 1}),
        ("Div", ["outer", "sizef"], ["mean1"]),
        ("Mul", ["rate", "slow"], ["lr1"]),
        ("Mul", ["mean1", "lr1"], ["change1"]),
        ("Sub", ["first.weight", "change1"], ["new/first.weight"]),
    ]


def _softmax():
    return [
        ("OneHot", ["y", "k", "values"], ["hot"]),
        ("Gemm", ["cut/h", "out.weight", "out.bias"], ["s"], {"transB": 1}),
        ("LogSoftmax", ["s"], ["logp"], {"axis": 1}),
        ("Mul", ["logp", "hot"], ["own"]),
        ("ReduceSum", ["own", "axis1"], ["each"], {"keepdims": 0}),
        ("ReduceMean", ["each"], ["negative"], {"keepdims": 0}),
        ("Neg", ["negative"], ["loss/out"]),
        ("Exp", ["logp"], ["p"]),
        ("Sub", ["p", "hot"], ["g"]),
        ("Shape", ["y"], ["shape"]),
        ("Cast", ["shape"], ["n"], {"to": TensorProto.FLOAT}),
        ("Div", ["g", "n"], ["gn"]),
        ("Mul", ["rate", "half"], ["lr2"]),
        ("Gemm", ["gn", "cut/h"], ["gw"], {"transA": 1}),
        ("ReduceSum", ["gn", "axis0"], ["gb"], {"keepdims": 0}),
        ("Mul", ["gw", "lr2"], ["change2"]),
        ("Mul", ["gb", "lr2"], ["change3"]),
        ("Sub", ["out.weight", "change2"], ["new/out.weight"]),
        ("Sub", ["out.bias", "change3"], ["new/out.bias"]),
    ]


def _ridge():
    return [
        ("OneHot", ["y", "k", "values"], ["hot"]),
        ("Add", ["hot", "hot"], ["two"]),
        ("Sub", ["two", "one"], ["z"]),
        ("Shape", ["y"], ["n"]),
        ("Concat", ["n", "one64"], ["n1"], {"axis": 0}),
        ("ConstantOfShape", ["n1"], ["ones"], {"value": numpy_helper.from_array(np.ones(1, np.float32))}),
        ("Concat", ["cut/h", "ones"], ["h1"], {"axis": 1}),
        ("Cast", ["h1"], ["hd"], {"to": TensorProto.DOUBLE}),
        ("Cast", ["z"], ["zd"], {"to": TensorProto.DOUBLE}),
        ("Transpose", ["hd"], ["hdt"], {"perm": [1, 0]}),
        ("MatMul", ["hdt", "hd"], ["aa"]),
        ("MatMul", ["hdt", "zd"], ["bb"]),
        ("Add", ["sums/out/a", "aa"], ["new/sums/out/a"]),
        ("Add", ["sums/out/b", "bb"], ["new/sums/out/b"]),
        ("Squeeze", ["n", "axis0"], ["ns"]),
        ("Add", ["sums/out/count", "ns"], ["new/sums/out/count"]),
    ]


def _predict():
    return [
        ("Flatten", ["x"], ["flat"]),
        ("Gemm", ["flat", "first.weight"], ["h"], {"transB": 1}),
        ("Gemm", ["h", "out.weight", "out.bias"], ["scores"], {"transB": 1}),
    ]


_CONSTANTS = {
    "tenth": np.float32(0.1),
    "half": np.float32(LR),
    "slow": np.float32(2 * SLOW),
    "one": np.float32(1),
    "k": np.int64(K),
    "values": np.array([0, 1], np.float32),
    "axis0": np.array([0]),
    "axis1": np.array([1]),
    "one64": np.array([1]),
}


def _graph(path, nodes, state, outputs, rows, block=None):
    used = {name for node in nodes for name in node[1]}
    made = {name for node in nodes for name in node[2]}
    n = "N" if rows is None else rows
    shapes = {"x": ("float32", (n, *SHAPE)), "y": ("int64", (n,)), "rate": ("float32", ())}
    shapes |= {NOISE: ("float32", (n, D)), "cut/h": ("float32", (n, H))}
    shapes |= {name: (str(a.dtype), a.shape) for name, a in state.items()}
    inputs = [name for name in shapes if name in used - made]
    constants = [numpy_helper.from_array(np.asarray(a), k) for k, a in _CONSTANTS.items() if k in used]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node(op, i, o, **(rest[0] if rest else {})) for op, i, o, *rest in nodes],
        "g",
        [value(name, _TYPES[shapes[name][0]], shapes[name][1]) for name in inputs],
        [
            value(name, _TYPES[str(state[name[4:]].dtype)] if name[4:] in state else 1, None)
            for name in outputs
        ],
        constants,
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return {"file": path.name, "block": block, "inputs": inputs, "outputs": outputs}


def write_about(path, about):
    """Write bundle.json, with the files that are there."""
    files = {}
    for file in sorted(path.iterdir()):
        if file.name != "bundle.json":
            content = file.read_bytes()
            files[file.name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (path / "bundle.json").write_text(json.dumps({**about, "files": files}, ensure_ascii=False))


def write_bundle(path, *, rows=None, per_block=False, closed=False, state=None, nodes=None, **changes):
    """Write a bundle; ``changes`` replace keys of bundle.json, ``nodes`` its predict graph."""
    path.mkdir(parents=True, exist_ok=True)
    state = weights(closed=closed) if state is None else state
    second = _ridge() if closed else _softmax()
    first_out = ["loss/first", "new/first.weight"]
    second_out = [f"new/sums/out/{s}" for s in ("a", "b", "count")]
    if not closed:
        second_out = ["loss/out", "new/out.weight", "new/out.bias"]
    if per_block:
        graphs = [
            _graph(path / "learn-1.onnx", _first(), state, [*first_out, "cut/h"], rows, "first"),
            _graph(path / "learn-2.onnx", second, state, second_out, rows, "out"),
        ]
    else:
        graphs = [_graph(path / "learn.onnx", [*_first(), *second], state, [*first_out, *second_out], rows)]
    predict = _graph(path / "predict.onnx", nodes or _predict(), state, ["scores"], rows)
    np.savez(path / "weights.npz", **state)
    golden = None
    if not closed:
        golden = {"file": "golden.npz", "tolerance": 1e-5, "fill": {"out.bias": 0.25}}
        _golden(path / "golden.npz", state, rows or 7)
    solutions = {"a": "sums/out/a", "b": "sums/out/b", "count": "sums/out/count", "strength": 1.0}
    about = {
        "format": 1,
        "made_by": "ffcore 0.1.0",
        "name": "by hand",
        "sample": {"shape": list(SHAPE), "dtype": "float32", "rows": rows},
        "stored": None,
        "target": "class",
        "columns": K,
        "classes": ["zero", "one", "two"],
        "seed": 1,
        "batch_size": rows or 8,
        "epochs": 3,
        "rates": None,
        "state": {
            name: {
                "shape": list(a.shape),
                "dtype": str(a.dtype),
                "part": "sums" if "/" in name else "weight",
                "block": "out" if "out" in name else "first",
            }
            for name, a in state.items()
        },
        "random": [
            {"name": NOISE, "stream": "noise", "call": 0, "kind": "uniform", "shape": [D], "high": None}
        ],
        "predict": {k: predict[k] for k in ("file", "inputs", "outputs")},
        "phases": [{"first": 0, "last": 3, "graphs": graphs}],
        "solutions": {"out": {**solutions, "weight": "out.weight", "bias": "out.bias"}} if closed else {},
        "golden": golden,
        "operators": {},
        "cost": None,
    }
    write_about(path, {**about, **changes})
    return path


def edit(path, **changes):
    """Change keys of bundle.json, and take the files as they are."""
    write_about(path, {**json.loads((path / "bundle.json").read_text()), **changes})
    return path


def _golden(path, state, rows):
    x, y = data(rows, 9)
    noise = np.random.default_rng(4).uniform(size=(rows, D)).astype(np.float32)
    filled = {**state, "out.bias": np.full(K, 0.25)}
    new, losses = by_hand(filled, x, y, 0.5, noise)
    arrays = {f"new/{k}": a.reshape(-1) for k, a in new.items()} | {f"loss/{k}": v for k, v in losses.items()}
    scores = scores_by_hand(state, x)
    np.savez(path, **{"x": x, "y": y, "rate": np.float32(0.5), NOISE: noise, "scores": scores}, **arrays)
