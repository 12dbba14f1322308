"""Which resources a real server announces for the groups that this program has too: tests/corpus/kube/discovery.tsv."""

from .. import wire

GROUPS = (
    "apps batch authentication.k8s.io authorization.k8s.io rbac.authorization.k8s.io networking.k8s.io policy "
    "coordination.k8s.io apiextensions.k8s.io autoscaling events.k8s.io storage.k8s.io scheduling.k8s.io discovery.k8s.io "
    "admissionregistration.k8s.io apiregistration.k8s.io"
).split()
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
FIELDS = "group version resource kind responseGroup responseVersion scope singular shortNames categories verbs".split()


def rows(api):
    """One tuple of FIELDS for every resource and subresource of the groups."""
    out = []
    for path in ("/api", "/apis"):
        document = api.call("GET", path, accept=AGGREGATED).json()
        for group in document["items"]:
            name = group["metadata"].get("name", "")
            if path == "/apis" and name not in GROUPS:
                continue
            for version in group["versions"]:
                for one in version.get("resources", []):
                    out.append(row(name, version["version"], one["resource"], one, one["scope"]))
                    for sub in one.get("subresources", []):
                        out.append(
                            row(name, version["version"], f"{one['resource']}/{sub['subresource']}", sub, one["scope"])
                        )
    return out


def row(group, version, resource, entry, scope):
    kind = entry.get("responseKind") or {}
    if (kind.get("group", ""), kind.get("version", "")) == (group, version):
        # An entry may leave out what is that of its group.
        kind = {"kind": kind.get("kind", "")}
    return (
        group,
        version,
        resource,
        kind.get("kind", ""),
        kind.get("group", ""),
        kind.get("version", ""),
        scope,
        entry.get("singularResource", ""),
        ",".join(entry.get("shortNames", [])),
        ",".join(entry.get("categories", [])),
        ",".join(sorted(entry.get("verbs", []))),
    )


def write(api):
    path = wire.CORPUS / "discovery.tsv"
    found = rows(api)
    path.write_text("\n".join("\t".join(line) for line in [tuple(FIELDS), *found]) + "\n")
    print(f"{path}: {len(found)} resources")
