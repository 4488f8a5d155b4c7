"""Corrections of history by hand: a range of one twin's samples is deleted, or replaced by others, and it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gemel.base.clock import Clock, from_us, iso_us
from gemel.base.errors import InvalidError, TooLargeError
from gemel.graph.context import GraphContext
from gemel.graph.directory import Directory, DirectoryView, extend_start
from gemel.graph.loading import twin_not_found
from gemel.history.corrections import (
    Correction,
    Range,
    cut_range,
    delete_samples,
    highest_revision,
    tell_correction,
)
from gemel.history.moves import read_series
from gemel.history.write import write_samples
from gemel.ingest.events import Event
from gemel.ingest.resolve import TimeRules, resolve
from gemel.security.audit import AuditEntry, record
from gemel.store.database import Database, WriteTransaction

__all__ = ["SAMPLES_MAX", "Corrected", "CorrectionWanted", "Corrector", "NewSample"]

SAMPLES_MAX = 20_000
"""How many samples one commit deletes at most."""


@dataclass(frozen=True, slots=True)
class NewSample:
    """A value that takes the place of others: its path, source time (µs), the value itself and its quality."""

    path: str
    time_us: int
    value: object
    quality: str = "good"


@dataclass(frozen=True, slots=True)
class CorrectionWanted:
    """Which samples: a twin's, of some paths, from a source time (µs) up to but without another; and why they go."""

    twin: str
    paths: Sequence[str]
    from_us: int
    to_us: int
    reason: str

    @property
    def target(self) -> str:
        """What the audit trail names."""
        stretch = f"{iso_us(self.from_us)}..{iso_us(self.to_us)}"
        return f"{self.twin} {','.join(self.paths)} {stretch}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Corrected:
    """How many samples went and came; `next_us` where a deletion goes on, None where the range is done."""

    deleted: int
    added: int
    next_us: int | None


class Corrector:
    """Corrects the history of live twins of any tenant; each call is one commit."""

    def __init__(self, database: Database, directory: Directory, context: GraphContext, clock: Clock) -> None:
        self._database = database
        self._directory = directory
        self._context = context
        self._clock = clock

    async def delete(
        self, tenant: int, wanted: CorrectionWanted, audit: AuditEntry, limit: int = SAMPLES_MAX
    ) -> Corrected:
        """Delete the oldest samples of a range, at most `limit` of them.

        Raises NotFoundError (DigitalTwinNotFound), InvalidError (InvalidArgument for an empty range,
        PathNotInModel).
        """
        async with self._database.write(tenant) as tx:
            _, twin_no, whole = await self._range(tx, wanted)
            end_us = await cut_range(tx, whole, limit)
            part = whole._replace(to_us=end_us)
            counts = await delete_samples(tx, part)
            done = Corrected(sum(counts.values()), 0, end_us if end_us < wanted.to_us else None)
            await self._tell(tx, replace(wanted, to_us=end_us), twin_no, "deleted", done, audit)
        return done

    async def replace(
        self, tenant: int, wanted: CorrectionWanted, samples: Sequence[NewSample], audit: AuditEntry
    ) -> Corrected:
        """Put samples in the place of those of a range, all in one commit.

        They have a revision greater than any that the range had. Raises what `delete` raises; TooLargeError
        (LimitExceeded) where more than SAMPLES_MAX are to go, InvalidError (ValidationFailed) for samples that are
        outside the range or do not fit the twin's model.
        """
        async with self._database.write(tenant) as tx:
            view, twin_no, whole = await self._range(tx, wanted)
            if await cut_range(tx, whole, SAMPLES_MAX) < wanted.to_us:
                raise TooLargeError(
                    "LimitExceeded",
                    f"The range has more than {SAMPLES_MAX:,} samples.",
                    "Replace it in parts.",
                )
            revision = await highest_revision(tx, whole) + 1
            counts = await delete_samples(tx, whole)
            added = await self._write(tx, view, _events(wanted, samples, revision))
            done = Corrected(sum(counts.values()), added, None)
            await self._tell(tx, wanted, twin_no, "replaced", done, audit)
        return done

    async def _range(
        self, tx: WriteTransaction, wanted: CorrectionWanted
    ) -> tuple[DirectoryView, int, Range]:
        if wanted.from_us >= wanted.to_us:
            raise InvalidError("InvalidArgument", "The range is empty: from is not before to.")
        view = await self._directory.resolve(tx, [wanted.twin])
        if wanted.twin not in view.twins:
            raise twin_not_found(wanted.twin)
        twin = view.twins[wanted.twin]
        held = await read_series(tx, self._context.paths, [twin.twin_no])
        known = {path for path, _ in held.values()} | set(twin.twin_type.slots)
        unknown = [path for path in wanted.paths if path not in known]
        if unknown:
            raise InvalidError("PathNotInModel", f"{wanted.twin} has and had no path {unknown[0][:200]!r}.")
        series = {number: key for number, key in held.items() if key[0] in wanted.paths}
        return view, twin.twin_no, Range(series, wanted.from_us, wanted.to_us)

    async def _write(self, tx: WriteTransaction, view: DirectoryView, events: list[Event]) -> int:
        now_us = self._clock()
        latest_us = now_us + self._context.future_tolerance_us
        resolved = resolve(events, view, TimeRules(now_us, latest_us, tx.retention_us))
        if resolved.faults:
            raise InvalidError(
                "ValidationFailed",
                "Some of the samples cannot be taken.",
                details=tuple(resolved.faults.values()),
            )
        await self._context.weeks.ensure_within(tx, resolved.batch.time_us)
        resolved.batch.recorded_us[:] = tx.stamps(len(events)) + resolved.owner
        await write_samples(tx, resolved.batch)
        if resolved.starts:
            await extend_start(tx, resolved.starts)
        return len(resolved.batch)

    async def _tell(
        self,
        tx: WriteTransaction,
        wanted: CorrectionWanted,
        twin_no: int,
        action: str,
        done: Corrected,
        audit: AuditEntry,
    ) -> None:
        if done.deleted or done.added:
            counts = (done.deleted, done.added, wanted.reason, audit.actor)
            told = Correction(
                twin_no, tx.stamp(), action, wanted.paths, wanted.from_us, wanted.to_us, *counts
            )
            await tell_correction(tx, wanted.twin, told)
        await record(tx, [replace(audit, target=wanted.target)])


def _events(wanted: CorrectionWanted, samples: Sequence[NewSample], revision: int) -> list[Event]:
    """Return samples as events, one for each; raise InvalidError (ValidationFailed) for one outside the range."""
    for sample in samples:
        if sample.path not in wanted.paths or not wanted.from_us <= sample.time_us < wanted.to_us:
            message = f"The sample of {sample.path[:200]!r} at {iso_us(sample.time_us)} is outside the range."
            raise InvalidError("ValidationFailed", message, "Widen the range, or leave the sample out.")
    keys = {(sample.path, sample.time_us) for sample in samples}
    if len(keys) < len(samples):
        raise InvalidError("ValidationFailed", "Two samples are of one path and time.", "Leave one out.")
    return [
        Event(
            "correction",
            "/corrections",
            "correction",
            "1.0",
            wanted.twin,
            {sample.path: sample.value},
            from_us(sample.time_us),
            revision,
            sample.quality,  # type: ignore[arg-type]
        )
        for sample in samples
    ]
