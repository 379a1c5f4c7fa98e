#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""daemon/exec's steps on taps, links and sockets, against the kernel of a sandbox."""
import os
import stat
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from net import Bridge, ip, links  # noqa: E402
from systoolbed import Exec, MAC, SOCK_DIR, fdb, index, same, scenario, state  # noqa: E402
from vt import main, run  # noqa: E402


@scenario("tap is made once, by name of its segment, and persists")
def tap_create():
    with Exec() as x:
        before = state()
        i = x.tap()
        tap = links()["vn0-lan"]
        assert tap["ifindex"] == i and tap["ifalias"] == "vnicd segment lan", tap
        data = tap["linkinfo"]["info_data"]
        assert data["type"] == "tap" and not data["pi"] and data["vnet_hdr"] and data["persist"], data
        with open("/proc/sys/net/ipv6/conf/vn0-lan/disable_ipv6", encoding="ascii") as f:
            assert f.read().strip() == "1"
        assert x.ask("tap-fd vn0-lan")["r"] >= 0
        assert x.tap() == i
        x.ask("tap-drop vn0-lan")
        assert x.ask("tap-fd vn0-lan")["error"] == "ENOENT"
        # Nobody has it open now: it is still there, and opened again.
        assert x.tap() == i and x.ask("tap-fd vn0-lan")["r"] >= 0
        x.step("undo", "tap-create", ifname="vn0-lan", name="lan", ifindex=i)
        x.step("undo", "tap-create", ifname="vn0-lan", name="lan", ifindex=i)
        same(before)


@scenario("tap of a killed daemon is found again, by name or by ifindex")
def tap_again():
    with Exec() as x:
        i = x.tap()
    with Exec() as x:
        assert x.tap() == i
        # Begun, and killed before its ifindex was recorded.
        x.step("undo", "tap-create", ifname="vn0-lan", name="lan")
        assert "vn0-lan" not in links()


@scenario("tap that the datapath holds is left to it")
def tap_busy():
    with Exec() as keeper, Exec() as x:
        i = keeper.tap()
        assert x.tap() == i
        assert x.ask("tap-fd vn0-lan")["error"] == "ENOENT"


@scenario("tap deleted by somebody is made anew")
def tap_deleted():
    with Exec() as x:
        i = x.tap()
        ip("link", "del", "vn0-lan")
        j = x.tap()
        assert j != i and links()["vn0-lan"]["ifindex"] == j


@scenario("tap renamed by somebody is still ours by ifindex")
def tap_renamed():
    with Exec() as x:
        i = x.tap()
        ip("link", "set", "vn0-lan", "name", "other")
        x.step("undo", "tap-create", ifname="vn0-lan", name="lan", ifindex=i)
        assert "other" not in links()


@scenario("tap whose alias was changed by somebody is still ours by ifindex and MAC")
def tap_alias_changed():
    with Exec() as x:
        Bridge("br0")
        before = state()
        i = x.tap()
        mac, br = links()["vn0-lan"]["address"], index("br0")
        assert mac.startswith("fe:ff:"), mac
        x.step("do", "link-master", ifindex=i, master=br)
        x.step("do", "fdb", ifindex=i, mac=MAC)
        ip("link", "set", "vn0-lan", "alias", "mine")
        x.step("undo", "fdb", ifindex=i, mac=MAC)
        assert fdb() == []
        x.step("do", "fdb", ifindex=i, mac=MAC)
        # Without a record of it, or with that of another, it is a stranger.
        for known in ({}, {"ifindex": i}, {"ifindex": i + 1, "mac": mac}, {"ifindex": i, "mac": "fe:ff:00:00:00:01"}):
            x.step("do", "tap-create", "EEXIST", ifname="vn0-lan", name="lan", **known)
            assert links()["vn0-lan"]["ifalias"] == "mine"
        x.step("undo", "tap-create", "ESTALE", ifname="vn0-lan", name="lan", ifindex=i, mac="fe:ff:00:00:00:01")
        assert x.step("do", "tap-create", ifname="vn0-lan", name="lan", ifindex=i, mac=mac)["ifindex"] == i
        assert links()["vn0-lan"]["ifalias"] == "vnicd segment lan"
        ip("link", "set", "vn0-lan", "alias", "mine")
        x.step("undo", "link-master", ifindex=i, master=br, prev=0)
        x.step("undo", "tap-create", ifname="vn0-lan", name="lan", ifindex=i, mac=mac)
        same(before)


@scenario("foreign interface of the tap's name is never touched")
def tap_foreign():
    with Exec() as x:
        for kind in (("type", "bridge"), ("type", "veth", "peer", "name", "v1")):
            ip("link", "add", "vn0-lan", *kind)
            before = state()
            a = x.step("do", "tap-create", "EEXIST", ifname="vn0-lan", name="lan")
            assert "did not make" in a["message"] and "rename" in a["message"], a
            x.step("undo", "tap-create", ifname="vn0-lan", name="lan")
            a = x.step("undo", "tap-create", "ESTALE", ifname="vn0-lan", name="lan", ifindex=index("vn0-lan"))
            assert "vn0-lan" in a["message"]
            same(before)
            ip("link", "del", "vn0-lan")
        run("ip", "tuntap", "add", "dev", "vn0-lan", "mode", "tap")
        x.step("do", "tap-create", "EEXIST", ifname="vn0-lan", name="lan")
        ip("link", "set", "vn0-lan", "alias", "vnicd segment other")
        x.step("do", "tap-create", "EEXIST", ifname="vn0-lan", name="lan")
        assert "vn0-lan" in links()


