/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random operations on a host with two PFs: domains with and without a standby, and with VFs by their own XML, come and
 * go, the daemon is killed or a
 * call of it fails, the configuration changes, and others meddle with VFs. After each, when all is quiet, the host is
 * compared with what it must be; at the end it reads as at the beginning.
 *
 * Some operations in the unit tests, 100,000 in "./check soak": VNICD_MODEL_OPS, VNICD_MODEL_SEED.
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "tests/unit/manager_bed.h"

#define DOMAINS 12
#define OWN	3 /* domains with a VF by their own XML: their numbers come after the others' */
#define OPS	3000

enum life { OFF, PREPARED, RUNNING };

struct world {
	struct fake_host h;
	struct {
		enum life life;
		struct port_spec spec;
		struct outcome o;
	} domain[DOMAINS];
	int vfs[FAKE_PFS]; /* as configured */
	uint32_t max_vfs;
	bool trust;
	uint32_t rate; /* Mbit/s */
	unsigned long op, in_guests, lent, kills; /* how much was tried */
	char trail[64][80]; /* the last operations */
};

static uint32_t random_state;

/* xorshift32: https://www.jstatsoft.org/article/view/v008i14 */
static uint32_t roll(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state % n;
}

static const char *const pf_addr[FAKE_PFS] = { "0000:03:00.0", "0000:04:00.0" };
static const char *const pf_name[FAKE_PFS] = { "eth0", "eth1" };

static struct vnic_config *config_of(const struct world *w)
{
	struct vnic_config *config = fake_config();
	struct vnic_segment *lan = config_segment(config, "lan");

	for (int i = 0; i < FAKE_PFS; i++)
		fake_want_vfs(config, pf_name[i], w->vfs[i]);
	strcpy(lan->uplink[lan->n_uplinks++], "eth1");
	config_class(config, "gold")->max_vfs = w->max_vfs;
	config_class(config, "gold")->trust = w->trust;
	config_class(config, "gold")->rate = w->rate * UINT64_C(1000000);
	return config;
}

static void note(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void note(struct world *w, const char *fmt, ...)
{
	char *line = w->trail[w->op % ARRAY_SIZE(w->trail)];
	int n = snprintf(line, sizeof(w->trail[0]), "%lu ", w->op);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line + n, sizeof(w->trail[0]) - (size_t)n, fmt, ap);
	va_end(ap);
}

static void __attribute__((noreturn, format(printf, 2, 3)))
wrong(struct world *w, const char *fmt, ...)
{
	_cleanup_(freep) char *host = fake_snapshot(&w->h);
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (size_t i = 1; i <= ARRAY_SIZE(w->trail); i++)
		print_message("%s\n", w->trail[(w->op + i) % ARRAY_SIZE(w->trail)]);
	for (const struct vnic_port *p = w->h.m->ports; p; p = p->hh.next)
		print_message("port %s %s: %s; device %s %s: %s\n", p->spec.name,
			      port_state_str(p->state), p->reason,
			      device_state_str(p->device.state), p->device.vf_addr,
			      p->device.reason);
	for (const struct nic_share *n = w->h.m->nics; n; n = n->hh.next)
		print_message("nic %s %s: %s\n", n->pf, n->ready ? "ready" : "not ready",
			      n->reason);
	for (char *line = strtok(host, "\n"); line; line = strtok(NULL, "\n"))
		print_message("%s\n", line);
	fail_msg("%s", text);
	abort();
}

static bool in_datapath(const struct world *w, const struct port_key *key)
{
	for (size_t i = 0; i < w->h.n_dp_ports; i++)
		if (port_key_eq(&w->h.dp_port[i].key, key))
			return true;
	return false;
}

/* The guests that run connect again. */
static void reconnect(struct world *w)
{
	fake_run(&w->h, SECOND);
	for (int d = 0; d < DOMAINS && !w->h.dead; d++)
		if (w->domain[d].life == RUNNING && in_datapath(w, &w->domain[d].spec.key))
			fake_peer(&w->h, &w->domain[d].spec.key, PORT_RUNNING);
}

/* The daemon died, by the operation's fault or of its own accord: the next one, with the peers there are. */
static void restart(struct world *w)
{
	w->kills++;
	fake_kill(&w->h);
	fake_start(&w->h, config_of(w));
	fake_tell_hostdevs(&w->h);
	reconnect(w);
}

