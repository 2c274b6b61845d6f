"""ncnn, with models converted by pnnx."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from benchmarks.peers.job import Job, Runner, converted, run_converter


def runner(job: Job) -> Runner:
    """An extractor a run; in float32, all storage and arithmetic of fewer bits is off."""
    import ncnn

    folder = conversion(job)
    network = ncnn.Net()
    network.opt.num_threads = job.threads
    network.opt.use_vulkan_compute = False
    for option in dir(network.opt):
        if job.precision == "float32" and option.startswith(("use_fp16", "use_bf16", "use_int8")):
            setattr(network.opt, option, False)
    if network.load_param(str(folder / "model.ncnn.param")) or network.load_model(str(folder / "model.ncnn.bin")):
        raise RuntimeError("ncnn cannot load what pnnx made")
    inputs, outputs = network.input_names(), network.output_names()
    # ncnn's pictures have no batch dimension.
    arrays = [array[0] if array.ndim == 4 else array for array in job.feeds.values()]

    def run() -> list[np.ndarray]:
        extractor = network.create_extractor()
        for name, array in zip(inputs, arrays, strict=True):
            extractor.input(name, ncnn.Mat(array))
        return [np.array(extractor.extract(name)[1]) for name in outputs]

    return run


def conversion(job: Job) -> Path:
    """The folder with pnnx's ``model.ncnn.param`` and ``model.ncnn.bin``."""
    return converted(job, "pnnx", lambda folder: _convert(job, folder))


def _convert(job: Job, folder: Path) -> None:
    shapes = ",".join(f"[{','.join(map(str, array.shape))}]f32" for array in job.feeds.values())
    model = folder / "model.onnx"
    model.write_bytes(job.model.read_bytes())
    pnnx = str(Path(sys.executable).with_name("pnnx"))
    run_converter([pnnx, str(model), f"inputshape={shapes}", "fp16=0"], folder)
