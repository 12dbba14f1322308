-- The pipelines room's tables, version 1 (PRAGMA user_version). `n` counts rows in the order of their making and breaks ties
-- of a sort; it stands at the end of every index by itself. Words are kept as the wire writes them, times as milliseconds.

CREATE TABLE experiments (
  n INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  description TEXT NOT NULL,
  ns TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  last_run_ms INTEGER NOT NULL,
  storage_state TEXT NOT NULL,
  UNIQUE (ns, name)
);
CREATE INDEX experiments_created ON experiments (ns, created_ms);

CREATE TABLE pipelines (
  n INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  display_name TEXT NOT NULL,
  description TEXT NOT NULL,
  ns TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  UNIQUE (ns, name)
);
CREATE INDEX pipelines_created ON pipelines (ns, created_ms);
CREATE INDEX pipelines_display ON pipelines (ns, display_name);

-- Documents of pipelines by the SHA-256 of their text: many runs share one.
CREATE TABLE specs (
  hash TEXT NOT NULL UNIQUE,
  doc TEXT NOT NULL
);

CREATE TABLE versions (
  n INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  pipeline_id TEXT NOT NULL,
  name TEXT NOT NULL,
  display_name TEXT NOT NULL,
  description TEXT NOT NULL,
  url TEXT NOT NULL,
  code_url TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  spec TEXT NOT NULL,
  UNIQUE (pipeline_id, name)
);
CREATE INDEX versions_created ON versions (pipeline_id, created_ms);
CREATE INDEX versions_spec ON versions (spec);

-- Of pipelines and versions: their ids never meet.
CREATE TABLE tags (
  owner TEXT NOT NULL,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (owner, key)
) WITHOUT ROWID;
CREATE INDEX tags_value ON tags (key, value, owner);

CREATE TABLE runs (
  n INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  experiment_id TEXT NOT NULL,
  name TEXT NOT NULL,
  resource_name TEXT NOT NULL,
  ns TEXT NOT NULL,
  description TEXT NOT NULL,
  service_account TEXT NOT NULL,
  recurring_run_id TEXT NOT NULL,
  pipeline_id TEXT NOT NULL,
  version_id TEXT NOT NULL,
  pipeline_name TEXT NOT NULL,
  storage_state TEXT NOT NULL,
  spec TEXT NOT NULL,
  parameters TEXT NOT NULL,
  pipeline_root TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  scheduled_ms INTEGER NOT NULL,
  finished_ms INTEGER NOT NULL,
  state TEXT NOT NULL,
  error TEXT NOT NULL,
  history TEXT NOT NULL,
  plugins_input TEXT NOT NULL,
  plugins_output TEXT NOT NULL
);
CREATE INDEX runs_ns_created ON runs (ns, created_ms);
CREATE INDEX runs_ns_stored ON runs (ns, storage_state, created_ms);
CREATE INDEX runs_ns_state ON runs (ns, state, created_ms);
CREATE INDEX runs_ns_name ON runs (ns, name);
CREATE INDEX runs_ns_finished ON runs (ns, finished_ms);
CREATE INDEX runs_ns_scheduled ON runs (ns, scheduled_ms);
CREATE INDEX runs_experiment_created ON runs (experiment_id, created_ms);
CREATE INDEX runs_experiment_stored ON runs (experiment_id, storage_state, created_ms);
CREATE INDEX runs_experiment_state ON runs (experiment_id, state, created_ms);
CREATE INDEX runs_experiment_name ON runs (experiment_id, name);
CREATE INDEX runs_experiment_finished ON runs (experiment_id, finished_ms);
CREATE INDEX runs_experiment_scheduled ON runs (experiment_id, scheduled_ms);
CREATE INDEX runs_created ON runs (created_ms);
CREATE INDEX runs_spec ON runs (spec);
CREATE UNIQUE INDEX runs_recurring ON runs (recurring_run_id, name) WHERE recurring_run_id <> '';
CREATE INDEX runs_unfinished ON runs (created_ms) WHERE state IN ('PENDING', 'RUNNING', 'CANCELING');

