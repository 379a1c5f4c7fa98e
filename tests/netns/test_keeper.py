#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""vnicd-datapath by itself: its command line, files, ends, and its workers' replacement."""
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from datapath import Datapath, find  # noqa: E402
from net import quiet  # noqa: E402
from vhost_client import GET_FEATURES, Client, frame  # noqa: E402
from vt import main, test, wait_for  # noqa: E402

A, B = "52:54:00:00:00:0a", "52:54:00:00:00:0b"
PORTS = [{"name": "a", "mac": A}, {"name": "b", "mac": B}]


def stats(dp):
    with open(dp.stats_file, encoding="utf-8") as f:
        return json.load(f)


def port(dp, name):
    return next(p for p in stats(dp)["ports"] if p["name"] == name)


def exchange(a, b, n=0):
    for src, dst, f in ((a, b, frame(B, A, b"to b %d" % n)), (b, a, frame(A, B, b"to a %d" % n))):
        src.transmit(f)
        dst.wait_frame(f)


def refused(*args):
    p = subprocess.run([find("vnicd-datapath"), *args], capture_output=True, text=True, timeout=10, check=False)
    assert p.returncode == 2 and p.stdout == "", p
    return p.stderr


@test("keeper: wrong command lines say what is wrong and end with status 2")
def command_line():
    p = f"name=a,socket=/run/a,mac={A}"
    assert "there is no --port" in refused()
    assert "not in this version" in refused("--port", p, "--uplink", "xdp=eth0:0")
    assert "mac=01:00:00:00:00:01" in refused("--port", "name=a,socket=/run/a,mac=01:00:00:00:00:01")
    assert subprocess.run([find("vnicd-datapath"), "--help"], check=True, capture_output=True).stdout
    v = subprocess.run([find("vnicd-datapath"), "--version"], check=True, capture_output=True, text=True).stdout
    assert v.startswith("vnicd-datapath "), v
    assert not os.path.exists("/run/a")


@test("keeper: SIGTERM ends it with nothing left behind")
def end():
    with Datapath(PORTS, uplink="tap=t0") as dp:
        quiet("t0")
        with Client(dp.socket("a")) as a, Client(dp.socket("b")) as b:
            a.run()
            b.run()
            exchange(a, b)
            with open("/sys/class/net/t0/flags", encoding="ascii") as f:
                assert int(f.read(), 16) & 1, "the tap is not up"
            workers = dp.workers()
            dp.stop()
            assert a.dropped() and b.dropped()
            assert not any(os.path.exists(f"/proc/{w}") for w in workers)
            assert not os.path.exists("/sys/class/net/t0"), "the tap is still there"
            s = port(dp, "a")
            assert s["tx_packets"] == s["rx_packets"] == 1, f"the last statistics are not whole: {s}"
            dp.start()


@test("keeper: SIGTERM under traffic completes what it delivered")
def end_under_traffic():
    for _ in range(5):
        with Datapath(PORTS) as dp:
            with Client(dp.socket("a")) as a, Client(dp.socket("b")) as b:
                a.run()
                b.run()
                exchange(a, b)
                at, got = a.used_index(), 0
                dp.proc.terminate()
                end = time.monotonic() + 0.2
                while time.monotonic() < end:
                    if a.room():
                        a.transmit(frame(B, A, b"x"))
                    got += b.received() is not None
                assert dp.proc.wait(10) == 0, dp.said()
                while b.received():
                    got += 1
                taken = (a.used_index() - at) & 0xFFFF
                dropped = port(dp, "b")["rx_dropped"] + port(dp, "a")["tx_dropped"]
                assert taken == got + dropped, f"{taken} were completed, {got} received, {dropped} dropped"
            dp.start()


@test("keeper: a tap that was there is used and left")
def old_tap():
    subprocess.run("ip tuntap add t1 mode tap && ip link set t1 up", shell=True, check=True)
    try:
        with Datapath(PORTS, uplink="tap=t1"):
            p = subprocess.run([find("vnicd-datapath"), "--port", f"name=x,socket=/run/x,mac={A}", "--uplink", "tap=t1"],
                               capture_output=True, text=True, timeout=10, check=False)
            assert p.returncode == 1 and "another process has it open" in p.stderr, p
        assert os.path.exists("/sys/class/net/t1")
        p = subprocess.run([find("vnicd-datapath"), "--port", f"name=x,socket=/run/x,mac={A}", "--uplink", "tap=lo"],
                           capture_output=True, text=True, timeout=10, check=False)
        assert p.returncode == 1 and "is not a tap" in p.stderr, p
    finally:
        subprocess.run(["ip", "link", "del", "t1"], check=True)


