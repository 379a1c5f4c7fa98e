// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Two or more guests without guests: drives the rings of a vhost-user backend at full speed and
 * counts, or sends checked frames and checks each that arrives, or connects and stays idle.
 */
#include <endian.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "tests/bench/frontend.h"

static const char usage[] =
	"usage: frontend rate|verify|idle [OPTION…] --port SOCKET,MAC --port SOCKET,MAC …\n"
	"  rate    two ports send to each other as fast as they can; one JSON line a size\n"
	"  verify  all ports send to each other, every frame is checked; one JSON line\n"
	"  idle    set up, print \"ready\", and stay until stdin ends\n"
	"  --ring N         ring entries (256)\n"
	"  --features HEX   features to take if offered (a Linux guest's)\n"
	"  --sizes N,N      rate: frame lengths (64,1500)\n"
	"  --warmup S       seconds before counting, or before the first checked frame (0.3)\n"
	"  --seconds S      seconds to count (1)\n"
	"  --window MS      rate: length of one sample (10)\n"
	"  --steps          rate: read SIZE WARMUP SECONDS from stdin, one line a run\n"
	"  --touch          rate: read the headers that came and write those that go\n"
	"  --batch N        rate: completions collected before they are handed back (16)\n"
	"  --max-size N     verify: longest frame (1514; more are TSO frames)\n"
	"  --pause US       verify: pause after each round of sending, so that the backend sleeps\n"
	"  --interrupts     verify: sleep until the backend calls\n"
	"  --seed N         verify: of the random choices\n";

double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

void sleep_seconds(double seconds)
{
	struct timespec ts = { .tv_sec = (time_t)seconds };

	ts.tv_nsec = (long)((seconds - (double)ts.tv_sec) * 1e9);
	nanosleep(&ts, NULL);
}

