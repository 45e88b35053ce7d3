"""ONNX graphs: nodes and constants as they are added, checked and written whole."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tokendyn
from tokendyn.optional import library
from tokendyn.runs.folders import new_file

#: Version of the file format, and of the set of operators: read by onnxruntime 1.12 and later.
FORMAT, OPERATORS = 8, 17


class OnnxGraph:
    """Nodes and constants as they are added.

    Raises
    ------
    MissingLibraryError
        Without the package onnx.
    """

    def __init__(self) -> None:
        self.onnx: Any = library("onnx")
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        output = output or f"v{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def constant(self, value: Any, name: str = "") -> str:
        """Add an array, of its own type, and return its name; equal small ones without a name are kept once."""
        array = np.ascontiguousarray(value).reshape(np.shape(value))
        name = name or f"c_{array.dtype}_{array.shape}_{array.tolist()}"
        self.constants[name] = array
        return name

    def model(
        self,
        name: str,
        inputs: Mapping[str, tuple[int, Sequence[Any]]],
        outputs: Mapping[str, tuple[int, Sequence[Any]]],
        metadata: Mapping[str, str] | None = None,
    ) -> Any:
        """Return the whole as a checked ONNX model.

        Parameters
        ----------
        name
            Of the graph.
        inputs, outputs
            Type (of ``onnx.TensorProto``) and shape of each.
        metadata
            Texts that a user of the file needs beside the graph.
        """
        helper = self.onnx.helper
        ends = [
            [helper.make_tensor_value_info(end, kind, list(shape)) for end, (kind, shape) in side.items()]
            for side in (inputs, outputs)
        ]
        arrays = [self.onnx.numpy_helper.from_array(value, name) for name, value in self.constants.items()]
        model = helper.make_model(
            helper.make_graph(self.nodes, name, *ends, arrays),
            opset_imports=[helper.make_opsetid("", OPERATORS)],
            ir_version=FORMAT,
            producer_name="tokendyn",
            producer_version=tokendyn.__version__,
        )
        helper.set_model_props(model, dict(metadata or {}))
        self.onnx.checker.check_model(model, full_check=True)
        return model


def write_onnx(model: Any, path: str | Path) -> None:
    """Write a model to a file that appears when it is whole.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    with new_file(path) as temporary:
        temporary.write_bytes(model.SerializeToString())
