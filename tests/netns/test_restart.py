#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The keeper killed and upgraded under a service manager that keeps its descriptors: tests/tables/restart.md."""
# time limit: 420
import mmap
import os
import random
import shutil
import signal
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from control_client import Control, listener, port  # noqa: E402
from datapath import find  # noqa: E402
from fuse_stall import lingering  # noqa: E402
from played import A, B, KEY_A, KEY_B, Stream, UUID, alive, configure, exchange, new_client, states  # noqa: E402
from restartbed import Bed, exchange_one, unmarked  # noqa: E402
from vhost_client import (Client, F_LOG_ALL, F_MQ, F_MRG_RXBUF, F_PROTOCOL, F_VERSION_1, GET_FEATURES,  # noqa: E402
                          GET_PROTOCOL_FEATURES, MEM, NEED_REPLY, P_LOG, P_MQ, P_REPLY_ACK, P_SLOTS, SET_FEATURES, SET_LOG_BASE, SET_MEM_TABLE,
                          SET_OWNER, SET_PROTOCOL_FEATURES, SET_VRING_ADDR, SET_VRING_BASE, SET_VRING_CALL, SET_VRING_ENABLE,
                          SET_VRING_ERR, SET_VRING_KICK, SET_VRING_NUM, VERSION, eventfd, frame, memfd, region, state, table,
                          u64)
from vt import main, test, wait_for  # noqa: E402


def kept(m, n):
    """So many eventfds and memories are in the store."""
    wait_for(f"{n} in the store, there are {m.names()}", lambda: m.count("m") == n, 5)


@test("restart-kill-idle")
def kill_idle():
    with Bed() as (m, a, b):
        def held():
            """The worker is another one each time."""
            return [n if n[0] != "w" else "w" for n in m.names()]
        before = held()
        for n in range(3):
            m.crash()
            exchange(a, b, n)
            wait_for(f"{before}, there is {held()}", lambda: held() == before, 5)
        alive(a, b)
        assert {p["state"] for p in states().values()} == {"running"}


def gap_of(act, limit=0.2, tries=5):
    """The shortest of the longest gaps in a stream: what a loaded machine adds is not the datapath's."""
    best = None
    with Bed() as (m, a, b):
        for _ in range(tries):
            with Stream(a, b) as s:
                act(m)
                time.sleep(0.3)
            print(f"# longest gap {s.gap * 1000:.0f} ms of {s.sent} frames", flush=True)
            best = s.gap if best is None else min(best, s.gap)
            alive(a, b)
            if best < limit:
                return
            time.sleep(2)
    raise AssertionError(f"a gap of {best * 1000:.0f} ms")


@test("restart-kill-traffic")
def kill_traffic():
    gap_of(lambda m: m.crash())


@test("restart-upgrade")
def upgrade():
    """Another program file, as a package's upgrade puts there; the old one is gone by then."""
    where = "/run/new"
    os.makedirs(where, exist_ok=True)

    def act(m):
        new = os.path.join(where, "vnicd-datapath")
        if not os.path.exists(new):
            shutil.copy(find("vnicd-datapath"), new)
        m.upgrade([new, "--managed"])
        assert os.readlink(f"/proc/{m.pid}/exe") == new
        assert all(os.readlink(f"/proc/{w}/exe") == new for w in m.workers())
    gap_of(act)


HANDSHAKE = [
    ("get-features", lambda c: c.ask(GET_FEATURES)),
    ("get-protocol-features", lambda c: c.ask(GET_PROTOCOL_FEATURES)),
    ("set-protocol-features", lambda c: protocol_features(c)),
    ("set-owner", lambda c: c.do(SET_OWNER)),
    ("early-call", lambda c: c.do(SET_VRING_CALL, u64(0), [c.keep(eventfd())])),
    ("early-err", lambda c: c.do(SET_VRING_ERR, u64(0), [c.keep(eventfd())])),
    ("set-features", lambda c: c.do(SET_FEATURES, u64(F_VERSION_1 | F_MRG_RXBUF | F_PROTOCOL))),
    ("memory", lambda c: c.memory()),
    *[(f"{name}-{i}", fn) for i in (0, 1) for name, fn in (
        ("num", lambda c, i=i: c.do(SET_VRING_NUM, state(i, 256))),
        ("base", lambda c, i=i: c.do(SET_VRING_BASE, state(i, 0))),
        ("addr", lambda c, i=i: c.do(SET_VRING_ADDR, c.ring_addr(i))),
        ("call", lambda c, i=i: c.prepare(i)),
        ("kick", lambda c, i=i: start_one(c, i)),
        ("enable", lambda c, i=i: c.do(SET_VRING_ENABLE, state(i, 1))))],
]


