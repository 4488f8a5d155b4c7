"""PostgreSQL: the bundled server, migrations, tenant transactions, COPY, group commit, backup."""
