#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""vnicd-datapath's tap: what its other side sees of numbered frames while workers die and the keeper is told
the tap again."""
import fcntl
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from control_client import Control, Managed, listener, port  # noqa: E402
from datapath import Datapath  # noqa: E402
from net import Wire, ip, quiet  # noqa: E402
from numbered import A, Both, deaths  # noqa: E402
from vhost_client import Client  # noqa: E402
from vt import main, test, wait_for  # noqa: E402

KEY = f"11111111-2222-3333-4444-555555555555/{A}"


def new_tap(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH14x", name.encode(), 0x0002 | 0x1000 | 0x4000))
    quiet(name)
    ip("link", "set", name, "up")
    return fd


@test("uplink: a tap that the keeper is told again goes on, no frame is lost or doubled")
def told_again():
    tap = new_tap("t0")
    with Managed() as dp, Control() as c:
        c.hello()
        fields = {"name": "lan", "tap": "t0", "mtu": 1500, "cores": []}
        c.ask("segment-set", [tap], **fields)
        s = listener("/run/a")
        c.ask("port-set", [s.fileno()], **port(KEY))
        s.close()
        with Client("/run/a") as a, Wire("t0") as w:
            a.run()
            traffic, workers, fds = Both(a, w), dp.workers(), None
            for n in range(60):
                for _ in range(5):
                    traffic.turn()
                # By turns with the descriptor, without it, and as another configuration.
                c.ask("segment-set", [tap] if n % 2 else [], **{**fields, "mtu": 1400 + 100 * (n % 3 == 0)})
                if n % 10 == 5:
                    now = [len(os.listdir(f"/proc/{p}/fd")) for p in [dp.pid] + dp.workers()]
                    fds = fds or now
                    assert now == fds, f"descriptors of keeper and worker: {fds}, now {now}"
            traffic.settle()
            assert traffic.out == list(range(traffic.sent[0])), f"{traffic.sent[0]} sent, {len(traffic.out)} out"
            assert traffic.back == list(range(traffic.sent[1])), f"{traffic.sent[1]} sent, {len(traffic.back)} back"
            p = c.ask("port-get", key=KEY)
            assert p["tx_dropped"] == p["rx_dropped"] == 0 and dp.workers() == workers, p
            os.close(tap)
            c.ask("port-del", key=KEY, generation=1)
            c.ask("segment-del", name="lan")
            wait_for("the tap to go with its last descriptor", lambda: not os.path.exists("/sys/class/net/t0"))


@test("uplink: a worker's death under traffic doubles none and loses a burst at most")
def killed():
    with Datapath([{"name": "a", "mac": A}], uplink="tap=t0") as dp:
        quiet("t0")
        with Client(dp.socket("a")) as a, Wire("t0") as w:
            a.run()
            deaths(dp, a, w)


if __name__ == "__main__":
    main()
