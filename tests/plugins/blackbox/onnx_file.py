"""A tiny ONNX model, written byte by byte: y = relu(x)."""


def model(*sides: int | str, operator: str = "Relu") -> bytes:
    """A model whose input and output have these dimensions, numbers or names."""

    def value(name):
        dims = b"".join(
            _part(1, _part(2, side.encode()) if isinstance(side, str) else _number(1, side)) for side in sides
        )
        tensor = _number(1, 1) + _part(2, dims)  # 1: float32
        return _part(1, name) + _part(2, _part(1, tensor))

    node = _part(1, b"x") + _part(2, b"y") + _part(4, operator.encode())
    graph = _part(1, node) + _part(2, b"graph") + _part(11, value(b"x")) + _part(12, value(b"y"))
    return _number(1, 8) + _part(8, _number(2, 13)) + _part(7, graph)


def _varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n])


def _number(field, n):
    return _varint(field << 3) + _varint(n)


def _part(field, content):
    return _varint(field << 3 | 2) + _varint(len(content)) + content
