"""Databases made and read by the stock server's own code, and their structure laid bare for comparison."""

import contextlib
import pathlib
import re
import sqlite3
import sys

import harness

HEAD = "f4a9b2c7d1e6"
PREVIOUS = "dc11669786a5"


def uri(path):
    return f"sqlite:///{path}"


def make_schema(path, revision="head"):
    """An empty database at this revision, made by the stock server's first tables and its migrations."""
    import sqlalchemy
    from alembic import command
    from mlflow.store.db.utils import _get_alembic_config
    from mlflow.store.tracking.dbmodels.initial_models import Base

    engine = sqlalchemy.create_engine(uri(path))
    Base.metadata.create_all(engine)
    config = _get_alembic_config(uri(path))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


def downgrade(path, revision):
    """Take a database with its rows back to an earlier revision."""
    import sqlalchemy
    from alembic import command
    from mlflow.store.db.utils import _get_alembic_config

    engine = sqlalchemy.create_engine(uri(path))
    config = _get_alembic_config(uri(path))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
    engine.dispose()


def stores(path, artifact_root="mlflow-artifacts:/"):
    """The stock tracking and registry stores over this file; they refuse one that needs an upgrade."""
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Registry
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as Tracking

    return Tracking(uri(path), artifact_root), Registry(uri(path))


@contextlib.contextmanager
def serving(path):
    """The stock server over this file; gives its address."""
    port = harness.free_port()
    script = pathlib.Path(__file__).with_name("stock_server.py")
    # Importing it takes seconds, and a minute on a busy machine.
    with harness.launch([script, path, port], f"http://127.0.0.1:{port}/health", command=sys.executable, timeout=120):
        yield f"http://127.0.0.1:{port}"


def connect(path):
    """Read only, and sure to fail if the file is missing."""
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True)


def revision(path):
    with connect(path) as db:
        return [row[0] for row in db.execute("SELECT version_num FROM alembic_version")]


def table_names(path):
    with connect(path) as db:
        rows = db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        return sorted(row[0] for row in rows)


def _squeeze(text):
    return re.sub(r"\s+", " ", text).replace("( ", "(").replace(" )", ")").strip()


def structure(path, table):
    """Columns in order with type, NOT NULL, default, key and generation; keys; indexes; checks; triggers."""
    with connect(path) as db:
        columns = [row[1:] for row in db.execute(f'PRAGMA table_xinfo("{table}")')]
        foreign = {}
        for number, _, other, here, there, update, delete, _ in db.execute(f'PRAGMA foreign_key_list("{table}")'):
            foreign.setdefault(number, (other, update, delete, []))[3].append((here, there))
        indexes = []
        for _, name, unique, origin, partial in db.execute(f'PRAGMA index_list("{table}")'):
            parts = [row[2:5] for row in db.execute(f'PRAGMA index_xinfo("{name}")') if row[5]]
            # Indexes behind constraints have made-up names.
            indexes.append((name if origin == "c" else "", unique, origin, partial, parts))
        (sql,) = db.execute("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)).fetchone()
        sql = _squeeze(sql)
        checks = sorted(re.findall(r"(?:CONSTRAINT \w+ )?CHECK \((?:[^()]|\([^()]*\))*\)", sql))
        names = sorted(re.findall(r"CONSTRAINT (\w+)", sql))
        generated = re.findall(r"(\w+) \w+ GENERATED ALWAYS AS \(([^)]*)\) (\w+)", sql)
        triggers = sorted(
            _squeeze(row[0])
            for row in db.execute("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?", (table,))
        )
    return {
        "columns": columns,
        "foreign keys": sorted(foreign.values()),
        "indexes": sorted(indexes),
        "checks": checks,
        "constraint names": names,
        "generated": generated,
        "triggers": triggers,
    }


def rows(path, table):
    """All rows of a table as dicts."""
    with connect(path) as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute(f'SELECT * FROM "{table}"')]
