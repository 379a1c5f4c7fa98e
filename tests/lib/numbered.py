# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbered frames between a guest and what is behind the uplink, while workers die."""
import os
import re
import signal
import time

from vhost_client import RING, frame
from vt import TOP, wait_for

A, OUT = "52:54:00:00:00:0a", "52:54:00:00:00:ff"
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


def deaths(dp, guest, wire, n_deaths=10):
    """Workers are killed under traffic: each death may cost a burst, and doubles nothing."""
    bound = constant("datapath/uplink/uplink.h", "UPLINK_BATCH"), constant("datapath/forward/engine.h", "BURST")
    traffic = Both(guest, wire)
    wait_for("the first frames", lambda: traffic.turn(1) or traffic.out)
    gone = [0, 0]
    # Killed from outside: for crashes the port would be blamed, and kept out.
    for n in range(n_deaths):
        at, old = len(traffic.out), dp.workers()
        wait_for("traffic", lambda: traffic.turn() or len(traffic.out) > at + 500 + 37 * n, 10, 0)
        # In the midst of it: a full ring was just handed over, and it has begun.
        wait_for("all frames to be taken", lambda: traffic.take() or guest.completed(), 10, 0)
        at = guest.used_index()
        traffic.turn(RING)
        if n % 4:
            wait_for("its beginning", lambda: guest.used_index() != at, 10, 0)
        os.kill(old[0], signal.SIGKILL)
        wait_for("a new worker, under traffic",
                 lambda: traffic.turn() or (dp.workers() and dp.workers() != old), 10, 0)
        begun = len(traffic.out)
        wait_for("frames by the new worker", lambda: traffic.turn() or len(traffic.out) > begun, 10, 0)
        wait_for("all frames to be taken", lambda: traffic.take() or guest.completed())
        guest.transmit(frame(OUT, A, b"%010d" % traffic.sent[0]))
        wire.send(frame(A, OUT, b"%010d" % traffic.sent[1]))
        traffic.sent = [x + 1 for x in traffic.sent]
        wait_for("what follows it", lambda: traffic.take() or (
            traffic.out[-1] == traffic.sent[0] - 1 and traffic.back[-1] == traffic.sent[1] - 1))
        for what, got, i in (("to the uplink", traffic.out, 0), ("from the uplink", traffic.back, 1)):
            assert all(x < y for x, y in zip(got, got[1:])), f"{what}: doubled or out of order"
            lost = traffic.sent[i] - len(got) - gone[i]
            assert lost <= bound[i], f"{what}: {lost} frames were lost by a death"
            gone[i] += lost
    print(f"# {traffic.sent} frames, {gone} lost by {n_deaths} deaths", flush=True)
