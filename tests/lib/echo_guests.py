#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests without a QEMU, in one process: each is a front end of a vnicd socket that answers ARP and ICMP echo, and
pings. For where a virtual machine is too slow or too much.

    echo_guests.py SOCKET,MAC,IP... [--ping IP IP]...

Prints a line for each ping ("10.9.0.1 10.9.0.2 ok" or "… no answer"), then "serving", and serves until it is killed."""
import os
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from net import checksum, mac_bytes  # noqa: E402
from vhost_client import Client  # noqa: E402

ALL = b"\xff" * 6


class EchoGuest:
    def __init__(self, path, mac, ip):
        self.mac, self.name, self.ip = mac_bytes(mac), ip, socket.inet_aton(ip)
        self.client = Client(path)
        self.client.run()
        self.arp, self.echoes = {}, set()

    def send(self, dst, kind, body):
        self.client.transmit((dst + self.mac + kind + body).ljust(60, b"\0"))

    def _arp(self, op, dst, their_mac, their_ip):
        self.send(dst, b"\x08\x06", struct.pack("!HHBBH", 1, 0x800, 6, 4, op) + self.mac + self.ip + their_mac + their_ip)

    def _ipv4(self, dst, ip, icmp):
        icmp = icmp[:2] + struct.pack("!H", checksum(icmp)) + icmp[4:]
        head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(icmp), 0, 0, 64, 1, 0, self.ip, ip)
        self.send(dst, b"\x08\x00", head[:10] + struct.pack("!H", checksum(head)) + head[12:] + icmp)

    def pump(self):
        """Work off what has come. Return: was there anything?"""
        any_came = False
        while (f := self.client.received()) is not None:
            any_came = True
            if f[:6] not in (self.mac, ALL):
                continue
            if f[12:14] == b"\x08\x06" and f[38:42] == self.ip:
                self.arp[f[28:32]] = f[22:28]
                if f[20:22] == b"\0\1":
                    self._arp(2, f[22:28], f[22:28], f[28:32])
            elif f[12:14] == b"\x08\x00" and f[23] == 1 and f[30:34] == self.ip:
                size = struct.unpack("!H", f[16:18])[0]
                icmp = f[34:14 + size]
                if icmp[0] == 8 and checksum(icmp) == 0:
                    self._ipv4(f[6:12], f[26:30], b"\0\0\0\0" + icmp[4:])
                elif icmp[0] == 0:
                    self.echoes.add((f[26:30], icmp[6:8]))
        return any_came


def ping(guests, me, to, timeout=10.0):
    to, end, n = socket.inet_aton(to), time.monotonic() + timeout, 0
    while time.monotonic() < end:
        n += 1
        if to not in me.arp:
            me._arp(1, ALL, bytes(6), to)
        else:
            me._ipv4(me.arp[to], to, struct.pack("!BBHHH", 8, 0, 0, 77, n) + b"an echo, please" * 4)
        again = time.monotonic() + 0.3
        while time.monotonic() < again:
            if not any([g.pump() for g in guests]):
                time.sleep(0.002)
            if any(ip == to for ip, _ in me.echoes):
                return True
    return False


def main():
    args, pings = sys.argv[1:], []
    while "--ping" in args:
        i = args.index("--ping")
        pings.append(args[i + 1:i + 3])
        del args[i:i + 3]
    guests = [EchoGuest(*a.split(",")) for a in args]
    time.sleep(1)  # until vnicd has told where they are
    for src, dst in pings:
        me = next(g for g in guests if g.name == src)
        print(src, dst, "ok" if ping(guests, me, dst) else "no answer", flush=True)
    print("serving", flush=True)
    while True:
        if not any([g.pump() for g in guests]):
            time.sleep(0.002)


if __name__ == "__main__":
    main()