@test("keeper: a killed predecessor's sockets are replaced, a living one's are not")
def predecessor():
    dp = Datapath(PORTS).start()
    sock = dp.socket("a")
    p = subprocess.run([find("vnicd-datapath"), "--port", f"name=x,socket={sock},mac={A}"], capture_output=True,
                       text=True, timeout=10, check=False)
    assert p.returncode == 1 and "another process listens there" in p.stderr, p
    with Client(sock) as a:
        a.run()
        dp.kill_keeper()
        assert a.dropped()
    assert os.path.exists(sock)
    dp.start()
    with Client(sock) as a:
        a.run()
    dp.stop()
    with open(sock, "w", encoding="ascii") as f:
        f.write("precious")
    p = subprocess.run([find("vnicd-datapath"), "--port", f"name=x,socket={sock},mac={A}"], capture_output=True,
                       text=True, timeout=10, check=False)
    assert p.returncode == 1 and "not a socket" in p.stderr and os.path.exists(sock), p
    os.unlink(sock)


@test("keeper: client mode connects to a front end that listens, again and again")
def client_mode():
    path = "/run/qemu.sock"
    proc = subprocess.Popen([find("vnicd-datapath"), "--port", f"name=a,socket={path},mac={A},mode=client"],
                            stderr=subprocess.DEVNULL)
    try:
        for _ in range(2):
            s = socket.socket(socket.AF_UNIX)
            s.bind(path)
            s.listen(1)
            s.settimeout(10)
            peer, _ = s.accept()
            s.close()
            os.unlink(path)
            c = Client.__new__(Client)
            c.adopt(peer)
            assert c.run().ask(GET_FEATURES)
            c.close()
    finally:
        proc.terminate()
        assert proc.wait(10) == 0


@test("keeper: statistics tell states, written only while something changes")
def statistics():
    with Datapath(PORTS) as dp:
        assert [p["state"] for p in stats(dp)["ports"]] == ["listening"] * 2
        with Client(dp.socket("a")) as a, Client(dp.socket("b")) as b:
            a.negotiate()
            wait_for("connected", lambda: port(dp, "a")["state"] == "connected")
            assert port(dp, "a")["peer_pid"] == os.getpid()
            a.memory().start()
            b.run()
            wait_for("running", lambda: port(dp, "a")["state"] == "running")
            exchange(a, b)
            wait_for("counters", lambda: port(dp, "b")["rx_bytes"] == 60)
            # Quiet: a second or two after the last change nothing is written any more.
            last = [None]

            def unchanged():
                now = os.stat(dp.stats_file).st_mtime_ns
                same, last[0] = now == last[0], now
                return same
            wait_for("the writing to stop", unchanged, 10, 2.0)
            a.stop_ring(0)
            wait_for("connected again", lambda: port(dp, "a")["state"] == "connected")


@test("keeper: it sleeps when its guests do")
def asleep():
    with Datapath(PORTS) as dp:
        with Client(dp.socket("a")) as a, Client(dp.socket("b")) as b:
            a.run()
            b.run()
            exchange(a, b)

            def switches():
                n = 0
                for pid in [dp.keeper] + dp.workers():
                    with open(f"/proc/{pid}/status", encoding="ascii") as f:
                        n += sum(int(line.split()[1]) for line in f if line.startswith("voluntary_ctxt"))
                return n

            def quiet():
                before = switches()
                time.sleep(1.0)
                return switches() == before
            wait_for("a second without a wake-up", quiet, 20)
            exchange(a, b, 1)


