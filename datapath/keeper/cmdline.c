/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/keeper/cmdline.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "api/errors.h"
#include "base/cleanup.h"
#include "base/log.h"

#define REFUSE(err, ...) vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT, __VA_ARGS__)

const char cmdline_help[] =
	"Usage: vnicd-datapath --port name=A,socket=FILE,mac=MAC[,…] … [OPTION…]\n"
	"       vnicd-datapath --managed [OPTION…]\n"
	"Switch frames between VMs' vhost-user NICs and an uplink.\n"
	"\n"
	"  --port name=A,socket=FILE,mac=MAC   a port; further, separated by commas:\n"
	"         vlan=N        its VLAN on the uplink, 1 to 4094; default: untagged\n"
	"         mode=MODE     server (listen on the socket, default) or client (connect to it)\n"
	"         queues=N      most queue pairs, 1 to 8; default 8\n"
	"         spoofchk=on|off   drop frames with another source MAC; default on\n"
	"         weight=N      share of a crowded receiver; not in force yet; default 1\n"
	"         rate=BITS     limit in bits/s, also as 100mbit, 2gbit; not in force yet\n"
	"  --uplink UPLINK      where frames for others go:\n"
	"         tap=NAME      a tap; made where it is not there\n"
	"         packet=NETDEV a netdev of the host, by a packet socket\n"
	"  --cores LIST         CPUs to run the worker on, as 2 or 2,3 or 2-3\n"
	"  --stats FILE         keep states and counters there, as JSON\n"
	"  --managed            be told everything by vnicd, over /run/vnicd/datapath.sock\n"
	"  --log-level LEVEL    err, warning, notice, info (default) or debug\n"
	"  --help, --version\n";

/* One "key=value" of --port into @p. */
static int port_field(struct cmdline_port *p, const char *key, const char *value,
		      struct vnic_err *err)
{
	struct port_config *c = &p->config;
	uint64_t v;

	if (str_eq(key, "name")) {
		if (!name_valid(value))
			return REFUSE(err, "name=%s: use letters, digits, '.', '_', '-'", value);
		str_copy(c->name, sizeof(c->name), value);
		str_copy(c->key, sizeof(c->key), value);
	} else if (str_eq(key, "socket")) {
		if (!*value || str_copy(p->socket, sizeof(p->socket), value) < 0)
			return REFUSE(err, "socket=%s: a socket's file name has 1 to %zu bytes",
				      value, sizeof(p->socket) - 1);
	} else if (str_eq(key, "mac")) {
		if (mac_parse(value, c->mac) < 0 || !mac_valid_guest(c->mac))
			return REFUSE(err, "mac=%s: not a unicast address like 52:54:00:12:34:56",
				      value);
	} else if (str_eq(key, "vlan")) {
		if (u64_parse(value, 1, VNIC_VLAN_MAX, &v) < 0)
			return REFUSE(err, "vlan=%s: 1 to %d", value, VNIC_VLAN_MAX);
		c->vlan = (uint16_t)v;
	} else if (str_eq(key, "weight")) {
		if (u64_parse(value, 1, 65535, &v) < 0)
			return REFUSE(err, "weight=%s: 1 to 65535", value);
		c->weight = (uint32_t)v;
	} else if (str_eq(key, "rate")) {
		if (u64_parse(value, 1, UINT64_MAX, &c->rate) < 0 &&
		    rate_parse(value, &c->rate) < 0)
			return REFUSE(err, "rate=%s: bits/s, or like 100mbit, 2gbit", value);
	} else if (str_eq(key, "mode")) {
		if (!str_eq(value, "server") && !str_eq(value, "client"))
			return REFUSE(err, "mode=%s: server or client", value);
		p->client = str_eq(value, "client");
	} else if (str_eq(key, "queues")) {
		if (u64_parse(value, 1, DP_QUEUE_PAIRS_MAX, &v) < 0)
			return REFUSE(err, "queues=%s: 1 to %d", value, DP_QUEUE_PAIRS_MAX);
		c->queues = (uint32_t)v;
	} else if (str_eq(key, "spoofchk")) {
		if (bool_parse(value, &c->spoofchk) < 0)
			return REFUSE(err, "spoofchk=%s: on or off", value);
	} else {
		return REFUSE(err, "unknown key \"%s\"; see --help", key);
	}
	return 0;
}

static int check_port(const struct cmdline *c, const struct cmdline_port *p, struct vnic_err *err)
{
	static const uint8_t none[VNIC_MAC_LEN];

	if (!p->config.name[0] || !p->socket[0] || !memcmp(p->config.mac, none, sizeof(none)))
		return REFUSE(err, "name=, socket= and mac= are all needed");
	for (size_t i = 0; i < c->n_ports; i++) {
		const struct cmdline_port *o = &c->ports[i];

		if (str_eq(o->config.name, p->config.name))
			return REFUSE(err, "there are two ports of name %s", p->config.name);
		if (str_eq(o->socket, p->socket))
			return REFUSE(err, "port %s has the socket of port %s", p->config.name,
				      o->config.name);
		if (!memcmp(o->config.mac, p->config.mac, VNIC_MAC_LEN) &&
		    o->config.vlan == p->config.vlan)
			return REFUSE(err, "port %s has the MAC and VLAN of port %s",
				      p->config.name, o->config.name);
	}
	return 0;
}

