/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/core/alloc.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/errors.h"
#include "daemon/core/path_software.h"
#include "daemon/core/path_sriov.h"
#include "daemon/core/path_vdpa.h"
#include "daemon/core/path_vmdq.h"

/*
 * The paths this version has. A later path adds its line here, its eligibility and its plan; nothing else
 * in the decision changes.
 */
static bool judge_software(const struct path_ask *ask, struct alloc_choice *choice,
			   struct path_reason *ret)
{
	(void)choice;
	return path_software_eligible(ask->host->inv, ask->segment, ret);
}

static const struct {
	bool (*eligible)(const struct path_ask *ask, struct alloc_choice *choice,
			 struct path_reason *ret);
} table[VNIC_PATH_COUNT] = {
	[VNIC_PATH_SRIOV] = { path_sriov_eligible },
	[VNIC_PATH_VDPA] = { path_vdpa_eligible },
	[VNIC_PATH_VMDQ] = { path_vmdq_eligible },
	[VNIC_PATH_SOFTWARE] = { judge_software },
};

static void judge(const struct path_ask *ask, enum vnic_path path, struct alloc_choice *choice,
		  struct path_reason *ret)
{
	*ret = (struct path_reason){ .path = path };
	if (ask->spec->vdpa && path != VNIC_PATH_VDPA)
		snprintf(ret->text, sizeof(ret->text),
			 "its interface is of type='vdpa': name vdpa in paths= of [class %s], or "
			 "write type='vhostuser' and a socket",
			 ask->class->name);
	else if (table[path].eligible)
		ret->eligible = table[path].eligible(ask, choice, ret);
	else
		snprintf(ret->text, sizeof(ret->text), "this version of vnicd has no %s path",
			 vnic_path_str(path));
}

static int check_vlan(const struct vnic_class *class, const struct port_spec *spec,
		      uint16_t *ret_vlan, struct vnic_err *err)
{
	uint16_t vlan = spec->has_vlan ? spec->vlan : class->vlan;
	char allowed[128];

	if (!vlan_set_has(&class->vlans, vlan))
		return vnic_err_set(err, -EPERM, VNIC_E_VLAN_NOT_ALLOWED,
				    "VLAN %u is not allowed in class %s, which has %s: use one of "
				    "these, or add it to vlans= of [class %s]",
				    vlan, class->name,
				    vlan_set_format(&class->vlans, allowed, sizeof(allowed)),
				    class->name);
	*ret_vlan = vlan;
	return 0;
}

/* Does another port, or the host itself, have the MAC where @spec would have it? */
static int check_mac(const struct inventory *inv, const struct vnic_segment *segment,
		     const struct alloc_index *index, const struct port_spec *spec, uint16_t vlan,
		     struct vnic_err *err)
{
	const struct vnic_link *bridge = inventory_find_name(inv, segment->bridge), *l;
	const struct vnic_port *p;
	char mac[VNIC_MAC_STR];

	mac_format(spec->key.mac, mac);
	if (!mac_valid_guest(spec->key.mac))
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_MAC,
				    "%s is no address for a VM's NIC (%s): give it a unicast one, "
				    "such as 52:54:00:12:34:56",
				    mac, spec->key.mac[0] & 1 ? "it is a group address" : "zero");
	p = alloc_index_mac(index, segment->name, vlan, spec->key.mac, &spec->key);
	if (p)
		return vnic_err_set(err, -EEXIST, VNIC_E_DUPLICATE_MAC,
				    "MAC %s is already on segment %s, VLAN %u: port %s of "
				    "domain '%.64s' has it; give this NIC another address",
				    mac, segment->name, vlan, p->spec.name, p->spec.domain);
	l = bridge;
	if (l && memcmp(l->mac, spec->key.mac, VNIC_MAC_LEN) != 0)
		for (l = inventory_members(inv, bridge->ifindex); l; l = l->member_next)
			if (!memcmp(l->mac, spec->key.mac, VNIC_MAC_LEN))
				break;
	if (l)
		return vnic_err_set(err, -EEXIST, VNIC_E_DUPLICATE_MAC,
				    "MAC %s is this host's own on segment %s: %s has it; "
				    "give this NIC another address",
				    mac, segment->name, l->name);
	return 0;
}

static int check_limits(const struct vnic_class *class, const struct alloc_index *index,
			const struct port_spec *spec, struct vnic_err *err)
{
	const struct vnic_port *p;
	uint32_t n, vfs;

	p = alloc_index_socket(index, spec->class_name, spec->name, &spec->key);
	if (p)
		return vnic_err_set(err, -EADDRINUSE, VNIC_E_SOCKET_IN_USE,
				    "%s %s/%s%s belongs to another NIC of domain "
				    "'%.64s': choose another name in <source %s=…>",
				    spec->vdpa ? "name" : "socket", spec->class_name, spec->name,
				    spec->vdpa ? "" : ".sock", p->spec.domain,
				    spec->vdpa ? "dev" : "path");
	alloc_index_class(index, class->name, &spec->key, &n, &vfs);
	if (class->max_ports && n >= class->max_ports)
		return vnic_err_set(err, -EDQUOT, VNIC_E_LIMIT,
				    "class %s is full: it has %u of %u ports; raise max_ports= of "
				    "[class %s], or use another class",
				    class->name, n, class->max_ports, class->name);
	if (spec->queues > class->queues)
		return vnic_err_set(err, -EDQUOT, VNIC_E_LIMIT,
				    "%u queue pairs asked for, class %s allows %u: write "
				    "<driver queues='%u'/>, or raise queues= of [class %s]",
				    spec->queues, class->name, class->queues, class->queues,
				    class->name);
	return 0;
}

