"""PostgreSQL seen from production: are the databases there, and which runs lost their worker."""

from __future__ import annotations

import os
import subprocess
import sys

from orchestration.lost import report_lost_runs
from orchestration.production.settings import FILE, Postgres
from rbr.errors import RBRError


def require_databases(settings: Postgres) -> None:
    """Make the two databases where they are missing.

    Raises:
        RBRError: PostgreSQL does not answer, refuses the password, or the user may make none.
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
    connection.autocommit = True  # databases are not made in a transaction
    try:
        with connection.cursor() as cursor:
            cursor.execute("select datname from pg_database")
            there = {row[0] for row in cursor.fetchall()}
            for name in (settings.dagster_database, settings.mlflow_database):
                if name not in there:
                    cursor.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    except psycopg2.Error as error:
        raise RBRError(f"{FILE}: {where} has no database and makes none: {error}") from None
    finally:
        connection.close()


def report_lost_workers(environment: dict[str, str]) -> None:
    """Tell Dagster, before a code server starts, that the workers of a former one are gone.

    The daemon then starts their runs again. In a process of its own, which has production's stores.
    """
    subprocess.run(
        [sys.executable, "-m", "orchestration.production.databases"], env=environment, check=True
    )


def _report() -> None:
    import dagster as dg

    with dg.DagsterInstance.get() as instance:
        for run_id in report_lost_runs(instance, workers=True):
            print(f"run {run_id} lost its worker: it will be started again", flush=True)


if __name__ == "__main__":
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "true")
    _report()
