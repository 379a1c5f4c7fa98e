#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""api/datapath-control.md, against the real vnicd-datapath --managed."""
import fcntl
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from control_client import SOCK, Control, Managed, Refused, listener, port  # noqa: E402
from vhost_client import GET_FEATURES, Client, frame  # noqa: E402
from vt import main, test, wait_for  # noqa: E402

UUID = "11111111-2222-3333-4444-555555555555"
A, B, C = "52:54:00:00:00:0a", "52:54:00:00:00:0b", "52:54:00:00:00:0c"
KEY_A, KEY_B, KEY_C = (f"{UUID}/{mac}" for mac in (A, B, C))


def refused(code, fn, says=""):
    try:
        fn()
    except Refused as e:
        assert e.code == code and says in e.message, f"{e.code}: {e.message}"
    else:
        raise AssertionError(f"this was to be refused with {code}")


def open_files(dp):
    """How many descriptors the keeper has, and each worker."""
    return [len(os.listdir(f"/proc/{p}/fd")) for p in [dp.pid] + dp.workers()]


def is_port(key, state):
    return lambda e: e["event"] == "port" and e["key"] == key and e["state"] == state


def lan(c, **more):
    c.ask("segment-set", **{"name": "lan", "tap": None, "mtu": 1500, "cores": [], **more})


def two_ports(c):
    lan(c)
    for key, name in ((KEY_A, "a"), (KEY_B, "b")):
        s = listener(f"/run/{name}")
        c.ask("port-set", [s.fileno()], **port(key))
        s.close()


@test("control: hello, segments and ports, each told on connect")
def hello():
    with Managed() as dp:
        with Control() as c:
            m = c.hello()
            assert m[0]["event"] == "hello" and m[0]["version"] == 1 and m[0]["pid"] == dp.pid, m
            assert m[0]["segments"] == [] and len(m) == 2, m
            two_ports(c)
        with Control() as c:
            m = c.hello()
            assert [(s["name"], s["tap"], s["has_tap"]) for s in m[0]["segments"]] == [("lan", None, False)], m
            assert [(p["key"], p["generation"], p["segment"], p["has_listener"], p["state"]) for p in m[1:-1]] == \
                [(KEY_A, 1, "lan", True, "listening"), (KEY_B, 1, "lan", True, "listening")], m


@test("control: a segment's tap is taken, kept and checked")
def tap():
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH14x", b"t0", 0x0002 | 0x1000 | 0x4000))
    with Managed() as _, Control() as c:
        c.hello()
        c.ask("segment-set", [tun], name="lan", tap="t0", mtu=1500, cores=[0])
        os.close(tun)
        lan(c, tap="t0")
        with Control() as d:
            s = d.hello()[0]["segments"]
            assert s[0]["tap"] == "t0" and s[0]["has_tap"], s
            assert os.path.exists("/sys/class/net/t0")
            with open("/dev/null", "rb") as f:
                refused("InvalidArgument", lambda: d.ask("segment-set", [f.fileno()], name="x", tap="t1", mtu=1500,
                                                         cores=[]), "neither a tap")
            d.ask("segment-del", name="lan")
            wait_for("the tap to go", lambda: not os.path.exists("/sys/class/net/t0"))


@test("control: hundreds of segments are told on connect, all of them")
def many():
    with Managed() as dp, Control() as c:
        c.hello()
        names = [f"vmdq.{n:044x}" for n in range(100)]
        for n in names:
            c.ask("segment-set", name=n, tap=None, mtu=1500, cores=[])
        with Control() as d:
            told = d.hello()
            seen = [s["name"] for s in told[0]["segments"]] + [m["name"] for m in told if m["event"] == "segment"]
            assert sorted(seen) == names, f"{len(seen)} of {len(names)} told"
            for n in names:
                d.ask("segment-del", name=n)
        wait_for("no worker", lambda: not dp.workers())


