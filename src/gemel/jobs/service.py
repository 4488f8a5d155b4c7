"""What the rest of the platform asks of jobs: make, read, cancel and forget them; the runner does the work."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from gemel.base.errors import GemelError, InvalidError
from gemel.graph.context import GraphContext
from gemel.jobs.files import JobFolder, is_file_uri
from gemel.jobs.spool import InputSpool
from gemel.outbound import Outbound
from gemel.store.database import Database

__all__ = ["Jobs"]


@dataclass(frozen=True, slots=True)
class Jobs:
    """The parts that jobs need. `root` is where `file:` URIs lead, or None where none are taken."""

    database: Database
    context: GraphContext
    outbound: Outbound
    root: Path | None
    spool: InputSpool
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when there is a new job, so that the runner need not wait for its next look."""

    def folder(self, tenant_name: str) -> JobFolder:
        """Return the folder of a tenant's files."""
        return JobFolder(self.root, tenant_name)

    async def check_uris(self, tenant_name: str, input_uri: str, output_uri: str) -> None:
        """Raise InvalidError (ValidationFailed) for URIs that a job could not use, as far as one can tell now."""
        if input_uri == output_uri:
            raise InvalidError("ValidationFailed", "inputBlobUri and outputBlobUri are the same.")
        for name, uri in (("inputBlobUri", input_uri), ("outputBlobUri", output_uri)):
            try:
                if is_file_uri(uri):
                    self.folder(tenant_name).check(uri)
                else:
                    await self.outbound.check(uri)
            except GemelError as error:
                raise InvalidError("ValidationFailed", f"{name}: {error.message}", error.hint) from error
