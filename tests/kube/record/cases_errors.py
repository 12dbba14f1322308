"""Broken and borderline requests: what exactly does the server say?"""

from . import errors_requests, errors_writes

CASES = errors_requests.CASES | errors_writes.CASES
assert len(CASES) == len(errors_requests.CASES) + len(errors_writes.CASES), "two cases of one name"
