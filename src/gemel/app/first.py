"""What the first start makes: the data directory, the tenant `default`, and its key in default.key."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg

from gemel.base.errors import EnvironmentFaultError
from gemel.security.hmac_key import load_hmac_key
from gemel.security.principal import Scope
from gemel.security.tenants import NewKey, create_key, create_tenant, list_tenants

__all__ = ["DEFAULT_KEY_FILE", "ensure_default", "ensure_directory"]

DEFAULT_TENANT = "default"
DEFAULT_KEY_FILE = "default.key"


def ensure_directory(data_dir: Path) -> None:
    """Make the data directory, for its owner alone. Raises EnvironmentFaultError (DataDirectoryUnusable)."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFaultError(
            "DataDirectoryUnusable",
            f"The data directory {data_dir} cannot be made: {error}.",
            "Choose another.",
        ) from error


def ensure_default(owner_dsn: str, data_dir: Path) -> None:
    """Make tenant `default` where there is no tenant at all, and its key where it has none that lives."""
    hmac_key = load_hmac_key(data_dir)
    with psycopg.connect(owner_dsn) as owner:
        tenants = list_tenants(owner)
        if not tenants:
            create_tenant(owner, DEFAULT_TENANT, actor="first start")
        file = data_dir / DEFAULT_KEY_FILE
        known = next((tenant for tenant in tenants if tenant.name == DEFAULT_TENANT), None)
        if file.exists() or (tenants and (known is None or known.keys)):
            return
        wanted = NewKey(DEFAULT_TENANT, DEFAULT_TENANT, [scope.value for scope in Scope])
        _, token = create_key(owner, hmac_key, wanted, actor="first start")
        _write(file, token)


def _write(file: Path, token: str) -> None:
    # Within the transaction that makes the key: the file is there before the key can be.
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(token + "\n")
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(draft, file)
