# SPDX-License-Identifier: GPL-2.0-or-later
"""Two front ends over a keeper that a manager restarts: what tests/netns/test_restart*.py share."""
import os

from manager import Manager
from played import A, B, configure, exchange
from vhost_client import Client, frame
from vt import wait_for


def unmarked():
    """The keeper has worked off what it read: no state in the store is marked (keeper/saved.c: at byte 20)."""
    wait_for("the keeper to be at rest",
             lambda: all(os.pread(fd, 4, 20) == bytes(4) for fd in current.fds("p")), 5, 0.001)


current = None


class Bed:
    """Two front ends over a keeper under a manager."""

    def __init__(self, run=True, queues=1, **more):
        self.run, self.queues, self.more = run, queues, more

    def __enter__(self):
        global current
        self.m = current = Manager(**self.more).__enter__()
        try:
            configure(queues=self.queues)
            self.a, self.b = Client("/run/a"), Client("/run/b")
            if self.run:
                self.a.run()
                self.b.run()
                exchange(self.a, self.b)
                unmarked()
        except BaseException:
            self.m.end()
            raise
        return self.m, self.a, self.b

    def __exit__(self, kind, *exc):
        for c in (self.a, self.b):
            c.close()
        if kind is not None:
            print("# " + self.m.said(25).replace("\n", "\n# "))
        self.m.end()


def exchange_one(c):
    """Its ring is worked: a frame is taken."""
    c.transmit(frame(A, B, b"taken"))
    wait_for("the frame to be taken", c.completed)
