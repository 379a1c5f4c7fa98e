#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""State and descriptors in the store that are not what they should be: tests/tables/restart.md."""
# time limit: 240
import os
import random
import socket
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from control_client import Control  # noqa: E402
from played import KEY_A, KEY_B, alive, configure, exchange  # noqa: E402
from restartbed import Bed, exchange_one, unmarked  # noqa: E402
from vhost_client import eventfd, memfd  # noqa: E402
from vt import main, test, wait_for  # noqa: E402


# State and descriptors that are not what they should be


def recover(m, a, b):
    """Whatever was lost: vnicd tells all again, front ends connect again, and everything works."""
    configure()
    for c, name in ((a, "a"), (b, "b")):
        if c.dropped(0.05):
            c.close()
            c.__init__(f"/run/{name}")
            c.run()
    exchange(a, b)
    unmarked()
    files = len(os.listdir(f"/proc/{m.pid}/fd"))
    assert files < 80, f"the keeper has {files} descriptors"


def each_name(m):
    """One name after the other, as they are then."""
    done = set()
    while True:
        left = [n for n in m.names() if n not in done]
        if not left:
            return
        done.add(left[0])
        yield left[0]


@test("restart-descriptor-missing")
def descriptor_missing():
    with Bed() as (m, a, b):
        for name in each_name(m):
            m.kill()
            m.replace(name, None)
            m.again()
            recover(m, a, b)


STRANGERS = [
    ("/dev/null", lambda: os.open("/dev/null", os.O_RDWR)),
    ("a pipe", lambda: os.pipe()[0]),
    ("a memfd without seals", lambda: memfd(1 << 20)),
    ("an eventfd", eventfd),
    ("a socket", lambda: socket.socket(socket.AF_UNIX).detach()),
    ("a folder", lambda: os.open("/", os.O_RDONLY)),
]


@test("restart-descriptor-foreign")
def descriptor_foreign():
    with Bed() as (m, a, b):
        for i, name in enumerate(each_name(m)):
            m.kill()
            m.replace(name, STRANGERS[i % len(STRANGERS)][1]())
            m.again()
            recover(m, a, b)
            if i > 60:
                break


@test("restart-descriptors-unknown")
def descriptors_unknown():
    """Names that are not the store's, and numbers that nothing refers to."""
    with Bed() as (m, a, b):
        before = m.names()
        m.kill()
        for name in ("stored", "m3fff", "p3ffe", "s3ffd", "f3ffc", "mzz", "x1", "m", "c3ffb", "k3ffa", "f99999"):
            m.replace(name, memfd(4096))
        m.again()
        exchange(a, b)
        alive(a, b)
        wait_for("ours to go", lambda: [n for n in m.names() if n not in before and n[1:2] in ("3",)] == [])
        recover(m, a, b)


HEAD = 64


def fnv(data):
    h = 0xcbf29ce484222325
    for x in data:
        h = ((h ^ x) * 0x100000001b3) & 0xFFFFFFFFFFFFFFFF
    return h


class Saved:
    """A saved state as keeper/saved.c lays it out."""

    def __init__(self, fd):
        self.fd = fd
        _, self.version, self.size, self.current, _ = struct.unpack("<QIIII", os.pread(fd, 24, 0))
        self.at = HEAD + self.current * ((8 + self.size + 63) & ~63)

    def body(self):
        return bytearray(os.pread(self.fd, self.size, self.at + 8))

    def write(self, body):
        os.pwrite(self.fd, struct.pack("<Q", fnv(body)) + bytes(body), self.at)


def other_version(letter):
    with Bed() as (m, a, b):
        m.kill()
        fd = m.fds(letter)[0]
        s = Saved(fd)
        os.pwrite(fd, struct.pack("<I", s.version + 1), 8)
        m.again()
        assert f"version {s.version + 1}" in m.said(), m.said()
        assert a.dropped()
        if letter == "p":
            exchange_one(b)
            alive(b)
        recover(m, a, b)


@test("restart-other-version-port")
def other_version_port():
    other_version("p")


@test("restart-other-version-segment")
def other_version_segment():
    other_version("s")


@test("restart-sum-wrong")
def sum_wrong():
    with Bed() as (m, a, b):
        m.kill()
        s = Saved(m.fds("p")[0])
        body = s.body()
        body[200] ^= 1
        os.pwrite(s.fd, bytes(body), s.at + 8)
        m.again()
        assert "its sum is wrong" in m.said(), m.said()
        assert a.dropped()
        alive(b)
        recover(m, a, b)


@test("restart-hostile-state")
def hostile_state():
    """Bytes changed at random below a right sum, in ports' and segments' states: nobody but their owner is hurt."""
    rnd = random.Random(os.environ.get("VNICD_SEED", "6"))
    with Bed() as (m, a, b):
        for n in range(80):
            m.kill()
            letter = "s" if n % 10 == 9 else "p"
            s = next(s for s in map(Saved, m.fds(letter)) if letter == "s" or s.body().startswith(KEY_A.encode()))
            body = s.body()
            used = [i for i, x in enumerate(body) if x]
            for _ in range(rnd.choice((1, 1, 1, 2, 8, 100))):
                i = rnd.choice(used) if rnd.random() < 0.7 else rnd.randrange(len(body))
                body[i] = rnd.choice((0, 1, 0x7F, 0x80, 0xFF, rnd.randrange(256)))
            s.write(body)
            m.again()
            if letter == "p":
                exchange_one(b)
                alive(b)
            with Control() as c:
                for e in c.hello():
                    if e["event"] == "port" and e["key"] != KEY_B:
                        c.ask("port-del", key=e["key"], generation=1 << 53)
            recover(m, a, b)


@test("restart-shared-state-hostile")
def shared_state_hostile():
    """What a worker may write: the rings' state of a port, the worker's own with its intent."""
    rnd = random.Random(os.environ.get("VNICD_SEED", "7"))
    with Bed() as (m, a, b):
        for n in range(30):
            m.kill()
            for fd in m.fds("f"):
                if "vnicd-" not in os.readlink(f"/proc/self/fd/{fd}"):
                    continue
                for _ in range(50):
                    os.pwrite(fd, rnd.randbytes(8), rnd.choice((rnd.randrange(4096), rnd.randrange(65536))))
            m.again()
            # The rings of both stand where they stood or are given up: new connections always work.
            for c, name in ((a, "a"), (b, "b")):
                c.close()
                c.__init__(f"/run/{name}")
                c.run()
            if n % 2:
                configure(generation=n + 1)
            exchange(a, b)
            unmarked()


main()
