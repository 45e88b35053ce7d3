"""ONNX, torch.export and linear layers: the same blocks for other runtimes and tools."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tokendyn.errors import BadInputError
from tokendyn.exact.weights import stacked
from tokendyn.optional import library
from tokendyn.runs.onnx_files import OnnxGraph, write_onnx
from tokendyn.words import counted

if TYPE_CHECKING:
    import torch

    from tokendyn.exact.layers import LinearBlocks
    from tokendyn.exact.transformer import ExactTransformer


#: Largest number of blocks for torch.export, unrolled ONNX and separate layers.
MOST_UNROLLED = 500


def to_onnx(model: "ExactTransformer", path: str | Path, *, unrolled: bool = False) -> Path:
    """Write the transformer as an ONNX file.

    Inputs ``tokens (batch, tokens, dim)`` and ``mask (batch, tokens)`` (bool, False for padding); output
    ``output (batch, tokens, outputs)``, 0 at padding, and NaN in a row without any token. What stands at padding does
    not matter; it may be NaN. Uniform attention is the tie of all scores 0.

    Parameters
    ----------
    model
        What was built.
    path
        File to write.
    unrolled
        One Scan over the stacked weights by default, so that the graph does not grow with the blocks. Unrolled, every
        block has nodes and weights of its own: ``MatMul`` with a constant matrix, which quantisers look for
        (``onnxruntime.quantization.quantize_dynamic`` leaves the body of a Scan as it is, and float64 too; build with
        ``dtype="float32"``).

    Raises
    ------
    BadInputError
        If an unrolled graph would have too many blocks.
    MissingLibraryError
        Without the package onnx.
    OutputError
        If the file cannot be written.
    """
    if unrolled:
        _check_blocks(model, "unrolled=True", "leave it out")
    write_onnx(_model(model, unrolled), path)
    return Path(path)


def to_linear(model: "ExactTransformer") -> "LinearBlocks":
    """Return the transformer as a torch module of ``nn.Linear`` layers, which torch's quantisers find and replace.

    Raises
    ------
    BadInputError
        If it has too many blocks for layers of their own.
    """
    from tokendyn.exact.layers import LinearBlocks

    _check_blocks(model, "a layer for each block", "use model.module, whose weights are stacked")
    construction = model.construction
    return LinearBlocks(model.weights, model.input_dim, construction.dim, list(construction.outputs), model.beta)


def _check_blocks(model: "ExactTransformer", what: str, remedy: str) -> None:
    if model.weights.blocks > MOST_UNROLLED:
        raise BadInputError(
            f"{what}: the transformer has {counted(model.weights.blocks, 'block')}, and at most {MOST_UNROLLED} "
            "are unrolled; "
            f"{remedy}"
        )


def _model(model: "ExactTransformer", unrolled: bool) -> Any:
    graph = _Graph(model)
    kind = graph.kind
    # Padding is replaced, not multiplied by 0: NaN times 0 is NaN.
    graph.add("Unsqueeze", "mask", graph.constant(np.array([2])), output="exists")
    zero, nan = graph.constant(np.array(0, model.dtype)), graph.constant(np.array(np.nan, model.dtype))
    graph.add("Where", "exists", "tokens", zero, output="present")
    wider = np.array([0, 0, 0, 0, 0, model.construction.dim - model.input_dim])
    graph.add("Pad", "present", graph.constant(wider), output="padded")
    graph.add("Unsqueeze", "mask", graph.constant(np.array([1])), output="keys")
    last = graph.blocks("padded") if unrolled else graph.scan("padded")
    graph.add("Gather", last, graph.constant(np.array(model.construction.outputs)), output="gathered", axis=2)
    graph.add("Cast", "exists", output="counted", to=kind)
    graph.add("ReduceMax", "counted", output="any", axes=[1], keepdims=1)
    graph.add("Greater", "any", zero, output="labelled")
    graph.add("Where", "labelled", zero, nan, output="elsewhere")
    graph.add("Where", "exists", "gathered", "elsewhere", output="output")
    return graph.model(
        "tokendyn_exact",
        {
            "tokens": (kind, ["batch", "length", model.input_dim]),
            "mask": (graph.onnx.TensorProto.BOOL, ["batch", "length"]),
        },
        {"output": (kind, ["batch", "length", len(model.construction.outputs)])},
    )


class _Graph(OnnxGraph):
    """The graph of a transformer, with one method for each part."""

    def __init__(self, model: "ExactTransformer") -> None:
        super().__init__()
        tensors = self.onnx.TensorProto
        self.exact, self.kind = model, tensors.DOUBLE if model.dtype == "float64" else tensors.FLOAT

    def scan(self, x: str) -> str:
        """Add one Scan over the stacked weights of all blocks."""
        model, dtype = self.exact, self.exact.dtype
        stacks = stacked(model.weights, model.construction.dim)
        scanned = {
            "Ut": np.swapaxes(stacks["U"], 1, 2),
            "c": stacks["c"],
            "Wt": np.swapaxes(stacks["W"], 1, 2),
            "eta": model.weights.eta[:, None],
            "q": stacks["q"][:, :, None],
            "k": stacks["k"][:, :, None],
            "vin": np.swapaxes(stacks["v_in"], 1, 2),
            "vout": np.swapaxes(stacks["v_out"], 1, 2),
        }
        for name, array in scanned.items():
            self.constant(array.astype(dtype), name)
        self._attention_constants()
        shapes = {name: array.shape[1:] for name, array in scanned.items()}
        body = _body(self.onnx, self.kind, shapes, model.beta is not None)
        return self.add("Scan", x, *scanned, output="last", body=body, num_scan_inputs=len(scanned))

    def _attention_constants(self) -> None:
        model, dtype = self.exact, self.exact.dtype
        self.constant(np.array(-np.inf, dtype), "minus_infinity")
        if model.beta is None:
            self.constant(np.array([2]), "two_axis")
        else:
            self.constant(np.array(model.beta, dtype), "beta")

    def blocks(self, x: str) -> str:
        """Add the nodes of every block, with its own weights."""
        from tokendyn.exact.weights import block_matrices

        weights = self.exact.weights
        if (weights.attends * weights.query_weights != 0).any():
            self._attention_constants()
        self.add("Cast", "keys", output="key_numbers", to=self.kind)
        self.add("ReduceSum", "key_numbers", self.constant(np.array([2])), output="key_count", keepdims=1)
        self.add("Div", "key_numbers", "key_count", output="even_shares")
        for block in range(weights.blocks):
            part, at = block_matrices(weights, block, self.exact.construction.dim), f"block{block}."
            read = self.add("MatMul", x, self.constant(part["U"].T, at + "U"), output=at + "read")
            biased = self.add("Add", read, self.constant(part["c"], at + "c"), output=at + "biased")
            hidden = self.add("Relu", biased, output=at + "hidden")
            update = self.add("MatMul", hidden, self.constant(part["W"].T, at + "W"), output=at + "update")
            x = update if weights.eta[block] == 0 else self.add("Add", x, update, output=at + "y")
            if weights.attends[block]:
                x = self._attend(x, part, at, uniform=bool(weights.query_weights[block] == 0))
        return x

    def _attend(self, x: str, part: dict[str, np.ndarray], at: str, *, uniform: bool) -> str:
        """Add the attention of one block; uniform attention is the mean of the tokens that exist."""
        shares = "even_shares"
        if not uniform:
            query = self.add("MatMul", x, self.constant(part["q"].T, at + "q"), output=at + "query")
            column = self.add("MatMul", x, self.constant(part["k"].T, at + "k"), output=at + "key_column")
            row = self.add("Transpose", column, output=at + "key_row", perm=[0, 2, 1])
            scores = self.add("Mul", query, row, output=at + "scores")
            self.add("Where", "keys", scores, "minus_infinity", output=at + "masked")

            def node(operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Any:
                inputs, outputs = ([n if n in self.shared else at + n for n in names] for names in (inputs, outputs))
                return self.onnx.helper.make_node(operator, inputs, outputs, **attributes)

            self.nodes += _soft_nodes(node) if self.exact.beta is not None else _hard_nodes(node, self.kind)
            shares = at + "shares"
        values = self.add("MatMul", x, self.constant(part["v_in"].T, at + "value"), output=at + "values")
        means = self.add("MatMul", shares, values, output=at + "means")
        brought = self.add("MatMul", means, self.constant(part["v_out"].T, at + "merge"), output=at + "brought")
        return self.add("Add", x, brought, output=at + "x")

    shared = frozenset({"beta", "two_axis"})


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
    from tokendyn.optional import torch

    _check_blocks(model, "torch.export", "use to_onnx, whose graph does not grow with them")
    kind = torch.float64 if model.dtype == "float64" else torch.float32
    tokens, mask = torch.zeros(2, 3, model.input_dim, dtype=kind), torch.ones(2, 3, dtype=torch.bool)
    export = library("torch.export")
    batch, length = export.Dim("batch"), export.Dim("length")
    shapes = ({0: batch, 1: length}, {0: batch, 1: length})
    return export.export(model.module, (tokens, mask), dynamic_shapes=shapes)
