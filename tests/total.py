"""Adds up what the stages of one test run left behind and prints the one line that counts: "N passed, N failed".

    total.py DIR

A stage leaves up to four files in DIR, under its own name: NAME.status, its exit status; NAME.seconds, how long it took;
NAME.xml, a JUnit report; NAME.json, the log of `meson test`, a JSON object a line. The last is needed because the others can lie together: of a
program that a signal ended, or whose time was up, meson's JUnit report has the cases until then, all of them passed.

Each case of a report counts once. A failure that no case shows counts once more and is named: a program, a report that
cannot be read, a stage.
"""

import json
import pathlib
import sys
import xml.etree.ElementTree as xml
from collections import Counter

# What meson calls the end of a program that did as it should.
GOOD = {"OK", "SKIP", "EXPECTEDFAIL"}


def has_failed(case: xml.Element) -> bool:
    return case.find("failure") is not None or case.find("error") is not None


def outcome(case: xml.Element) -> str:
    return "failed" if has_failed(case) else "skipped" if case.find("skipped") is not None else "passed"


def add_failed_programs(root: xml.Element, log: str, hidden: list[str]) -> None:
    """Gives each program that failed, and that has no failed case, one."""
    for line in log.splitlines():
        run = json.loads(line)
        if run["result"] in GOOD:
            continue
        # A case is of the class "project.program"; a program without cases is one itself, of the class "project".
        own = [c for c in root.iter("testcase") if c.get("name") == run["name"] and "." not in c.get("classname", "")]
        cases = [c for c in root.iter("testcase") if c.get("classname", "").partition(".")[2] == run["name"]]
        if any(map(has_failed, cases + own)):
            continue
        case = own[0] if own and not cases else xml.SubElement(root, "testcase", name=run["name"])
        xml.SubElement(case, "error")
        hidden.append(f"{run['name']}: {run['result']}, exit status {run['returncode']}")


def count_stage(status: pathlib.Path, hidden: list[str]) -> Counter:
    report, log = status.with_suffix(".xml"), status.with_suffix(".json")
    try:
        root = xml.parse(report).getroot() if report.exists() else xml.Element("testsuites")
        if log.exists():
            add_failed_programs(root, log.read_text(), hidden)
    except (xml.ParseError, json.JSONDecodeError) as error:
        hidden.append(f"{status.stem}: its report cannot be read: {error}")
        return Counter(failed=1)
    count = Counter(map(outcome, root.iter("testcase")))
    code = status.read_text().strip()
    if code != "0" and not count["failed"]:
        hidden.append(f"{status.stem}: exit status {code or 'unknown'}, with no case that failed")
        count["failed"] += 1
    elif not count:
        count["passed"] += 1  # the stage itself, which has no cases
    return count


def times(folder: pathlib.Path) -> str:
    """"layout 7 s, units 213 s", in the order in which stages ended."""
    files = sorted(folder.glob("*.seconds"), key=lambda path: path.stat().st_mtime_ns)
    return ", ".join(f"{path.stem} {path.read_text().strip()} s" for path in files)


def main() -> int:
    hidden: list[str] = []
    total = Counter()
    for status in sorted(pathlib.Path(sys.argv[1]).glob("*.status")):
        total += count_stage(status, hidden)
    for what in hidden:
        print(what)
    if took := times(pathlib.Path(sys.argv[1])):
        print(took)
    skipped = f", {total['skipped']} skipped" if total["skipped"] else ""
    print(f"{total['passed']} passed, {total['failed']} failed{skipped}")
    return 0 if total["passed"] and not total["failed"] else 1


if __name__ == "__main__":
    sys.exit(main())
