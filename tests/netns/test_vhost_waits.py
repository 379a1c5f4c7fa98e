#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Front ends that pass descriptors which make whoever looks at them, or closes them, wait: files of a FUSE server
that never answers, sockets that linger. The keeper must go on with the others, and be able to replace a worker."""
import contextlib
import os
import signal
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from fuse_stall import Stall, lingering  # noqa: E402
from hostile import bed, log_since, others_work, ready, run_all, setup  # noqa: E402
from vhost_client import (MEM, NEED_REPLY, P_LOG, P_REPLY_ACK, P_SLOTS, REM_MEM_REG, SET_LOG_BASE,  # noqa: E402
                          SET_LOG_FD, SET_MEM_TABLE, SET_VRING_KICK, VERSION, Client, eventfd, memfd, region, table,
                          u64)
from vt import test, wait_for  # noqa: E402


def keeper_goes_on(dp):
    """The others' frames pass, their front ends are answered, a worker is replaced."""
    others_work()
    bed["a"].do(39, u64(15))  # SET_STATUS
    dp.kill_worker(signal.SIGKILL)
    bed["a"].do(39, u64(15))
    others_work()


def stalls(name, reason):
    """fn(c, stall) passes a descriptor of stall's; the front end is dropped at once, for this reason."""
    def register(fn):
        @test(f"stalling front end: {name}")
        def _():
            dp = setup()
            others_work()
            n_fds = len(os.listdir(f"/proc/{dp.keeper}/fd"))
            at = os.path.getsize(dp.log)
            with Stall() as stall:
                c = Client(dp.socket("bad"))
                try:
                    fn(c, stall)
                    assert c.dropped(), "the connection is still open"
                    assert reason in log_since(dp, at), f"no such reason in the log: {log_since(dp, at)}"
                    keeper_goes_on(dp)
                    # Until they are closed nobody is served there, who might bring more of them.
                    with Client(dp.socket("bad")) as d:
                        d.sock.settimeout(0.3)
                        try:
                            d.ask(1)
                        except TimeoutError:
                            pass
                        else:
                            raise AssertionError("the port serves the next one")
                        keeper_goes_on(dp)
                        stall.end()
                        d.sock.settimeout(5)
                        assert d.reply()
                finally:
                    stall.end()
                    c.close()
            wait_for(f"{n_fds} descriptors as before", lambda: len(os.listdir(f"/proc/{dp.keeper}/fd")) == n_fds, 5)
            others_work()
        return fn
    return register


@stalls("memory is a FUSE file", "SET_MEM_TABLE: the descriptor is not a memfd, tmpfs or hugetlbfs file")
def _(c, stall):
    c.negotiate().send(SET_MEM_TABLE, table(region(0, MEM)), [stall.open()])


@stalls("the second of two regions is a FUSE file", "not a memfd, tmpfs or hugetlbfs file")
def _(c, stall):
    fds = [c.keep(memfd(8192)), stall.open()]
    c.negotiate().send(SET_MEM_TABLE, table(region(0, 8192), region(MEM, 8192)), fds)


@stalls("the log is a FUSE file", "SET_LOG_BASE: the descriptor is not a memfd")
def _(c, stall):
    ready(c).send(SET_LOG_BASE, struct.pack("<QQ", 4096, 0), [stall.open()])


@stalls("a kick is a FUSE file", "SET_VRING_KICK: the descriptor is not an eventfd")
def _(c, stall):
    ready(c).send(SET_VRING_KICK, u64(0), [stall.open()])


@stalls("a FUSE file comes where descriptors are not looked at", "neither memory nor an eventfd")
def _(c, stall):
    c.negotiate(proto=P_REPLY_ACK | P_SLOTS | P_LOG)
    c.send(REM_MEM_REG, u64(0) + region(0, 4096), [stall.open()])


@stalls("SET_LOG_FD with a FUSE file", "neither memory nor an eventfd")
def _(c, stall):
    c.negotiate().send(SET_LOG_FD, b"", [stall.open()], VERSION | NEED_REPLY)


@stalls("a FUSE file opened O_PATH and a real one", "2 descriptors for 1 regions")
def _(c, stall):
    fds = [stall.open(os.O_PATH), stall.open()]
    c.negotiate().send(SET_MEM_TABLE, table(region(0, MEM)), fds)


@stalls("100 FUSE files at once", "more than 8 descriptors")
def _(c, stall):
    c.negotiate().send(SET_MEM_TABLE, table(region(0, MEM)), [stall.open() for _ in range(100)])


@stalls("a message that stops in its middle, with a FUSE file", "hung up in the middle of a message")
def _(c, stall):
    c.negotiate().send(SET_MEM_TABLE, table(region(0, MEM))[:20], [stall.open()], size=40)
    time.sleep(0.1)
    keeper_goes_on(bed["dp"])
    c.sock.shutdown(socket.SHUT_WR)


def lingers(name):
    """fn(c, fd): as above, with a socket whose last holder waits. It ends when the other end does."""
    def register(fn):
        @test(f"stalling front end: {name}")
        def _():
            dp = setup()
            others_work()
            n_fds = len(os.listdir(f"/proc/{dp.keeper}/fd"))
            s, peer = lingering()
            with Client(dp.socket("bad")) as c:
                at = time.monotonic()
                fn(c, s)
                keeper_goes_on(dp)
                assert time.monotonic() - at < 20, "the keeper waited for the socket"
                peer.close()
            with Client(dp.socket("bad")) as d:
                d.run()
            wait_for(f"{n_fds} descriptors as before", lambda: len(os.listdir(f"/proc/{dp.keeper}/fd")) == n_fds, 5)
        return fn
    return register


@contextlib.contextmanager
def unread():
    """The keeper reads nothing meanwhile: we are not the last who close what we send."""
    os.kill(bed["dp"].keeper, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(bed["dp"].keeper, signal.SIGCONT)


@lingers("memory is a socket that lingers")
def _(c, s):
    c.negotiate()
    with unread():
        c.send(SET_MEM_TABLE, table(region(0, MEM)), [s.fileno()])
        s.close()
    assert c.dropped()


@lingers("the last of 20 descriptors is a socket that lingers")
def _(c, s):
    c.negotiate()
    with unread():
        c.send(SET_MEM_TABLE, table(region(0, MEM)), [c.keep(eventfd()) for _ in range(19)] + [s.fileno()])
        s.close()
    assert c.dropped()


@lingers("a socket that lingers is in a message that is never read")
def _(c, s):
    c.negotiate()
    with unread():
        c.send(77)  # for this it is hung up on
        c.send(SET_MEM_TABLE, table(region(0, MEM)), [s.fileno()])
        s.close()
    assert c.dropped()


@lingers("a second front end is turned away with a socket that lingers in its queue")
def _(c, s):
    c.run()
    with unread():
        d = Client(bed["dp"].socket("bad"))
        d.send(SET_MEM_TABLE, table(region(0, MEM)), [s.fileno()])
        s.close()
    assert d.dropped()
    d.close()


if __name__ == "__main__":
    run_all()
