"""Prints `PASSED FAILED SKIPPED` of a JUnit file, counted test by test.

The totals that the file itself carries are not used: CTest and pytest fill them in differently (a test whose body and
whose teardown both fail is two for pytest).
"""

import sys
import xml.etree.ElementTree as ElementTree


def totals(path: str) -> tuple[int, int, int]:
    passed = failed = skipped = 0
    for case in ElementTree.parse(path).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None or case.get("status") == "fail":
            failed += 1
        elif case.find("skipped") is not None or case.get("status") in ("disabled", "notrun"):
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


if __name__ == "__main__":
    print(*totals(sys.argv[1]))
