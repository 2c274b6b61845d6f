"""The ``.edge`` file: a valid safetensors file that holds a graph and its weights."""

from edgeinfer.format.edge_file import read_edge, write_edge

__all__ = ["read_edge", "write_edge"]