def protocol_features(c):
    """This message has no answer: the next one's says that it was worked off."""
    c.send(SET_PROTOCOL_FEATURES, u64(P_REPLY_ACK | P_LOG | P_MQ | P_SLOTS))
    c.ask(GET_FEATURES)


def start_one(c, i):
    c.taken[i] = 0
    if i == 0:
        c.post(0)
    c.start_ring(i)


@test("restart-handshake-each")
def handshake_each():
    """Killed after each message: once it was answered it is not forgotten."""
    with Bed() as (m, a, b):
        a.close()
        a = Client("/run/a")
        for name, step in HANDSHAKE:
            step(a)
            unmarked()
            m.crash()
            alive(a, b)
        a.features = F_VERSION_1 | F_MRG_RXBUF
        exchange(a, b)


@test("restart-handshake-unanswered")
def handshake_unanswered():
    """Killed right after a message has been sent: the connection goes on, or is closed and another one works."""
    went_on = 0
    with Bed() as (m, a, b):
        for n in range(len(HANDSHAKE)):
            a.close()
            kept(m, 5)
            a = Client("/run/a")
            a.features = F_VERSION_1 | F_MRG_RXBUF
            for _, step in HANDSHAKE[:n]:
                step(a)
            try:
                interrupted(m, lambda a=a, n=n: HANDSHAKE[n][1](a), 0.0001 * (n % 5))
                for _, step in HANDSHAKE[n + 1:]:
                    step(a)
                exchange(a, b, n)
                went_on += 1
            except TimeoutError:
                raise AssertionError(f"{HANDSHAKE[n][0]} was never answered, and the connection stands") from None
            except OSError:
                a = new_client(a, "/run/a")
                exchange(a, b, n)
            alive(b)
        a.close()
    print(f"# {went_on} of {len(HANDSHAKE)} connections went on")


def interrupted(m, step, after):
    """A step of a front end; the keeper is killed meanwhile, and another one started."""
    error = []

    def work():
        try:
            step()
        except Exception as e:  # noqa: raised again below
            error.append(e)
    t = threading.Thread(target=work, daemon=True)
    t.start()
    time.sleep(after)
    m.crash()
    t.join(10)
    if error:
        raise error[0]


@test("restart-half-message")
def half_message():
    with Bed() as (m, a, b):
        a.raw(struct.pack("<III", SET_FEATURES, VERSION, 8) + bytes(3))
        time.sleep(0.05)
        m.crash()
        assert a.dropped(), "the rest of a lost message is waited for"
        assert "middle of a request" in states()[KEY_A]["reason"]
        a = new_client(a, "/run/a")
        exchange(a, b)
        a.close()
        alive(b)


@test("restart-answer-owed")
def answer_owed():
    """The store has not got the message's descriptor yet: no answer, and after a kill no connection."""
    with Bed() as (m, a, b):
        m.hold = True
        time.sleep(0.1)
        fd = a.keep(eventfd())
        a.send(SET_VRING_CALL, u64(0), [fd], VERSION | NEED_REPLY)
        a.sock.settimeout(0.3)
        try:
            a.reply()
            raise AssertionError("answered before it was stored")
        except TimeoutError:
            pass
        m.kill()
        m.hold = False
        m.again()
        assert a.dropped()
        a = new_client(a, "/run/a")
        exchange(a, b)
        a.close()
        alive(b)


@test("restart-manager-late")
def manager_late():
    """A manager that does nothing for a while holds nobody up for longer than a second; then it has all."""
    with Bed() as (m, a, b):
        m.hold = True
        time.sleep(0.1)
        start = time.monotonic()
        for _ in range(5):
            a.do(SET_VRING_CALL, u64(0), [a.keep(eventfd())])
        took = time.monotonic() - start
        assert 0.5 < took < 2.5, f"{took:.2f} s"
        exchange(a, b)
        n = m.barriers
        m.hold = False
        wait_for("the store", lambda: m.barriers > n)
        unmarked()
        m.crash()
        exchange(a, b)
        alive(a, b)


@test("restart-manager-refuses")
def manager_refuses():
    """A store smaller than we think: what is not in it is seen at the restart, and costs a reconnect."""
    with Bed(limit=14) as (m, a, b):
        assert m.refused and {r[1] for r in m.refused} == {"full"}, m.refused
        m.limit = 16384
        m.crash()
        configure()
        for c, name in ((a, "a"), (b, "b")):
            if c.dropped(0.2):
                c.close()
                c.__init__(f"/run/{name}")
                c.run()
        exchange(a, b)
        m.crash()
        exchange(a, b)
        alive(a, b)


