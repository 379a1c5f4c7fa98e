#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# rig: 6.12/11
# time limit: 300
"""The driver in user space that vnic.ko is tried with does the same programs on vdpa_sim_net, the kernel's own example of
a vDPA device, so that they ask nothing of vnic.ko that virtio does not. What that one does not offer is left out, and said."""
import contextlib
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import inside  # noqa: E402
import vnicdev  # noqa: E402
from vnicdev import add, delete, driver, load, uplink  # noqa: E402
from vt import Skip, run, test  # noqa: E402

# What is to be offered for a program: bits of virtio's features, of vhost's backend features.
FEATURE = {"MRG_RXBUF": 15, "CTRL_VQ": 17, "MQ": 22, "INDIRECT_DESC": 28, "EVENT_IDX": 29, "RING_PACKED": 34}
BACKEND = {"SUSPEND": 4, "RESUME": 5}
MAC = {"vnic.ko": ["52:54:00:00:32:01", "52:54:00:00:32:02"], "vdpa_sim_net": ["52:54:00:00:33:01"]}
SIZES = "min=60 max=1514"
bed = {}


def devices():
    """{device: (nodes of a and b)}: two of vnic.ko's, neighbours; vdpa_sim_net sends what is for itself to itself."""
    if not bed:
        load()
        run("modprobe", "vdpa_sim_net")
        bed["kmsg"] = vnicdev.Kmsg()
        vnicdev.veth("u0")
        uplink("u0")
        bed["vnic.ko"] = [add(f"p{i}", "vnic/u0", "mac", m, "max_vqp", "4") for i, m in enumerate(MAC["vnic.ko"])]
        bed["vdpa_sim_net"] = [add("s0", "vdpasim_net", "mac", MAC["vdpa_sim_net"][0])]
    return bed


def offered(a):
    return {k for k, n in FEATURE.items() if a["offered"] >> n & 1} | {k for k, n in BACKEND.items() if a["backend"] >> n & 1}


@contextlib.contextmanager
def watched():
    """The kernel says nothing that troubles meanwhile."""
    try:
        yield
    finally:
        bed["kmsg"].clean()


def program(words, *needs):
    """fn(d, a, b, up) does it from a to b; up(words) sets both up."""
    def register(fn):
        for device in MAC:
            def wrapped(device=device):
                nodes = devices()[device]
                bed["now"] = device
                names = ["a", "b"][:len(nodes)]
                with watched(), driver() as d:
                    have = [offered(d(f"open {n} {node}")) for n, node in zip(names, nodes)][0]
                    missing = [n for n in needs if n not in have]
                    if missing and device != "vnic.ko":
                        raise Skip(f"{device} does not offer {' and '.join(missing)}")
                    assert not missing, f"it does not offer {missing}"

                    def up(how=""):
                        for n in names:
                            d(f"up {n} {how}")
                    fn(d, names[0], names[-1], up)
            test(f"{device}: {words}")(wrapped)
        return fn
    return register


def stream(d, a, b, up, how=""):
    up(how)
    # No more on their way than there are buffers: both drop what finds none.
    d(f"stream {a} {b} n=2000 {SIZES} window=32")
    d(f"stream {b} {a} n=500 {SIZES} window=32")
    for n in {a, b}:
        d(f"reset {n}")


@program("frames of all sizes, header and frame in one buffer, in two, or cut at odd places")
def _layouts(d, a, b, up):
    for layout in ("one", "two", "odd"):
        stream(d, a, b, up, f"num=128 layout={layout}")


@program("tables of descriptors", "INDIRECT_DESC")
def _indirect(d, a, b, up):
    stream(d, a, b, up, "layout=indirect indirect")


@program("event indices", "EVENT_IDX")
def _events(d, a, b, up):
    stream(d, a, b, up, "event_idx")


@program("packed rings", "RING_PACKED")
def _packed(d, a, b, up):
    stream(d, a, b, up, "packed")


@program("frames in several receive buffers", "MRG_RXBUF")
def _merged(d, a, b, up):
    d(f"up {a}")
    d(f"up {b} num=512 bufsz=256")
    d(f"stream {a} {b} n=2000 {SIZES} window=32")


@program("four queue pairs", "MQ", "CTRL_VQ")
def _pairs(d, a, b, up):
    stream(d, a, b, up, "pairs=4")


@program("the control queue: an address is set, what nobody knows is refused", "CTRL_VQ")
def _ctrl(d, a, b, up):
    up("ctrl")
    mac = d(f"config {a}")["mac"].replace(":", "")
    assert d(f"ctrl {a} 1 1 {mac}")["ack"] == 0
    assert d(f"ctrl {a} 99 0 00")["ack"] == 1
    d(f"stream {a} {b} n=200 {SIZES} window=32")


@program("SUSPEND under traffic, RESUME", "SUSPEND", "RESUME")
def _resume(d, a, b, up):
    up("num=128")
    d(f"switch {a} {b} n=3000 rounds=40 how=resume side=from {SIZES} window=32 timeout=3000")


@program("SUSPEND under traffic, all set up anew from the rings' state", "SUSPEND")
def _rebase(d, a, b, up):
    up("num=128")
    d(f"switch {a} {b} n=3000 rounds=40 how=rebase side=from {SIZES} window=32 timeout=3000")


@program("reset under traffic, and up again")
def _resets(d, a, b, up):
    up("num=128")
    d(f"resets {a} {b} rounds=20")


@program("left by a driver with frames on their way, and taken by the next")
def _again(d, a, b, up):
    up()
    # Nobody takes them: they are there when the file is closed.
    for _ in range(20):
        d(f"send {a} {'ff' * 6}{MAC[bed['now']][0].replace(':', '')}88b5" + "00" * 200)
    for n, node in zip(("a", "b"), bed[bed["now"]]):
        d(f"close {n}")
        d(f"open {n} {node}")
    stream(d, a, b, up)


@test("both are deleted, and the module unloads")
def _end():
    devices()
    delete("p0", "p1", "s0")
    vnicdev.no_uplink("u0")
    run("modprobe", "-r", "vnic")
    run("modprobe", "-r", "vdpa_sim_net")
    run("ip", "link", "del", "u0")
    bed["kmsg"].clean()


inside.main(__file__, limit=280)