static int check_names(const struct port_spec *spec, struct vnic_err *err)
{
	if (!name_valid(spec->name))
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
				    "'%.80s' is no port name: use 1 to %d of A-Z a-z 0-9 . _ -, "
				    "not starting with . or -",
				    spec->name, VNIC_NAME_MAX - 1);
	if (spec->has_weight && (spec->weight < 1 || spec->weight > 1000))
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
				    "weight %u is not between 1 and 1000", spec->weight);
	return 0;
}

/* "vdpa: this version …; software: bridge br0 …" */
static int no_path(const struct alloc_choice *choice, const struct port_spec *spec,
		   struct vnic_err *err)
{
	char all[VNIC_ERR_MESSAGE_MAX];
	size_t used = 0;

	*all = '\0';
	for (size_t i = 0; i < choice->n_reasons && used < sizeof(all); i++)
		used += (size_t)snprintf(all + used, sizeof(all) - used, "%s%s: %s", i ? "; " : "",
					 vnic_path_str(choice->reason[i].path),
					 choice->reason[i].text);
	return vnic_err_set(err, -ENOTSUP, VNIC_E_NO_PATH,
			    "no path of class %s can carry this port: %.400s", spec->class_name,
			    all);
}

static int decide(const struct alloc_host *host, const struct port_spec *spec,
		  struct alloc_choice *ret, struct vnic_err *err)
{
	const struct vnic_config *config = host->config;
	const struct vnic_class *class = config_class(config, spec->class_name);
	const struct vnic_segment *segment;
	const struct path_list *paths;
	struct alloc_choice choice = { 0 };
	struct vf_choice vf = { 0 };
	struct path_ask ask;
	int r;

	if (!class)
		return vnic_err_set(err, -ENOENT, VNIC_E_UNKNOWN_CLASS,
				    "there is no class '%.64s': vnicctl class show lists those "
				    "there are; classes are [class NAME] in vnicd.conf",
				    spec->class_name);
	segment = config_segment(config, class->segment);
	if (!segment)
		return vnic_err_set(err, -ENOENT, VNIC_E_UNKNOWN_SEGMENT,
				    "class %s names segment %s, which is not configured",
				    class->name, class->segment);
	r = check_names(spec, err);
	if (r == 0)
		r = check_vlan(class, spec, &choice.vlan, err);
	if (r == 0)
		r = check_mac(host->inv, segment, host->index, spec, choice.vlan, err);
	if (r == 0)
		r = check_limits(class, host->index, spec, err);
	if (r < 0)
		return r;

	memcpy(choice.segment, segment->name, sizeof(choice.segment));
	choice.rate = spec->has_rate ? spec->rate : class->rate;
	choice.weight = spec->has_weight ? spec->weight : class->weight;
	choice.spoofchk = class->spoofchk;
	choice.trust = class->trust;
	choice.extra = class->vf;
	choice.queues = spec->queues ? spec->queues : class->queues;
	ask = (struct path_ask){ .host = host, .spec = spec, .class = class, .segment = segment };
	paths = spec->has_paths ? &spec->paths : &class->paths;
	for (int i = 0; i < VNIC_PATH_COUNT && paths->path[i]; i++) {
		struct path_reason *reason = &choice.reason[choice.n_reasons++];

		choice.vf = (struct vf_choice){ 0 };
		ask.path = paths->path[i];
		judge(&ask, paths->path[i], &choice, reason);
		if (reason->eligible && !choice.path) {
			choice.path = reason->path;
			vf = choice.vf;
		}
	}
	choice.vf = vf;
	*ret = choice;
	return choice.path ? 0 : no_path(&choice, spec, err);
}

int alloc(const struct alloc_host *host, const struct port_spec *spec, struct alloc_choice *ret,
	  struct vnic_err *err)
{
	struct alloc_host indexed = *host;
	struct alloc_index *index;
	int r;

	if (host->index)
		return decide(host, spec, ret, err);
	r = alloc_index_new(&index);
	if (r < 0)
		return vnic_err_set(err, r, VNIC_E_INTERNAL, "out of memory");
	for (const struct vnic_port *p = host->ports; p && r == 0; p = p->hh.next)
		r = alloc_index_update(index, p);
	indexed.index = index;
	if (r == 0)
		r = decide(&indexed, spec, ret, err);
	else
		vnic_err_set(err, r, VNIC_E_INTERNAL, "out of memory");
	alloc_index_free(index);
	return r;
}