@test("keeper: a deleted tap does not keep the worker awake, and guests have each other")
def deleted_tap():
    with Datapath(PORTS, uplink="tap=t0") as dp:
        with Client(dp.socket("a")) as a, Client(dp.socket("b")) as b:
            a.run()
            b.run()
            subprocess.run(["ip", "link", "del", "t0"], check=True)
            a.transmit(frame("52:54:00:00:00:ff", A, b"to nowhere"))
            exchange(a, b)
            assert a.completed()

            def spent():
                with open(f"/proc/{dp.workers()[0]}/stat", encoding="ascii") as f:
                    rest = f.read().rsplit(")", 1)[1].split()
                return (int(rest[11]) + int(rest[12])) / os.sysconf("SC_CLK_TCK")

            def idle():
                before = spent()
                time.sleep(1.0)
                return spent() - before < 0.1
            wait_for("a second of sleep", idle, 10)
            exchange(a, b, 1)


@test("keeper: workers killed under traffic are replaced, nothing is lost or doubled, no connection ends")
def killed_under_traffic():
    with Datapath(PORTS) as dp:
        with Client(dp.socket("a")) as a, Client(dp.socket("b")) as b:
            a.run()
            b.run()
            got, done = [], threading.Event()

            def receive():
                while not done.is_set() or b.more():
                    f = b.received()
                    if f is None:
                        time.sleep(0.0005)
                    elif f[12:14] == b"\x88\xb5":
                        got.append(int(f[14:24]))
            t = threading.Thread(target=receive, daemon=True)
            t.start()
            sent = 0
            for sig in (signal.SIGKILL, signal.SIGSEGV, signal.SIGKILL, signal.SIGKILL):
                old = dp.workers()
                os.kill(old[0], sig)
                end = time.monotonic() + 0.3
                while time.monotonic() < end:
                    # No more under way than b has buffers for: none may be dropped.
                    if a.room() and sent - len(got) < 128:
                        a.transmit(frame(B, A, b"%010d" % sent))
                        sent += 1
                assert dp.workers() and dp.workers() != old
            wait_for("all frames to be taken", lambda: a.completed(), 5)
            done.set()
            t.join(10)
            assert got == list(range(sent)), f"{sent} sent, {len(got)} received, {len(set(got))} different ones"
            assert port(dp, "b")["rx_dropped"] == 0
            assert a.ask(GET_FEATURES) and b.ask(GET_FEATURES)


@test("keeper: a hung worker is replaced within a second")
def hung():
    with Datapath(PORTS) as dp:
        with Client(dp.socket("a")) as a, Client(dp.socket("b")) as b:
            a.run()
            b.run()
            for n in range(3):
                new, took = dp.kill_worker(signal.SIGSTOP)
                assert took >= 0.4, f"it was given {took:g} s only"
                exchange(a, b, n)
            assert port(dp, "a")["state"] == "running" and port(dp, "a")["restarts"] == 0


@test("keeper: a front end's requests are answered by the successor where the worker died")
def answered_by_successor():
    with Datapath(PORTS) as dp:
        with Client(dp.socket("a")) as a, Client(dp.socket("b")) as b:
            a.run()
            b.run()
            exchange(a, b)
            os.kill(dp.workers()[0], signal.SIGSTOP)
            a.sock.settimeout(20)
            assert a.stop_ring(1) == 1, "the position it was stopped at"
            a.start_ring(1)
            exchange(a, b, 1)


def fd_of(pid, n):
    """A duplicate of another process's descriptor: pidfd_getfd(2)."""
    pidfd = os.pidfd_open(pid)
    try:
        fd = ctypes.CDLL(None, use_errno=True).syscall(438, pidfd, n, 0)
        assert fd >= 0, os.strerror(ctypes.get_errno())
        return fd
    finally:
        os.close(pidfd)


@test("keeper: a worker that closes its end of the socket and lives on is replaced")
def deaf():
    with Datapath(PORTS) as dp:
        with Client(dp.socket("a")) as a, Client(dp.socket("b")) as b:
            a.run()
            b.run()
            exchange(a, b)
            old = dp.workers()
            with socket.socket(fileno=fd_of(old[0], 3)) as s:
                s.shutdown(socket.SHUT_WR)
            wait_for("another worker", lambda: dp.workers() and dp.workers() != old, 5)
            exchange(a, b, 1)


if __name__ == "__main__":
    main()
