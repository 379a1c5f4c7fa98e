# SPDX-License-Identifier: GPL-2.0-or-later
"""A whole host in the sandbox: bridge, vnicd with its datapath, libvirtd with the hooks, guests by virsh."""
import os
import threading
import time

from daemon import CONF, Vnicd
from guest import CMDLINE, INITRD, KERNEL, PORT, Attached
from libvirtd import Libvirtd, domain, vhostuser
from net import Bridge

HOST_IP = "10.9.0.254"


def mac_of(n):
    return f"52:54:00:00:{n >> 8:02x}:{n & 255:02x}"


def socket_of(cls, name):
    return f"/run/vnicd/sock/{cls}/{name}.sock"


def guest_domain(name, *interfaces, memory=96, vcpus=1, metadata=""):
    """The XML of a domain that boots the test guest; its agent's socket is agent_of(name)."""
    os_xml = f"<kernel>{KERNEL}</kernel><initrd>{INITRD}</initrd><cmdline>{CMDLINE}</cmdline>"
    devices = (f"<channel type='unix'><source mode='bind' path='{agent_of(name)}'/>"
               f"<target type='virtio' name='{PORT}'/></channel>"
               f"<serial type='file'><source path='/var/log/console-{name}'/></serial>")
    return domain(name, *interfaces, memory=memory, vcpus=vcpus, metadata=metadata, os_xml=os_xml,
                  devices=devices)


def agent_of(name):
    return f"/run/agent-{name}.sock"


class Host:
    """Started in the order that systemd would: bridge, datapath, vnicd, libvirtd."""

    def __init__(self, conf=CONF, keeper=None):
        self.bridge = Bridge("br0", f"{HOST_IP}/24", mac="52:54:00:00:ff:fe")
        self.vnicd = Vnicd(conf, keeper=keeper)
        self.libvirt = Libvirtd()
        self.guests = {}

    def start(self):
        self.vnicd.start()
        self.libvirt.start()
        return self

    def boot(self, *names, cls="gold", wait=True):
        """Define and start guests that boot; guest n has the address 10.9.0.N by its order."""
        for name in names:
            n = len(self.guests) + 1
            mac = mac_of(n)
            self.libvirt.define(guest_domain(name, vhostuser(mac, socket_of(cls, name))))
            g = Attached(name, agent_of(name))
            g.mac, g.address = mac, f"10.9.0.{n}"
            self.guests[name] = g
        for name in names:
            self.libvirt.virsh("start", name)
        for name in names if wait else ():
            g = self.guests[name]
            g.wait(90)
            g.ip(f"{g.address}/24")
        return [self.guests[n] for n in names]

    def shutdown(self):
        """Guests off and away; then libvirtd, vnicd and the datapath end in an orderly way."""
        for name, g in self.guests.items():
            g.kill()
            if self.libvirt.state(name) != "shut off":
                self.libvirt.virsh("destroy", name)
            self.libvirt.virsh("undefine", name)
        self.guests.clear()
        self.libvirt.stop()
        self.vnicd.stop()


def at_once(jobs, limit=120.0):
    """Run functions in a thread each; their errors as a list (None for those that went well)."""
    errors = [None] * len(jobs)

    def work(i, fn):
        try:
            fn()
        except Exception as e:  # noqa: handed to the caller
            errors[i] = e

    threads = [threading.Thread(target=work, args=(i, fn), daemon=True) for i, fn in enumerate(jobs)]
    end = time.monotonic() + limit
    for t in threads:
        t.start()
    for i, t in enumerate(threads):
        t.join(max(0.1, end - time.monotonic()))
        if t.is_alive():
            errors[i] = AssertionError(f"not done within {limit:g} s")
    return errors


def require():
    """Fails at once, and says why, where a part of the house is not there."""
    from datapath import find
    for program in ("vnicd-datapath", "vnicd", "vnicctl"):
        find(program)
    if not os.path.exists(KERNEL):
        raise AssertionError("no guest image: run tests/lib/guest-image outside of the sandbox first")
