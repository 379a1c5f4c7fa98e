# SPDX-License-Identifier: GPL-2.0-or-later
"""Traffic that knows what must arrive: files by their hash, a TCP connection whose echo is compared, a
numbered stream of frames."""
import hashlib
import os
import random
import socket
import threading
import time

from net import enter_ns, judged
from vt import wait_for


def _listen(guest, port, out):
    """Hash what comes in on a TCP port of a guest. The listener's own input must stay open: at its end
    nc would close the connection in the sender's face."""
    guest.sh("[ -p /tmp/hold ] || mkfifo /tmp/hold")
    guest.bg(f"nc -l -p {port} <>/tmp/hold | sha256sum", out)
    wait_port(guest, port)


def wait_port(guest, port):
    guest.sh(f"until grep -q ':{port:04X} 0*:0000 0A' /proc/net/tcp /proc/net/tcp6; do usleep 10000; done")


def file_between(src, dst, address, size=4 << 20, port=5000, timeout=60.0):
    """Send a random file from guest to guest over TCP; the receiver's hash must be the sender's. Returns
    MB/s."""
    src.sh(f"[ -e /tmp/f.{size} ] || head -c {size} /dev/urandom >/tmp/f.{size}", timeout)
    want = src.sh(f"sha256sum </tmp/f.{size}", timeout)
    _listen(dst, port, f"/tmp/in.{port}")
    start = time.monotonic()
    src.sh(f"nc -w 5 {address} {port} </tmp/f.{size}", timeout)
    status, got = dst.bg_wait(f"/tmp/in.{port}", timeout)
    assert status == 0 and got == want, f"{src.name} -> {dst.name}: sent {want}, received {got}"
    return size / 1e6 / (time.monotonic() - start)


def file_to_host(guest, address, size=4 << 20, port=5001, timeout=60.0):
    """Send a random file from a guest to a socket of this host."""
    with socket.create_server((address, port)) as srv:
        srv.settimeout(timeout)
        guest.sh(f"head -c {size} /dev/urandom >/tmp/h")
        want = guest.sh("sha256sum </tmp/h").split()[0]
        guest.bg(f"nc -w 5 {address} {port} </tmp/h", "/tmp/h.out")
        c, _ = srv.accept()
        with c:
            c.settimeout(timeout)
            h, n = hashlib.sha256(), 0
            while more := c.recv(1 << 16):
                h.update(more)
                n += len(more)
    assert h.hexdigest() == want, f"{guest.name} -> host: {n} of {size} bytes came, or others than were sent"


def file_from_host(guest, address, size=4 << 20, port=5002, timeout=60.0):
    """Send a random file from this host to a guest."""
    data = os.urandom(size)
    _listen(guest, port, "/tmp/fh")
    with socket.create_connection((address, port), timeout=timeout) as c:
        c.sendall(data)
        c.shutdown(socket.SHUT_WR)
        _, got = guest.bg_wait("/tmp/fh", timeout)
    want = hashlib.sha256(data).hexdigest()
    assert got.split()[0] == want, f"host -> {guest.name}: sent {want}, received {got}"


def echo_server(guest, port=7):
    """A TCP echo server in a guest, for Echo."""
    guest.sh(f"nc -ll -p {port} -e cat </dev/null >/dev/null 2>&1 &")
    wait_port(guest, port)


class Echo:
    """One TCP connection to an echo server, kept busy with random blocks until stop(); every byte that
    comes back is compared. A connection that is reset, ends, or stalls for `patience` is an error. `pause`:
    seconds between two blocks."""

    def __init__(self, address, port=7, ns=None, patience=20.0, pause=0.0):
        self.address, self.port, self.ns, self.patience, self.pause = address, port, ns, patience, pause
        self.bytes = self.rounds = 0
        self.gaps = []  # (monotonic time of the answer, seconds it took), slow ones only
        self.error = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self._thread.start()
        wait_for(f"the first echo from {self.address}", lambda: self.rounds > 3 or self.error, self.patience)
        self.check()
        return self

    def _run(self):
        try:
            if self.ns:
                enter_ns(self.ns)
            rng = random.Random(os.urandom(8))
            with socket.create_connection((self.address, self.port), timeout=self.patience) as s:
                s.settimeout(self.patience)
                while not self._end.is_set():
                    out = rng.randbytes(rng.choice((1, 60, 1400, 9000, 30000)))
                    start = time.monotonic()
                    s.sendall(out)
                    back = b""
                    while len(back) < len(out):
                        more = s.recv(len(out) - len(back))
                        if not more:
                            raise ConnectionError("the other end closed the connection")
                        back += more
                    if back != out:
                        raise AssertionError("the echo differs from what was sent")
                    took = time.monotonic() - start
                    if took > 0.02:
                        self.gaps.append((time.monotonic(), took))
                    self.bytes += len(out)
                    self.rounds += 1
                    time.sleep(self.pause)
        except Exception as e:  # noqa: told by check(), in the test's thread
            self.error = e

    def check(self):
        if self.error:
            raise AssertionError(f"the connection to {self.address} was lost after {self.bytes} bytes: "
                                 f"{self.error!r}")

    def alive(self, timeout=10.0):
        """Until a further block has come back."""
        n = self.rounds
        wait_for(f"an echo from {self.address}", lambda: self.rounds > n + 1 or self.error, timeout)
        self.check()

    def worst(self, since=0.0):
        """The longest round in seconds that ended after that time."""
        return max((g for t, g in self.gaps if t >= since), default=0.0)

    def stop(self):
        self._end.set()
        self._thread.join(self.patience + 5)
        self.check()
        return self


class Stream:
    """A numbered stream of frames from one guest to another; finish() judges it."""

    def __init__(self, src, dst, dst_mac, rate=500, seconds=5.0, length=200, ident=1):
        self.src, self.dst, self.ident = src, dst, ident
        dst.bg(f"wire count eth0 {seconds + 2:g} {ident}", f"/tmp/count.{ident}")
        dst.sh(f"until grep -q listening /tmp/count.{ident}; do usleep 10000; done")
        src.bg(f"wire stream eth0 {dst_mac} {rate} {seconds:g} {length} {ident}", f"/tmp/stream.{ident}")
        self.seconds = seconds

    def stop(self):
        """End both early; the same figures."""
        self.src.sh("killall wire")
        self.dst.sh("sleep 0.2; killall wire")
        return self.finish()

    def finish(self):
        """The figures of `wire count` and `wire stream` together."""
        got = self.dst.bg_wait(f"/tmp/count.{self.ident}", self.seconds + 30)[1]
        sent = self.src.bg_wait(f"/tmp/stream.{self.ident}", self.seconds + 30)[1]
        r = judged(got)
        r.update(judged(sent))
        return r
