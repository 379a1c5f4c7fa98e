# SPDX-License-Identifier: GPL-2.0-or-later
"""vnicd's side of api/datapath-control.md, for tests of the datapath without vnicd."""
import json
import os
import socket
import subprocess
import time

from datapath import find, workers
from guest import die_with_me
from vt import wait_for

SOCK = "/run/vnicd/datapath.sock"


class Refused(AssertionError):
    """An answer with an error."""

    def __init__(self, error):
        super().__init__(f"{error['code']}: {error['message']}")
        self.code, self.message = error["code"], error["message"]


class Control:
    """One connection. Events are kept in .events."""

    def __init__(self, path=SOCK, timeout=5.0):
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.s.settimeout(timeout)
        self.s.connect(path)
        self.events = []
        self.id = 0

    def hello(self):
        """All up to hello-end."""
        out = []
        while not out or out[-1].get("event") != "hello-end":
            out.append(self.recv())
        return out

    def recv(self):
        data = self.s.recv(65536)
        if not data:
            raise ConnectionResetError("the datapath closed the connection")
        return json.loads(data)

    def send(self, op, fds=(), **fields):
        self.id += 1
        self.raw(json.dumps({"op": op, "id": self.id, **fields}).encode(), fds)
        return self.id

    def raw(self, data, fds=()):
        socket.send_fds(self.s, [data], list(fds)) if fds else self.s.send(data)

    def answer(self, to):
        """The answer to a request; events on the way are kept."""
        while True:
            m = self.recv()
            if "event" in m:
                self.events.append(m)
            elif m["id"] == to:
                if "error" in m:
                    raise Refused(m["error"])
                assert m["ok"] is True, m
                return m
            else:
                raise AssertionError(f"an answer to nothing: {m}")

    def ask(self, op, fds=(), **fields):
        return self.answer(self.send(op, fds, **fields))

    def event(self, what, timeout=5.0):
        """The next event for which what(event); earlier ones are dropped."""
        end = time.monotonic() + timeout
        while True:
            while self.events:
                e = self.events.pop(0)
                if what(e):
                    return e
            self.s.settimeout(max(0.01, end - time.monotonic()))
            try:
                self.events.append(self.recv())
            except socket.timeout:
                raise AssertionError(f"no such event within {timeout:g} s") from None

    def closed(self, timeout=5.0):
        """Does the datapath close the connection?"""
        self.s.settimeout(timeout)
        try:
            while self.s.recv(65536):
                pass
            return True
        except ConnectionError:
            return True
        except socket.timeout:
            return False

    def close(self):
        self.s.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def listener(path):
    s = socket.socket(socket.AF_UNIX)
    if os.path.exists(path):
        os.unlink(path)
    s.bind(path)
    s.listen(16)
    return s


def port(key="11111111-2222-3333-4444-555555555555/52:54:00:00:00:0a", **more):
    """A port-set's fields."""
    p = {"key": key, "generation": 1, "name": key.split("/")[-1].replace(":", ""), "segment": "lan",
         "mac": key.split("/")[1], "vlan": 0, "spoofchk": True, "trust": False, "queues": 1, "pidfile": None,
         "weight": 1, "rate": 0}
    p.update(more)
    return p


class Managed:
    """vnicd-datapath --managed."""

    def __init__(self, env=None, preexec=None, pass_fds=()):
        os.makedirs("/run/vnicd", exist_ok=True)
        self.log = "/run/datapath.log"
        self.env, self.preexec, self.pass_fds = env, preexec, pass_fds
        self.proc = None

    def start(self):
        def prepare():
            die_with_me()
            if self.preexec:
                self.preexec()
        with open(self.log, "ab") as log:
            self.proc = subprocess.Popen([find("vnicd-datapath"), "--managed"], stdin=subprocess.DEVNULL,
                                         stdout=log, stderr=log, preexec_fn=prepare, env=self.env,
                                         pass_fds=self.pass_fds)
        wait_for("the control socket", self._listens, 10, 0.005)
        return self

    def _listens(self):
        assert self.proc.poll() is None, f"vnicd-datapath ended: {self.said()}"
        try:
            Control().close()
            return True
        except OSError:
            return False

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return "".join(f.readlines()[-12:])

    @property
    def pid(self):
        return self.proc.pid

    def workers(self):
        return workers(self.proc.pid)

    def kill(self):
        if self.proc and self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait(10)

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *exc):
        if kind is None:
            self.proc.terminate()
            status = self.proc.wait(10)
            assert status == 0, f"status {status}: {self.said()}"
        self.kill()
