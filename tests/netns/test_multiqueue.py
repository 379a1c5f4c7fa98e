#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Queue pairs that are switched off and on under traffic, as a guest's `ethtool -L` does it."""
import os
import random
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from datapath import Datapath  # noqa: E402
from hostile import holdings  # noqa: E402
from vhost_client import (F_MQ, F_MRG_RXBUF, F_VERSION_1, MEM, RING, SET_VRING_ENABLE, Client,  # noqa: E402
                          frame, state)
from vt import main, test, wait_for  # noqa: E402

A, B = "52:54:00:00:00:0a", "52:54:00:00:00:0b"
PAIRS = 4
IN_FLIGHT = RING // PAIRS  # a queue's: one pair of the receiver has room for all
TOGGLES = 300


class Traffic:
    """Numbered frames from each queue of a to b, and what came of each."""

    def __init__(self, a, b):
        self.a, self.b = a, b
        self.sent = [0] * PAIRS
        self.got = [[] for _ in range(PAIRS)]

    def take(self):
        for pair in range(PAIRS):
            while (f := self.b.received(2 * pair)) is not None:
                if f[12:14] == b"\x88\xb5":
                    queue, n = f[14:26].split()
                    self.got[int(queue)].append(int(n))

    def turn(self):
        for q in range(PAIRS):
            n = min(16, IN_FLIGHT - (self.sent[q] - len(self.got[q])))
            if n > 0:
                self.a.transmit_all([frame(B, A, b"%d %010d" % (q, self.sent[q] + i)) for i in range(n)], 2 * q + 1)
                self.sent[q] += n
        self.take()

    def settle(self):
        wait_for("all frames", lambda: self.take() or [len(g) for g in self.got] == self.sent)
        # Not a frame more, after the back end has nothing left.
        wait_for("all to be taken", lambda: all(self.a.completed(2 * q + 1) for q in range(PAIRS)))
        self.take()
        for q, g in enumerate(self.got):
            assert sorted(g) == list(range(self.sent[q])), f"queue {q}: {self.sent[q]} sent, {len(g)} came"
        # It was on all the time, on both sides: no other ring has ever carried it.
        assert self.got[0] == sorted(self.got[0]), "queue 0: out of order"


def switch(c, pair, on, ack):
    """As QEMU: both rings of a pair."""
    for ring in (2 * pair, 2 * pair + 1):
        if ack:
            c.do(SET_VRING_ENABLE, state(ring, on))
        else:
            c.send(SET_VRING_ENABLE, state(ring, on))


def run(c):
    c.negotiate(F_VERSION_1 | F_MRG_RXBUF | F_MQ).memory(4 * MEM).start(2 * PAIRS)


def whole(c):
    """Each buffer of each receive ring is with the back end, once; it returns where that stands."""
    for pair in range(PAIRS):
        ring = 2 * pair
        base = c.stop_ring(ring)
        assert base == c.taken[ring] & 0xFFFF, f"ring {ring} stopped at {base}, {c.taken[ring]} were seen"
        _, a, _ = c.parts(ring)
        assert c._u16(a + 2) == (base + RING) & 0xFFFF, f"ring {ring}: buffers are missing"
        heads = {c._u16(a + 4 + 2 * n) for n in range(RING)}
        assert heads == set(range(RING)), f"ring {ring}: {RING - len(heads)} buffers were given back twice"
        assert c.stop_ring(ring + 1) == c._u16(c.parts(ring + 1)[1] + 2), f"ring {ring + 1} was not taken whole"


def toggled(between):
    """Switch pairs of both sides under traffic; between(dp, i) after each. Queue 0 stays on."""
    seed = int.from_bytes(os.urandom(4), "little")
    print(f"# seed {seed}", flush=True)
    rnd = random.Random(seed)
    with Datapath([{"name": n, "mac": m, "queues": PAIRS} for n, m in (("a", A), ("b", B))]) as dp:
        with Client(dp.socket("a")) as a, Client(dp.socket("b")) as b:
            run(a)
            run(b)
            t = Traffic(a, b)
            for _ in range(20):
                t.turn()
            before = holdings(dp)
            on = {(c, pair): 1 for c in (a, b) for pair in range(1, PAIRS)}
            for i in range(TOGGLES):
                c, pair = rnd.choice(list(on))
                on[c, pair] ^= 1
                switch(c, pair, on[c, pair], i % 2)
                for _ in range(rnd.randrange(3)):
                    t.turn()
                between(dp, i)
                if i % 50 == 49:
                    at = len(t.got[0])
                    wait_for("queue 0 to go on", lambda: t.turn() or len(t.got[0]) > at + IN_FLIGHT, 10, 0)
            for c, pair in on:
                switch(c, pair, 1, True)
            t.settle()
            wait_for(f"descriptors and mappings {before}", lambda: holdings(dp) == before, 5)
            whole(a)
            whole(b)
            print(f"# {t.sent} frames", flush=True)


@test("multiqueue: pairs switched under traffic lose, double and leak nothing")
def pairs():
    toggled(lambda dp, i: None)


@test("multiqueue: nor do they where the worker dies meanwhile")
def pairs_and_deaths():
    def dies(dp, i):
        if i % 60 == 30:
            wait_for("a worker", dp.workers, 10, 0.001)
            os.kill(dp.workers()[0], signal.SIGKILL)
    toggled(dies)


if __name__ == "__main__":
    main()
