// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * wire: raw Ethernet frames for tests, the same static program in guests and on the host.
 *
 *   wire send DEV HEX [COUNT]               send a frame given in hex
 *   wire wait DEV HEX SECONDS [COUNT]       print frames that start with HEX ("." for any digit)
 *                                           until COUNT (1) came; status 1 if fewer did
 *   wire stream DEV DST-MAC PER-SECOND SECONDS [LENGTH [ID]]
 *                                           numbered frames; prints how many were sent
 *   wire count DEV SECONDS [ID]             judge what arrives of a stream: one line of
 *                                           got= lost= doubled= late= torn= gap_us= idle_us=
 *
 * A stream's frames have EtherType 0x88b5 (local experiments) and carry id, number, length and a byte
 * pattern made from the number, so that a torn frame shows. gap_us is the longest time between two
 * arrivals, idle_us the time since the last one.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FRAME_MAX   65600
#define STREAM_TYPE 0x88b5
#define WINDOW	    (1 << 22) /* numbers a count keeps apart */

struct stream_hdr {
	struct ether_header eth;
	uint16_t id;
	uint16_t len;
	uint32_t seq;
} __attribute__((packed));

static uint8_t frame[FRAME_MAX];
static volatile sig_atomic_t ended;

static void on_term(int sig)
{
	(void)sig;
	ended = 1;
}

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int open_dev(const char *dev, int proto)
{
	struct sockaddr_ll sa = { .sll_family = AF_PACKET, .sll_protocol = htons(proto) };
	int one = 1, big = 8 << 20;
	int fd = socket(AF_PACKET, SOCK_RAW, htons(proto));

	if (fd < 0)
		err(2, "socket");
	sa.sll_ifindex = (int)if_nametoindex(dev);
	if (sa.sll_ifindex == 0)
		errx(2, "no interface %s", dev);
	setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof(big));
	struct packet_mreq all = { .mr_ifindex = sa.sll_ifindex, .mr_type = PACKET_MR_PROMISC };
	setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all));
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		err(2, "bind to %s", dev);
	return fd;
}

static int digit(char c)
{
	const char *all = "0123456789abcdef";
	const char *p = c ? strchr(all, c | 0x20) : NULL;

	return p ? (int)(p - all) : -1;
}

/* One frame that somebody else sent, with its VLAN tag put back; its length, or 0 after a timeout. */
static size_t receive(int fd, int64_t until)
{
	for (;;) {
		int64_t left = until - now_us();
		struct pollfd p = { .fd = fd, .events = POLLIN };

		if (ended || left <= 0 || poll(&p, 1, (int)(left / 1000) + 1) <= 0)
			return 0;

		struct sockaddr_ll from;
		struct iovec iov = { frame, sizeof(frame) - 4 };
		char control[256];
		struct msghdr m = { .msg_name = &from,
				    .msg_namelen = sizeof(from),
				    .msg_iov = &iov,
				    .msg_iovlen = 1,
				    .msg_control = control,
				    .msg_controllen = sizeof(control) };
		ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == ENETDOWN))
			continue;
		if (n < 0)
			err(2, "recvmsg");
		if (from.sll_pkttype == PACKET_OUTGOING || n < 14)
			continue;
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
			struct tpacket_auxdata aux;

			if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA)
				continue;
			memcpy(&aux, CMSG_DATA(c), sizeof(aux));
			if (!(aux.tp_status & TP_STATUS_VLAN_VALID))
				continue;
			memmove(frame + 16, frame + 12, (size_t)n - 12);
			frame[12] = 0x81;
			frame[13] = 0x00;
			frame[14] = (uint8_t)(aux.tp_vlan_tci >> 8);
			frame[15] = (uint8_t)aux.tp_vlan_tci;
			n += 4;
		}
		return (size_t)n;
	}
}

static int cmd_send(const char *dev, const char *hex, long count)
{
	int fd = open_dev(dev, 0);
	size_t n = strlen(hex) / 2;

	if (n > sizeof(frame))
		errx(2, "frame too long");
	for (size_t i = 0; i < n; i++) {
		int hi = digit(hex[2 * i]), lo = digit(hex[2 * i + 1]);

		if (hi < 0 || lo < 0)
			errx(2, "not hex: %s", hex);
		frame[i] = (uint8_t)(hi << 4 | lo);
	}
	for (; count > 0; count--)
		if (send(fd, frame, n, 0) < 0)
			err(1, "send");
	return 0;
}

static bool matches(const char *hex, size_t n)
{
	for (size_t i = 0; hex[i]; i++) {
		if (i / 2 >= n)
			return false;
		if (hex[i] != '.' &&
		    digit(hex[i]) != (i % 2 ? frame[i / 2] & 15 : frame[i / 2] >> 4))
			return false;
	}
	return true;
}

static int cmd_wait(const char *dev, const char *hex, double seconds, long count)
{
	int fd = open_dev(dev, ETH_P_ALL);
	int64_t until = now_us() + (int64_t)(seconds * 1e6);
	size_t n;

	puts("listening");
	fflush(stdout);
	while (count > 0 && (n = receive(fd, until)) > 0) {
		if (!matches(hex, n))
			continue;
		for (size_t i = 0; i < n; i++)
			printf("%02x", frame[i]);
		puts("");
		fflush(stdout);
		count--;
	}
	return count > 0;
}

