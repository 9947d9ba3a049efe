"""Protects the one line that counts, "N passed, N failed": a failure is in it, however what failed came to its end."""

import os
import pathlib
import subprocess
import sys

import pytest

TOTAL = pathlib.Path(__file__).resolve().parents[1] / "total.py"


def total(folder):
    done = subprocess.run([sys.executable, TOTAL, folder], capture_output=True, text=True, timeout=60)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout.splitlines()


def suite(*cases):
    return f"<testsuites><testsuite name='s'>{''.join(cases)}</testsuite></testsuites>"


GOOD = "<testcase classname='a' name='good'/>"
BAD = "<testcase classname='a' name='bad'><failure/></testcase>"
BROKEN = "<testcase classname='a' name='broken'><error/></testcase>"
SKIPPED = "<testcase classname='a' name='skipped'><skipped/></testcase>"


@pytest.mark.parametrize(
    "status, report, line",
    [
        ("0", suite(GOOD, GOOD, SKIPPED), "2 passed, 0 failed, 1 skipped"),
        ("1", suite(GOOD, BAD, BROKEN), "1 passed, 2 failed"),
        ("0", None, "1 passed, 0 failed"),  # a stage without cases, as the layout
        ("1", None, "0 passed, 1 failed"),  # it failed, or died before it wrote its report
        ("137", suite(GOOD), "1 passed, 1 failed"),  # a report, and a failure that is not in it
        ("", suite(GOOD), "1 passed, 1 failed"),  # it never ended
        ("0", suite(GOOD, BAD)[:-30], "0 passed, 1 failed"),  # cut short
        ("0", "", "0 passed, 1 failed"),
    ],
)
def test_a_stage(tmp_path, status, report, line):
    (tmp_path / "stage.status").write_text(status)
    if report is not None:
        (tmp_path / "stage.xml").write_text(report)
    code, said = total(tmp_path)
    assert said[-1] == line
    assert (code == 0) == (" 0 failed" in line)


def test_stages_add_up(tmp_path):
    for name, status, report in [("one", "0", suite(GOOD)), ("two", "1", suite(GOOD, BAD)), ("three", "2", None)]:
        (tmp_path / f"{name}.status").write_text(status)
        if report:
            (tmp_path / f"{name}.xml").write_text(report)
    assert total(tmp_path) == (1, ["three: exit status 2, with no case that failed", "2 passed, 2 failed"])


def test_how_long_stages_took(tmp_path):
    """In the order in which they ended, before the line that counts."""
    for at, (name, seconds) in enumerate([("units", 213), ("layout", 7)]):
        (tmp_path / f"{name}.status").write_text("0")
        (tmp_path / f"{name}.seconds").write_text(f"{seconds}\n")
        os.utime(tmp_path / f"{name}.seconds", ns=(at, at))
    assert total(tmp_path) == (0, ["units 213 s, layout 7 s", "2 passed, 0 failed"])


def test_nothing_is_no_success(tmp_path):
    assert total(tmp_path) == (1, ["0 passed, 0 failed"])


# Programs as units are: each prints TAP, and what becomes of it.
PROGRAMS = {
    "good": "echo 1..1; echo ok 1 - a",
    "bad": "echo 1..2; echo ok 1 - a; echo not ok 2 - b; exit 1",
    "killed": "echo 1..2; echo ok 1 - a; kill -KILL $$",
    "killed at once": "kill -SEGV $$",
    "slow": "echo 1..2; echo ok 1 - a; exec sleep 60",
    "silent": "exec sleep 60",
    "short": "echo 1..2; echo ok 1 - a",
}


def test_what_meson_writes_of_programs_that_die(tmp_path):
    lines = ["project('p', meson_version: '>=1.0.0')", "sh = find_program('sh')"]
    for name, script in PROGRAMS.items():
        timeout = 1 if "sleep" in script else 60
        lines.append(f"test('{name}', sh, args: ['-c', '{script}'], protocol: 'tap', timeout: {timeout}, suite: 'unit')")
    (tmp_path / "meson.build").write_text("\n".join(lines))
    build, reports = tmp_path / "build", tmp_path / "reports"
    reports.mkdir()
    subprocess.run(["meson", "setup", build, tmp_path], check=True, capture_output=True, timeout=120)
    run = subprocess.run(["meson", "test", "-C", build], capture_output=True, text=True, timeout=120)
    assert run.returncode != 0
    (reports / "units.status").write_text(str(run.returncode))
    (build / "meson-logs/testlog.junit.xml").rename(reports / "units.xml")
    (build / "meson-logs/testlog.json").rename(reports / "units.json")
    code, said = total(reports)
    # Passed: a case of each of good, bad, killed, slow and short. Failed: a case of bad, and five programs, of which
    # meson's own report shows but one: "killed at once".
    assert (code, said[-1]) == (1, "5 passed, 6 failed")
    assert sorted(line.partition(":")[0] for line in said[:-1]) == ["killed", "short", "silent", "slow"]