static void put16(uint8_t *p, unsigned int value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

unsigned int frame_headers(uint8_t *f, unsigned int len, const uint8_t dst[6], const uint8_t src[6])
{
	bool tcp = len > 1514;
	uint32_t sum = 0;

	memset(f, 0, FRAME_HEADERS);
	memcpy(f, dst, 6);
	memcpy(f + 6, src, 6);
	put16(f + 12, 0x0800);
	f[14] = 0x45;
	put16(f + 16, len - 14);
	f[22] = 64;
	f[23] = tcp ? 6 : 17;
	/* 192.0.2.x, the documentation's net; the last octet as in the MAC */
	memcpy(f + 26, (uint8_t[]){ 192, 0, 2, src[5], 192, 0, 2, dst[5] }, 8);
	for (int i = 14; i < 34; i += 2)
		sum += (uint32_t)(f[i] << 8 | f[i + 1]);
	sum = (sum & 0xffff) + (sum >> 16);
	put16(f + 24, ~(sum + (sum >> 16)) & 0xffff);
	put16(f + 34, 4096);
	put16(f + 36, 4097);
	if (tcp) {
		f[46] = 5 << 4;
		f[47] = 0x10;
	} else {
		put16(f + 38, len - 34);
	}
	return FRAME_HEADERS;
}

int mode_idle(const struct options *o)
{
	_cleanup_(freep) struct vu_port *ports = calloc(o->n_ports, sizeof(*ports));
	char c;

	if (!ports)
		die("out of memory");
	for (unsigned int i = 0; i < o->n_ports; i++) {
		struct vu_port *p = &ports[i];

		vu_connect(p, o->socket[i], o->features);
		vu_alloc(p, o->ring, (size_t)o->ring * 1536);
		for (unsigned int k = 0; k < o->ring; k++) {
			p->rx.desc[k].addr = vu_gpa(p, vu_mem(p, 1536, 64));
			p->rx.desc[k].len = 1536;
			p->rx.desc[k].flags = VRING_DESC_F_WRITE;
			p->rx.avail->ring[k] = (uint16_t)k;
		}
		vu_start(p);
		vu_publish(&p->rx, (uint16_t)o->ring);
	}
	puts("ready");
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	for (unsigned int i = 0; i < o->n_ports; i++)
		vu_close(&ports[i]);
	return 0;
}

static void add_port(struct options *o, char *arg)
{
	char *comma = strrchr(arg, ',');

	if (o->n_ports == PORTS_MAX)
		die("more than %d ports", PORTS_MAX);
	if (!comma || mac_parse(comma + 1, o->mac[o->n_ports]) < 0)
		die("--port %s: want SOCKET,MAC", arg);
	*comma = '\0';
	o->socket[o->n_ports++] = arg;
}

static void set_sizes(struct options *o, const char *arg)
{
	char *end;

	o->n_sizes = 0;
	do {
		unsigned long v = strtoul(arg, &end, 10);

		if (end == arg || v < 60 || v > 1514 || o->n_sizes == SIZES_MAX)
			die("--sizes: up to %d lengths of 60 to 1514", SIZES_MAX);
		o->sizes[o->n_sizes++] = (unsigned int)v;
		arg = end + 1;
	} while (*end == ',');
}

static unsigned int number(const char *name, const char *arg, unsigned int min, unsigned int max)
{
	char *end;
	unsigned long v = strtoul(arg, &end, 10);

	if (end == arg || *end || v < min || v > max)
		die("--%s: a number of %u to %u", name, min, max);
	return (unsigned int)v;
}

static const struct option long_options[] = {
	{ "port", required_argument, NULL, 'p' },     { "ring", required_argument, NULL, 'r' },
	{ "features", required_argument, NULL, 'f' }, { "sizes", required_argument, NULL, 's' },
	{ "warmup", required_argument, NULL, 'w' },   { "seconds", required_argument, NULL, 't' },
	{ "window", required_argument, NULL, 'W' },   { "batch", required_argument, NULL, 'b' },
	{ "max-size", required_argument, NULL, 'm' }, { "pause", required_argument, NULL, 'P' },
	{ "interrupts", no_argument, NULL, 'i' },     { "seed", required_argument, NULL, 'S' },
	{ "steps", no_argument, NULL, 'x' },	      { "touch", no_argument, NULL, 'T' },
	{ "help", no_argument, NULL, 'h' },	      { NULL, 0, NULL, 0 },
};

static void parse(struct options *o, int argc, char **argv)
{
	int c;

	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (c) {
		case 'p':
			add_port(o, optarg);
			break;
		case 'r':
			o->ring = number("ring", optarg, 64, 1024);
			if (o->ring & (o->ring - 1))
				die("--ring: a power of two");
			break;
		case 'f':
			o->features = strtoull(optarg, NULL, 16);
			break;
		case 's':
			set_sizes(o, optarg);
			break;
		case 'w':
			o->warmup = strtod(optarg, NULL);
			break;
		case 't':
			o->seconds = strtod(optarg, NULL);
			break;
		case 'W':
			o->window_ms = number("window", optarg, 1, 10000);
			break;
		case 'b':
			o->batch = number("batch", optarg, 1, 64);
			break;
		case 'm':
			o->max_size = number("max-size", optarg, 128, 65000);
			break;
		case 'P':
			o->pause_us = number("pause", optarg, 0, 1000000);
			break;
		case 'i':
			o->interrupts = true;
			break;
		case 'T':
			o->touch = true;
			break;
		case 'x':
			o->steps = true;
			break;
		case 'S':
			o->seed = strtoull(optarg, NULL, 10);
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			fputs(usage, stderr);
			exit(2);
		}
	}
	if (optind != argc)
		die("unexpected argument: %s", argv[optind]);
}

int main(int argc, char **argv)
{
	struct options o = { .ring = 256,
			     .features = vu_features_default,
			     .sizes = { 64, 1500 },
			     .n_sizes = 2,
			     .warmup = 0.3,
			     .seconds = 1,
			     .window_ms = 10,
			     .batch = 16,
			     .max_size = 1514,
			     .seed = 1 };
	const char *mode = argc > 1 ? argv[1] : "--help";

	if (mode[0] == '-') {
		parse(&o, argc, argv);
		fputs(usage, stderr);
		return 2;
	}
	parse(&o, argc - 1, argv + 1);
	if (str_eq(mode, "idle") && o.n_ports > 0)
		return mode_idle(&o);
	if (str_eq(mode, "rate") && o.n_ports == 2)
		return mode_rate(&o);
	if (str_eq(mode, "verify") && o.n_ports > 1)
		return mode_verify(&o);
	fputs(usage, stderr);
	return 2;
}
