"""The intermediate representation: graphs of ONNX operators over named values."""

from edgeinfer.graph.dims import Dim, Shape, is_static
from edgeinfer.graph.dtypes import DType
from edgeinfer.graph.graph import FUSED, ONNX, OPSET, Graph, Node, TensorType
from edgeinfer.graph.printer import format_graph
from edgeinfer.graph.verify import verify
from edgeinfer.graph.view import GraphView, outer_reads, reads, subgraphs

__all__ = [
    "FUSED",
    "ONNX",
    "OPSET",
    "DType",
    "Dim",
    "Graph",
    "GraphView",
    "Node",
    "Shape",
    "TensorType",
    "format_graph",
    "is_static",
    "outer_reads",
    "reads",
    "subgraphs",
    "verify",
]