static void settle(struct world *w, uint64_t us)
{
	for (int tries = 0; tries < 3; tries++) {
		fake_run(&w->h, us);
		if (!w->h.dead)
			break;
		note(w, "%s: killed at %s", w->trail[w->op % 64],
		     w->h.call[(w->h.calls - 1) % ARRAY_SIZE(w->h.call)]);
		restart(w);
	}
	w->h.fail_at = w->h.kill_at = w->h.calls = 0;
}

static void start_domain(struct world *w, int d)
{
	struct port_spec *spec = &w->domain[d].spec;
	struct domain_request req = { .op = REQUEST_PREPARE, .specs = spec, .n_specs = 1 };

	memcpy(req.uuid, spec->key.uuid, sizeof(req.uuid));
	memset(&w->domain[d].o, 0, sizeof(w->domain[d].o));
	assert_non_null(manager_prepare(w->h.m, &req, answered, &w->domain[d].o));
	settle(w, SECOND);
	/* One whose vnicd died meanwhile has no answer: libvirt gives the start up. */
	w->domain[d].life = w->domain[d].o.answered && !*w->domain[d].o.err.message ? PREPARED
										    : OFF;
}

static void run_domain(struct world *w, int d)
{
	struct port_spec *spec = &w->domain[d].spec;

	if (!manager_port(w->h.m, &spec->key)) {
		w->domain[d].life = OFF;
		return;
	}
	w->domain[d].life = RUNNING;
	fake_set_alive(&w->h, spec->pidfile, true);
	manager_domain_started(w->h.m, spec->key.uuid);
	if (!w->h.dead && in_datapath(w, &spec->key))
		fake_peer(&w->h, &spec->key, PORT_RUNNING);
}

/* @told: libvirt's hook says so; else QEMU has died without a word. */
static void end_of(struct world *w, int d, bool told)
{
	struct port_spec *spec = &w->domain[d].spec;

	w->domain[d].life = OFF;
	fake_set_alive(&w->h, spec->pidfile, false);
	for (size_t i = w->h.n_plugged; i-- > 0;)
		if (port_key_eq(&w->h.plugged[i].key, &spec->key))
			w->h.plugged[i] = w->h.plugged[--w->h.n_plugged];
	if (!w->h.dead && in_datapath(w, &spec->key))
		fake_peer(&w->h, &spec->key, PORT_READY);
	memset(&w->domain[d].o, 0, sizeof(w->domain[d].o));
	if (told && !w->h.dead)
		assert_non_null(
			manager_domain_release(w->h.m, spec->key.uuid, answered, &w->domain[d].o));
}

static void operate_domain(struct world *w)
{
	int d = (int)roll(DOMAINS);

	note(w, "domain %d, which is %d", d, w->domain[d].life);
	if (w->domain[d].life != OFF) {
		end_of(w, d, roll(8) != 0);
		return;
	}
	start_domain(w, d);
	/* One that is prepared and never started is reaped after a while. */
	if (w->domain[d].life == PREPARED && roll(6)) {
		if (!roll(3)) {
			w->h.kill_at = roll(2) ? 1 + roll(20) : 0;
			w->h.kill_when = roll(2) ? FAKE_BEFORE : FAKE_AFTER;
		}
		run_domain(w, d);
	}
}

static const struct vnic_port *holder(const struct world *w, const struct vnic_vf *vf);

/* What libvirt lists of @addr: the class it names; NULL: it lists no such VF. */
static const char *own_class(const struct world *w, const char *addr)
{
	for (size_t i = 0; i < w->h.n_hostdevs; i++)
		if (str_eq(w->h.hostdev[i].addr, addr))
			return w->h.hostdev[i].class_name;
	return NULL;
}

