"""TensorBoard itself, in a browser, on the files of a search."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from revo_ray.monitor.tensorboard import PAGE
from revo_ray.storage import Storage
from tests.browser import browser
from tests.monitor.synthetic import FAILS, open_state, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PATIENCE = 60
RUNS = 45
"""More than the 40 of which TensorBoard shows all at first; beyond that it shows none."""

# Everything in TensorBoard's page stands in shadow roots.
INSIDE = """
const found = [];
const walk = node => {
  for (const child of node.querySelectorAll('*')) {
    if (child.matches(arguments[0])) found.push(child);
    if (child.shadowRoot) walk(child.shadowRoot);
  }
};
const text = node => {
  if (node.nodeType === Node.TEXT_NODE) return node.textContent.trim();
  if (node.tagName === 'STYLE') return '';
  const children = [...(node.shadowRoot ? node.shadowRoot.childNodes : []), ...node.childNodes];
  return children.map(text).filter(part => part).join(' ');
};
walk(document);
"""


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Selenium's driver of a browser as wide as a screen."""
    with browser(tmp_path_factory.mktemp("profile")) as started:
        started.driver.set_window_size(1500, 1200)
        yield started.driver


@pytest.fixture(scope="module")
def address(chrome: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """TensorBoard on the files of a search that runs no more."""
    folder = tmp_path_factory.mktemp("run")
    run(open_state(Storage(str(folder)), f"search.evaluations={RUNS}"))
    program = Path(sys.executable).parent / "tensorboard"
    log = tmp_path_factory.mktemp("log") / "log"
    with log.open("w") as file:
        served = subprocess.Popen(
            [program, "--logdir", folder / "tensorboard", "--host", "127.0.0.1", "--port", "0"],
            stdout=file,
            stderr=file,
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text())):
            assert served.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        while (
            f'"{RUNS - 1:06d}"'.encode()
            not in urllib.request.urlopen(f"{found[0]}/data/runs").read()
        ):
            assert time.monotonic() < deadline, "the runs are not read"
            time.sleep(0.5)
        yield found[0]
    finally:
        served.terminate()
        served.wait()


def wait_for(chrome: Any, selector: str, *texts: str) -> str:
    """The text of the first element that matches and holds all texts, as soon as there is one."""
    deadline = time.monotonic() + PATIENCE
    read = INSIDE + "return found.map(text);"
    while True:
        for found in chrome.execute_script(read, selector):
            if all(text in found for text in texts):
                return str(found)
        assert time.monotonic() < deadline, f"no {selector} with {texts}"
        time.sleep(0.3)


CARD = "tf-custom-scalar-multi-line-chart-card"


def test_it_opens_on_the_layout(address: str, chrome: Any) -> None:
    chrome.get(f"{address}/{PAGE}")
    for title in ("Validation loss by evaluations", "Validation macro F1 by evaluations", "Sigma"):
        # A curve, not only a frame: the tags that its data came with are listed below.
        wait_for(chrome, CARD, title, "Matches (1)")
    wait_for(chrome, CARD, "Loss of each, and the best", "Matches (2)")


def test_the_table_has_every_evaluation(address: str, chrome: Any) -> None:
    chrome.get("about:blank")
    chrome.get(f"{address}/#hparams")
    text = wait_for(chrome, "tf-hparams-table-view", f"{RUNS - 1:06d}")
    for number in range(RUNS):
        assert f"{number:06d}" in text
    assert text.count("diverged") == len(FAILS)
    for column in ("frozen units", "head rate", "global_lr", "validation loss"):
        assert column in text


def test_the_page_has_no_errors(address: str, chrome: Any) -> None:
    severe = [entry for entry in chrome.get_log("browser") if entry["level"] == "SEVERE"]
    assert severe == []
