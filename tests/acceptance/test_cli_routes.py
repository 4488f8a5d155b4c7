"""Endpoints and routes as a user has them: the command line, a real server, a real receiver."""

from __future__ import annotations

import base64
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from support.command_line import serving

MODEL = {
    "@context": "dtmi:dtdl:context;3",
    "@id": "dtmi:gemel:cli:Pump;1",
    "@type": "Interface",
    "contents": [{"@type": "Property", "name": "label", "schema": "string"}],
}
WAIT_S = 30.0

Deliveries = list[tuple[dict[str, str], bytes]]


@contextmanager
def receiving() -> Iterator[tuple[str, Deliveries]]:
    """Serve a receiver that takes everything."""
    got: Deliveries = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_from_an_endpoint_to_a_signed_delivery(tmp_path: Path) -> None:
    model, headers = tmp_path / "model.json", tmp_path / "headers.txt"
    model.write_text(json.dumps(MODEL))
    headers.write_text("X-Token: hidden\n\n")
    with receiving() as (url, got), serving(GEMEL_OUTBOUND_ALLOW="127.0.0.1") as site:
        add = ("endpoint", "add", "hooks", url)
        made = site.run(*add, "--sign", "--header-file", str(headers), "--json").json()
        secret = made["secret"]
        assert site.run(*add, "--sign", "--secret-file", "-", "--json").error()["code"] == "UsageInvalid"
        assert site.run("endpoint", "list").code == 0
        shown = site.run("endpoint", "show", "hooks", "--json")
        assert shown.json()["headers"] == ["X-Token"]
        assert "hidden" not in shown.out
        text = "subject = 'pump' AND type = 'Microsoft.DigitalTwins.Twin.Update'"
        assert site.run("route", "add", "all", "hooks", "--filter", text).code == 0
        wrong = site.run("route", "add", "bad", "hooks", "--filter", "tpye = 'x'", "--json")
        assert (wrong.code, wrong.error()["code"]) == (1, "EventRouteFilterInvalid")
        assert site.run("models", "add", str(model)).code == 0
        assert site.run("twins", "create", "pump", "--model", str(MODEL["@id"])).code == 0
        assert site.run("twins", "patch", "pump", "--set", "label=south").code == 0
        deadline = time.monotonic() + WAIT_S
        while not got and time.monotonic() < deadline:
            time.sleep(0.05)
        told, body = got[0]
        assert [event["data"]["patch"] for event in json.loads(body)] == [
            [{"op": "add", "path": "/label", "value": "south"}]
        ]
        assert told["x-token"] == "hidden"
        content = f"{told['webhook-id']}.{told['webhook-timestamp']}.".encode() + body
        digest = hmac.digest(base64.b64decode(secret.removeprefix("whsec_")), content, "sha256")
        assert told["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
        routes = site.run("route", "list", "--json").json()
        assert [(each["id"], each["state"]) for each in routes] == [("all", "delivering")]
        assert "delivering" in site.run("route", "list").out
        assert site.run("route", "show", "all", "--json").json()["filter"] == text
        assert site.run("route", "skip", "all", "--json").error()["code"] == "OperationNotAllowed"
        assert site.run("endpoint", "remove", "hooks", "--json").error()["code"] == "EndpointInUse"
        assert site.run("route", "remove", "all", "--json").json() == {"id": "all", "removed": True}
        assert site.run("endpoint", "remove", "hooks").code == 0
        assert site.run("endpoint", "list", "--json").json() == []