/* A domain gets a VF of libvirt's own choosing, from the host or from another such domain, or gives it back. */
static void operate_own(struct world *w)
{
	unsigned int d = DOMAINS + 1 + roll(OWN);
	size_t before = w->h.n_hostdevs;
	const char *class = roll(4) ? "gold" : "";

	note(w, "domain %u with its own VF", d);
	fake_hostdev(&w->h, d, NULL, 0, NULL);
	if (w->h.n_hostdevs == before || !roll(3))
		for (size_t i = 0; i < w->h.n_pfs; i++) {
			struct fake_pf *f = &w->h.pf[i];
			int v = f->pf.n_vf ? (int)roll((uint32_t)f->pf.n_vf) : -1;

			if (v < 0 || holder(w, &f->pf.vf[v]) || own_class(w, f->pf.vf[v].addr) ||
			    !roll(3))
				continue;
			fake_hostdev(&w->h, d, f, v, class);
			note(w, "domain %u has %s by its own XML, class '%s'", d, f->pf.vf[v].addr,
			     class);
			break;
		}
	fake_run(&w->h, roll(2) ? 0 : SECOND);
	if (!w->h.dead)
		fake_tell_hostdevs(&w->h);
}

static void operate_some(struct world *w)
{
	if (roll(4))
		operate_domain(w);
	else
		operate_own(w);
}

/* Others: a number of VFs, an attribute, a driver, a PF that goes or comes. */
static void meddle(struct world *w)
{
	int i = (int)roll(FAKE_PFS);
	struct fake_pf *f = NULL;
	struct vnic_vf *vf;

	for (size_t p = 0; p < w->h.n_pfs; p++)
		if (str_eq(w->h.pf[p].pf.addr, pf_addr[i]))
			f = &w->h.pf[p];
	if (!f) {
		note(w, "%s comes back", pf_name[i]);
		fake_add_pf(&w->h, pf_addr[i], pf_name[i], 7);
		return;
	}
	switch (roll(6)) {
	case 0:
		note(w, "%s goes", pf_name[i]);
		fake_numvfs(&w->h, f, 0);
		fake_del_pf(&w->h, pf_addr[i]);
		break;
	case 1:
		note(w, "%s loses its VFs", pf_name[i]);
		fake_numvfs(&w->h, f, 0);
		break;
	case 2:
		note(w, "%s gets VFs where it has none", pf_name[i]);
		if (!f->pf.num_vfs)
			fake_numvfs(&w->h, f, 1 + (int)roll(7));
		break;
	default:
		if (!f->pf.n_vf)
			return;
		vf = &f->pf.vf[roll((uint32_t)f->pf.n_vf)];
		note(w, "%s: spoofchk and rate changed", vf->addr);
		vf->value[VF_SPOOFCHK] = 1; /* as it was; one of ours it may take from */
		vf->value[VF_RATE] = 0;
		break;
	}
}

static void operate(struct world *w)
{
	struct vnic_err err = VNIC_ERR_INIT;

	switch (roll(16)) {
	case 0:
		w->vfs[roll(FAKE_PFS)] = (int)roll(8);
		w->max_vfs = roll(3) ? 0 : roll(8);
		w->trust = roll(2);
		w->rate = roll(2) ? 0 : 100 + roll(3);
		note(w, "config: %d and %d VFs, max-vfs %u, trust %d, rate %u", w->vfs[0],
		     w->vfs[1], w->max_vfs, w->trust, w->rate);
		assert_int_equal(manager_config_swap(w->h.m, config_of(w), &err), 0);
		break;
	case 1:
	case 2:
		meddle(w);
		break;
	case 3:
		note(w, "kill -9");
		restart(w);
		break;
	case 4:
		note(w, "the datapath restarts");
		fake_dp_restart(&w->h);
		reconnect(w);
		break;
	case 5:
		w->h.kill_at = 1 + roll(12);
		w->h.kill_when = roll(2) ? FAKE_BEFORE : FAKE_AFTER;
		operate_some(w);
		break;
	case 6:
		w->h.fail_at = 1 + roll(12);
		w->h.fail_with = -EIO;
		operate_some(w);
		break;
	default:
		operate_some(w);
	}
}

static const struct vnic_port *holder(const struct world *w, const struct vnic_vf *vf)
{
	for (const struct vnic_port *p = w->h.m->ports; p; p = p->hh.next)
		if (p->device.state != DEVICE_NONE && str_eq(p->device.vf_addr, vf->addr))
			return p;
	return NULL;
}

