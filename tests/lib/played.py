# SPDX-License-Identifier: GPL-2.0-or-later
"""Two played guests over a managed datapath: what vnicd would say of them, frames between them, a numbered stream."""
import threading
import time

from control_client import Control, listener, port
from vhost_client import RING, Client, frame
from vt import wait_for

UUID = "11111111-2222-3333-4444-555555555555"
A, B = "52:54:00:00:00:0a", "52:54:00:00:00:0b"
KEY_A, KEY_B = (f"{UUID}/{mac}" for mac in (A, B))


def configure(**more):
    """As vnicd would."""
    with Control() as c:
        told = c.hello()
        c.ask("segment-set", name="lan", tap=None, mtu=1500, cores=[])
        has = {e["key"] for e in told if e["event"] == "port" and e["has_listener"]}
        for key, name in ((KEY_A, "a"), (KEY_B, "b")):
            if key in has:
                c.ask("port-set", **port(key, **more))
                continue
            s = listener(f"/run/{name}")
            c.ask("port-set", [s.fileno()], **port(key, **more))
            s.close()
        return told


def states():
    """What the keeper says of its ports."""
    with Control() as c:
        return {e["key"]: e for e in c.hello() if e["event"] == "port"}


def exchange(a, b, n=0):
    for src, dst, f in ((a, b, frame(B, A, b"to b %d" % n)), (b, a, frame(A, B, b"to a %d" % n))):
        src.transmit(f)
        dst.wait_frame(f)


def alive(*clients):
    """Their connections stand."""
    for c in clients:
        assert not c.dropped(0.05), "a connection was closed"


def new_client(old, path):
    old.close()
    c = Client(path)
    c.run()
    return c


class Stream:
    """Numbered frames from one front end to another, received by this thread: what came, and the longest gap."""

    def __init__(self, src, dst, rate=500):
        self.src, self.dst, self.rate = src, dst, rate
        self.sent, self.got, self.gap, self.gap_at = 0, [], 0.0, 0.0
        self.end = False
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        last = start = time.monotonic()
        while not self.end or (len(self.got) < self.sent and time.monotonic() - last < 3):
            now = time.monotonic()
            # Never more on the way than the receiver has buffers: what finds none is dropped, and rightly.
            if (not self.end and self.sent < (now - start) * self.rate and self.sent - len(self.got) < RING // 2):
                self.src.transmit(frame(B, A, b"stream %08d" % self.sent))
                self.sent += 1
            f = self.dst.received()
            if f is None:
                time.sleep(0.0003)
                continue
            if f[14:21] == b"stream ":
                self.got.append(int(f[21:29]))
                if now - last > self.gap and len(self.got) > 1:
                    self.gap = now - last
                last = now

    def __enter__(self):
        self.thread.start()
        wait_for("the stream", lambda: len(self.got) > 20)
        return self

    def __exit__(self, kind, *exc):
        self.end = True
        self.thread.join(10)
        if kind is None:
            lost = set(range(self.sent)) - set(self.got)
            assert self.got == sorted(set(self.got)), "frames were doubled or came in another order"
            assert not lost, f"{len(lost)} of {self.sent} frames were lost: {sorted(lost)[:10]}"
