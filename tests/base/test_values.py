"""Numbers go in and come out without a change, through the API as a client uses it."""

import json
import random

from .raw import Wire, get, post


def test_metric_values_keep_every_bit(tracking_port):
    rng = random.Random(3)
    values = [
        1.1400000000000001,
        0.1,
        1 / 3,
        5e-324,
        1.7976931348623157e308,
        -2.2250738585072014e-308,
        1e16,
        123456789.125,
    ]
    values += [rng.uniform(-1000, 1000) for _ in range(200)]
    with Wire(tracking_port) as wire:
        wire.send(post("/api/2.0/mlflow/runs/create", '{"experiment_id":"0","start_time":1}'))
        run = json.loads(wire.answer().body)["run"]["info"]["run_id"]
        metrics = [{"key": "exact", "value": v, "timestamp": 1, "step": i} for i, v in enumerate(values)]
        wire.send(post("/api/2.0/mlflow/runs/log-batch", json.dumps({"run_id": run, "metrics": metrics})))
        assert wire.answer().status == 200
        wire.send(get(f"/api/2.0/mlflow/metrics/get-history?run_id={run}&metric_key=exact"))
        back = {int(m.get("step", 0)): m["value"] for m in json.loads(wire.answer().body)["metrics"]}
    assert {i: v for i, v in enumerate(values) if back[i] != v} == {}
