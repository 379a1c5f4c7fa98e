# SPDX-License-Identifier: GPL-2.0-or-later
"""vnicd-datapath by itself, without vnicd, as a QEMU user would start it."""
import os
import shutil
import signal
import subprocess
import time

from guest import die_with_me
from vt import wait_for

_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/libexec/vnicd"


def find(program):
    """The installed program's file."""
    path = shutil.which(program, path=_PATH)
    if not path:
        raise AssertionError(f"{program} is not installed: give the sandbox a --stage made by make install")
    return path


def children(pid):
    """The pids of a process's children, zombies left out."""
    out = []
    for p in os.listdir("/proc"):
        if p.isdigit():
            try:
                with open(f"/proc/{p}/stat", encoding="ascii", errors="replace") as f:
                    rest = f.read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(rest[1]) == pid and rest[0] != "Z":
                out.append(int(p))
    return sorted(out)


def workers(keeper):
    """The pids of a keeper's workers. Other children close descriptors that may make them wait."""
    out = []
    for p in children(keeper):
        try:
            with open(f"/proc/{p}/cmdline", "rb") as f:
                if b"--worker" in f.read().split(b"\0"):
                    out.append(p)
        except OSError:
            pass
    return out


class Datapath:
    """ports: dicts of --port's keys (name, socket, mac, vlan, …); uplink: what --uplink takes, as
    "tap=NAME", or None. Restart it with start() after kill_keeper()."""

    def __init__(self, ports, uplink=None, cores=None, args=(), where="/run/datapath"):
        os.makedirs(where, exist_ok=True)
        self.dir = where
        self.log = os.path.join(where, "log")
        self.stats_file = os.path.join(where, "stats")
        self.ports = [dict(p) for p in ports]
        for p in self.ports:
            p.setdefault("socket", os.path.join(where, f"{p['name']}.sock"))
        self.uplink, self.cores, self.args = uplink, cores, list(args)
        self.proc = None

    def socket(self, name):
        return next(p["socket"] for p in self.ports if p["name"] == name)

    def start(self, timeout=10.0):
        argv = [find("vnicd-datapath")]
        for p in self.ports:
            argv += ["--port", ",".join(f"{k}={v}" for k, v in p.items())]
        if self.uplink:
            argv += ["--uplink", self.uplink]
        if self.cores:
            argv += ["--cores", self.cores]
        argv += ["--stats", self.stats_file, *self.args]
        before = {p["socket"]: self._inode(p["socket"]) for p in self.ports}
        with open(self.log, "ab") as log:
            self.proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                         preexec_fn=die_with_me)
        def ready():
            if self.proc.poll() is not None:
                raise AssertionError(f"vnicd-datapath ended with {self.proc.returncode}: {self.said()}")
            # Bound is not yet listening.
            return all(self._inode(s) not in (None, old) and self._listens(s) for s, old in before.items())
        wait_for("vnicd-datapath's sockets", ready, timeout, 0.005)
        wait_for("vnicd-datapath's worker", self.workers, timeout, 0.005)
        return self

    @staticmethod
    def _listens(path):
        """Does a socket listen at path? Its flags say so: __SO_ACCEPTCON of include/linux/net.h."""
        with open("/proc/net/unix", encoding="utf-8") as f:
            return any(x.endswith(" " + path + "\n") and x.split()[3] == "00010000" for x in f)

    @staticmethod
    def _inode(path):
        try:
            return os.stat(path).st_ino
        except OSError:
            return None

    def said(self, lines=12):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return "".join(f.readlines()[-lines:]).strip()

    @property
    def keeper(self):
        return self.proc.pid

    def workers(self):
        return workers(self.proc.pid)

    def kill_worker(self, sig=signal.SIGKILL):
        """Kill a worker and wait for its successor; the pid of that and the seconds it took."""
        old = self.workers()
        start = time.monotonic()
        os.kill(old[0], sig)
        new = wait_for("a new worker", lambda: [p for p in self.workers() if p not in old], 10, 0.001)
        return new[0], time.monotonic() - start

    def kill_keeper(self):
        """kill -9; its workers must end with it."""
        workers = self.workers()
        self.proc.kill()
        self.proc.wait(10)
        wait_for("the workers to end after their keeper",
                 lambda: not any(os.path.exists(f"/proc/{p}") for p in workers), 10)

    def stop(self, timeout=10.0):
        """An orderly end: status 0, and no socket file left."""
        self.proc.terminate()
        try:
            status = self.proc.wait(timeout)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
            raise AssertionError(f"vnicd-datapath did not end within {timeout:g} s of SIGTERM: {self.said()}") from None
        if status != 0:
            raise AssertionError(f"vnicd-datapath ended with status {status}: {self.said()}")
        left = [p["socket"] for p in self.ports if os.path.exists(p["socket"])]
        if left:
            raise AssertionError(f"vnicd-datapath left {', '.join(left)}")

    def alive(self):
        """Fails where the keeper died."""
        if self.proc.poll() is not None:
            raise AssertionError(f"vnicd-datapath ended with {self.proc.returncode}: {self.said()}")

    def kill(self):
        if self.proc and self.proc.poll() is None:
            self.kill_keeper()

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *exc):
        if kind is None:
            self.alive()
            self.stop()
        else:
            self.kill()
