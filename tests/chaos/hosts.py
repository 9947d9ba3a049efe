"""Other hosts for tests: network namespaces with a host name of their own, beside each other on a bridge, and an agent that
stands for ssh. That takes root and `ip`.

An agent runs the command of its last words on a host, where it outlives a caller that is killed. What it does otherwise, files
of its folder say: `never`: it waits for ever; `late`: once, it fails, and what it was to run comes a second later; `model`: the host
sees another folder, whose path is in the file, where the test's model is."""

import os
import shutil
import subprocess

import pytest

# Of this process: another that tests on the same machine has its own. Names of links have 15 characters at most.
OWN = os.getpid() % 100000
NET = f"10.77.{1 + OWN % 250}"
FRONT = f"{NET}.1"
BRIDGE = f"limoe-br{OWN}"
HOSTS = {f"limoe-h{i}-{OWN}": f"{NET}.{10 + i}" for i in (1, 2)}
AGENT = """#!/bin/sh
while case "$1" in -*) true ;; *) false ;; esac; do shift; done
case "$1" in
{hosts}
*) echo "no host $1" >&2; exit 1 ;;
esac
shift
on_host() {{
    exec ip netns exec "$name" unshare --uts setsid --fork --wait sh -c 'hostname "$0"
        [ ! -e {folder}/model ] || mount --bind "$(cat {folder}/model)" {folder}/tiny
        exec sh -c "$*"' "$name" "$@"
}}
if [ -e {folder}/late ]; then
    rm {folder}/late
    exec 3<&0
    (sleep 1; on_host "$@" <&3) &
    exit 1
fi
[ ! -e {folder}/never ] || exec sleep 60
on_host "$@"
"""


def ip(*words, check=True):
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 or not check, (words, done.stderr)
    return done.returncode == 0


def take_down():
    for name in HOSTS:
        ip("netns", "del", name, check=False)
        ip("link", "del", f"{name}v", check=False)
    ip("link", "del", BRIDGE, check=False)


@pytest.fixture
def agent(tmp_path):
    """The path of the agent, of two hosts that are there as long as the test."""
    if os.geteuid() != 0 or not shutil.which("ip") or not ip("link", "add", BRIDGE, "type", "bridge", check=False):
        pytest.skip("needs root and network namespaces")
    try:
        ip("addr", "add", f"{FRONT}/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        for name, address in HOSTS.items():
            if not ip("netns", "add", name, check=False):
                pytest.skip("needs network namespaces")
            ip("link", "add", f"{name}v", "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", f"{name}v", "master", BRIDGE)
            ip("link", "set", f"{name}v", "up")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
        path = tmp_path / "agent"
        hosts = "\n".join(f"{address}) name={name} ;;" for name, address in HOSTS.items())
        path.write_text(AGENT.format(hosts=hosts, folder=tmp_path))
        path.chmod(0o755)
        yield path
    finally:
        take_down()


def cut(name):
    ip("link", "set", f"{name}v", "down")


def mend(name):
    ip("link", "set", f"{name}v", "up")
