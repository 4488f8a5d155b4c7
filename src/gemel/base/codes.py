"""Every error code: what it means and what to do, as data. docs/errors.md is tested against it."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["CODES", "Code"]


class Code(NamedTuple):
    """What a code means, and what its receiver should do."""

    meaning: str
    remedy: str


DRIFT = "`gemel source drift` shows where. Mend the sender, the contract or the mapping."
CODES: dict[str, Code] = {
    # requests
    "InvalidArgument": Code(
        "A parameter, header or body is not as the route wants it.", "Read the message; it names the part."
    ),
    "MissingArgument": Code("A required parameter or header is absent.", "Add it."),
    "BodyMalformed": Code(
        "The body is not what its content type says.", "Send it well-formed and whole, JSON in UTF-8."
    ),
    "ColumnsInvalid": Code(
        "The columns of an Arrow stream are not those of its layout.",
        "Send twin, path, time, value; or twin, time and a column for each path. The message names the column.",
    ),
    "BodyTooLarge": Code("The body is over the size limit.", "Split it; the message names the limit."),
    "MediaTypeUnsupported": Code(
        "The content type is not taken by this route.", "Use one that the message lists."
    ),
    "ChangesGone": Code(
        "The change feed does not reach back to where the reader stopped.",
        "Read the state anew, then follow.",
    ),
    "RouteNotFound": Code("There is no such route.", "See the OpenAPI page."),
    "MethodNotAllowed": Code("The route does not take this method.", "See the OpenAPI page."),
    "TokenInvalid": Code(
        "The bearer token is missing, malformed, unknown or revoked.",
        "Send `Authorization: Bearer KEY`; make one with `gemel key create`.",
    ),
    "ScopeMissing": Code(
        "The key lacks the scope this call needs.",
        "Use a key with the scope, or make one with `gemel key create --scope`.",
    ),
    "Overloaded": Code(
        "More was offered at once than can be taken; nothing of this request was kept.",
        "Wait for Retry-After, then send it again.",
    ),
    "DatabaseUnavailable": Code(
        "The database is starting or was lost for a moment.", "Wait for Retry-After, then send it again."
    ),
    "PartDied": Code(
        "A part of the server has ended, which should run as long as the server.",
        "Start the server anew; its log says what ended.",
    ),
    "ColdStoreUnavailable": Code(
        "The store of cold history cannot be reached, or refuses.",
        "Check its path or URL, and the credentials in the server's environment.",
    ),
    "ColdFileMissing": Code(
        "A file of cold history is gone from its store.", "Restore it from a copy; `gemel doctor` names all."
    ),
    "ColdReadTooLarge": Code(
        "A read needs more samples of cold weeks than are staged for one at once.",
        "Ask for fewer series, or a shorter time.",
    ),
    "DatabaseFull": Code(
        "The database's disk is full; nothing of this request was kept.",
        "Have room made (docs/runbooks/retention.md), then send it again.",
    ),
    "PreconditionFailed": Code(
        "The If-Match or If-None-Match condition does not hold.", "Read the thing again and decide anew."
    ),
    "TimeoutError": Code("The call took longer than its limit.", "Narrow it."),
    "InternalError": Code(
        "A defect of ours; the log has it under the trace id.", "Report it with the trace id."
    ),
    # models
    "DTDLParserError": Code(
        "A model does not follow DTDL.", "The details name each element and the rule it broke."
    ),
    "ModelVersionNotSupported": Code(
        "A model is written in a version of DTDL that is not known here.", "Use version 2, 3 or 4."
    ),
    "ModelIdAlreadyExists": Code(
        "A model of this id is there already; versions never change.", "Raise the version in the DTMI."
    ),
    "ModelNotFound": Code("There is no model of this id.", "Add it with `gemel models add`."),
    "ModelDecommissioned": Code("The model takes no new twins.", "Use a newer version."),
    "ModelReferencesNotDeleted": Code("Other models refer to this one.", "Delete those first."),
    "ModelReferencesNotDecommissioned": Code(
        "Other models refer to this one and are not decommissioned.", "Decommission those first."
    ),
    "ModelInUse": Code("Twins of this model exist.", "Delete or upgrade the twins first."),
    "IndexAlreadyExists": Code("The path is indexed already.", "Nothing: `gemel index list` shows it."),
    "IndexNotFound": Code("The path is not indexed.", "See `gemel index list`."),
    "LimitExceeded": Code("A stated limit of the service is exceeded.", "The message names the limit."),
    # graph
    "DigitalTwinNotFound": Code("There is no twin of this id.", "Create it with `gemel twins create`."),
    "ComponentNotFound": Code("The twin has no component of this name.", "Look at its model."),
    "RelationshipNotFound": Code("The twin has no relationship of this id.", "List them on the twin."),
    "TargetTwinNotFound": Code("The relationship's target does not exist.", "Create the target first."),
    "ValidationFailed": Code(
        "A value does not follow the model.", "The details name each path and the rule."
    ),
    "JsonPatchInvalid": Code(
        "The JSON Patch is malformed or does not apply.", "Use add, replace and remove on paths that exist."
    ),
    "LifecycleTransitionInvalid": Code(
        "The state may not follow the one that the twin was in.",
        "Go where the message says that it may; a wrong state is corrected with validFrom.",
    ),
    "RelationshipsNotDeleted": Code("The twin still has relationships.", "Delete them first."),
    "InvalidRelationship": Code("The model has no such relationship.", "Look at the source twin's model."),
    "MaxMultiplicityExceeded": Code(
        "The twin has as many relationships of this name as its model allows.",
        "`gemel twins get` shows them.",
    ),
    "OperationNotAllowed": Code("The operation is not allowed here.", "The message says why."),
    # event routes
    "EventRouteNotFound": Code("There is no event route of this id.", "See `gemel route list`."),
    "EventRouteIdInvalid": Code("The id of the event route is not one.", "Use letters, digits and _ . -."),
    "EventRouteEndpointInvalid": Code(
        "The endpoint is not there, or is of a kind that is not served.",
        "See `gemel endpoint list`; kinds are: webhook.",
    ),
    "EventRouteFilterInvalid": Code(
        "The filter of the event route does not parse.", "The message names line, position and what to write."
    ),
    "DeadLetterNotFound": Code(
        "There is no dead letter of this number.", "See `gemel route dead-letters list`."
    ),
    "EndpointNotFound": Code("There is no endpoint of this name.", "See `gemel endpoint list`."),
    "EndpointInUse": Code("Event routes lead to the endpoint.", "Remove them first."),
    "SecretUnreadable": Code(
        "A kept secret cannot be read with this data directory's hmac.key.",
        "Restore hmac.key from a backup, or set the secret again.",
    ),
    # query
    "BadRequest": Code("The query request is malformed.", "Send a query or a continuation token."),
    "SqlQueryError": Code(
        "The query does not parse or refers to what is not there.", "The message names line and column."
    ),
    # ingest and quarantine
    "EventMalformed": Code(
        "The event is not a CloudEvents 1.0 JSON object.",
        "Mend the envelope; id, source, type and specversion are required.",
    ),
    "EventEmpty": Code("The event carries no values.", "`data` must be an object of path to value."),
    "SubjectMissing": Code("The event names no twin.", "Set `subject` to the twin's id."),
    "TwinUnknown": Code(
        "The event's subject is not a twin.", "Create the twin, then `gemel quarantine replay`."
    ),
    "PathNotInModel": Code(
        "The twin's model has no such property or telemetry.",
        "Name what the model has, or upgrade the model; an event in quarantine is replayed then.",
    ),
    "WrongType": Code(
        "The value is not of the schema's type.", "Fix the sender or the mapping, then replay."
    ),
    "ValueNotFinite": Code("NaN and infinity are not values.", "Leave the value out, or send a quality."),
    "ValueOutOfRange": Code(
        "The number does not fit the schema's type.", "Fix the sender; integers have 32 bits, longs 64."
    ),
    "TimeMalformed": Code("`time` is not an RFC 3339 timestamp.", "Use 2026-01-31T12:00:00.123456Z."),
    "TimeNaive": Code("`time` has no zone.", "Add Z or an offset, or give the mapping a zone."),
    "TimeInFuture": Code(
        "The source time is too far ahead of our clock.", "Set the device's clock, then replay."
    ),
    "TimeBeforeRetention": Code(
        "The source time is before the retention line.",
        "Discard it: what is before the line is gone for good, and raising --days does not move it back.",
    ),
    "MomentBeforeRetention": Code(
        "asOf or knownAt is before the retention line, where values are no longer all kept.",
        "Ask for a moment at or after the line, which the message names.",
    ),
    "TimeBeforeTwin": Code(
        "The source time is of an earlier, deleted twin of the same id.",
        "Discard it; a new twin does not inherit.",
    ),
    "TwinDecommissioned": Code(
        "The twin is decommissioned at the source time.",
        "Where it was not, correct its lifecycle with validFrom, then replay; else discard.",
    ),
    "TimeOutOfRange": Code("The source time is outside the years 1970 to 2261.", "Fix the sender's clock."),
    "RevisionInvalid": Code("`revision` is not a whole number of 32 bits.", "Send 0 or more."),
    "QualityInvalid": Code("`quality` is not good, uncertain or bad.", "Use one of the three."),
    "QuarantineNotFound": Code(
        "There is no quarantined event of this number.", "See `gemel quarantine list`."
    ),
    "MappingInvalid": Code(
        "The mapping file is wrong.", "The message names the key; see the guides on files and on mapping."
    ),
    "DriftMalformed": Code(
        "A message is not as the source's contract says: no JSON, or no object.", "Look at the sender."
    ),
    "DriftMissing": Code("A field that the source's contract requires is not there.", DRIFT),
    "DriftRetyped": Code("A field is of another type than the source's contract says.", DRIFT),
    "DriftRange": Code("A value is outside the range of the source's contract.", DRIFT),
    "DriftValue": Code("A value is none of those that the source's contract lists.", DRIFT),
    "DriftUnit": Code("A value comes in another unit than the source's contract says.", DRIFT),
    "DriftNew": Code("A field is there that the source's contract does not name.", DRIFT),
    "DriftTime": Code("A sample has no time that can be read by the source's contract.", DRIFT),
    "DriftRate": Code("A sample comes earlier or later after the one before than its contract says.", DRIFT),
    "DriftLate": Code("A sample is further behind a newer one than the source's contract says.", DRIFT),
    "DriftAhead": Code(
        "A sample's time is further ahead of the clock than its contract says.", "Set the clocks."
    ),
    "DriftFlow": Code("A source brings fewer or more samples a second than its contract says.", DRIFT),
    "DriftSilent": Code(
        "A thing of the source has sent nothing for longer than the contract says.", "Look at the thing."
    ),
    "ContractVersionTooLow": Code(
        "A contract changed, and its version does not say so.",
        "Raise the version as the message says; `gemel contract diff` shows the changes.",
    ),
    "MappingFailed": Code(
        "A message does not fit its mapping.",
        "The message names the key of the mapping that it broke: mend the mapping or the sender, then replay.",
    ),
    "MappingNotFound": Code("There is no mapping of this name or version.", "See `gemel mapping list`."),
    "FileUnreadable": Code("The input file cannot be read.", "Check path, rights and format."),
    "FileChanged": Code(
        "The input file is not the one that reading began with.",
        "Ingest it again when it is complete; nothing is doubled.",
    ),
    # sources
    "SourceInvalid": Code(
        "The description of a source is wrong.", "The message names the key; see the guide on sources."
    ),
    "SourceNotFound": Code("There is no source of this name.", "See `gemel source list`."),
    "SourceNotAllowed": Code(
        "The operator does not allow sources to use this folder or variable.",
        "Have it added to `GEMEL_SOURCES_ALLOW`.",
    ),
    "SourceUnavailable": Code(
        "What a source reads from cannot be reached now; it is tried again by itself.",
        "Look at the other side; the message says what it answered.",
    ),
    "SourceStopped": Code(
        "What is pushed names a source that is stopped, or that its contract ended; nothing of it was kept.",
        "See `gemel source status NAME`; once it is mended, `gemel source start NAME`, and send it again.",
    ),
    "SourceLost": Code(
        "Another process reads the source, or it was described anew; nothing of the batch was kept.",
        "Nothing: who has it now goes on from the last commit.",
    ),
    "SourceOvertaken": Code(
        "Another reader of the same parts has read them on; nothing of the batch was kept.",
        "Nothing: the source goes on from the last commit of either.",
    ),
    "SourcePartRefused": Code(
        "A part of a source, such as a file, was passed over; the others are read.",
        "The message says what is wrong with it; mend it, and it is read.",
    ),
    "SecretMissing": Code(
        "There is nothing where a description refers to a secret.",
        "Set the variable for the server's process, or write the file; it is looked for again by itself.",
    ),
    # contracts
    "ContractInvalid": Code(
        "A contract of data is wrong.", "The message names the file and the key; see the guide on contracts."
    ),
    # jobs
    "JobLimitReached": Code("Another job of the tenant is not finished.", "Wait for it, or cancel it."),
    "ImportJobNotFound": Code("There is no import job of this id.", "See `gemel jobs list`."),
    "DeleteJobNotFound": Code("There is no deletion job of this id.", "See `gemel jobs list`."),
    "ImportFileInvalid": Code(
        "The file of an import is not as it must be, and reading it ended there.",
        "The message names the line; see the guide on imports.",
    ),
    "ImportIncomplete": Code(
        "An import is done, but some of its lines were not taken.",
        "The log names each line and why; mend those and import them again.",
    ),
    # calls to others
    "OutboundRefused": Code(
        "A URL is not called: it is malformed, or leads to an address that is not public and not allowed.",
        "Mend the URL, or let the operator add the host to `GEMEL_OUTBOUND_ALLOW`.",
    ),
    "OutboundFailed": Code(
        "Another server could not be called, or did not answer as it should.", "Look at it, then try again."
    ),
    # tenants and keys
    "TenantNotFound": Code("There is no tenant of this name.", "See `gemel tenant list`."),
    "TenantAlreadyExists": Code("A tenant of this name is there.", "Choose another name."),
    "KeyNotFound": Code("There is no key of this id.", "See `gemel key list`."),
    # this machine
    "ExtraMissing": Code(
        "An optional part is not installed.", "`pip install 'gemel[NAME]'`; the message names it."
    ),
    "PortInUse": Code("The port is taken.", "Choose another with --port."),
    "DataDirectoryInUse": Code("Another gemel serves this data directory.", "Use it, or stop it first."),
    "DataDirectoryUnusable": Code("The data directory cannot be used.", "Check the path and its rights."),
    "CertificateInvalid": Code(
        "A TLS certificate or its key cannot be used.", "Give PEM files that belong together."
    ),
    "DatabaseFailed": Code(
        "The bundled database could not be started.", "Read the end of its log, which the message names."
    ),
    "DatabaseTooOld": Code(
        "The database's schema is newer or older than this program.",
        "Run `gemel db migrate`, or a newer gemel.",
    ),
    "ServerUnreachable": Code("No gemel answers at the URL.", "Start it with `gemel up`."),
    "BackupInvalid": Code("The file is not a gemel backup, or is damaged.", "Take another."),
    "CommandFailed": Code("The command could not do what was asked.", "Read the message."),
    "UsageInvalid": Code("The command line is wrong.", "Add --help."),
}
