"""Modules that lie in the current folder, named like libraries, and tell when they are imported."""

from __future__ import annotations

from pathlib import Path

NAMES = (
    *("timm", "torch", "torchvision", "numpy", "scipy", "sklearn", "pandas", "pyarrow", "PIL"),
    *("cmaes", "hyperopt", "safetensors", "huggingface_hub", "matplotlib", "jinja2", "yaml"),
    *("pydantic", "typer", "rich", "click", "tensorboardX", "crc32c", "imagehash", "pywt"),
    *("accimage", "baselines", "revo_ray_baselines", "wandb", "mlflow", "tensorboard", "onnx"),
    *("onnxruntime", "onnxscript", "pi_heif", "pillow_heif", "pydicom", "tifffile", "datasets"),
    *("xarray", "cupy", "jax", "tensorflow", "IPython", "ipywidgets", "colorama", "orjson"),
    *("ujson", "simplejson", "google", "brotli", "brotlicffi", "h2", "cchardet", "chardet"),
    *("socks", "psutil", "gmpy2", "pygments", "setproctitle", "uvloop", "fsspec", "s3fs"),
    *("pyximport", "ray", "lz4", "zstandard", "snappy", "cloudpickle", "dask", "optree", "numba"),
)
"""Libraries that the command needs, and those that it or they would use if they were there."""

OF_PYTHON = ("typing", "json", "random", "dataclasses", "pathlib", "logging", "tomllib", "queue")

PLANTED = """
import os
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "imported"), "a") as file:
    file.write(__name__ + "\\n")
raise ImportError("a planted module")
"""


def planted(folder: Path, *names: str) -> Path:
    """Make a folder with a module of each name, which notes that it was imported."""
    folder.mkdir()
    for name in names:
        (folder / f"{name}.py").write_text(PLANTED)
    return folder


def imported(folder: Path) -> list[str]:
    """Name the planted modules of a folder that were imported."""
    found = folder / "imported"
    return sorted(set(found.read_text().split())) if found.exists() else []