@test("restart-nothing-left")
def nothing_left():
    """What hangs up, is replaced or deleted leaves the store."""
    with Bed(run=False) as (m, a, b):
        # Shared states, listeners and connections; what each port and the segment saved; the worker; the keeper's own.
        wait_for("both to be there", lambda: [m.count(x) for x in "fpswkcm"] == [7, 2, 1, 1, 1, 1, 0], 5)
        empty = m.names()
        for _ in range(3):
            a.run()
            kept(m, 5)
            for _ in range(20):
                a.do(SET_VRING_CALL, u64(0), [a.keep(eventfd())])
                a.do(SET_VRING_CALL, u64(0), [a.fds[-1]])
            a.do(SET_VRING_CALL, u64(0x100))
            kept(m, 4)
            unmarked()
            m.crash()
            a.close()
            kept(m, 0)
            a.__init__("/run/a")
        wait_for("the store", lambda: len(m.names()) == len(empty))
        b.close()
        a.run()
        with Control() as c:
            c.hello()
            for key in (KEY_A, KEY_B):
                c.ask("port-del", key=key, generation=1)
            c.ask("segment-del", name="lan")
        wait_for("the store", lambda: [n[0] for n in m.names()] == ["c", "k"])
        assert not m.refused, m.refused
        m.crash()
        assert states() == {}


@test("restart-shared-memory")
def shared_memory():
    """Two NICs of one guest: its memory is in the store once, and until the last of them is gone."""
    with Bed(run=False) as (m, a, b):
        a.run()
        b.negotiate()
        b.memfd = a.memfd
        b.mem = mmap.mmap(a.memfd, MEM)
        b.words = memoryview(b.mem).cast("H")
        half = MEM // 2
        b.do(SET_MEM_TABLE, table(region(0, half), region(half, half, offset=half)), [a.memfd, a.memfd])
        kept(m, 5)
        a.close()
        kept(m, 1)
        b.start()
        a.__init__("/run/a")
        a.run()
        unmarked()
        m.crash()
        exchange(a, b)
        assert not m.refused, m.refused


@test("restart-same-eventfd")
def same_eventfd():
    """One eventfd for all rings and uses."""
    with Bed(run=False) as (m, a, b):
        b.run()
        a.negotiate().memory()
        ev = a.keep(eventfd())
        for i in (0, 1):
            a.prepare(i)
            a.do(SET_VRING_CALL, u64(i), [ev])
            a.do(SET_VRING_ERR, u64(i), [ev])
            start_one(a, i)
            a.kick[i] = ev
            a.do(SET_VRING_KICK, u64(i), [ev])
            a.do(SET_VRING_ENABLE, state(i, 1))
        kept(m, 5 + 2)
        unmarked()
        m.crash()
        alive(a, b)
        a.do(SET_VRING_ERR, u64(0x101))
        kept(m, 5 + 2)
        assert not m.refused, m.refused


@test("restart-front-end-gone")
def front_end_gone():
    """A guest ends while no keeper runs: its memory does not stay."""
    with Bed() as (m, a, b):
        m.kill()
        a.close()
        m.again()
        kept(m, 5)
        assert states()[KEY_A]["state"] == "listening" and states()[KEY_B]["state"] == "running"
        a.__init__("/run/a")
        a.run()
        exchange(a, b)


@test("restart-knocking")
def knocking():
    """Who connects while no keeper runs waits, and is served."""
    with Bed() as (m, a, b):
        a.close()
        kept(m, 5)
        m.kill()
        a.__init__("/run/a")
        m.again()
        a.run()
        exchange(a, b)


@test("restart-multiqueue")
def multiqueue():
    with Bed(run=False, queues=8) as (m, a, b):
        for c in (a, b):
            c.negotiate(F_VERSION_1 | F_MRG_RXBUF | F_MQ).memory(64 << 20)
        a.start(16)
        b.start(16)
        kept(m, 2 * (32 + 1))
        unmarked()
        m.crash()
        exchange(a, b)
        alive(a, b)
        assert {p["queues_active"] for p in states().values()} == {8}


