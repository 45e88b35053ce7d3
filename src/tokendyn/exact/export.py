"""ONNX and torch.export: the same blocks for other runtimes."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tokendyn.errors import BadInputError
from tokendyn.exact.module import stacked
from tokendyn.runs.files import new_file

if TYPE_CHECKING:
    import torch

    from tokendyn.exact.transformer import ExactTransformer

_OPSET = 17

#: Blocks that torch.export unrolls at most.
MOST_UNROLLED = 500


def to_onnx(model: "ExactTransformer", path: str | Path) -> Path:
    """Write the transformer as an ONNX file: one Scan over the stacked weights, so the graph does not grow.

    Inputs ``tokens (batch, tokens, dim)`` and ``mask (batch, tokens)`` (bool, False for padding); output
    ``output (batch, tokens, outputs)``. Uniform attention is the tie of all scores 0.

    Raises
    ------
    BadInputError
        If the package onnx is missing.
    OutputError
        If the file cannot be written.
    """
    try:
        import onnx
    except ImportError:
        raise BadInputError("writing ONNX needs the package onnx; install tokendyn[onnx]") from None
    proto = _model(onnx, model)
    onnx.checker.check_model(proto)
    with new_file(path) as temporary:
        temporary.write_bytes(proto.SerializeToString())
    return Path(path)


def _model(onnx: Any, model: "ExactTransformer") -> Any:
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    kind = onnx.TensorProto.DOUBLE if model.dtype == "float64" else onnx.TensorProto.FLOAT
    dim, weights = model.construction.dim, model.weights
    stacks = stacked(weights, dim)
    scanned = {
        "Ut": np.swapaxes(stacks["U"], 1, 2),
        "c": stacks["c"],
        "Wt": np.swapaxes(stacks["W"], 1, 2),
        "eta": weights.eta[:, None],
        "q": stacks["q"][:, :, None],
        "k": stacks["k"][:, :, None],
        "vin": np.swapaxes(stacks["v_in"], 1, 2),
        "vout": np.swapaxes(stacks["v_out"], 1, 2),
    }
    initializers = [
        numpy_helper.from_array(np.ascontiguousarray(array.astype(model.dtype)), name)
        for name, array in scanned.items()
    ]
    initializers += [
        numpy_helper.from_array(np.array([0, 0, 0, 0, 0, dim - model.input_dim], np.int64), "pads"),
        numpy_helper.from_array(np.array([1], np.int64), "one"),
        numpy_helper.from_array(np.array(list(model.construction.outputs), np.int64), "places"),
        numpy_helper.from_array(np.array(-np.inf, model.dtype), "minus_infinity"),
        numpy_helper.from_array(np.array([2], np.int64), "two_axis")
        if model.beta is None
        else numpy_helper.from_array(np.array(model.beta, model.dtype), "beta"),
    ]
    node = helper.make_node
    body = _body(onnx, kind, {name: array.shape[1:] for name, array in scanned.items()}, model.beta is not None)
    nodes = [
        node("Pad", ["tokens", "pads"], ["padded"]),
        node("Unsqueeze", ["mask", "one"], ["keys"]),
        node("Scan", ["padded", *scanned], ["last"], body=body, num_scan_inputs=len(scanned)),
        node("Gather", ["last", "places"], ["output"], axis=2),
    ]
    graph = helper.make_graph(
        nodes,
        "tokendyn_exact",
        [
            helper.make_tensor_value_info("tokens", kind, ["batch", "length", model.input_dim]),
            helper.make_tensor_value_info("mask", onnx.TensorProto.BOOL, ["batch", "length"]),
        ],
        [helper.make_tensor_value_info("output", kind, ["batch", "length", len(model.construction.outputs)])],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)


def _body(onnx: Any, kind: int, shapes: dict[str, tuple[int, ...]], soft: bool) -> Any:
    """Return the graph of one block."""
    helper = onnx.helper
    node = helper.make_node
    inputs = [helper.make_tensor_value_info("x", kind, None)]
    inputs += [helper.make_tensor_value_info(f"{name}_k", kind, list(shape)) for name, shape in shapes.items()]
    nodes = [
        node("MatMul", ["x", "Ut_k"], ["read"]),
        node("Add", ["read", "c_k"], ["biased"]),
        node("Relu", ["biased"], ["hidden"]),
        node("MatMul", ["hidden", "Wt_k"], ["update"]),
        node("Mul", ["x", "eta_k"], ["kept"]),
        node("Add", ["kept", "update"], ["y"]),
        node("MatMul", ["y", "q_k"], ["queries"]),
        node("MatMul", ["y", "k_k"], ["keys_column"]),
        node("Transpose", ["keys_column"], ["keys_row"], perm=[0, 2, 1]),
        node("Mul", ["queries", "keys_row"], ["scores"]),
        node("Where", ["keys", "scores", "minus_infinity"], ["masked"]),
        *(_soft_nodes(node) if soft else _hard_nodes(node, kind)),
        node("MatMul", ["y", "vin_k"], ["values"]),
        node("MatMul", ["shares", "values"], ["means"]),
        node("MatMul", ["means", "vout_k"], ["brought"]),
        node("Add", ["y", "brought"], ["x_next"]),
    ]
    return helper.make_graph(nodes, "block", inputs, [helper.make_tensor_value_info("x_next", kind, None)])


def _hard_nodes(node: Any, kind: int) -> list[Any]:
    return [
        node("ReduceMax", ["masked"], ["top"], axes=[2], keepdims=1),
        node("Equal", ["masked", "top"], ["leads"]),
        node("Cast", ["leads"], ["leaders"], to=kind),
        node("ReduceSum", ["leaders", "two_axis"], ["count"], keepdims=1),
        node("Div", ["leaders", "count"], ["shares"]),
    ]


def _soft_nodes(node: Any) -> list[Any]:
    return [node("Mul", ["masked", "beta"], ["tempered"]), node("Softmax", ["tempered"], ["shares"], axis=2)]


def to_exported_program(model: "ExactTransformer") -> "torch.export.ExportedProgram":
    """Return the dense module through ``torch.export``, for any batch and any number of tokens.

    Raises
    ------
    BadInputError
        If it has more blocks than can be unrolled.
    """
    import torch
    from torch.export import Dim

    if model.weights.blocks > MOST_UNROLLED:
        raise BadInputError(
            f"torch.export unrolls the {model.weights.blocks} blocks (at most {MOST_UNROLLED}); use to_onnx, whose "
            "graph does not grow with them"
        )
    kind = torch.float64 if model.dtype == "float64" else torch.float32
    tokens, mask = torch.zeros(2, 3, model.input_dim, dtype=kind), torch.ones(2, 3, dtype=torch.bool)
    batch, length = Dim("batch"), Dim("length")
    shapes = ({0: batch, 1: length}, {0: batch, 1: length})
    return torch.export.export(model.module, (tokens, mask), dynamic_shapes=shapes)
