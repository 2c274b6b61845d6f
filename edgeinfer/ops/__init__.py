"""Operators: one file per family, each with shape inference and a NumPy reference."""

from edgeinfer.ops.evaluate import evaluate_node, run_graph
from edgeinfer.ops.infer import infer_types
from edgeinfer.ops.registry import Inference, find_operator, operator, operators

__all__ = ["Inference", "evaluate_node", "find_operator", "infer_types", "operator", "operators", "run_graph"]
