#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The test bed itself, on plain taps and a bridge: if one of these fails, blame no scenario."""
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from guest import WIRE, Failed, Guest, start_all, tap  # noqa: E402
from net import Bridge, eth, judged  # noqa: E402
from vt import main, test  # noqa: E402

A, B = "52:54:00:00:00:0a", "52:54:00:00:00:0b"
bed = {}


def setup():
    """Two guests on a bridge with a namespace behind it; made once."""
    if not bed:
        br = Bridge("br0", "10.9.0.254/24")
        bed["out"] = br.outside("out", "10.9.0.9/24")
        for t in ("t1", "t2", "t3"):
            br.tap(t)
        bed["br"] = br
        a, b = Guest("a", [tap(A, "t1")]), Guest("b", [tap(B, "t2")])
        start_all(a, b)
        a.ip("10.9.0.1/24")
        b.ip("10.9.0.2/24")
        bed["a"], bed["b"] = a, b
    return bed["br"], bed["out"], bed["a"], bed["b"]


@test("harness: guests reach each other, the host and the outside")
def reach():
    _, out, a, _ = setup()
    for to in ("10.9.0.2", "10.9.0.254", "10.9.0.9"):
        a.ping(to)
    out.run("ping", "-c", "1", "-w", "5", "10.9.0.1")


@test("harness: a command's status, output and time limit")
def commands():
    _, _, a, _ = setup()
    assert a.run("echo out; echo err >&2; exit 3") == (3, "out\nerr\n")
    big = a.sh("seq 1 20000")
    assert big.split() == [str(i) for i in range(1, 20001)], "output was torn"
    assert a.run("sleep 60", timeout=1)[0] == 137
    try:
        a.sh("false")
    except Failed:
        pass
    else:
        raise AssertionError("a failing command did not raise")
    a.bg("sleep 0.3; echo late; exit 5", "/tmp/x")
    assert a.bg_wait("/tmp/x") == (5, "late")


@test("harness: a count of frames tells lost, doubled, late and torn ones")
def count():
    _, out, a, _ = setup()
    with out.wire() as w:
        a.bg("wire count eth0 3 7", "/tmp/c")
        a.sh("until grep -q listening /tmp/c; do usleep 10000; done")
        frames = []
        for seq in range(10):
            body = bytes((seq * 167 + i * 13 + (i >> 8)) & 255 for i in range(22, 60))
            frames.append(eth(A, out.mac, struct.pack("!HHI", 7, 60, seq) + body))
        frames[5] = frames[5][:40] + b"!" + frames[5][41:]
        for i in (0, 1, 2, 2, 4, 3, 5, 7, 8, 9):
            w.send(frames[i])
    got = judged(a.bg_wait("/tmp/c")[1])
    want = {"got": 8, "lost": 2, "doubled": 1, "late": 1, "torn": 1}
    assert {k: got[k] for k in want} == want, got


@test("harness: expect_none fails when a frame comes")
def none():
    _, out, a, _ = setup()
    with out.wire() as w:
        a.sh("wire send eth0 ffffffffffff52540000000a88b5cafebabe")
        w.expect("broadcast", bytes.fromhex("cafebabe"))
        a.sh("wire send eth0 ffffffffffff52540000000a88b5cafebabe")
        try:
            w.expect_none("broadcast", bytes.fromhex("cafebabe"))
        except AssertionError:
            pass
        else:
            raise AssertionError("the frame was not seen")
        w.expect_none("frame that nobody sent", bytes.fromhex("deadbeef"), 0.3)


@test("harness: a guest migrates, cancelled and completed, and keeps its stream")
def migrate():
    _, out, a, b = setup()
    assert os.access(WIRE, os.X_OK)
    b.bg("wire count eth0 9", "/tmp/c")
    a.bg(f"wire stream eth0 {B} 500 6 200", "/tmp/s")
    assert a.migrate([tap(A, "t3")], cancel=True)["status"] == "cancelled"
    a.migrate([tap(A, "t3")])
    got = judged(b.bg_wait("/tmp/c")[1])
    sent = judged(a.sh("cat /tmp/s"))
    assert got["got"] == sent["sent"] > 1000 and got["torn"] == got["doubled"] == 0, (got, sent)
    out.run("ping", "-c", "1", "-w", "5", "10.9.0.1")


main()