static void look_at_vf(struct world *w, const struct vnic_vf *vf, bool bound)
{
	const struct vnic_port *p = holder(w, vf);
	const char *class = own_class(w, vf->addr);
	bool plugged = false;

	for (size_t i = 0; i < w->h.n_plugged; i++)
		if (str_eq(w->h.plugged[i].vf_addr, vf->addr)) {
			if (plugged)
				wrong(w, "VF %s is in two guests", vf->addr);
			plugged = true;
			if (!p || !port_key_eq(&p->spec.key, &w->h.plugged[i].key))
				wrong(w, "VF %s is in a guest that does not have it", vf->addr);
		}
	if (p && p->device.state == DEVICE_ATTACHED && !plugged)
		wrong(w, "VF %s of port %s is not in its guest", vf->addr, p->spec.name);
	if (plugged && vf->value[VF_TRUST] != w->trust)
		wrong(w, "VF %s: trust is not as its class has it", vf->addr);
	if (plugged && vf->value[VF_RATE] != w->rate)
		wrong(w, "VF %s: its rate is not as its class has it", vf->addr);
	if (p && class)
		wrong(w, "VF %s is a port's and a domain's", vf->addr);
	if (class && *class) {
		if (vf->value[VF_TRUST] != w->trust || vf->value[VF_RATE] != w->rate ||
		    vf->value[VF_SPOOFCHK] != 1 || vf->value[VF_MAC] || vf->value[VF_VLAN])
			wrong(w, "VF %s of libvirt's is not as its class has it", vf->addr);
		w->lent++;
		return;
	}
	if (p && p->device.state != DEVICE_RESERVED)
		return;
	if (!str_eq(vf->driver, bound ? "ixgbevf" : "") || *vf->driver_override ||
	    vf->value[VF_MAC] || vf->value[VF_VLAN] || vf->value[VF_RATE] || vf->value[VF_TRUST] ||
	    vf->value[VF_SPOOFCHK] != 1)
		wrong(w, "VF %s, which nobody has, is not as it was", vf->addr);
}

static void look_at_domain(struct world *w, int d)
{
	const struct port_spec *spec = &w->domain[d].spec;
	const struct vnic_port *p = manager_port(w->h.m, &spec->key);
	bool fdb = false;
	char mac[VNIC_MAC_STR];

	if (w->domain[d].life == OFF) {
		if (p)
			wrong(w, "port %s of no domain", spec->name);
		return;
	}
	if (!p)
		wrong(w, "domain %d has no port", d);
	if (w->domain[d].life != RUNNING)
		return;
	mac_format(spec->key.mac, mac);
	for (size_t i = 0; i < w->h.n_fdb; i++)
		fdb |= strstr(w->h.fdb[i], mac) != NULL;
	if (p->state != PORT_RUNNING)
		wrong(w, "port %s does not run", spec->name);
	if (fdb == (p->device.state == DEVICE_ATTACHED))
		wrong(w, "port %s: the bridge knows its MAC: %d", spec->name, fdb);
	/* Whoever may have a VF has one, where one is free; quotas aside. */
	if (*spec->standby && p->device.state == DEVICE_NONE && !w->max_vfs)
		for (size_t i = 0; i < w->h.n_pfs; i++)
			for (int v = 0; v < w->h.pf[i].pf.n_vf; v++)
				if (!holder(w, &w->h.pf[i].pf.vf[v]) &&
				    !own_class(w, w->h.pf[i].pf.vf[v].addr))
					wrong(w, "port %s has no VF, and %s is free", spec->name,
					      w->h.pf[i].pf.vf[v].addr);
}

/* What alloc looks up among the ports is what they are. */
static void look_at_index(struct world *w)
{
	const struct alloc_index *index = w->h.m->index;
	const struct port_key nobody = { 0 };
	uint32_t ports, vfs, n = 0;

	for (size_t i = 0; i < w->h.n_pfs; i++) {
		const struct vnic_pf *pf = &w->h.pf[i].pf;

		for (int v = 0; v < pf->n_vf; v++) {
			const struct vnic_port *p = holder(w, &pf->vf[v]);

			if (alloc_index_holder(alloc_index_pf(index, pf->addr), v) != p)
				wrong(w, "alloc takes VF %s for another's", pf->vf[v].addr);
			n += p != NULL;
		}
	}
	if (!w->h.m->ports)
		return;
	alloc_index_class(index, w->h.m->ports->spec.class_name, &nobody, &ports, &vfs);
	if (ports != HASH_COUNT(w->h.m->ports) || vfs != n)
		wrong(w, "alloc counts %u ports with %u VFs; there are %u with %u", ports, vfs,
		      HASH_COUNT(w->h.m->ports), n);
}

