#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Front ends that misbehave, against the real vnicd-datapath: messages and memory (tests/tables/hostile-vhost-user.md).

Every case is one connection of port "bad" while ports "a" and "b" carry frames. The peer must be dropped with
the reason that the case says, the others must not notice, and no descriptor or mapping may be left behind in
the keeper or its worker."""
import os
import socket
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from hostile import hostile, ready, run_all, survives  # noqa: E402
from vhost_client import *  # noqa: E402,F403
from vhost_client import Client, eventfd, memfd, region, table, u64  # noqa: E402
from vt import test  # noqa: E402


# headers and bodies

@hostile("size of 4 GiB", "SET_FEATURES: a body of 4294967295 bytes")
def _(c):
    c.send(SET_FEATURES, size=0xFFFFFFFF)


@hostile("size 0 where a body is needed", "SET_FEATURES: a body of 0 bytes")
def _(c):
    c.send(SET_FEATURES)


@hostile("wrong version", "version is 2")
def _(c):
    c.send(GET_FEATURES, flags=2)


@hostile("unknown message", "message 77 is unknown")
def _(c):
    c.send(77)


@hostile("a reply nobody asked for", "sends no replies")
def _(c):
    c.send(GET_FEATURES, flags=VERSION | REPLY)


@hostile("body one byte too long", "SET_VRING_NUM: a body of 9 bytes")
def _(c):
    c.send(SET_VRING_NUM, state(0, 256) + b"x")


@hostile("hang-up in the middle of a header", "in the middle of a message")
def _(c):
    c.ask(GET_FEATURES)
    c.raw(struct.pack("<II", SET_FEATURES, VERSION))
    c.sock.shutdown(socket.SHUT_WR)


@hostile("hang-up in the middle of a body", "in the middle of a message")
def _(c):
    c.ask(GET_FEATURES)
    c.send(SET_FEATURES, b"\1\2\3", size=8)
    c.sock.shutdown(socket.SHUT_WR)


@hostile("hang-up in the middle of a memory table, descriptors sent", "in the middle of a message")
def _(c):
    c.negotiate()
    c.send(SET_MEM_TABLE, table(region(0, MEM))[:20], [c.keep(memfd(MEM))], size=40)
    c.sock.shutdown(socket.SHUT_WR)


# descriptors

@hostile("nine descriptors", "more than 8 descriptors")
def _(c):
    c.negotiate()
    fds = [c.keep(memfd(1 << 20)) for _ in range(9)]
    c.send(SET_MEM_TABLE, table(*(region(i << 20, 1 << 20) for i in range(8))), fds)


@hostile("253 descriptors", "more than 8 descriptors")
def _(c):
    fd = c.keep(eventfd())
    c.send(GET_FEATURES, fds=[fd] * 253)


@hostile("no descriptor where one is needed", "0 descriptors for 1 regions")
def _(c):
    c.negotiate().send(SET_MEM_TABLE, table(region(0, MEM)))


@hostile("more descriptors than regions", "2 descriptors for 1 regions")
def _(c):
    c.negotiate().send(SET_MEM_TABLE, table(region(0, MEM)), [c.keep(memfd(MEM)) for _ in range(2)])


@hostile("a descriptor with a message that has none", "GET_FEATURES: 1 descriptors")
def _(c):
    c.send(GET_FEATURES, fds=[c.keep(eventfd())])


@hostile("descriptors with the body", "came with its body")
def _(c):
    c.negotiate()
    body = table(region(0, MEM))
    c.raw(struct.pack("<III", SET_MEM_TABLE, VERSION, len(body)))
    c.raw(body, [c.keep(memfd(MEM))])


@hostile("kick is a pipe", "SET_VRING_KICK: the descriptor is not an eventfd")
def _(c):
    r, w = os.pipe()
    c.keep(r), c.keep(w)
    ready(c).send(SET_VRING_KICK, u64(0), [r])


@hostile("call is a memfd", "SET_VRING_CALL: the descriptor is not an eventfd")
def _(c):
    ready(c).send(SET_VRING_CALL, u64(0), [c.keep(memfd(8))])


@hostile("call is a socket", "SET_VRING_CALL: the descriptor is not an eventfd")
def _(c):
    s = socket.socketpair()
    ready(c).send(SET_VRING_CALL, u64(0), [c.keep(os.dup(s[0].fileno()))])
    for x in s:
        x.close()


@hostile("no kick though NOFD is clear", "no descriptor with NOFD clear")
def _(c):
    ready(c).send(SET_VRING_KICK, u64(0))


@hostile("a kick though NOFD is set", "a descriptor with NOFD set")
def _(c):
    ready(c).send(SET_VRING_KICK, u64(NOFD), [c.keep(eventfd())])


# memory

@hostile("memory is an eventfd", "not a memfd, tmpfs or hugetlbfs file")
def _(c):
    c.negotiate().send(SET_MEM_TABLE, table(region(0, MEM)), [c.keep(eventfd())])


@hostile("memory is a file on a disk", "not a memfd, tmpfs or hugetlbfs file")
def _(c):
    c.negotiate().send(SET_MEM_TABLE, table(region(0, 4096)), [c.keep(os.open("/usr/bin/env", os.O_RDONLY))])


@hostile("memory is read-only", "not open for reading and writing")
def _(c):
    fd = c.keep(memfd(MEM))
    c.negotiate().send(SET_MEM_TABLE, table(region(0, MEM)), [c.keep(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY))])


@hostile("memory sealed against writing", "the worker refuses it")
def _(c):
    import fcntl
    fd = c.keep(memfd(MEM))
    fcntl.fcntl(fd, 1033, 0x10)  # F_ADD_SEALS, F_SEAL_FUTURE_WRITE
    c.negotiate().send(SET_MEM_TABLE, table(region(0, MEM)), [fd])


@hostile("memory larger than its file", "less than offset and size ask for")
def _(c):
    c.negotiate().send(SET_MEM_TABLE, table(region(0, 2 * MEM)), [c.keep(memfd(MEM))])


@hostile("region offset beyond its file", "less than offset and size ask for")
def _(c):
    c.negotiate().send(SET_MEM_TABLE, table(region(0, MEM, offset=MEM)), [c.keep(memfd(MEM))])


@hostile("guest address wraps", "guest address wraps")
def _(c):
    c.negotiate().send(SET_MEM_TABLE, table(region(2**64 - 4096, 8192, 0)), [c.keep(memfd(MEM))])


@hostile("user address wraps", "user address wraps")
def _(c):
    c.negotiate().send(SET_MEM_TABLE, table(region(0, 8192, 2**64 - 4096)), [c.keep(memfd(MEM))])


@hostile("file offset wraps", "file offset wraps")
def _(c):
    c.negotiate().send(SET_MEM_TABLE, table(region(0, 8192, offset=2**64 - 4096)), [c.keep(memfd(MEM))])


@hostile("empty region", "is empty")
def _(c):
    c.negotiate().send(SET_MEM_TABLE, table(region(0, 0)), [c.keep(memfd(MEM))])


@hostile("regions overlap in guest addresses", "overlaps")
def _(c):
    fds = [c.keep(memfd(MEM)) for _ in range(2)]
    c.negotiate().send(SET_MEM_TABLE, table(region(0, 8192), region(4096, 8192, UVA + MEM)), fds)


@hostile("regions overlap in user addresses", "overlaps")
def _(c):
    fds = [c.keep(memfd(MEM)) for _ in range(2)]
    c.negotiate().send(SET_MEM_TABLE, table(region(0, 8192), region(MEM, 8192, UVA + 4096)), fds)


@hostile("no region", "SET_MEM_TABLE: no region")
def _(c):
    c.negotiate().send(SET_MEM_TABLE, table())


@hostile("nine regions", "9 regions, at most 8|a body of 296 bytes")
def _(c):
    c.negotiate().send(SET_MEM_TABLE, table(*(region(i << 20, 4096) for i in range(9))),
                       [c.keep(memfd(4096)) for _ in range(8)])


@hostile("2^32 - 1 regions in a small body", "4294967295 regions")
def _(c):
    c.negotiate().send(SET_MEM_TABLE, struct.pack("<II", 2**32 - 1, 0) + region(0, 4096), [c.keep(memfd(4096))])


@hostile("65 memory slots", "more than 64 memory regions")
def _(c):
    c.negotiate(proto=P_REPLY_ACK | P_SLOTS)
    for i in range(64):
        c.do(ADD_MEM_REG, u64(0) + region(i << 20, 4096), [c.keep(memfd(4096))])
    c.send(ADD_MEM_REG, u64(0) + region(64 << 20, 4096), [c.keep(memfd(4096))])


@test("hostile vhost-user: memory slots added and removed twice are no offence")
def slots_twice():
    # QEMU 7.2 does, once for each queue pair.
    def case(dp):
        with Client(dp.socket("bad")) as c:
            c.negotiate(proto=P_REPLY_ACK | P_SLOTS)
            fd = c.keep(memfd(4096))
            for _ in range(2):
                c.do(ADD_MEM_REG, u64(0) + region(0, 4096), [fd])
            for _ in range(2):
                c.do(REM_MEM_REG, u64(0) + region(0, 4096))
    survives(case)


@hostile("a memory slot added twice, with another file", "overlaps")
def _(c):
    c.negotiate(proto=P_REPLY_ACK | P_SLOTS)
    for _ in range(2):
        c.send(ADD_MEM_REG, u64(0) + region(0, 4096), [c.keep(memfd(4096))])


@hostile("memory of a running ring taken away", "takes away the memory of running ring")
def _(c):
    c.run().send(SET_MEM_TABLE, table(region(0, 0x8000)), [c.memfd])


if __name__ == "__main__":
    run_all()