static uint8_t pattern(uint32_t seq, size_t i)
{
	return (uint8_t)(seq * 167 + i * 13 + (i >> 8));
}

static int cmd_stream(const char *dev, const char *dst, double rate, double seconds, size_t len,
		      uint16_t id)
{
	int fd = open_dev(dev, 0);
	struct stream_hdr h = { .id = htons(id), .len = htons((uint16_t)len) };
	struct ifreq ifr = { 0 };
	int64_t start, end;
	uint32_t seq = 0, failed = 0;

	if (len < sizeof(h) || len > 65000)
		errx(2, "length out of range");
	if (sscanf(dst, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &h.eth.ether_dhost[0],
		   &h.eth.ether_dhost[1], &h.eth.ether_dhost[2], &h.eth.ether_dhost[3],
		   &h.eth.ether_dhost[4], &h.eth.ether_dhost[5]) != 6)
		errx(2, "not a MAC address: %s", dst);
	strncpy(ifr.ifr_name, dev, sizeof(ifr.ifr_name) - 1);
	if (ioctl(fd, SIOCGIFHWADDR, &ifr) < 0)
		err(2, "%s", dev);
	memcpy(h.eth.ether_shost, ifr.ifr_hwaddr.sa_data, 6);
	h.eth.ether_type = htons(STREAM_TYPE);
	start = now_us();
	end = start + (int64_t)(seconds * 1e6);
	for (;;) {
		int64_t now = now_us();
		uint32_t due = (uint32_t)((double)(now - start) * rate / 1e6) + 1;

		if (ended || now >= end)
			break;
		for (; seq < due; seq++) {
			h.seq = htonl(seq);
			memcpy(frame, &h, sizeof(h));
			for (size_t i = sizeof(h); i < len; i++)
				frame[i] = pattern(seq, i);
			if (send(fd, frame, len, 0) < 0)
				failed++;
		}
		int64_t next = start + (int64_t)((double)seq * 1e6 / rate) - now_us();
		if (next > 0)
			usleep((useconds_t)next);
	}
	printf("sent=%u failed=%u\n", seq, failed);
	return 0;
}

static int cmd_count(const char *dev, double seconds, int id)
{
	static uint8_t seen[WINDOW / 8];
	int fd = open_dev(dev, STREAM_TYPE);
	int64_t until = now_us() + (int64_t)(seconds * 1e6), last = 0, gap = 0;
	uint32_t got = 0, doubled = 0, late = 0, torn = 0, first = 0, top = 0;
	size_t n;

	puts("listening");
	fflush(stdout);
	while ((n = receive(fd, until)) > 0) {
		struct stream_hdr h;
		int64_t now = now_us();

		memcpy(&h, frame, sizeof(h));
		if (n < sizeof(h) || ntohs(h.eth.ether_type) != STREAM_TYPE)
			continue;
		if (id >= 0 && ntohs(h.id) != id)
			continue;
		uint32_t seq = ntohl(h.seq);
		bool bad = ntohs(h.len) > n || seq >= WINDOW;

		for (size_t i = sizeof(h); !bad && i < ntohs(h.len); i++)
			bad = frame[i] != pattern(seq, i);
		if (bad) {
			torn++;
			continue;
		}
		if (last && now - last > gap)
			gap = now - last;
		last = now;
		if (seen[seq / 8] & 1 << seq % 8) {
			doubled++;
			continue;
		}
		seen[seq / 8] |= (uint8_t)(1 << seq % 8);
		if (got && seq < top)
			late++;
		if (!got || seq < first)
			first = seq;
		if (!got || seq > top)
			top = seq;
		got++;
	}
	printf("got=%u lost=%u doubled=%u late=%u torn=%u gap_us=%lld idle_us=%lld first=%u "
	       "last=%u\n",
	       got, got ? top - first + 1 - got : 0, doubled, late, torn, (long long)gap,
	       last ? (long long)(now_us() - last) : -1LL, first, top);
	return got == 0;
}

int main(int argc, char **argv)
{
	const char *cmd = argc > 2 ? argv[1] : "";

	/* A test that dies must leave no sender behind. */
	alarm(600);
	/* SIGTERM ends a count or a stream early, with its result. */
	signal(SIGTERM, on_term);
	if (!strcmp(cmd, "send") && argc > 3)
		return cmd_send(argv[2], argv[3], argc > 4 ? atol(argv[4]) : 1);
	if (!strcmp(cmd, "wait") && argc > 4)
		return cmd_wait(argv[2], argv[3], atof(argv[4]), argc > 5 ? atol(argv[5]) : 1);
	if (!strcmp(cmd, "stream") && argc > 5)
		return cmd_stream(argv[2], argv[3], atof(argv[4]), atof(argv[5]),
				  argc > 6 ? (size_t)atol(argv[6]) : 60,
				  (uint16_t)(argc > 7 ? atoi(argv[7]) : 0));
	if (!strcmp(cmd, "count") && argc > 3)
		return cmd_count(argv[2], atof(argv[3]), argc > 4 ? atoi(argv[4]) : -1);
	fputs("usage: wire send|wait|stream|count DEV …\n", stderr);
	return 2;
}