@test("restart-dirty-log")
def dirty_log():
    """A migration goes on: what is written after the restart is logged in the same bitmap."""
    with Bed() as (m, a, b):
        size = MEM // 4096 // 8
        fd = b.keep(memfd(size))
        b.ask(SET_LOG_BASE, struct.pack("<QQ", size, 0), [fd])
        for i in (0, 1):
            b.do(SET_VRING_ADDR, b.ring_addr(i, 1))
        b.do(SET_FEATURES, u64(b.features | F_LOG_ALL))
        unmarked()
        m.crash()
        assert states()[KEY_B]["logging"]
        log = mmap.mmap(fd, size)
        log[:] = bytes(size)
        f = frame(B, A, b"logged")
        a.transmit(f)
        b.wait_frame(f)
        wait_for("pages of payload and used ring", lambda: sum(x.bit_count() for x in log[:]) >= 2)
        alive(a, b)
        log.close()


@test("restart-twice")
def twice():
    """A keeper is killed while it takes over, at moments all along its start: the stream goes on."""
    with Bed() as (m, a, b):
        with Stream(a, b) as s:
            for n in range(30):
                m.kill()
                m.paced = False
                m._spawn()
                time.sleep(0.001 * n)
                m.kill()
                m.paced = True
                m.again()
        print(f"# longest gap {s.gap * 1000:.0f} ms")
        alive(a, b)
        assert len(m.workers()) == 1
        assert m.count("w") == 1, m.names()


@test("restart-crash-loop")
def crash_loop():
    """State that kills its keeper: after a few in a row one starts from nothing, and all is made anew."""
    with Bed() as (m, a, b):
        m.paced = False
        for _ in range(7):
            m.crash()
        alive(a, b)
        m.crash()
        assert a.dropped() and b.dropped()
        assert "starts from nothing" in m.said(40).replace("\n", " ")
        assert states() == {}
        wait_for("the store", lambda: [n[0] for n in m.names()] == ["c", "k"])
        configure()
        a, b = new_client(a, "/run/a"), new_client(b, "/run/b")
        exchange(a, b)
        time.sleep(2.2)
        m.crash()
        exchange(a, b)
        alive(a, b)
        a.close()
        b.close()


@test("restart-chaos")
def chaos():
    """Kills at random moments, while one front end comes and goes, and another's stream goes on."""
    rnd = random.Random(os.environ.get("VNICD_SEED", "4"))
    with Bed() as (m, a, b):
        with Control() as c:
            c.hello()
            s = listener("/run/c")
            c.ask("port-set", [s.fileno()], **port(f"{UUID}/52:54:00:00:00:0c"))
            s.close()
        done, lost = threading.Event(), []

        def come_and_go():
            while not done.is_set():
                try:
                    with Client("/run/c") as x:
                        x.run()
                        x.stop_ring(0)
                except (ConnectionError, BrokenPipeError) as e:
                    lost.append(e)
        t = threading.Thread(target=come_and_go, daemon=True)
        t.start()
        with Stream(a, b) as st:
            for _ in range(25):
                time.sleep(rnd.random() * 0.2)
                if rnd.random() < 0.2:
                    m.upgrade()
                else:
                    m.crash()
        done.set()
        t.join(10)
        assert not t.is_alive(), "a front end waits for ever"
        alive(a, b)
        print(f"# {len(lost)} connections of one that comes and goes were closed; longest gap {st.gap * 1000:.0f} ms")
        kept(m, 10)
        assert not m.refused, m.refused


@test("restart-unread-stall")
def unread_stall():
    """A front end leaves unread what makes whoever closes it wait: that is not the service manager."""
    with Bed() as (m, a, b):
        n_fds = len(os.listdir(f"/proc/{m.pid}/fd"))
        s, peer = lingering()
        with peer:
            os.kill(m.pid, signal.SIGSTOP)
            try:
                a.raw(struct.pack("<III", SET_FEATURES, 0, 8) + bytes(8))  # of no version
                a.send(SET_MEM_TABLE, table(region(0, MEM)), [s.fileno()])
                s.close()
            finally:
                os.kill(m.pid, signal.SIGCONT)
            assert a.dropped()
            # Its socket has left the store, which nobody had to wait for; the next one is not served yet.
            kept(m, 5)
            wait_for("the socket to leave the store", lambda: m.count("f") == 6, 5)
            with Client("/run/a") as c:
                c.sock.settimeout(0.3)
                try:
                    c.ask(GET_FEATURES)
                    raise AssertionError("the port serves the next one")
                except TimeoutError:
                    pass
                exchange_one(b)
                peer.close()
                c.sock.settimeout(5)
                assert c.reply()
        a = new_client(a, "/run/a")
        exchange(a, b)
        wait_for("the keeper's descriptors", lambda: len(os.listdir(f"/proc/{m.pid}/fd")) == n_fds, 5)
        a.close()


main()
