"""The two PostgreSQL databases: made where they are missing."""

from __future__ import annotations

from orchestration.production.settings import FILE, Postgres
from rbr.errors import RBRError


def require_databases(settings: Postgres) -> None:
    """Create the two databases where they are missing.

    Raises:
        RBRError: PostgreSQL does not answer, refuses the password, or the user may not create them.
    """
    import psycopg2
    from psycopg2 import sql

    where = f"PostgreSQL at {settings.host}:{settings.port}"
    try:
        connection = psycopg2.connect(
            host=settings.host,
            port=settings.port,
            user=settings.user,
            password=settings.password.value(),
            dbname="postgres",
            connect_timeout=10,
        )
    except psycopg2.OperationalError as error:
        raise RBRError(f"{FILE}: {where} cannot be used: {error}") from None
    connection.autocommit = True  # databases cannot be created in a transaction
    try:
        with connection.cursor() as cursor:
            cursor.execute("select datname from pg_database")
            existing = {row[0] for row in cursor.fetchall()}
            for name in {settings.dagster_database, settings.mlflow_database} - existing:
                cursor.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    except psycopg2.Error as error:
        raise RBRError(f"{FILE}: {where} lacks a database: {error}") from None
    finally:
        connection.close()
