"""The running API against its own OpenAPI description: schemathesis generates requests and checks the answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gemel.base.settings import Settings
from support.api_site import MODELS, PUMP, Site
from support.postgres import Dsns

HERE = Path(__file__).parent
RUN = "from schemathesis.cli import schemathesis; schemathesis()"
SEED = "20260131"
EXAMPLES = 100
RUN_S_MAX = 1500


@pytest.fixture(scope="module")
def site(database: Dsns) -> Iterator[Site]:
    site = Site(database, Settings())
    try:
        yield site
    finally:
        site.close()


def test_every_answer_is_one_that_the_description_allows(site: Site, tmp_path: Path) -> None:
    client = site.client()
    assert client.post("/models", json=MODELS).status_code == 201
    twin = {"$metadata": {"$model": PUMP}, "motor": {"$metadata": {}}}
    assert client.put("/digitaltwins/pump-1", json=twin).status_code == 200
    # The change feed would not end by itself, and so would no request of it.
    site.app.end_streams()
    token = client.headers["Authorization"]
    counted = generate(site.url, token, tmp_path / "all.ndjson")
    varied = varied_operations(client.get("/openapi.json").json())
    few = [name for label, name in varied.items() if counted[label] < EXAMPLES]
    if few:
        # Beside others, deletions are generated sparingly, since they take away what others need.
        alone = [part for name in few for part in ("--include-operation-id", name)]
        counted += generate(site.url, token, tmp_path / "few.ndjson", "--phases", "fuzzing", *alone)
    assert {label: counted[label] for label in varied if counted[label] < EXAMPLES} == {}


def generate(url: str, token: str, report: Path, *more: str) -> Counter[str]:
    """Run all default checks; return how many requests were generated for each operation by itself."""
    command = [sys.executable, "-c", RUN, f"--config-file={HERE / 'schemathesis.toml'}", "run"]
    command += [f"{url}/openapi.json", "--header", f"Authorization: {token}", "--seed", SEED, "--no-color"]
    command += ["--max-examples", str(EXAMPLES), "--continue-on-failure"]
    command += ["--report-ndjson-path", str(report), *more]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=RUN_S_MAX,
        check=False,
        cwd=report.parent,
        env={**os.environ, "SCHEMATHESIS_HOOKS": str(HERE / "schemathesis_hooks.py")},
    )
    assert done.returncode == 0, f"seed {SEED}\n{done.stdout[-12000:]}\n{done.stderr[-2000:]}"
    counted: Counter[str] = Counter()
    with report.open() as lines:
        for line in lines:
            told = json.loads(line).get("ScenarioFinished")
            if told and told["phase"] != "stateful":
                counted[told["recorder"]["label"]] += len(told["recorder"].get("interactions", ()))
    return counted


def varied_operations(spec: dict[str, Any]) -> dict[str, str]:
    """Return the names of the operations that take anything, by method and path; the rest has one example."""
    return {
        f"{method.upper()} {path}": operation["operationId"]
        for path, item in spec["paths"].items()
        for method, operation in item.items()
        if operation["parameters"] or "requestBody" in operation
    }
