"""Sources of kind `push`: senders name them, and nobody is called. What is opened only listens for silence."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from gemel.base.errors import InvalidError
from gemel.sources.contract import Marks, SourceBatch
from gemel.sources.definition import Definition, Limits
from gemel.sources.permits import Place

__all__ = ["PushKind", "PushSource"]


class PushKind:
    """Sources that are pushed to."""

    def check(self, definition: Definition, place: Place) -> None:
        """Raise InvalidError (SourceInvalid) for a connection, mapping or twins to create: senders say all that."""
        definition.connection_fields().finish()
        for key, given, hint in (
            (
                "mapping",
                definition.mapping is not None,
                "Keep it by `gemel mapping add`, and push to /v1/push/NAME.",
            ),
            ("create_twins", definition.create_twins, "Senders name the model in Gemel-Create-Model."),
        ):
            if given:
                raise InvalidError("SourceInvalid", f"The source's {key}: is not for kind push.", hint)

    async def open(self, definition: Definition, place: Place, marks: Marks) -> PushSource:
        """Return what waits for nobody."""
        return PushSource()


class PushSource:
    """Gives no batches: what is pushed is committed by whoever took it."""

    async def next_batch(self, limits: Limits) -> SourceBatch | None:
        """Wait for a while, so that whoever feeds looks whether the watch halted the source."""
        await asyncio.sleep(limits.wait_s)
        return None

    async def commit(self, position: Mapping[str, str]) -> None:
        """Do nothing: nothing is read."""

    async def close(self) -> None:
        """Do nothing: nothing is open."""