static void look(struct world *w)
{
	look_at_index(w);
	for (size_t i = 0; i < w->h.n_pfs; i++)
		for (int v = 0; v < w->h.pf[i].pf.n_vf; v++)
			look_at_vf(w, &w->h.pf[i].pf.vf[v], w->h.pf[i].born_bound[v]);
	for (int d = 0; d < DOMAINS; d++)
		look_at_domain(w, d);
	for (size_t i = 0; i < w->h.hostdev_records.n; i++) {
		const char *class = own_class(w, w->h.hostdev_records.record[i].name);

		if (!class || !*class)
			wrong(w, "a record of VF %s, which is nobody's",
			      w->h.hostdev_records.record[i].name);
	}
	if (w->h.n_port_records != HASH_COUNT(w->h.m->ports))
		wrong(w, "%zu records of %u ports", w->h.n_port_records, HASH_COUNT(w->h.m->ports));
}

static unsigned long setting(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);
	unsigned long v = text ? strtoul(text, NULL, 10) : 0;

	return v ? v : otherwise;
}

static void random_operations(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	unsigned long ops = setting("VNICD_MODEL_OPS", OPS);
	unsigned long seed = setting("VNICD_MODEL_SEED", 20260101);
	_cleanup_(freep) char *before = NULL;
	struct vnic_err err = VNIC_ERR_INIT;

	(void)state;
	print_message("VNICD_MODEL_SEED=%lu VNICD_MODEL_OPS=%lu\n", seed, ops);
	random_state = (uint32_t)seed | 1;
	fake_init(&w->h);
	fake_add_link(&w->h, "eth1", LINK_PHYSICAL, "br0");
	for (int i = 0; i < FAKE_PFS; i++) {
		fake_add_pf(&w->h, pf_addr[i], pf_name[i], 7);
		fake_link(&w->h, pf_name[i])->link.carrier = true; /* or they take no rate */
	}
	before = fake_snapshot(&w->h);
	for (unsigned int d = 0; d < DOMAINS; d++) {
		w->domain[d].spec = fake_spec(d + 1, 1);
		if (d % 4)
			strcpy(w->domain[d].spec.standby, "ua-net0");
	}
	fake_start(&w->h, config_of(w));
	for (w->op = 0; w->op < ops; w->op++) {
		w->h.async = roll(2);
		operate(w);
		/* Back-offs, retries and reaping included. */
		settle(w, 300 * SECOND);
		for (int d = 0; d < DOMAINS; d++)
			if (w->domain[d].life == PREPARED)
				w->domain[d].life = OFF; /* reaped by now */
		look(w);
		w->in_guests += w->h.n_plugged;
	}
	print_message("VFs in guests after an operation: %lu, and %lu of libvirt's; kills: %lu\n",
		      w->in_guests / ops, w->lent / ops, w->kills);
	assert_true(w->lent > ops / 4);
	for (unsigned int d = 0; d < OWN; d++)
		fake_hostdev(&w->h, DOMAINS + 1 + d, NULL, 0, NULL);
	fake_tell_hostdevs(&w->h);
	for (int d = 0; d < DOMAINS; d++)
		if (w->domain[d].life != OFF)
			end_of(w, d, true);
	memset(w->vfs, 0, sizeof(w->vfs));
	for (int i = 0; i < FAKE_PFS; i++) {
		bool there = false;

		for (size_t p = 0; p < w->h.n_pfs; p++)
			there |= str_eq(w->h.pf[p].pf.addr, pf_addr[i]);
		if (!there)
			fake_add_pf(&w->h, pf_addr[i], pf_name[i], 7);
	}
	assert_int_equal(manager_config_swap(w->h.m, config_of(w), &err), 0);
	settle(w, 300 * SECOND);
	for (size_t i = 0; i < w->h.n_pfs; i++)
		fake_numvfs(&w->h, &w->h.pf[i], 0); /* others' */
	settle(w, 300 * SECOND);
	w->h.fdb[0][0] = '\0';
	{
		_cleanup_(freep) char *after = fake_snapshot(&w->h);

		if (strlen(after) != strlen(before))
			wrong(w, "the host does not read as before");
	}
	fake_deinit(&w->h);
	free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(random_operations) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