@test("control: a port's life, with an event for each state")
def life():
    with Managed() as _, Control() as c:
        c.hello()
        two_ports(c)
        a, b = Client("/run/a"), Client("/run/b")
        e = c.event(is_port(KEY_A, "connected"))
        assert e["peer_pid"] == os.getpid(), e
        a.run()
        e = c.event(is_port(KEY_A, "running"))
        assert int(e["features"], 16) == a.features and e["queues_active"] in (0, 1) and not e["logging"], e
        b.run()
        f = frame(B, A, b"hello")
        a.transmit(f)
        b.wait_frame(f)
        p = wait_for("counters", lambda: [p for p in (c.ask("port-get", key=KEY_A),) if p["tx_packets"] == 1])[0]
        assert p["tx_bytes"] == 60 and p["rx_packets"] == 0, p
        s = c.ask("stats", keys=[KEY_B, "nobody", KEY_A])["ports"]
        assert [p["key"] for p in s] == [KEY_B, KEY_A] and s[0]["rx_packets"] == 1, s
        assert len(c.ask("stats", keys=[KEY_A] * 50)["ports"]) == 50
        a.close()
        e = c.event(is_port(KEY_A, "listening"))
        assert e["peer_pid"] is None and "hung up" in e["reason"], e
        c.ask("port-del", key=KEY_B, generation=1)
        assert b.dropped()
        refused("UnknownPort", lambda: c.ask("port-get", key=KEY_B))
        b.close()


@test("control: repeating a request changes nothing")
def repeated():
    with Managed() as dp, Control() as c:
        c.hello()
        two_ports(c)
        with Client("/run/a") as a:
            a.run()
            c.event(is_port(KEY_A, "running"))
            workers = dp.workers()
            for _ in range(20):
                lan(c)
                c.ask("port-set", **port(KEY_A))
            assert a.ask(GET_FEATURES) and dp.workers() == workers
            assert c.ask("port-get", key=KEY_A)["state"] == "running"
            c.ask("port-set", **port(KEY_A, rate=1000000, weight=7, vlan=3, generation=2))
            assert a.ask(GET_FEATURES) and c.ask("port-get", key=KEY_A)["vlan"] == 3


@test("control: stale generations are refused, newer ones taken")
def generations():
    with Managed() as _, Control() as c:
        c.hello()
        lan(c)
        c.ask("port-set", **port(KEY_A, generation=7))
        refused("StaleGeneration", lambda: c.ask("port-set", **port(KEY_A, generation=6)))
        refused("StaleGeneration", lambda: c.ask("port-del", key=KEY_A, generation=6))
        c.send("port-del", key=KEY_A, generation=6)
        assert c.recv()["error"]["generation"] == 7, "what is there is told"
        assert c.ask("port-get", key=KEY_A)["generation"] == 7
        c.ask("port-set", **port(KEY_A, generation=8))
        c.ask("port-del", key=KEY_A, generation=8)
        c.ask("port-del", key=KEY_A, generation=1)