@scenario("tap with a name that the kernel would change is refused")
def tap_bad_name():
    with Exec() as x:
        for name in ("tap%d", "a/b", "0123456789abcdef"):
            x.step("do", "tap-create", "EINVAL", ifname=name, name="lan")
        assert set(links()) == {"lo"}


def value_step(kind, wanted, before, show):
    """Probe, do, do again, undo, undo again: show() follows."""
    with Exec() as x:
        br = Bridge("br0")
        i = x.tap()
        fields = {"ifindex": i, "name": "lan"}
        if kind == "link-master":
            fields["master"] = index("br0")
        if kind == "link-mtu":
            fields["mtu"] = wanted
        assert show() == before
        host = state()
        prev = x.step("probe", kind, **fields)["prev"]
        # Begun and killed before it acted.
        x.step("undo", kind, prev=prev, **fields)
        same(host)
        for _ in range(2):
            x.step("do", kind, **fields)
            assert show() == wanted, show()
        for _ in range(2):
            x.step("undo", kind, prev=prev, **fields)
            assert show() == before, show()
        # Never begun: without a previous value there is nothing to undo.
        x.step("do", kind, **fields)
        x.step("undo", kind, **fields)
        assert show() == wanted
        return br


@scenario("link-master: done, repeated, undone, repeated")
def master():
    value_step("link-master", "br0", None, lambda: links()["vn0-lan"].get("master"))


@scenario("link-mtu: done, repeated, undone, repeated")
def mtu():
    value_step("link-mtu", 9000, 1500, lambda: links()["vn0-lan"]["mtu"])


@scenario("link-up: done, repeated, undone, repeated")
def up():
    value_step("link-up", True, False, lambda: "UP" in links()["vn0-lan"]["flags"])


@scenario("what somebody else set since is theirs")
def changed_since():
    with Exec() as x:
        Bridge("br0")
        Bridge("br1")
        i = x.tap()
        x.step("do", "link-mtu", ifindex=i, mtu=9000)
        ip("link", "set", "vn0-lan", "mtu", "4000")
        x.step("undo", "link-mtu", ifindex=i, mtu=9000, prev=1500)
        assert links()["vn0-lan"]["mtu"] == 4000
        x.step("do", "link-master", ifindex=i, master=index("br0"))
        ip("link", "set", "vn0-lan", "master", "br1")
        x.step("undo", "link-master", ifindex=i, master=index("br0"), prev=0)
        assert links()["vn0-lan"]["master"] == "br1"


@scenario("a bridge keeps its MAC, whatever ports it has")
def bridge_mac():
    with Exec() as x:
        # Taps' MACs are invented: a lot of bridges, with and without another port, so that luck shows.
        for n in range(8):
            ip("link", "add", f"br{n}", "type", "bridge")
            mac = links()[f"br{n}"]["address"]
            if n % 2:
                ip("link", "add", f"v{n}", "type", "veth", "peer", "name", f"w{n}")
                ip("link", "set", f"v{n}", "master", f"br{n}")
                mac = links()[f"v{n}"]["address"]
            i = x.tap(f"vn0-{n}", f"s{n}")
            x.step("do", "link-master", ifindex=i, master=index(f"br{n}"))
            assert links()[f"br{n}"]["address"] == mac, links()[f"br{n}"]
            x.step("undo", "link-master", ifindex=i, master=index(f"br{n}"), prev=0)
            assert links()[f"br{n}"]["address"] == mac, links()[f"br{n}"]


@scenario("steps on links that are not our tap are refused")
def stale():
    with Exec() as x:
        Bridge("br0")
        ip("link", "add", "v0", "type", "veth", "peer", "name", "v1")
        run("ip", "tuntap", "add", "dev", "t0", "mode", "tap")
        i = x.tap()
        before = state()
        for name in ("v0", "t0", "br0", "lo"):
            for kind, fields in (("link-master", {"master": index("br0")}), ("link-mtu", {"mtu": 9000}),
                                 ("link-up", {}), ("fdb", {"mac": MAC})):
                for verb in ("do",) if kind == "fdb" else ("probe", "do"):
                    a = x.step(verb, kind, "ESTALE", ifindex=index(name), **fields)
                    assert name in a["message"], a
        x.step("undo", "link-mtu", "ESTALE", ifindex=index("t0"), mtu=1500, prev=1400)
        x.step("do", "link-master", "ESTALE", ifindex=i, master=index("v0"))
        for bad in (99999, 0, -5):
            x.step("do", "link-up", "ENODEV" if bad > 0 else "EINVAL", ifindex=bad)
        x.step("do", "link-master", "ENODEV", ifindex=i, master=99999)
        # Undo of what is gone is done.
        x.step("undo", "link-mtu", ifindex=99999, mtu=9000, prev=1500)
        x.step("undo", "link-master", ifindex=99999, master=1, prev=0)
        x.step("undo", "fdb", ifindex=99999, mac=MAC)
        same(before)


