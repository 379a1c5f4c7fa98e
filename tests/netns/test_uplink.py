#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""vnicd-datapath's tap: what its other side sees of numbered frames while workers die and the keeper is told
the tap again."""
import fcntl
import os
import re
import signal
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from control_client import Control, Managed, listener, port  # noqa: E402
from datapath import Datapath  # noqa: E402
from net import Wire, ip, quiet  # noqa: E402
from vhost_client import RING, Client, frame  # noqa: E402
from vt import TOP, main, test, wait_for  # noqa: E402

A, OUT = "52:54:00:00:00:0a", "52:54:00:00:00:ff"
KEY = f"11111111-2222-3333-4444-555555555555/{A}"
IN_FLIGHT = 128  # to the guest: less than it has buffers


def constant(file, name):
    with open(f"{TOP}/{file}", encoding="utf-8") as f:
        return int(re.search(rf"^#define\s+{name}\s+(\d+)", f.read(), re.M)[1])


def number(f):
    """Which of the test's frames it is, or None."""
    return int(f[14:24]) if f[12:14] == b"\x88\xb5" else None


class Both:
    """Numbered frames from the guest to the tap and back; each side's numbers as they came."""

    def __init__(self, guest, wire):
        self.guest, self.wire = guest, wire
        self.sent = [0, 0]
        self.out, self.back = [], []

    def take(self):
        while (f := self.wire.receive(0)) is not None:
            if number(f) is not None:
                self.out.append(number(f))
        while (f := self.guest.received()) is not None:
            if number(f) is not None:
                self.back.append(number(f))

    def turn(self, n=64):
        """One burst from the guest, some frames from outside, and all that came."""
        if self.guest.room(n=n):
            self.guest.transmit_all([frame(OUT, A, b"%010d" % (self.sent[0] + i)) for i in range(n)])
            self.sent[0] += n
        if self.sent[1] - len(self.back) < IN_FLIGHT:
            self.wire.send(frame(A, OUT, b"%010d" % self.sent[1]))
            self.sent[1] += 1
        self.take()

    def settle(self):
        """Until the back end has taken all, and all of it is here."""
        wait_for("all frames to be taken", self.guest.completed)
        end = time.monotonic() + 5
        while time.monotonic() < end and (len(self.out) < self.sent[0] or len(self.back) < self.sent[1]):
            self.take()
            time.sleep(0.005)


def new_tap(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH14x", name.encode(), 0x0002 | 0x1000 | 0x4000))
    quiet(name)
    ip("link", "set", name, "up")
    return fd


@test("uplink: a tap that the keeper is told again goes on, no frame is lost or doubled")
def told_again():
    tap = new_tap("t0")
    with Managed() as dp, Control() as c:
        c.hello()
        fields = {"name": "lan", "tap": "t0", "mtu": 1500, "cores": []}
        c.ask("segment-set", [tap], **fields)
        s = listener("/run/a")
        c.ask("port-set", [s.fileno()], **port(KEY))
        s.close()
        with Client("/run/a") as a, Wire("t0") as w:
            a.run()
            traffic, workers, fds = Both(a, w), dp.workers(), None
            for n in range(60):
                for _ in range(5):
                    traffic.turn()
                # By turns with the descriptor, without it, and as another configuration.
                c.ask("segment-set", [tap] if n % 2 else [], **{**fields, "mtu": 1400 + 100 * (n % 3 == 0)})
                if n % 10 == 5:
                    now = [len(os.listdir(f"/proc/{p}/fd")) for p in [dp.pid] + dp.workers()]
                    fds = fds or now
                    assert now == fds, f"descriptors of keeper and worker: {fds}, now {now}"
            traffic.settle()
            assert traffic.out == list(range(traffic.sent[0])), f"{traffic.sent[0]} sent, {len(traffic.out)} out"
            assert traffic.back == list(range(traffic.sent[1])), f"{traffic.sent[1]} sent, {len(traffic.back)} back"
            p = c.ask("port-get", key=KEY)
            assert p["tx_dropped"] == p["rx_dropped"] == 0 and dp.workers() == workers, p
            os.close(tap)
            c.ask("port-del", key=KEY, generation=1)
            c.ask("segment-del", name="lan")
            wait_for("the tap to go with its last descriptor", lambda: not os.path.exists("/sys/class/net/t0"))


@test("uplink: a worker's death under traffic doubles none and loses a burst at most")
def deaths():
    bound = constant("datapath/uplink/tap.h", "UPLINK_BATCH"), constant("datapath/forward/engine.h", "BURST")
    with Datapath([{"name": "a", "mac": A}], uplink="tap=t0") as dp:
        quiet("t0")
        with Client(dp.socket("a")) as a, Wire("t0") as w:
            a.run()
            traffic = Both(a, w)
            wait_for("the first frames", lambda: traffic.turn(1) or traffic.out)
            gone = [0, 0]
            # Killed from outside: for crashes the port would be blamed, and kept out.
            for n in range(10):
                at, old = len(traffic.out), dp.workers()
                wait_for("traffic", lambda: traffic.turn() or len(traffic.out) > at + 500 + 37 * n, 10, 0)
                # In the midst of it: a full ring was just handed over, and it has begun.
                wait_for("all frames to be taken", lambda: traffic.take() or a.completed(), 10, 0)
                at = a.used_index()
                traffic.turn(RING)
                if n % 4:
                    wait_for("its beginning", lambda: a.used_index() != at, 10, 0)
                os.kill(old[0], signal.SIGKILL)
                wait_for("a new worker, under traffic",
                         lambda: traffic.turn() or (dp.workers() and dp.workers() != old), 10, 0)
                begun = len(traffic.out)
                wait_for("frames by the new worker", lambda: traffic.turn() or len(traffic.out) > begun, 10, 0)
                wait_for("all frames to be taken", lambda: traffic.take() or a.completed())
                last = frame(OUT, A, b"%010d" % traffic.sent[0])
                traffic.sent[0] += 1
                a.transmit(last)
                back = frame(A, OUT, b"%010d" % traffic.sent[1])
                traffic.sent[1] += 1
                w.send(back)
                wait_for("what follows it", lambda: traffic.take() or (
                    traffic.out[-1] == traffic.sent[0] - 1 and traffic.back[-1] == traffic.sent[1] - 1))
                for what, got, i in (("to the uplink", traffic.out, 0), ("from the uplink", traffic.back, 1)):
                    assert all(x < y for x, y in zip(got, got[1:])), f"{what}: doubled or out of order"
                    lost = traffic.sent[i] - len(got) - gone[i]
                    assert lost <= bound[i], f"{what}: {lost} frames were lost by a death"
                    gone[i] += lost
            print(f"# {traffic.sent} frames, {gone} lost by 10 deaths", flush=True)


if __name__ == "__main__":
    main()
