# SPDX-License-Identifier: GPL-2.0-or-later
"""vnicd and the datapath's keeper as systemd would run them, inside tests/lib/sandbox."""
import json
import os
import socket
import subprocess
import time

from datapath import find, workers
from guest import die_with_me
from units import confinement
from vt import run, wait_for

CONF = """
[segment lan]
bridge=br0

[class gold]
segment=lan
vlans=0,12
queues=2

[class blue]
segment=lan
vlan=12
"""


class Service:
    """A program that is started and ended by hand. With notify, start() waits for READY=1; with unit, it may do
    what NAME.service lets it."""

    def __init__(self, name, *argv, notify=False, unit=False):
        self.name, self.argv, self.notify = name, list(argv), notify
        self.confine = confinement(name) if unit else lambda: None
        self.proc = None
        self.log = f"/var/log/{name}.log"

    @property
    def pid(self):
        return self.proc.pid

    def running(self):
        return self.proc is not None and self.proc.poll() is None

    def said(self, lines=15):
        try:
            with open(self.log, encoding="utf-8", errors="replace") as f:
                return "".join(f.readlines()[-lines:]).strip()
        except OSError:
            return ""

    def start(self, timeout=15.0):
        argv = [find(self.argv[0]), *self.argv[1:]]
        env = dict(os.environ)
        env.pop("NOTIFY_SOCKET", None)
        s = None
        if self.notify:
            path = f"/run/notify-{self.name}"
            if os.path.exists(path):
                os.unlink(path)
            s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            s.bind(path)
            env["NOTIFY_SOCKET"] = path

        def prepare():
            die_with_me()
            self.confine()
        with open(self.log, "ab") as log:
            self.proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env,
                                         preexec_fn=prepare)
        if s:
            with s:
                self._ready(s, timeout)
            # systemd's socket stays; what the program says later goes nowhere.
        return self

    def _ready(self, s, timeout):
        s.settimeout(0.1)
        end = time.monotonic() + timeout
        while True:
            try:
                if b"READY=1" in s.recv(4096).split(b"\n"):
                    return
            except socket.timeout:
                pass
            if self.proc.poll() is not None:
                raise AssertionError(f"{self.name} ended with {self.proc.returncode}: {self.said()}")
            if time.monotonic() > end:
                raise AssertionError(f"{self.name} did not say READY=1 within {timeout:g} s: {self.said()}")

    def kill(self):
        """kill -9."""
        if self.running():
            self.proc.kill()
        self.proc.wait(10)

    def stop(self, timeout=15.0):
        """SIGTERM; the exit status must be 0."""
        self.proc.terminate()
        try:
            status = self.proc.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {timeout:g} s: {self.said()}") from None
        if status != 0:
            raise AssertionError(f"{self.name} ended with status {status}: {self.said()}")


class Vnicd:
    """The daemon and the keeper together. conf: the text of /etc/vnicd/vnicd.conf; units: confined as by their
    units; keeper: who runs it, as manager.Manager does, which keeps its descriptors."""

    def __init__(self, conf=CONF, units=False, keeper=None):
        os.makedirs("/etc/vnicd/vnicd.conf.d", mode=0o755, exist_ok=True)
        self.configure(conf)
        self.keeper = keeper or Service("vnicd-datapath", "vnicd-datapath", "--managed", notify=True, unit=units)
        self.daemon = Service("vnicd", "vnicd", notify=True, unit=units)

    @staticmethod
    def configure(conf):
        with open("/etc/vnicd/vnicd.conf", "w", encoding="utf-8") as f:
            f.write(conf)

    def start(self):
        if os.path.exists("/usr/lib/tmpfiles.d/vnicd.conf"):
            run("systemd-tmpfiles", "--create", "/usr/lib/tmpfiles.d/vnicd.conf")
        self.keeper.start()
        self.daemon.start()
        return self

    def stop(self):
        """Both end in an orderly way."""
        self.daemon.stop()
        self.keeper.stop()

    def kill(self):
        for s in (self.daemon, self.keeper):
            if s.running():
                s.kill()

    def workers(self):
        return workers(self.keeper.pid)

    def ctl(self, *args, check=True, timeout=30.0):
        """vnicctl -j …: what it printed, as an object. With check=False (exit status, object or text)."""
        p = run(find("vnicctl"), "-j", *args, check=False, timeout=timeout)
        try:
            out = json.loads(p.stdout)
        except ValueError:
            out = p.stdout + p.stderr
        if not check:
            return p.returncode, out
        if p.returncode != 0:
            raise AssertionError(f"vnicctl {' '.join(args)}: exit {p.returncode}: {p.stdout}{p.stderr}")
        return out

    def ports(self):
        """All ports by MAC."""
        return {p["mac"]: p for p in self.ctl("port", "show")["ports"]}

    def wait_port(self, mac, state="running", timeout=15.0):
        """Until a port is in a state; state None: until it is gone."""
        def look():
            p = self.ports().get(mac)
            return (p is None or None) if state is None else (p if p and p["state"] == state else None)
        return wait_for(f"port {mac} to be {state or 'gone'}", look, timeout, 0.05)

    def wait_connected(self, timeout=15.0):
        """Until vnicd and the keeper have found each other."""
        def connected():
            status, out = self.ctl("status", check=False)
            return status == 0 and out["status"]["datapath_connected"]
        wait_for("vnicd to be connected with the datapath", connected, timeout, 0.02)

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *exc):
        if kind is None:
            self.stop()
        else:
            self.kill()