@scenario("errors quote the kernel's own words")
def kernel_words():
    with Exec() as x:
        i = x.tap()
        a = x.step("do", "link-mtu", "EINVAL", ifindex=i, mtu=65536 * 2)
        assert "mtu greater than device maximum" in a["message"], a


def can_connect(path, user=None):
    code = ("import os,socket,sys;os.setgroups([]);os.setgid(65534);os.setuid(65534);"
            "socket.socket(socket.AF_UNIX).connect(sys.argv[1])")
    return subprocess.run(["/usr/bin/python3", "-c", code, path], capture_output=True, check=False).returncode == 0


@scenario("sock-listen: done, repeated, undone, repeated")
def sock_listen():
    sock = {"class_": "gold", "name": "web"}
    path = f"{SOCK_DIR}/gold/web.sock"
    with Exec() as x:
        before = state()
        os.umask(0o077)
        for _ in range(2):
            x.step("do", "sock-listen", **sock)
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o666
            assert stat.S_IMODE(os.stat(f"{SOCK_DIR}/gold").st_mode) == 0o711
        fd = x.ask("listen-fd gold web")["r"]
        assert fd >= 0
        os.chmod("/run", 0o755)
        assert can_connect(path)
        # Its file removed: nobody could connect any more, so it is bound anew.
        os.unlink(path)
        x.step("do", "sock-listen", **sock)
        assert can_connect(path)
        x.step("do", "sock-listen", class_="gold", name="db")
        for _ in range(2):
            x.step("undo", "sock-listen", **sock)
            assert not os.path.exists(path) and os.path.exists(f"{SOCK_DIR}/gold/db.sock")
        x.step("undo", "sock-listen", class_="gold", name="db")
        same(before)
        assert x.ask("listen-fd gold web")["error"] == "ENOENT"


@scenario("sock-listen: a dead daemon's socket is replaced, the datapath's is left alone")
def sock_again():
    sock = {"class_": "gold", "name": "web"}
    path = f"{SOCK_DIR}/gold/web.sock"
    with Exec() as x:
        x.step("do", "sock-listen", **sock)
        inode = os.stat(path).st_ino
        with Exec() as y:
            y.step("do", "sock-listen", **sock)
            assert os.stat(path).st_ino == inode and y.ask("listen-fd gold web")["error"] == "ENOENT"
    assert not can_connect(path)
    with Exec() as x:
        x.step("do", "sock-listen", **sock)
        assert can_connect(path) and x.ask("listen-fd gold web")["r"] >= 0


@scenario("sock-listen: bad names, and files that are no sockets")
def sock_bad():
    with Exec() as x:
        for c, n in (("..", "web"), ("gold", ".."), ("a/b", "web"), ("gold", "a/b")):
            x.step("do", "sock-listen", "EINVAL", class_=c, name=n)
        a = x.step("do", "sock-listen", "ENAMETOOLONG", class_="c" * 60, name="n" * 60)
        assert "107" in a["message"], a
        x.step("undo", "sock-listen", class_="c" * 60, name="n" * 60)
        os.mkdir(f"{SOCK_DIR}/gold")
        with open(f"{SOCK_DIR}/gold/web.sock", "w", encoding="ascii") as f:
            f.write("mine")
        x.step("do", "sock-listen", "EEXIST", class_="gold", name="web")
        x.step("undo", "sock-listen", class_="gold", name="web")
        assert os.path.exists(f"{SOCK_DIR}/gold/web.sock")
        os.symlink("/etc", f"{SOCK_DIR}/silver")
        a = x.step("do", "sock-listen", "ENOTDIR", class_="silver", name="web")
        x.step("undo", "sock-listen", class_="silver", name="web")
        assert os.path.islink(f"{SOCK_DIR}/silver") and not os.path.exists("/etc/web.sock")


@scenario("whole plan of a segment and a port: done, undone, the host reads as before")
def whole_plan():
    with Exec() as x:
        Bridge("br0")
        before = state()
        i = x.tap()
        steps = [("link-mtu", {"mtu": 1400}), ("link-master", {"master": index("br0")}), ("link-up", {})]
        prev = []
        for kind, fields in steps:
            prev.append(x.step("probe", kind, ifindex=i, **fields)["prev"])
            x.step("do", kind, ifindex=i, **fields)
        x.step("do", "sock-listen", class_="gold", name="web")
        x.step("do", "fdb", ifindex=i, mac=MAC)
        x.step("undo", "fdb", ifindex=i, mac=MAC)
        x.step("undo", "sock-listen", class_="gold", name="web")
        for (kind, fields), p in reversed(list(zip(steps, prev))):
            x.step("undo", kind, ifindex=i, prev=p, **fields)
        x.step("undo", "tap-create", ifname="vn0-lan", name="lan", ifindex=i)
        same(before)


main()
