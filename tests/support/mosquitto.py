"""A real Mosquitto for one test: its own port, configuration and, where it is asked for, memory on disk.

`Client` is paho-mqtt, so that what the platform says on the wire is understood by somebody else's reading of it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from bench.platform import free_port

__all__ = ["Client", "Mosquitto"]

START_S_MAX = 10.0
SENT_S_MAX = 60.0


class Mosquitto:
    """A broker in a folder; `lines` are further lines of its configuration."""

    def __init__(self, folder: Path, *lines: str) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        found = shutil.which("mosquitto", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
        assert found, "mosquitto is missing: run tools/brokers.sh"
        self._program = found
        listener = [f"listener {self.port} 127.0.0.1"]
        if not any(line.startswith("allow_anonymous") for line in lines):
            listener.append("allow_anonymous true")
        if os.geteuid() == 0:
            listener.insert(0, "user root")
        (folder / "mosquitto.conf").write_text("\n".join([*listener, *lines, ""]), "utf-8")

    @classmethod
    def durable(cls, folder: Path, *lines: str) -> Mosquitto:
        """Return a broker that saves what it has every second, and queues without a limit."""
        # 0 stands for no limit. It saves once a second, and where it ends in good order.
        own = (
            "persistence true", f"persistence_location {folder}/", "autosave_interval 1",
            "max_inflight_messages 0", "max_queued_messages 0",
        )  # fmt: skip
        return cls(folder, *own, *lines)

    def __enter__(self) -> Mosquitto:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        with (self.folder / "mosquitto.log").open("ab") as log:
            command = [self._program, "-c", str(self.folder / "mosquitto.conf")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline_s = time.monotonic() + START_S_MAX
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert self._process.poll() is None, (self.folder / "mosquitto.log").read_text()
                assert time.monotonic() < deadline_s
                time.sleep(0.02)
            else:
                return

    def stop(self, with_signal: int = signal.SIGTERM) -> None:
        """End it; by SIGTERM it saves what it knows first."""
        if self._process is not None:
            self._process.send_signal(with_signal)
            self._process.wait(START_S_MAX)
            self._process = None

    def kill(self) -> None:
        """Kill -9: it knows again what it last saved."""
        self.stop(signal.SIGKILL)

    def wait_saved(self) -> None:
        """Wait until it has saved what it knew when this was called."""
        file, called_s = self.folder / "mosquitto.db", time.time()
        deadline_s = time.monotonic() + START_S_MAX
        # A save that was under way at the call may be without the newest.
        saved = 0
        last_s = 0.0
        while saved < 2:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
            changed_s = file.stat().st_mtime if file.exists() else 0.0
            if changed_s > max(called_s, last_s):
                saved, last_s = saved + 1, changed_s


class Client:
    """A client of another make, connected for as long as a block; with a name, the broker keeps its session."""

    def __init__(self, port: int, client_id: str = "", **options: Any) -> None:
        self.came: list[paho.MQTTMessage] = []
        self._lock = threading.Condition()
        protocol = options.pop("protocol", paho.MQTTv311)
        clean = None if protocol == paho.MQTTv5 else not client_id
        self.paho = paho.Client(CallbackAPIVersion.VERSION2, client_id, clean, protocol=protocol)
        self.paho.on_message = self._take
        if "username" in options:
            self.paho.username_pw_set(options.pop("username"), options.pop("password"))
        if "ca" in options:
            self.paho.tls_set(options.pop("ca"))
        assert not options
        self.paho.max_inflight_messages_set(0)
        self.paho.max_queued_messages_set(0)
        self.paho.connect("127.0.0.1", port)
        self.paho.loop_start()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.paho.disconnect()
        self.paho.loop_stop()

    def send(self, messages: Iterable[tuple[str, bytes]], qos: int = 1, *, retain: bool = False) -> None:
        """Publish messages in order, and wait until the broker has them all."""
        last = [self.paho.publish(topic, payload, qos, retain) for topic, payload in messages]
        for each in last:
            each.wait_for_publish(SENT_S_MAX)

    def subscribe(self, topic: str, qos: int = 1) -> None:
        """Subscribe; what comes is in `came`."""
        done = threading.Event()
        self.paho.on_subscribe = lambda *_: done.set()
        self.paho.subscribe(topic, qos)
        assert done.wait(START_S_MAX)

    def wait_for(self, count: int) -> list[paho.MQTTMessage]:
        """Wait until so many messages came, and return all."""
        with self._lock:
            assert self._lock.wait_for(lambda: len(self.came) >= count, SENT_S_MAX), len(self.came)
            return list(self.came)

    def _take(self, _: object, __: object, message: paho.MQTTMessage) -> None:
        with self._lock:
            self.came.append(message)
            self._lock.notify_all()
