"""Switches with which libraries are told to send nothing about their use to those who make them."""

from __future__ import annotations

import os

SWITCHES = {
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime: also a device id, and files in the home folder
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_ERROR_REPORTING": "false",
}
"""Environment variables, each with the value that means no."""


def no_telemetry(*libraries: str) -> None:
    """Switch it off where the user has not decided; call it before a library is imported.

    Args:
        libraries: first words of variables, such as `ORT`; without any, all of `SWITCHES`.
    """
    for name, value in SWITCHES.items():
        if not libraries or name.partition("_")[0] in libraries:
            os.environ.setdefault(name, value)
