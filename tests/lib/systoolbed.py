# SPDX-License-Identifier: GPL-2.0-or-later
"""daemon/exec and daemon/sys by tests/unit/systool, in a sandbox whose kernel is real: what tests/netns/test_sys*.py share."""
import json
import os
import queue
import signal
import subprocess
import threading

from hoststate import difference, snapshot
from net import ip, links
from vt import TOP, framed, run, test

TOOL = os.path.join(os.environ.get("VNIC_BUILD") or os.path.join(TOP, "build/check"), "tests/unit/systool")
SOCK_DIR = "/run/vnicd-test-sock"
MAC = "52:54:00:00:00:01"


class Tool:
    """systool in one of its modes; its lines are read by a thread, so that none blocks it."""

    def __init__(self, *args):
        self.p = subprocess.Popen([TOOL, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.p.stdout:
            self.lines.put(json.loads(line))

    def next(self, timeout=10):
        return self.lines.get(timeout=timeout)

    def ask(self, command):
        self.p.stdin.write(command + "\n")
        self.p.stdin.flush()
        return self.next()

    def until(self, what, fn):
        """Read events until one makes fn true; return it."""
        while True:
            try:
                e = self.next()
            except queue.Empty:
                raise AssertionError(f"no event in 10 s: {what}") from None
            if fn(e):
                return e

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.p.send_signal(signal.SIGCONT)
        self.p.kill()
        self.p.wait()


class Exec(Tool):
    def __init__(self):
        super().__init__("exec", SOCK_DIR)

    def step(self, verb, kind, error="", **fields):
        a = self.ask(" ".join([verb, kind, *(f"{k.rstrip('_')}={v}" for k, v in fields.items())]))
        assert a["error"] == error, f"{verb} {kind} {fields}: {a}, expected '{error}'"
        return a

    def tap(self, name="vn0-lan", segment="lan"):
        return self.step("do", "tap-create", ifname=name, name=segment)["ifindex"]


def state():
    """Everything of the host that steps may change."""
    return {**snapshot(run_dir=SOCK_DIR, with_processes=False), "vlans": run("bridge", "vlan", "show")}


def same(before):
    diff = difference(before, state())
    assert not diff, "\n".join(diff)


def index(name):
    return links()[name]["ifindex"]


def clean():
    """The next test starts with nothing of the last."""
    for name in links():
        if name != "lo" and name in links():
            ip("link", "del", name)
    run("rm", "-rf", SOCK_DIR)


scenario = framed(test, lambda: None, clean)


def fdb():
    return [e for e in json.loads(run("bridge", "-j", "fdb", "show")) if e["mac"] == MAC]
