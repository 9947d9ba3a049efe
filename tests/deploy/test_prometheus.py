"""Protects the rules and alerts: they are valid, each alert is shown firing and silent, and each has its runbook."""

import re
import shutil
import subprocess

import pytest
import yaml

from conftest import DEPLOY, ROOT, check

PROMETHEUS = DEPLOY / "prometheus"
GROUPS = yaml.safe_load((PROMETHEUS / "limoe.rules.yml").read_text())["groups"]
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule}
TESTS = yaml.safe_load((PROMETHEUS / "limoe.rules.test.yml").read_text())["tests"]
SHOWN = [test for case in TESTS for test in case.get("alert_rule_test", [])]


def test_rules_and_config_are_valid():
    check("promtool", "check", "rules", PROMETHEUS / "limoe.rules.yml")
    check("promtool", "check", "config", PROMETHEUS / "prometheus.yml")


def test_rules_do_what_their_tests_say():
    check("promtool", "test", "rules", PROMETHEUS / "limoe.rules.test.yml")


@pytest.mark.parametrize("alert", ALERTS)
def test_alert_is_shown_firing_and_silent(alert):
    shown = [bool(test["exp_alerts"]) for test in SHOWN if test["alertname"] == alert]
    assert True in shown and False in shown


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_that_never_fires_is_found(alert, tmp_path):
    """The tests above can fail: without its rule, an alert's own test does."""
    for name in ("limoe.rules.yml", "limoe.rules.test.yml"):
        shutil.copy(PROMETHEUS / name, tmp_path)
    rules = (tmp_path / "limoe.rules.yml").read_text()
    rules, n = re.subn(rf"(- alert: {alert}\n +expr: )(\|\n( {{10,}}.*\n)+|.*\n)", r"\1vector(0) > 1\n", rules)
    assert n == 1
    (tmp_path / "limoe.rules.yml").write_text(rules)
    done = subprocess.run(["promtool", "test", "rules", tmp_path / "limoe.rules.test.yml"], capture_output=True, text=True)
    assert done.returncode != 0 and alert in done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_alert_says_how_bad_it_is_and_what_to_do(alert):
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"]["summary"] and rule["annotations"]["description"]
    name, anchor = rule["annotations"]["runbook"].split("#")
    headings = re.findall(r"^#+ (.*)$", (ROOT / name).read_text(), re.MULTILINE)
    assert anchor in [re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings]
