#!/usr/bin/env python3
"""A load test's figures beside the server's own: /v1/loadtests at a share of what the server can do.

    bench/loadtests.py [--build build] [--model models/pictograms] [--share 0.7] [--seconds 60] [--page]

The capacity is what `limoe bench --closed 16` reaches in 10 seconds. Then two readings of /metrics, one before and one after the test, are
set beside what the test reports; it is started by POST, and with --page once more from the page in Debian's chromium (needs the
package playwright). Ends with 1 if counts differ, or if a time or a rate differs by more than 5 %. Needs an idle machine.
"""

import argparse
import contextlib
import json
import pathlib
import re
import sys
import tempfile
import time
import urllib.error
import urllib.request

from server import Server

ROOT = pathlib.Path(__file__).resolve().parents[1]
KEY = "benchmark-admin-key-0123456789"


class Admin:
    def __init__(self, url):
        self.url = url

    def ask(self, path, body=None, key=KEY):
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        request = urllib.request.Request(self.url + path, body and json.dumps(body).encode(), headers)
        return json.load(urllib.request.urlopen(request))

    def refused(self, body, key=KEY):
        """The status of a test that may not be."""
        try:
            self.ask("/v1/loadtests", body, key)
        except urllib.error.HTTPError as error:
            return error.code
        sys.exit(f"a load test was not refused: {body}")

    def ended(self, identity):
        while (test := self.ask(f"/v1/loadtests/{identity}"))["ended"] is None:
            time.sleep(1)
        if test["state"] != "done":
            sys.exit(f"the load test ended as {test['state']}: {test['reason']}")
        return test["result"]


def from_page(admin, rate, seconds):
    """Presses Start in the page, sees it say "done", and gives the test's name."""
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", chromium_sandbox=False)
        page = browser.new_page(locale="en-GB")
        page.goto(f"{admin.url}/#load-test")
        page.get_by_role("button", name="Key", exact=True).click()
        field = page.locator("dialog input[type=password]")
        field.fill(KEY)
        field.press("Enter")
        panel = page.locator(".view.load-test")
        panel.get_by_label("Requests a second").fill(str(rate))
        panel.get_by_label("Seconds").fill(str(seconds))
        panel.get_by_role("button", name="Start").click()
        expect(panel.get_by_role("status")).to_have_text(re.compile("^done"), timeout=(seconds + 60) * 1000)
        browser.close()
    return admin.ask("/v1/loadtests")["data"][0]["id"]


def reading(server):
    """Sums over the labels that do not matter: answers of the two routes that a test asks, their time, and the engine's."""
    wanted = {
        "answers": r'limoe_request_duration_seconds_count\{route="/v1/(?:classify|embeddings)"\}',
        "total": r'limoe_request_duration_seconds_sum\{route="/v1/(?:classify|embeddings)"\}',
        "inference": r'limoe_stage_duration_seconds_sum\{[^}]*stage="inference"[^}]*\}',
    }
    text = server.metrics()
    return {name: sum(map(float, re.findall(f"^{pattern} (.+)$", text, re.M))) for name, pattern in wanted.items()}


def beside(title, before, after, result):
    """Prints the rows; whether they agree."""
    own = {name: after[name] - before[name] for name in before}
    stages = result["server_ms"]
    rows = [
        ("answers", result["ok"], own["answers"], 0),
        ("answers a second", result["achieved_rps"], own["answers"] / result["seconds"], 0.05),
        ("server_ms.total, mean, ms", stages["total"]["mean"], own["total"] / own["answers"] * 1e3, 0.05),
        ("inference, sum, s", stages["inference"]["mean"] * result["ok"] / 1e3, own["inference"], 0.05),
    ]
    print(f"\n{title}: {result['sent']} sent, {result['ok']} answered, p99 {result['latency_ms']['p99']} ms of latency\n")
    print("| | load test | server | |\n|---|---|---|---|")
    for name, ours, theirs, _ in rows:
        print(f"| {name} | {ours:.6g} | {theirs:.6g} | {(ours / theirs - 1) * 100:+.2f} % |", flush=True)
    return result["sent"] == result["ok"] and all(abs(ours - theirs) <= allowed * theirs for _, ours, theirs, allowed in rows)


def measure(server, admin, title, begin):
    before = reading(server)
    result = admin.ended(begin())
    return beside(title, before, reading(server), result)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "models" / "pictograms")
    parser.add_argument("--share", type=float, default=0.7, help="of the capacity")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--page", action="store_true", help="once more from the page")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as ending:
        key_file = pathlib.Path(folder) / "key"
        key_file.write_text(KEY + "\n")
        key_file.chmod(0o600)
        server = Server(arguments.build, arguments.model, "--admin-keys-file", key_file, "--loadtest-max-rate", 10000, "--loadtest-max-requests", 1000000)
        ending.callback(server.stop)
        admin = Admin(server.url)
        reached = server.bench("--closed", 16, "--duration", 10, "--api-key-file", key_file)["achieved_rps"]
        rate = round(reached * arguments.share, 1)
        test = {"rate": rate, "duration": arguments.seconds}
        print(f"capacity {reached:.1f}/s, asked for {rate}/s during {arguments.seconds} s")
        print(f"without the key: {admin.refused(test, None)}; of a host that is not named: {admin.refused(test | {'target': 'http://192.0.2.1'})}")
        agree = measure(server, admin, "by POST", lambda: admin.ask("/v1/loadtests", test)["id"])
        if arguments.page:
            agree &= measure(server, admin, "from the page", lambda: from_page(admin, rate, arguments.seconds))
    sys.exit(0 if agree else 1)


if __name__ == "__main__":
    main()
