"""Small documents of the built-in kinds that the recorded cases are made of."""

import copy


def obj(api, kind, name, **fields):
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name}, **copy.deepcopy(fields)}


def container(name="c", image="busybox:1.36", **more):
    return {"name": name, "image": image, **more}


def pod(name="p", containers=None, meta=None, **spec):
    out = obj("v1", "Pod", name, spec={"containers": [container()] if containers is None else containers, **spec})
    out["metadata"].update(meta or {})
    return out


def template(labels=None, containers=None, **spec):
    return {
        "metadata": {"labels": {"app": "a"} if labels is None else labels},
        "spec": {"containers": [container()] if containers is None else containers, **spec},
    }


def deployment(name="d", tmpl=None, **spec):
    return obj(
        "apps/v1",
        "Deployment",
        name,
        spec={"selector": {"matchLabels": {"app": "a"}}, "template": tmpl or template(), **spec},
    )


def replicaset(name="r", **spec):
    return obj(
        "apps/v1",
        "ReplicaSet",
        name,
        spec={"selector": {"matchLabels": {"app": "a"}}, "template": template(), **spec},
    )


def statefulset(name="s", **spec):
    return obj(
        "apps/v1",
        "StatefulSet",
        name,
        spec={"serviceName": "s", "selector": {"matchLabels": {"app": "a"}}, "template": template(), **spec},
    )


def job(name="j", tmpl=None, **spec):
    return obj(
        "batch/v1",
        "Job",
        name,
        spec={"template": tmpl or {"spec": {"containers": [container()], "restartPolicy": "Never"}}, **spec},
    )


def service(name="svc", ports=None, **spec):
    return obj("v1", "Service", name, spec={"ports": [{"port": 80}] if ports is None else ports, **spec})


def configmap(name="cm", **more):
    return obj("v1", "ConfigMap", name, **more)


def claim(name="pvc", **spec):
    base = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return obj("v1", "PersistentVolumeClaim", name, spec={**base, **spec})
