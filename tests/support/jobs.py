"""Jobs on one tenant: a folder for their files, import files, and a runner to see them through."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gemel.jobs.progress import Progress
from gemel.jobs.records import ACTIVE, Job, JobKind, create_job, get_job
from gemel.jobs.runner import JobRunner, RunnerOptions
from gemel.jobs.service import Jobs
from gemel.jobs.spool import InputSpool
from gemel.outbound import Outbound, OutboundPolicy
from gemel.security.audit import AuditEntry
from support.graph import Site

__all__ = ["Workplace", "import_file", "open_workplace"]

OPTIONS = RunnerOptions(look_s=0.05, lease_s=2.0)


def import_file(
    models: Iterable[Any] = (), twins: Iterable[Any] = (), relationships: Iterable[Any] = ()
) -> str:
    """Return the text of an import file; a row that is a text stands as it is."""
    rows: list[Any] = [{"Section": "Header"}, {"fileVersion": "1.0.0", "author": "t", "organization": "t"}]
    for name, section in (("Models", models), ("Twins", twins), ("Relationships", relationships)):
        rows += [{"Section": name}, *section]
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


@dataclass
class Workplace:
    """A tenant's jobs. `folder` is where its `file:` URIs lead."""

    site: Site
    jobs: Jobs
    folder: Path
    runners: int = 1

    @asynccontextmanager
    async def working(self, options: RunnerOptions = OPTIONS) -> AsyncIterator[None]:
        """Have runners at work while the block lasts."""
        runners = [JobRunner(self.jobs_apart(), self.site.dsns.owner, options) for _ in range(self.runners)]
        tasks = [asyncio.create_task(runner.run()) for runner in runners]
        try:
            yield
        finally:
            await asyncio.gather(*(runner.stop() for runner in runners))
            await asyncio.gather(*tasks)

    def jobs_apart(self) -> Jobs:
        """Return the jobs as another server would have them: with an event of its own."""
        return replace(self.jobs, wake=asyncio.Event())

    async def create(self, job_id: str, uris: tuple[str, str] | None, deadline_us: int | None = None) -> Job:
        """Make a job that nobody works on yet."""
        entry = AuditEntry("tester", None, "job.create", job_id, "ok", f"trace-{job_id}")
        async with self.site.db.write(self.site.tenant) as tx:
            return await create_job(tx, job_id, uris, "own", entry, deadline_us)

    async def start(self, job_id: str, text: str) -> Job:
        """Make an import of a text."""
        (self.folder / f"{job_id}.ndjson").write_text(text)
        return await self.create(job_id, (f"file:{job_id}.ndjson", f"file:{job_id}.log"))

    async def get(self, job_id: str, kind: JobKind = "import") -> Job:
        """Return a job as it is now."""
        async with self.site.db.read(self.site.tenant) as tx:
            return await get_job(tx, kind, job_id)

    async def over(self, job_id: str, kind: JobKind = "import") -> Job:
        """Wait till a job is over, and return it."""
        async with asyncio.timeout(60):
            while (job := await self.get(job_id, kind)).status in ACTIVE:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return job

    async def past(self, job_id: str, seen: Progress) -> None:
        """Wait till an import has come further than was seen, or is over."""
        async with asyncio.timeout(60):
            while (job := await self.get(job_id)).progress == seen and job.status in ACTIVE:  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def run(self, job_id: str, text: str) -> Job:
        """Import a text, and return the job when it is over."""
        await self.start(job_id, text)
        async with self.working():
            return await self.over(job_id)

    def log(self, job_id: str) -> list[dict[str, Any]]:
        """Return the lines of an import's log."""
        return [json.loads(line) for line in (self.folder / f"{job_id}.log").read_text().splitlines()]


@asynccontextmanager
async def open_workplace(site: Site, root: Path, allow: str = "") -> AsyncIterator[Workplace]:
    """Give a tenant jobs over a folder of their own."""
    (root / "files" / "own").mkdir(parents=True)
    outbound = Outbound(OutboundPolicy.parse(allow))
    jobs = Jobs(site.db, site.context, outbound, root / "files", InputSpool(root / "spool"))
    try:
        yield Workplace(site, jobs, root / "files" / "own")
    finally:
        await outbound.aclose()
