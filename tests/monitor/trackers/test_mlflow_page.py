"""MLflow's own page shows a finished search: nested evaluations, curves, figures."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.browser import browser
from tests.end_to_end.cli import ONE_WORKER, Cli
from tests.monitor.trackers.mlflow_server import Server

pytestmark = [pytest.mark.nightly, pytest.mark.slow, pytest.mark.timeout(600)]

PATIENCE = 90


def wait_for(driver: Any, *texts: str) -> str:
    """The text of the page as soon as it holds all of these."""
    deadline = time.monotonic() + PATIENCE
    while True:
        text = driver.execute_script("return document.body ? document.body.innerText : ''")
        if all(part in text for part in texts):
            return str(text)
        assert time.monotonic() < deadline, text
        time.sleep(0.3)


def test_the_page_of_a_finished_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    server, cli = Server(tmp_path), Cli(tmp_path)
    server.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    try:
        sets = {"search__evaluations": "8", "train__validate_epochs": "every"}
        done = cli.run_alone("search", name="digits", trackers="mlflow", **sets, **ONE_WORKER)
        assert done.returncode == 0, done.stderr
        assert "View run" not in done.stdout
        assert "trackers:" not in done.stdout
        look(server, tmp_path)
    finally:
        cli.close()
        server.kill()


def look(server: Server, folder: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(server.uri)
    experiment = client.get_experiment_by_name("revo-ray")
    assert experiment is not None
    runs = {r.info.run_name: r.info.run_id for r in client.search_runs([experiment.experiment_id])}
    page = f"{server.uri}/#/experiments/{experiment.experiment_id}/runs"
    with browser(folder / "profile") as opened:
        driver = opened.driver
        driver.set_window_size(1500, 1000)
        driver.get(page)
        text = wait_for(driver, "digits", "9 matching runs")
        assert "digits 000003" not in text  # they are nested
        expand = "[...document.querySelectorAll('.ag-row button')].map(node => node.click())"
        driver.execute_script(expand)
        wait_for(driver, "digits", *(f"digits {number:06d}" for number in range(8)))
        driver.save_screenshot(str(folder / "mlflow_list.png"))
        driver.get("about:blank")
        driver.get(f"{page}/{runs['digits 000003']}/model-metrics")
        wait_for(driver, "train_loss", "val_accuracy", "Step")
        driver.get("about:blank")
        driver.get(f"{page}/{runs['digits']}/artifacts/report/figures/best-so-far.png")
        wait_for(driver, "report/figures/best-so-far.png", "model", "outcome.json")
        deadline = time.monotonic() + PATIENCE
        picture = "i => i.src.startsWith('blob:') && i.naturalWidth > 200"
        while not driver.execute_script(f"return [...document.images].some({picture})"):
            assert time.monotonic() < deadline
            time.sleep(0.3)
        driver.save_screenshot(str(folder / "mlflow_artifact.png"))