-- How many runs there are of each kind that lists are filtered by: a total needs no walk over the runs.
CREATE TABLE run_counts (
  ns TEXT NOT NULL,
  experiment_id TEXT NOT NULL,
  storage_state TEXT NOT NULL,
  state TEXT NOT NULL,
  amount INTEGER NOT NULL,
  PRIMARY KEY (ns, experiment_id, storage_state, state)
) WITHOUT ROWID;
CREATE INDEX run_counts_experiment ON run_counts (experiment_id, storage_state, state, amount);
CREATE TRIGGER runs_added AFTER INSERT ON runs BEGIN
  INSERT INTO run_counts VALUES (new.ns, new.experiment_id, new.storage_state, new.state, 1)
    ON CONFLICT DO UPDATE SET amount = amount + 1;
END;
CREATE TRIGGER runs_removed AFTER DELETE ON runs BEGIN
  UPDATE run_counts SET amount = amount - 1
    WHERE ns = old.ns AND experiment_id = old.experiment_id AND storage_state = old.storage_state AND state = old.state;
END;
CREATE TRIGGER runs_changed AFTER UPDATE OF storage_state, state ON runs
    WHEN old.storage_state <> new.storage_state OR old.state <> new.state BEGIN
  UPDATE run_counts SET amount = amount - 1
    WHERE ns = old.ns AND experiment_id = old.experiment_id AND storage_state = old.storage_state AND state = old.state;
  INSERT INTO run_counts VALUES (new.ns, new.experiment_id, new.storage_state, new.state, 1)
    ON CONFLICT DO UPDATE SET amount = amount + 1;
END;

-- What happened to a run, in order (engine.h).
CREATE TABLE events (
  run_id TEXT NOT NULL,
  seq INTEGER NOT NULL,
  doc TEXT NOT NULL,
  PRIMARY KEY (run_id, seq)
);

CREATE TABLE recurring_runs (
  n INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  description TEXT NOT NULL,
  ns TEXT NOT NULL,
  experiment_id TEXT NOT NULL,
  service_account TEXT NOT NULL,
  pipeline_id TEXT NOT NULL,
  version_id TEXT NOT NULL,
  spec TEXT NOT NULL,
  parameters TEXT NOT NULL,
  pipeline_root TEXT NOT NULL,
  cron TEXT NOT NULL,
  interval_s INTEGER NOT NULL,
  start_ms INTEGER NOT NULL,
  end_ms INTEGER NOT NULL,
  max_concurrency INTEGER NOT NULL,
  enabled INTEGER NOT NULL,
  no_catchup INTEGER NOT NULL,
  created_ms INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL,
  last_ms INTEGER NOT NULL,
  next_index INTEGER NOT NULL,
  plugins_input TEXT NOT NULL
);
CREATE INDEX recurring_ns_created ON recurring_runs (ns, created_ms);
CREATE INDEX recurring_experiment_created ON recurring_runs (experiment_id, created_ms);
CREATE INDEX recurring_spec ON recurring_runs (spec);
CREATE INDEX recurring_enabled ON recurring_runs (n) WHERE enabled = 1;

CREATE TABLE artifacts (
  n INTEGER PRIMARY KEY AUTOINCREMENT,
  ns TEXT NOT NULL,
  uri TEXT NOT NULL,
  type TEXT NOT NULL,
  type_version TEXT NOT NULL,
  type_instance TEXT NOT NULL,
  name TEXT NOT NULL,
  metadata TEXT NOT NULL,
  custom_path TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  UNIQUE (uri, ns, type, type_instance)
);
CREATE INDEX artifacts_created ON artifacts (ns, created_ms);

-- Which execution made an artifact (output 1) and which read it (0), under which name.
CREATE TABLE artifact_uses (
  n INTEGER PRIMARY KEY,
  artifact INTEGER NOT NULL,
  run_id TEXT NOT NULL,
  node TEXT NOT NULL,
  key TEXT NOT NULL,
  output INTEGER NOT NULL,
  created_ms INTEGER NOT NULL,
  UNIQUE (run_id, node, output, key, artifact)
);
CREATE INDEX artifact_uses_of ON artifact_uses (artifact);

CREATE TABLE cache (
  n INTEGER PRIMARY KEY,
  key TEXT NOT NULL,
  pipeline TEXT NOT NULL,
  ns TEXT NOT NULL,
  task TEXT NOT NULL,
  run_id TEXT NOT NULL,
  node TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  doc TEXT NOT NULL
);
CREATE INDEX cache_key ON cache (key, pipeline, ns, created_ms);
CREATE INDEX cache_task ON cache (task, ns, created_ms);
CREATE INDEX cache_run ON cache (run_id);

PRAGMA user_version = 1;
