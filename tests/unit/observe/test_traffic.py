from __future__ import annotations

import threading

from gemel.observe.traffic import HOUR_US, HTTP, Key, Traffic, Volume


class Clock:
    now_us = 5 * HOUR_US + 1

    def __call__(self) -> int:
        return self.now_us


def test_bytes_are_summed_by_tenant_hour_and_channel() -> None:
    clock = Clock()
    traffic = Traffic(clock)
    traffic.add(1, HTTP, calls=1, received=10)
    traffic.add(1, HTTP, sent=7)
    traffic.add(2, "sink:mqtt", calls=1, sent=3)
    clock.now_us = 6 * HOUR_US
    traffic.add(1, HTTP, received=1)
    assert traffic.take() == {
        Key(1, 5 * HOUR_US, HTTP): Volume(1, 10, 7),
        Key(2, 5 * HOUR_US, "sink:mqtt"): Volume(1, 0, 3),
        Key(1, 6 * HOUR_US, HTTP): Volume(0, 1, 0),
    }
    assert traffic.take() == {}


def test_what_could_not_be_kept_is_added_to_what_came_meanwhile() -> None:
    traffic = Traffic(Clock())
    traffic.add(1, HTTP, calls=2, received=20)
    taken = traffic.take()
    traffic.add(1, HTTP, calls=1, received=1)
    traffic.give_back(taken)
    assert list(traffic.take().values()) == [Volume(3, 21, 0)]


def test_threads_lose_nothing() -> None:
    traffic = Traffic()
    taken: list[Volume] = []

    def work() -> None:
        for _ in range(2_000):
            traffic.add(1, HTTP, received=1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        taken += traffic.take().values()
    taken += traffic.take().values()
    assert sum(volume.received for volume in taken) == 8_000
