"""Recorded cases that this server answers otherwise on purpose: what is different, and why.

The corpus tests run each of them and fail when it no longer differs, so that the list stays true.
"""

KNOWN = {
    "endpoints/loopback": "pods and Services have loopback addresses here, so Endpoints have to accept them",
    "default/pod-volumes": "the recorded server warns that a projected token's path overlaps itself: a bug of its version",
}

# A new server remembers every revision, so this answer cannot come from it; test_restart.py asks an old one.
ELSEWHERE = {"watch/too-old": "the first revisions are forgotten only with a restart: test_restart.py"}


def check(case, differences):
    """Fails for a difference nobody knows of, and for a known one that is gone."""
    if reason := KNOWN.get(case["case"]):
        assert differences, f"{case['case']} is as recorded now; take it off the list ({reason})"
    else:
        assert not differences, "\n".join(differences)
