#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Front ends that misbehave, against the real vnicd-datapath: rings, features, the log, and what is not refused at
once (tests/tables/hostile-vhost-user.md). How a case is judged: test_vhost_hostile.py."""
import json
import os
import select
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from hostile import A, BAD, bed, end, hostile, log_since, others_work, ready, run_all, setup, survives  # noqa: E402
from vhost_client import *  # noqa: E402,F403
from vhost_client import Client, addr, eventfd, frame, memfd, region, state, table, u64  # noqa: E402
from vt import test, wait_for  # noqa: E402


# rings

for _num in (0, 3, 65535, 8192, 2**31):
    @hostile(f"ring of {_num} entries", "not a power of two up to")
    def _(c, num=_num):
        ready(c).send(SET_VRING_NUM, state(0, num))


for _index in (16, 255, 2**32 - 1):
    @hostile(f"size of ring {_index}", f"there is no ring {_index}")
    def _(c, index=_index):
        ready(c).send(SET_VRING_NUM, state(index, 256))


@hostile("address of ring 16", "there is no ring 16")
def _(c):
    ready(c).send(SET_VRING_ADDR, addr(16, UVA, UVA, UVA))


@hostile("kick of ring 255", "there is no ring 255")
def _(c):
    ready(c).send(SET_VRING_KICK, u64(255), [c.keep(eventfd())])


@hostile("base of ring 2^31", "there is no ring 2147483648")
def _(c):
    ready(c).send(GET_VRING_BASE, state(2**31, 0))


@hostile("enable of ring 99", "there is no ring 99")
def _(c):
    ready(c).send(SET_VRING_ENABLE, state(99, 1))


@hostile("base beyond 65535", "no split ring's index")
def _(c):
    ready(c).send(SET_VRING_BASE, state(0, 65536))


@hostile("unaligned ring", "is not aligned")
def _(c):
    ready(c).send(SET_VRING_ADDR, addr(0, UVA + 8, UVA + 0x4000, UVA + 0x8000))


@hostile("ring outside of memory", "lies outside of the memory")
def _(c):
    ready(c).prepare(0)
    c.do(SET_VRING_ADDR, addr(0, UVA + 16 * MEM, UVA + 0x4000, UVA + 0x8000))
    c.send(SET_VRING_KICK, u64(0), [c.keep(eventfd())])


@hostile("ring that ends behind memory", "lies outside of the memory")
def _(c):
    ready(c).prepare(0)
    c.do(SET_VRING_ADDR, addr(0, UVA, UVA + 0x4000, UVA + MEM - 1024))
    c.send(SET_VRING_KICK, u64(0), [c.keep(eventfd())])


@hostile("ring address that wraps", "lies outside of the memory")
def _(c):
    ready(c).prepare(0)
    c.do(SET_VRING_ADDR, addr(0, 2**64 - 16, UVA + 0x4000, UVA + 0x8000))
    c.send(SET_VRING_KICK, u64(0), [c.keep(eventfd())])


@hostile("kick before memory", "before memory is told")
def _(c):
    c.negotiate().send(SET_VRING_KICK, u64(0), [c.keep(eventfd())])


@hostile("size of a running ring", "ring 0 is running")
def _(c):
    c.run().send(SET_VRING_NUM, state(0, 128))


@hostile("base of a running ring", "ring 0 is running")
def _(c):
    c.run().send(SET_VRING_BASE, state(0, 100))


@hostile("address of a running ring", "only its log flag may change")
def _(c):
    c.run().send(SET_VRING_ADDR, addr(0, UVA + 0x80000, UVA + 0x84000, UVA + 0x88000))


# features

@hostile("features that were not offered", "was not offered")
def _(c):
    c.ask(GET_FEATURES)
    c.send(SET_FEATURES, u64(F_VERSION_1 | 1 << 33))


@hostile("protocol features that were not offered", "was not offered")
def _(c):
    c.ask(GET_FEATURES)
    c.send(SET_PROTOCOL_FEATURES, u64(1 << 5))


@hostile("features changed while running", "only LOG_ALL may")
def _(c):
    c.run().send(SET_FEATURES, u64(F_VERSION_1))


@hostile("a message whose feature was not negotiated", "was not negotiated")
def _(c):
    c.ask(GET_FEATURES)
    c.send(SEND_RARP, u64(0))


@hostile("GET_INFLIGHT_FD", "GET_INFLIGHT_FD: this was never offered")
def _(c):
    ready(c).send(GET_INFLIGHT_FD, struct.pack("<QQHH4x", 0, 0, 65535, 65535))


@hostile("SET_INFLIGHT_FD with mismatched counts", "SET_INFLIGHT_FD: this was never offered")
def _(c):
    ready(c).send(SET_INFLIGHT_FD, struct.pack("<QQHH4x", 4096, 0, 9, 3), [c.keep(memfd(4096))])


@hostile("MTU of 0", "between 68 and 65535")
def _(c):
    c.negotiate(proto=P_REPLY_ACK | P_MTU).send(NET_SET_MTU, u64(0))


# the log

@hostile("log smaller than memory", "the log covers")
def _(c):
    ready(c).send(SET_LOG_BASE, struct.pack("<QQ", MEM // 4096 // 8 - 1, 0), [c.keep(memfd(4096))])


@hostile("log larger than its file", "SET_LOG_BASE: the file has")
def _(c):
    ready(c).send(SET_LOG_BASE, struct.pack("<QQ", 1 << 30, 0), [c.keep(memfd(4096))])


@hostile("log offset wraps", "wraps")
def _(c):
    ready(c).send(SET_LOG_BASE, struct.pack("<QQ", 4096, 2**64 - 4096), [c.keep(memfd(4096))])


@hostile("log is a pipe", "SET_LOG_BASE: the descriptor is not a memfd")
def _(c):
    r, w = os.pipe()
    c.keep(r), c.keep(w)
    ready(c).send(SET_LOG_BASE, struct.pack("<QQ", 4096, 0), [r])


@hostile("log too small for a used ring's address", "ends before the used ring")
def _(c):
    c.run()
    c.do(SET_VRING_ADDR, c.ring_addr(0, 1)[:-8] + u64(1 << 40))
    c.ask(SET_LOG_BASE, struct.pack("<QQ", 4096, 0), [c.keep(memfd(4096))])
    c.send(SET_FEATURES, u64(c.features | F_LOG_ALL))


# what is not refused at once

@test("hostile vhost-user: a front end that stops in the middle of a message")
def stalls():
    def case(dp):
        with Client(dp.socket("bad")) as c:
            c.negotiate()
            c.send(SET_MEM_TABLE, table(region(0, MEM))[:20], [c.keep(memfd(MEM))], size=40)
            for _ in range(3):
                time.sleep(0.05)
                others_work()
    survives(case)


@test("hostile vhost-user: a front end that never reads")
def never_reads():
    def case(dp):
        with Client(dp.socket("bad")) as c:
            c.sock.setblocking(False)
            sent = 0
            try:
                while sent < 200000:
                    c.raw(struct.pack("<III", GET_FEATURES, VERSION, 0))
                    sent += 1
            except BlockingIOError:
                pass
            assert sent < 200000, "the keeper goes on reading from one who does not read"
            others_work()
            with open(f"/proc/{dp.keeper}/statm", encoding="ascii") as f:
                assert int(f.read().split()[1]) * 4096 < 64 << 20, "the keeper's memory grows"
    survives(case)


@test("hostile vhost-user: a ring number repeated while stopped is no offence")
def num_repeated():
    def case(dp):
        with Client(dp.socket("bad")) as c:
            ready(c)
            for n in (256, 256, 1024, 64):
                c.do(SET_VRING_NUM, state(0, n))
    survives(case)


@test("hostile vhost-user: a second front end is turned away, the first goes on")
def second():
    def case(dp):
        with Client(dp.socket("bad")) as first:
            first.run()
            with Client(dp.socket("bad")) as c:
                assert c.dropped()
            assert first.ask(GET_FEATURES)
    survives(case)


@test("hostile vhost-user: a front end that hangs up unread is replaced by the next")
def replaced():
    def case(dp):
        for _ in range(20):
            c = Client(dp.socket("bad"))
            c.run()
            c.send(GET_VRING_BASE, state(0, 0))
            c.close()
            with Client(dp.socket("bad")) as d:
                d.run()
    survives(case)


@test("hostile vhost-user: 100 reconnects")
def reconnects():
    def case(dp):
        for i in range(100):
            with Client(dp.socket("bad")) as c:
                if i % 10 == 0:
                    c.run()
                elif i % 10 < 5:
                    c.negotiate()
                elif i % 10 < 8:
                    c.send(GET_FEATURES)
    survives(case)


@test("hostile vhost-user: connects and hangs up without end")
def knocks():
    def case(dp):
        at, end, n = os.path.getsize(dp.log), time.monotonic() + 2, 0
        while time.monotonic() < end:
            try:
                with Client(dp.socket("bad"), timeout=0.05):
                    n += 1
            except (BlockingIOError, TimeoutError):
                pass  # as many as are let wait do
        def served():
            try:
                with Client(dp.socket("bad")) as c:
                    return c.ask(GET_FEATURES)
            except (BlockingIOError, TimeoutError):
                return False
        wait_for("the one that comes after them to be served", served, 30)
        said = log_since(dp, at)
        gone = said.count("port bad: process")
        assert n > 100 and gone <= 20, f"{n} connections, and {gone} lines of them in the log: {said[-2000:]}"
        others_work()
    survives(case)


SLOW = "changes its rings without end, and is read slowly"


@test("hostile vhost-user: calls changed without end")
def changes():
    def case(dp):
        at = os.path.getsize(dp.log)
        with Client(dp.socket("bad")) as c:
            c.run()
            fds = [c.keep(eventfd()) for _ in range(2)]
            start, n = time.monotonic(), 0
            while n < 2500:
                c.do(SET_VRING_CALL, u64(0), [fds[n % 2]])
                n += 1
            took = time.monotonic() - start
            # 500 at once, then 1,000 a second.
            assert took > 1.9, f"{n} were taken within {took:.1f} s"
            others_work()
            assert c.ask(GET_FEATURES)
        assert log_since(dp, at).count(SLOW) == 1, "this is not said once"
    survives(case)


@test("hostile vhost-user: eight queue pairs started again and again are not slowed")
def starts():
    def case(dp):
        at = os.path.getsize(dp.log)
        with Client(dp.socket("bad")) as c:
            ready(c)
            for _ in range(4):
                for i in range(16):
                    c.prepare(i)
                    c.start_ring(i)
                    c.do(SET_VRING_ENABLE, state(i, 1))
                for i in range(16):
                    c.stop_ring(i)
        assert SLOW not in log_since(dp, at), "a front end that behaves is slowed"
    time.sleep(1)  # what the tests before have spent
    survives(case)


def full_call(blocking):
    """A call that cannot be written to: frames go on; the guest finds them without it."""
    def case(dp):
        with Client(dp.socket("bad")) as c:
            c.run()
            others_work()
            if select.select([c.call[0]], [], [], 0)[0]:
                os.eventfd_read(c.call[0])
            os.eventfd_write(c.call[0], 2**64 - 2)
            os.set_blocking(c.call[0], blocking)
            for n in range(3):
                f = frame(BAD, A, b"who calls? %d" % n)
                bed["a"].transmit(f)
                c.wait_frame(f)
    survives(case)


@test("hostile vhost-user: call eventfd that is full")
def full_call_nonblocking():
    full_call(False)


@test("hostile vhost-user: call eventfd that is full, made blocking again")
def full_call_blocking():
    full_call(True)


def state_of(dp, name="bad"):
    with open(dp.stats_file, encoding="utf-8") as f:
        return next(p for p in json.load(f)["ports"] if p["name"] == name)


def costs_a_worker(touch, reason):
    """touch(c) makes the worker touch what front end c took from it: it is replaced on that port's account, and its
    successor refuses the port for that reason. Nobody else may notice, no other connection may end."""
    end()  # what this process cost before counts, too
    dp = setup()
    at, old = os.path.getsize(dp.log), dp.workers()
    others_work()
    with Client(dp.socket("bad")) as c:
        c.run()
        touch(c)
        assert c.dropped(), "the connection is still open"
        wait_for("the worker to be replaced", lambda: dp.workers() and dp.workers() != old)
    others_work()
    said = log_since(dp, at)
    assert "ended by signal 7 " in said and said.count("took over") == 1, said
    assert f"port bad: process {os.getpid()} is disconnected: the worker refuses it: {reason}" in said, said
    wait_for("the port to be blamed", lambda: state_of(dp)["restarts"] == 1)
    for other in ("a", "b"):
        assert state_of(dp, other)["restarts"] == 0, state_of(dp, other)
    end()


@test("hostile vhost-user: memory truncated after it was mapped")
def truncated():
    def touch(c):
        os.ftruncate(c.memfd, 0)
        os.eventfd_write(c.kick[1], 1)
    costs_a_worker(touch, "a memory region reaches past the end of its file")


@test("hostile vhost-user: memory truncated, and another port's frame is for it")
def truncated_receiver():
    def touch(c):
        # Of its buffers only: the worker is at port a's frame when it meets them.
        os.ftruncate(c.memfd, BUFS)
        bed["a"].transmit(frame(BAD, A, b"into nothing"))
    costs_a_worker(touch, "a memory region reaches past the end of its file")


@test("hostile vhost-user: log truncated after it was mapped")
def log_truncated():
    def touch(c):
        log = c.keep(memfd(4096))
        c.ask(SET_LOG_BASE, struct.pack("<QQ", 4096, 0), [log])
        c.do(SET_FEATURES, u64(c.features | F_LOG_ALL))
        os.ftruncate(log, 0)
        bed["a"].transmit(frame(BAD, A, b"into the log"))
    costs_a_worker(touch, "the dirty log's size or offset does not fit its file")


@test("hostile vhost-user: a port that cost two workers is kept out, alone")
def quarantine():
    end()
    dp = setup()
    others_work()
    for _ in range(2):
        with Client(dp.socket("bad")) as c:
            c.run()
            os.ftruncate(c.memfd, 0)
            os.eventfd_write(c.kick[1], 1)
            others_work()
            time.sleep(0.1)
    wait_for("quarantine", lambda: state_of(dp)["state"] == "quarantined", 5)
    assert "cost two workers" in state_of(dp)["reason"] and state_of(dp)["restarts"] >= 2, state_of(dp)
    workers = dp.workers()
    with Client(dp.socket("bad")) as c:
        c.run()
        assert c.stop_ring(0) == 0, "the front end is still answered"
        os.ftruncate(c.memfd, 0)
        others_work()
    assert dp.workers() == workers, "a worker still meets its memory"
    # Another process is another guest.
    code = "import sys; sys.path.insert(0, sys.argv[1]); from vhost_client import Client; " \
        "c = Client(sys.argv[2]).run(); sys.stdin.read()"
    lib = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib")
    p = subprocess.Popen([sys.executable, "-c", code, lib, dp.socket("bad")], stdin=subprocess.PIPE)
    try:
        wait_for("the end of the quarantine", lambda: state_of(dp)["state"] == "running", 5)
        assert state_of(dp)["reason"] is None, state_of(dp)
    finally:
        p.stdin.close()
        p.wait(10)
    others_work()


if __name__ == "__main__":
    run_all()
