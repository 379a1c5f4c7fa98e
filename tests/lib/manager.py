# SPDX-License-Identifier: GPL-2.0-or-later
"""A small service manager for tests: sd_notify(3), a descriptor store, restarts. What systemd does for
vnicd-datapath.service, and nothing else; its rules are those of systemd 252 (src/core/service.c): a descriptor that is
there already is dropped silently, FDSTOREREMOVE= takes all of a name, what hangs up goes unless FDPOLL=0."""
import ctypes
import fcntl
import os
import select
import signal
import socket
import subprocess
import threading
import time

from datapath import find, workers
from guest import die_with_me
from vt import wait_for

HEALTHY = 2.2  # takeover.c's healthy_time, and a bit
_libc = ctypes.CDLL(None, use_errno=True)
SYS_KCMP = {"x86_64": 312, "aarch64": 272}.get(os.uname().machine)


def same_file(a, b):
    """kcmp(2) of two of our descriptors, as systemd compares."""
    return SYS_KCMP is not None and _libc.syscall(SYS_KCMP, os.getpid(), os.getpid(), 0, a, b) == 0


class Manager:
    """Runs a service and keeps its descriptors. hold: while set, no message is worked off."""

    def __init__(self, argv=("vnicd-datapath", "--managed"), limit=16384, restart=0.0, log="/run/datapath.log",
                 where="/run/manager.notify", preexec=None, env=None):
        self.argv, self.limit, self.restart, self.log = list(argv), limit, restart, log
        self.preexec, self.env = preexec, env
        self.path = where
        if os.path.exists(where):
            os.unlink(where)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(where)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.store = []  # (name, fd, polled)
        self.lock = threading.RLock()
        self.proc = None
        self.hold = False
        self.ready = threading.Event()
        self.stopping = False
        self.refused = []  # what a store that is full, or has it already, dropped
        self.starts = self.quick = 0
        self.paced = True  # not so many short lives in a row that the keeper starts from nothing
        self.started = 0.0
        self.barriers = self.puts = 0
        self.wake_r, self.wake_w = os.pipe()
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    # the store

    def _put(self, name, fd, polled):
        if len(self.store) >= self.limit:
            self.refused.append((name, "full"))
            os.close(fd)
            return
        for old, have, _ in self.store:
            if same_file(have, fd):
                self.refused.append((name, old))
                os.close(fd)
                return
        self.puts += 1
        self.store.append((name, fd, polled))

    def _remove(self, name):
        for entry in [e for e in self.store if e[0] == name]:
            self.store.remove(entry)
            os.close(entry[1])

    def names(self):
        with self.lock:
            return sorted(e[0] for e in self.store)

    def count(self, letter):
        """How many names begin so."""
        return sum(n.startswith(letter) for n in self.names())

    def fds(self, letter):
        with self.lock:
            return [fd for n, fd, _ in self.store if n.startswith(letter)]

    def replace(self, name, fd):
        """Somebody else's hand in the store: another descriptor under a name; None: none."""
        with self.lock:
            self._remove(name)
            if fd is not None:
                self.store.append((name, fd, False))

    # messages

    def _handle(self, data, fds, pid):
        fields = dict(line.split("=", 1) for line in data.decode().split("\n") if "=" in line)
        if self.proc is None or pid != self.proc.pid:
            pass  # NotifyAccess=main
        elif fields.get("BARRIER") == "1":
            self.barriers += 1
        elif fields.get("FDSTORE") == "1":
            for fd in fds:
                self._put(fields.get("FDNAME", "stored"), fd, fields.get("FDPOLL") != "0")
            return
        elif fields.get("FDSTOREREMOVE") == "1":
            self._remove(fields["FDNAME"])
        elif fields.get("READY") == "1":
            self.ready.set()
        for fd in fds:
            os.close(fd)

    def _work_off(self):
        """All messages that are there."""
        while True:
            try:
                data, fds, anc = self._recv()
            except BlockingIOError:
                return
            self._handle(data, fds, anc)

    def _recv(self):
        data, anc, _, _ = self.sock.recvmsg(4096, 65536, socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC)
        fds, pid = [], 0
        for level, kind, payload in anc:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds = [int.from_bytes(payload[i:i + 4], "little") for i in range(0, len(payload), 4)]
            elif level == socket.SOL_SOCKET and kind == 2:  # SCM_CREDENTIALS
                pid = int.from_bytes(payload[:4], "little")
        return data, fds, pid

    def _listen(self):
        while not self.stopping:
            select.select([] if self.hold else [self.sock], [], [], 0.05)
            with self.lock:
                if not self.hold and not self.stopping:
                    self._work_off()
                    self._drop_hung_up()

    def _drop_hung_up(self):
        for entry in [e for e in self.store if e[2]]:
            p = select.poll()
            p.register(entry[1], 0)
            try:
                gone = any(ev & (select.POLLHUP | select.POLLERR) for _, ev in p.poll(0))
            except OSError:
                gone = False
            if gone:
                self.store.remove(entry)
                os.close(entry[1])

    # the service

    def _spawn(self):
        """Descriptors 3 and up are the store's, in its order; close-on-exec is off there."""
        env = dict(self.env if self.env is not None else os.environ)
        env["NOTIFY_SOCKET"] = self.path
        with self.lock:
            entries = list(self.store)
            high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3 + len(entries)) for _, fd, _ in entries]
        if entries:
            env["LISTEN_FDS"] = str(len(entries))
            env["LISTEN_FDNAMES"] = ":".join(n for n, _, _ in entries)

        def prepare():
            die_with_me()
            if self.preexec:
                self.preexec()
            for i, fd in enumerate(high):
                os.dup2(fd, 3 + i)
        # The pid is known to the child alone: a shell says it, and becomes the service.
        argv = [find(self.argv[0]), *self.argv[1:]]
        if entries:
            argv = ["/bin/sh", "-c", 'export LISTEN_PID=$$; exec "$@"', "sh", *argv]
        self.ready.clear()
        try:
            # What it says is heard once its pid is known.
            with self.lock, open(self.log, "ab") as log:
                self.proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env,
                                             close_fds=False, preexec_fn=prepare)
        finally:
            for fd in high:
                os.close(fd)
        self.starts += 1
        self.started = time.monotonic()

    def start(self, timeout=10.0):
        self._spawn()
        self.wait_ready(timeout)
        return self

    def wait_ready(self, timeout=10.0):
        def ready():
            assert self.proc.poll() is None, f"the service ended with {self.proc.returncode}: {self.said()}"
            return self.ready.is_set()
        wait_for("READY=1", ready, timeout, 0.002)

    def kill(self):
        """kill -9, and no restart yet. Its last messages are worked off before its end is seen, as systemd does."""
        lived = time.monotonic() - self.started
        self.quick = self.quick + 1 if lived < HEALTHY else 0
        if self.paced and self.quick >= 6 and self.running():
            time.sleep(HEALTHY - lived)
            self.quick = 0
        self.proc.kill()
        self.proc.wait(10)
        with self.lock:
            if not self.hold:
                self._work_off()

    def again(self, timeout=10.0):
        """After kill()."""
        time.sleep(self.restart)
        return self.start(timeout)

    def crash(self, timeout=10.0):
        """kill -9 and the restart."""
        self.kill()
        return self.again(timeout)

    def stop_service(self, timeout=10.0):
        """SIGTERM; the store stays, as with `systemctl restart`."""
        self.proc.send_signal(signal.SIGTERM)
        status = self.proc.wait(timeout)
        assert status == 0, f"status {status}: {self.said()}"
        with self.lock:
            self._work_off()

    def upgrade(self, argv=None, timeout=10.0):
        """`systemctl restart`, with another program if argv says so."""
        self.stop_service(timeout)
        if argv:
            self.argv = list(argv)
        return self.start(timeout)

    def said(self, lines=15):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return "".join(f.readlines()[-lines:])

    @property
    def pid(self):
        return self.proc.pid

    def running(self):
        return self.proc is not None and self.proc.poll() is None

    def workers(self):
        return workers(self.proc.pid)

    def stop(self, timeout=10.0):
        """As `systemctl stop`: the service, then the store."""
        self.stop_service(timeout)
        self.end()

    def end(self):
        """All of it, at once; the store goes as with `systemctl stop`."""
        self.stopping = True
        self.thread.join(5)
        if self.running():
            self.proc.kill()
            self.proc.wait(10)
        for _, fd, _ in self.store:
            os.close(fd)
        self.store.clear()
        self.sock.close()

    def __enter__(self):
        os.makedirs("/run/vnicd", exist_ok=True)
        try:
            return self.start()
        except BaseException:
            self.end()
            raise

    def __exit__(self, *exc):
        self.end()