static int parse_port(struct cmdline *c, const char *text, struct vnic_err *err)
{
	_cleanup_(freep) char *copy = strdup(text);
	struct cmdline_port p, *more;
	char *rest = copy;
	int r = 0;

	if (!copy)
		return -ENOMEM;
	memset(&p, 0, sizeof(p));
	p.config.generation = 1;
	p.config.spoofchk = true;
	p.config.queues = DP_QUEUE_PAIRS_MAX;
	p.config.weight = 1;
	while (r == 0 && rest) {
		char *key = strsep(&rest, ","), *value = strchr(key, '=');

		if (!value) {
			r = REFUSE(err, "\"%s\" is not KEY=VALUE", key);
			break;
		}
		*value++ = '\0';
		r = port_field(&p, key, value, err);
	}
	if (r == 0)
		r = check_port(c, &p, err);
	if (r == 0 && c->n_ports == DP_PORTS_MAX)
		r = REFUSE(err, "more than %d ports", DP_PORTS_MAX);
	if (r < 0) {
		vnic_err_prefix(err, "--port %s: ", text);
		return r;
	}
	more = reallocarray(c->ports, c->n_ports + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	c->ports = more;
	c->ports[c->n_ports++] = p;
	return 0;
}

static int parse_uplink(struct cmdline *c, const char *text, struct vnic_err *err)
{
	const char *name = strchr(text, '=');

	if (!strncmp(text, "xdp=", 4))
		return REFUSE(err,
			      "--uplink %s: not in this version, which knows tap=NAME and "
			      "packet=NETDEV",
			      text);
	if ((strncmp(text, "tap=", 4) && strncmp(text, "packet=", 7)) || !ifname_valid(name + 1))
		return REFUSE(
			err, "--uplink %s: give tap=NAME or packet=NETDEV with an interface's name",
			text);
	if (c->tap || c->packet)
		return REFUSE(err, "--uplink %s: there is one uplink, and it is %s", text,
			      c->tap ? c->tap : c->packet);
	*(*text == 't' ? &c->tap : &c->packet) = name + 1;
	return 0;
}

/* The kernel's notation of CPU lists: 0,2-3 */
static int parse_cores(struct cmdline *c, const char *text, struct vnic_err *err)
{
	_cleanup_(freep) char *copy = strdup(text);
	char *rest = copy;

	if (!copy)
		return -ENOMEM;
	while (rest) {
		char *from = strsep(&rest, ","), *to = strchr(from, '-');
		uint64_t a, b;

		if (to)
			*to++ = '\0';
		if (u64_parse(from, 0, 65535, &a) < 0 ||
		    u64_parse(to ? to : from, 0, 65535, &b) < 0 || b < a)
			return REFUSE(err, "--cores %s: give CPUs' numbers as 2 or 2,3 or 2-3",
				      text);
		for (; a <= b; a++) {
			if (c->n_cores == CMDLINE_CORES_MAX)
				return REFUSE(err, "--cores %s: more than %d", text,
					      CMDLINE_CORES_MAX);
			c->cores[c->n_cores++] = (int)a;
		}
	}
	return 0;
}

static int check_modes(const struct cmdline *c, struct vnic_err *err)
{
	if (c->mode == CMDLINE_MANAGED && (c->n_ports || c->tap || c->packet || c->n_cores))
		return REFUSE(err,
			      "--managed takes no --port, --uplink or --cores: vnicd says them");
	if (c->mode == CMDLINE_RUN && !c->n_ports)
		return REFUSE(err, "there is no --port; see --help");
	return 0;
}

static int parse(int argc, char **argv, struct cmdline *c, struct vnic_err *err)
{
	enum { PORT = 256, UPLINK, CORES, STATS, MANAGED, WORKER, LOG_LEVEL, HELP, VERSION };
	static const struct option options[] = {
		{ "port", required_argument, NULL, PORT },
		{ "uplink", required_argument, NULL, UPLINK },
		{ "cores", required_argument, NULL, CORES },
		{ "stats", required_argument, NULL, STATS },
		{ "managed", no_argument, NULL, MANAGED },
		{ "worker", no_argument, NULL, WORKER },
		{ "log-level", required_argument, NULL, LOG_LEVEL },
		{ "help", no_argument, NULL, HELP },
		{ "version", no_argument, NULL, VERSION },
		{ 0 },
	};
	int o, r = 0;

	optind = 0;
	opterr = 0;
	while (r == 0 && (o = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (o) {
		case PORT:
			r = parse_port(c, optarg, err);
			break;
		case UPLINK:
			r = parse_uplink(c, optarg, err);
			break;
		case CORES:
			r = parse_cores(c, optarg, err);
			break;
		case STATS:
			c->stats = optarg;
			break;
		case LOG_LEVEL:
			c->log_level = vnic_log_level_parse(optarg);
			if (c->log_level < 0)
				r = REFUSE(err,
					   "--log-level %s: err, warning, notice, info or debug",
					   optarg);
			break;
		case MANAGED:
			c->mode = CMDLINE_MANAGED;
			break;
		case WORKER:
			c->mode = CMDLINE_WORKER;
			break;
		case HELP:
			c->mode = CMDLINE_HELP;
			return 0;
		case VERSION:
			c->mode = CMDLINE_VERSION;
			return 0;
		default:
			r = REFUSE(err, "%s: unknown, or without its argument; see --help",
				   argv[optind - 1]);
		}
	}
	if (r == 0 && optind < argc)
		r = REFUSE(err, "\"%s\" is not an option; see --help", argv[optind]);
	return r < 0 ? r : check_modes(c, err);
}

int cmdline_parse(int argc, char **argv, struct cmdline *ret, struct vnic_err *err)
{
	int r;

	*ret = (struct cmdline){ .mode = CMDLINE_RUN, .log_level = LOG_INFO };
	r = parse(argc, argv, ret, err);
	if (r < 0)
		cmdline_clear(ret);
	return r;
}

void cmdline_clear(struct cmdline *c)
{
	free(c->ports);
	*c = (struct cmdline){ 0 };
}