@test("control: bad requests are refused with what is wrong, and change nothing")
def bad_requests():
    with Managed() as _, Control() as c:
        c.hello()
        lan(c)
        s = socket.socket(socket.AF_UNIX)
        for code, says, op, fds, fields in (
                ("UnknownSegment", "wan", "port-set", [], port(KEY_A, segment="wan")),
                ("InvalidMac", "guest's address", "port-set", [], port(KEY_A, mac="01:00:5e:00:00:01")),
                ("InvalidMac", "guest's address", "port-set", [], port(KEY_A, mac="x")),
                ("InvalidMessage", "vlan", "port-set", [], port(KEY_A, vlan=4095)),
                ("InvalidMessage", "queues", "port-set", [], port(KEY_A, queues=9)),
                ("InvalidMessage", "generation", "port-set", [], port(KEY_A, generation=0)),
                ("InvalidMessage", "trust", "port-set", [], port(KEY_A, trust="yes")),
                ("InvalidArgument", "key", "port-set", [], port("x" * 200 + "/" + A, mac=A)),
                ("InvalidArgument", "pidfile", "port-set", [], port(KEY_A, pidfile="/" * 300)),
                ("InvalidArgument", "not a listening", "port-set", [s.fileno()], port(KEY_A)),
                ("InvalidArgument", "one listening socket", "port-set", [s.fileno()] * 2, port(KEY_A)),
                ("InvalidMessage", "mtu", "segment-set", [], {"name": "x", "mtu": 1, "cores": []}),
                ("InvalidArgument", "cores", "segment-set", [], {"name": "x", "mtu": 1500, "cores": ["a"]}),
                ("InvalidMessage", "keys", "stats", [], {"keys": ["x"] * 51}),
                ("InvalidMessage", "there is no request", "frobnicate", [], {})):
            refused(code, lambda op=op, fds=fds, fields=fields: c.ask(op, fds, **fields), says)
        s.close()
        refused("UnknownPort", lambda: c.ask("port-get", key=KEY_A))
        c.ask("port-set", **port(KEY_A))
        refused("Busy", lambda: c.ask("segment-del", name="lan"))
        lan(c, name="wan")
        refused("InvalidArgument", lambda: c.ask("port-set", **port(KEY_A, segment="wan")), "delete it before")
        c.ask("segment-del", name="wan")
        c.ask("segment-del", name="nowhere")


@test("control: what is not of the protocol's form closes the connection")
def malformed():
    with Managed() as dp:
        for text in (b"x", b"[]", b"{}", b'{"op":"stats"}', b'{"id":1}', b'{"op":"stats","id":0}',
                     b'{"op":"stats","id":"1"}', b'{"op":7,"id":1}', b'{"op":"stats","id":1}x', b'{"id":1,"op":"\xff"}',
                     b'{"op":"stats","id":9007199254740993}', b'{"a":' * 100 + b"1" + b"}" * 100, b" " * 65000):
            with Control() as c:
                c.hello()
                c.raw(text)
                assert c.closed(), text
        with Control() as c:
            c.hello()
            assert dp.proc.poll() is None


@test("control: a new connection replaces the old one")
def replaces():
    with Managed() as _, Control() as c:
        c.hello()
        with Control() as d:
            assert d.hello()
            assert c.closed()
            lan(d)


@test("control: a client that never reads is dropped, and told everything when it comes again")
def never_reads():
    with Managed() as _, Control() as c:
        c.hello()
        two_ports(c)
        c.s.setblocking(False)
        a = Client("/run/a")
        try:
            for i in range(100000):
                c.raw(json.dumps({"op": "port-get", "id": i + 1000, "key": KEY_A}).encode())
        except (BlockingIOError, BrokenPipeError, ConnectionError):
            pass
        else:
            raise AssertionError("the keeper takes requests without end")
        assert a.ask(GET_FEATURES), "the keeper is stuck"
        with Control() as d:
            m = d.hello()
            assert len(m) == 4, m
        a.close()


@test("control: 500 ports are told on connect")
def many():
    with Managed() as _, Control(timeout=20.0) as c:
        c.hello()
        lan(c)
        ids = [c.send("port-set", **port(f"{UUID}/52:54:00:00:{i >> 8:02x}:{i & 255:02x}")) for i in range(500)]
        for i in ids:
            c.answer(i)
        with Control(timeout=20.0) as d:
            assert len(d.hello()) == 502


@test("control: only the process that holds the pidfile's lock may connect")
def pidfile():
    holder = "import fcntl,sys,time; f=open('/run/vm.pid','w'); fcntl.lockf(f,fcntl.LOCK_EX); print(1,flush=True); time.sleep(60)"
    with Managed() as _, Control() as c:
        c.hello()
        lan(c)
        s = listener("/run/a")
        c.ask("port-set", [s.fileno()], **port(KEY_A, pidfile="/run/vm.pid"))
        s.close()
        with Client("/run/a") as a:
            assert a.dropped(), "there is no pidfile yet"
        p = subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE)
        try:
            p.stdout.readline()
            with Client("/run/a") as a:
                assert a.dropped(), "another process holds the lock"
            p.kill()
            p.wait()
            with Client("/run/a") as a:
                assert a.dropped(), "nobody holds the lock"
            with open("/run/vm.pid", "r+", encoding="ascii") as f:
                fcntl.lockf(f, fcntl.LOCK_EX)
                with Client("/run/a") as a:
                    assert a.ask(GET_FEATURES)
                    # A new owner by another pidfile: the peer must be that one's.
                    c.ask("port-set", **port(KEY_A, generation=2, pidfile="/run/other.pid"))
                    assert a.dropped(), "the port is another domain's now"
        finally:
            p.kill()
            p.wait()


