"""How figures are written in RESULTS.md, and the names of who they are of."""

import textwrap

NAMES = {
    "millrace": "Millrace",
    "mlflow": "mlflow server",
    "mlserver": "MLServer",
    "mlflow-serve": "mlflow models serve",
    "nginx": "nginx, fixed body",
    "versitygw": "versitygw",
    "kube-apiserver": "kube-apiserver and etcd",
    "kfp-local": "kfp.local",
    "kfp-local-venv": "kfp.local with venv",
}


def number(value: float) -> str:
    """Three or so meaningful digits; more would be noise."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def times(value: float, digits: int = 2) -> str:
    return f"{value:,.0f}x" if value >= 10 else f"{value:.{digits}f}x"


def mib(value: float) -> str:
    return f"{value / 2**20:,.0f} MiB"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows] + [""]


def wrap(text: str) -> list[str]:
    return [*textwrap.wrap(text, 120, break_long_words=False, break_on_hyphens=False), ""]


def met(what: str, value: float, wanted: float, text: str, want_text: str, at_most: bool = False) -> dict:
    ok = value <= wanted if at_most else value >= wanted
    return {"what": what, "ok": ok, "got": text, "wanted": want_text}
