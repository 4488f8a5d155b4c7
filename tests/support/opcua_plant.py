"""The plant as a program: two pumps whose values change, until it is killed. Usage: opcua_plant PORT."""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import UTC, datetime

from asyncua import Server, ua

__all__: list[str] = []

UNITS = {"Temperature": (4408652, "°C"), "Speed": (5394509, "rpm")}


async def main(port: int) -> None:
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/plant")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    number = await server.register_namespace("urn:example:plant")
    plant = await server.nodes.objects.add_folder(number, "Plant")
    values = []
    for pump in ("Pump1", "Pump2"):
        thing = await plant.add_object(ua.NodeId(pump, number), f"{number}:{pump}")
        for name, (unit, shown) in UNITS.items():
            value = await thing.add_variable(ua.NodeId(f"{pump}.{name}", number), f"{number}:{name}", 0.0)
            await value.add_property(
                ua.NodeId(f"{pump}.{name}.EU", number),
                "0:EngineeringUnits",
                ua.EUInformation(UnitId=unit, DisplayName=ua.LocalizedText(shown)),
            )
            values.append(value)
    await server.start()
    await server.historize_node_data_change(values)
    print("ready", flush=True)
    started_s = time.monotonic()
    while True:
        for place, value in enumerate(values):
            number_now = round(20.0 * (place + 1) + (time.monotonic() - started_s) % 10, 2)
            now = datetime.now(UTC)
            await value.write_value(
                ua.DataValue(ua.Variant(number_now), SourceTimestamp=now, ServerTimestamp=now)
            )
        await asyncio.sleep(0.25)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