@test("control: a killed worker is replaced, told as an event, and no connection ends")
def worker_killed():
    with Managed() as dp, Control() as c:
        c.hello()
        two_ports(c)
        with Client("/run/a") as a, Client("/run/b") as b:
            a.run()
            b.run()
            for n in range(5):
                old = dp.workers()
                os.kill(old[0], signal.SIGKILL)
                e = c.event(lambda e: e["event"] == "worker")
                assert e["segment"] == "lan" and [e["pid"]] == dp.workers() != old, e
                assert e["restarts"] == n + 1 and "signal 9" in e["reason"] and e["gap_us"] < 5000000, e
                for src, dst, f in ((a, b, frame(B, A, b"%d" % n)), (b, a, frame(A, B, b"%d" % n))):
                    src.transmit(f)
                    dst.wait_frame(f)
            p = c.ask("port-get", key=KEY_A)
            assert p["state"] == "running" and p["restarts"] == 0, "a kill from outside is no port's fault"


@test("control: port-set answers with the worker's refusal, and is tried anew when repeated")
def worker_refuses():
    with Managed() as dp, Control() as c:
        c.hello()
        two_ports(c)
        with Client("/run/a") as a, Client("/run/b") as b:
            a.run()
            b.run()
            worker, = dp.workers()
            # No more memory for it: not for another port, nor to take what there is anew.
            old = resource.prlimit(worker, resource.RLIMIT_AS, (0, resource.RLIM_INFINITY))
            s = listener("/run/c")
            refused("StepFailed", lambda: c.ask("port-set", [s.fileno()], **port(KEY_C)), "the worker refuses it")
            s.close()
            p = c.ask("port-get", key=KEY_C)
            assert p["has_listener"] and p["state"] == "listening" and "refuses" in p["reason"], p
            refused("StepFailed", lambda: c.ask("port-set", **port(KEY_C)), KEY_C)
            f = frame(B, A, b"meanwhile")
            a.transmit(f)
            b.wait_frame(f)
            resource.prlimit(worker, resource.RLIMIT_AS, old)
            c.ask("port-set", **port(KEY_C))
            with Client("/run/c") as d:
                d.run()
                for src, dst, f in ((a, d, frame(C, A, b"to c")), (d, a, frame(A, C, b"to a"))):
                    src.transmit(f)
                    dst.wait_frame(f)
            assert dp.workers() == [worker], "it was not to be replaced"
            c.ask("port-del", key=KEY_C, generation=1)


