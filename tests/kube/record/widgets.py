"""A small custom kind, in a group of the run's own, for the recorded cases."""

from .shapes import obj
from .words import path, step


def crd(schema=None, plural="widgets", kind="Widget", scope="Namespaced", name=None, version=None, **spec):
    """A custom kind in a group of the run's own, `{ns}.example.com`."""
    body = {
        "group": "{ns}.example.com",
        "names": {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": kind + "List"},
        "scope": scope,
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": schema or WIDGET},
                **(version or {}),
            }
        ],
    }
    return obj(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        name or plural + ".{ns}.example.com",
        spec={**body, **spec},
    )


WIDGET = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"type": "integer", "minimum": 1, "maximum": 10},
                "color": {"type": "string", "enum": ["red", "green"], "default": "red"},
                "label": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
                "parts": {
                    "type": "array",
                    "maxItems": 2,
                    "items": {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}},
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["id"],
                },
                "extra": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "port": {"x-kubernetes-int-or-string": True},
                "note": {"type": "string", "nullable": True},
                "ratio": {"type": "number", "multipleOf": 0.5},
            },
        },
        "status": {"type": "object", "properties": {"phase": {"type": "string"}}},
    },
}
WIDGETS = "/apis/{ns}.example.com/v1/namespaces/{ns}/widgets"


def widget(name="w", **spec):
    return obj("{ns}.example.com/v1", "Widget", name, spec={"size": 3, **spec})


def with_crd(*steps, **arguments):
    """The steps after the custom kind is there and served."""
    return [
        step("POST", path("customresourcedefinitions"), crd(**arguments), setup=True),
        step("GET", WIDGETS, until=200, setup=True),
        *steps,
        step("DELETE", path("customresourcedefinitions", "widgets.{ns}.example.com"), setup=True),
    ]
