"""The two PostgreSQL databases: made where they are missing."""

from __future__ import annotations

from contextlib import closing

from orchestration.production.settings import FILE, Postgres
from rbr.errors import RBRError


def require_databases(settings: Postgres) -> None:
    """Create the two databases where they are missing.

    Raises:
        RBRError: PostgreSQL does not answer, refuses the password, or the user may not create them.
    """
    import psycopg2
    from psycopg2.sql import SQL, Identifier

    server = {"host": settings.host, "port": settings.port, "user": settings.user}
    password = settings.password.value()
    try:
        with closing(
            psycopg2.connect(**server, password=password, dbname="postgres", connect_timeout=10)
        ) as connection:
            connection.autocommit = True  # databases cannot be created in a transaction
            cursor = connection.cursor()
            cursor.execute("select datname from pg_database")
            existing = {row[0] for row in cursor.fetchall()}
            for name in {settings.dagster_database, settings.mlflow_database} - existing:
                cursor.execute(SQL("create database {}").format(Identifier(name)))
    except psycopg2.Error as error:
        where = f"PostgreSQL at {settings.host}:{settings.port}"
        raise RBRError(f"{FILE}: {where} cannot be used: {error}") from None