@test("control: ports that come and go between two workers' deaths")
def between_deaths():
    with Managed() as dp, Control() as c:
        c.hello()
        two_ports(c)

        def worker_dies():
            os.kill(dp.workers()[0], signal.SIGKILL)
            c.event(lambda e: e["event"] == "worker")

        def both_ways(x, y, n):
            for (src, _), (dst, to), f in ((x, y, frame(y[1], x[1], n)), (y, x, frame(x[1], y[1], n))):
                src.transmit(f)
                dst.wait_frame(f)
        with Client("/run/a") as a:
            a.run()
            before = None
            for n in range(3):
                with Client("/run/b") as b:
                    b.run()
                    both_ways((a, A), (b, B), b"%d first" % n)
                    worker_dies()
                    s = listener("/run/c")
                    c.ask("port-set", [s.fileno()], **port(KEY_C))
                    s.close()
                    with Client("/run/c") as d:
                        d.run()
                        c.ask("port-del", key=KEY_B, generation=1)
                        assert b.dropped(), "its port is gone"
                        worker_dies()
                        both_ways((a, A), (d, C), b"%d last" % n)
                        assert [p["key"] for p in c.ask("stats", keys=[KEY_A, KEY_B, KEY_C])["ports"]] == [KEY_A, KEY_C]
                        # Nobody claims B any more: what is for it goes to no port.
                        a.transmit(frame(B, A, b"to nobody"))
                        wait_for("the frame to be taken", a.completed)
                        both_ways((a, A), (d, C), b"%d after" % n)
                        assert c.ask("port-get", key=KEY_A)["restarts"] == 0
                c.ask("port-del", key=KEY_C, generation=1)
                s = listener("/run/b")
                c.ask("port-set", [s.fileno()], **port(KEY_B))
                s.close()
                # The first round makes what stays: nothing is added by the others.
                if not before:
                    before = open_files(dp)
                wait_for(f"keeper and worker to have the descriptors {before}", lambda: open_files(dp) == before, 5)


@test("control: a port is deleted while no worker runs")
def deleted_meanwhile():
    def dies(dp):
        for _ in range(6):
            w = dp.workers()
            if not w:
                return
            os.kill(w[0], signal.SIGKILL)
            wait_for("the worker to end", lambda: w[0] not in dp.workers())  # pylint: disable=cell-var-from-loop
            try:
                wait_for("the next one", dp.workers, 0.3)
            except AssertionError:
                return  # after so many deaths there is a pause
        raise AssertionError("workers are started without a pause")

    with Managed() as dp, Control() as c:
        c.hello()
        for _ in range(3):
            two_ports(c)
            dies(dp)
            c.ask("port-del", key=KEY_A, generation=1)
            if not dp.workers():
                break
            # It may have come back before we asked, where we get no CPU time.
        else:
            raise AssertionError("the deletion waits for a worker that maps nothing")
        refused("UnknownPort", lambda: c.ask("port-get", key=KEY_A))
        wait_for("a worker", dp.workers)
        c.ask("port-del", key=KEY_B, generation=1)


@test("control: a worker that hangs is killed and replaced")
def worker_hangs():
    with Managed() as dp, Control() as c:
        c.hello()
        two_ports(c)
        with Client("/run/a") as a, Client("/run/b") as b:
            a.run()
            b.run()
            os.kill(dp.workers()[0], signal.SIGSTOP)
            f = frame(B, A, b"meanwhile")
            a.transmit(f)
            e = c.event(lambda e: e["event"] == "worker")
            assert "stopped" in e["reason"], e
            b.wait_frame(f)


@test("control: the service manager passes the socket")
def activation():
    os.makedirs("/run/vnicd", exist_ok=True)
    if os.path.exists(SOCK):
        os.unlink(SOCK)
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.bind(SOCK)
    s.listen(4)
    env = dict(os.environ, LISTEN_FDS="1")
    # LISTEN_PID is the child's own: a shell puts it there.
    dp = subprocess.Popen(["/bin/sh", "-c", "exec 3<&%d; LISTEN_PID=$$ exec vnicd-datapath --managed" % s.fileno()],
                          env=env, pass_fds=[s.fileno()])
    try:
        with Control() as c:
            assert c.hello()[0]["pid"] == dp.pid
        dp.terminate()
        assert dp.wait(10) == 0
        assert os.path.exists(SOCK), "the socket was the service manager's"
    finally:
        dp.kill()
        dp.wait()
        os.unlink(SOCK)


@test("control: a killed keeper's successor takes its place")
def keeper_killed():
    dp = Managed().start()
    with Control() as c:
        c.hello()
        lan(c)
        workers = dp.workers()
        dp.kill()
        assert c.closed()
    wait_for("the workers to end", lambda: not any(os.path.exists(f"/proc/{w}") for w in workers))
    with Managed() as dp, Control() as c:
        assert c.hello()[0]["segments"] == []


if __name__ == "__main__":
    main()
