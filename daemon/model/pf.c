/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/model/pf.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const attrs[] = {
	[VF_MAC] = "mac",
	[VF_VLAN] = "vlan",
	[VF_RATE] = "rate",
	[VF_SPOOFCHK] = "spoofchk",
	[VF_TRUST] = "trust",
	[VF_LINK_STATE] = "state",
	[VF_RSS_QUERY] = "query_rss",
};
static_assert(ARRAY_SIZE(attrs) == VF_ATTR_COUNT, "a word for each attribute");

static const char *const users[] = {
	[VF_FREE] = "free",	     [VF_USER_NETDEV] = "netdev", [VF_USER_NETNS] = "netns",
	[VF_USER_DRIVER] = "driver", [VF_USER_VDPA] = "vdpa",	  [VF_USER_DOMAIN] = "domain",
};
static_assert(ARRAY_SIZE(users) == VF_USER_DOMAIN + 1, "a word for each user");

static const char *const modes[] = {
	[ESWITCH_NONE] = "none",
	[ESWITCH_LEGACY] = "legacy",
	[ESWITCH_SWITCHDEV] = "switchdev",
};

static const char *const features[] = {
	[FEATURE_ABSENT] = "absent", [FEATURE_OFF_FIXED] = "off [fixed]", [FEATURE_OFF] = "off",
	[FEATURE_ON] = "on",	     [FEATURE_ON_FIXED] = "on [fixed]",
};

const char *vf_attr_str(enum vf_attr attr)
{
	return attr < ARRAY_SIZE(attrs) ? attrs[attr] : "unknown";
}

int vf_attr_parse(const char *s, enum vf_attr *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(attrs); i++)
		if (str_eq(s, attrs[i])) {
			*ret = (enum vf_attr)i;
			return 0;
		}
	return -EINVAL;
}

int64_t vf_mac_value(const uint8_t mac[VNIC_MAC_LEN])
{
	int64_t v = 0;

	for (size_t i = 0; i < VNIC_MAC_LEN; i++)
		v = v << 8 | mac[i];
	return v;
}

void vf_value_mac(int64_t value, uint8_t ret_mac[VNIC_MAC_LEN])
{
	for (size_t i = VNIC_MAC_LEN; i-- > 0; value >>= 8)
		ret_mac[i] = (uint8_t)value;
}

const char *vf_attr_format(enum vf_attr attr, int64_t value, char *buf, size_t size)
{
	static const char *const states[] = { "auto", "enable", "disable" };
	uint8_t mac[VNIC_MAC_LEN];
	char text[VNIC_MAC_STR];

	switch (attr) {
	case VF_MAC:
		vf_value_mac(value, mac);
		snprintf(buf, size, "mac %s", mac_format(mac, text));
		break;
	case VF_VLAN:
		snprintf(buf, size, "vlan %d", (int)(value & 0xfff));
		if (value >> 12 & 7)
			snprintf(buf + strlen(buf), size - strlen(buf), " qos %d",
				 (int)(value >> 12 & 7));
		if (value >> 16 == 0x88a8)
			snprintf(buf + strlen(buf), size - strlen(buf), " proto 802.1ad");
		break;
	case VF_RATE:
		snprintf(buf, size, "max_tx_rate %" PRIu32, (uint32_t)value);
		if (value >> 32)
			snprintf(buf + strlen(buf), size - strlen(buf), " min_tx_rate %" PRIu32,
				 (uint32_t)(value >> 32));
		break;
	case VF_LINK_STATE:
		snprintf(buf, size, "state %s",
			 value >= 0 && value < (int64_t)ARRAY_SIZE(states) ? states[value] : "?");
		break;
	default:
		snprintf(buf, size, "%s %s", vf_attr_str(attr), value ? "on" : "off");
	}
	return buf;
}

const char *eswitch_mode_str(enum eswitch_mode mode)
{
	return mode < ARRAY_SIZE(modes) ? modes[mode] : "unknown";
}

const char *feature_state_str(enum feature_state state)
{
	return state < ARRAY_SIZE(features) ? features[state] : "unknown";
}

const struct vnic_vf *pf_vf(const struct vnic_pf *pf, int index, const char *addr)
{
	return pf && index >= 0 && index < pf->n_vf && str_eq(pf->vf[index].addr, addr)
		       ? &pf->vf[index]
		       : NULL;
}

bool pf_switches(const struct vnic_pf *pf)
{
	return pf->num_vfs > 0 && pf->eswitch != ESWITCH_SWITCHDEV;
}

const char *vf_user_str(enum vf_user user)
{
	return user < ARRAY_SIZE(users) ? users[user] : "unknown";
}

const char *vf_user_describe(const struct vnic_vf *vf, char *buf, size_t size)
{
	switch (vf->user) {
	case VF_FREE:
		snprintf(buf, size, "free");
		break;
	case VF_USER_NETDEV:
		snprintf(buf, size, "the host (%s)", vf->user_name);
		break;
	case VF_USER_NETNS:
		snprintf(buf, size, "another network namespace, a container's perhaps");
		break;
	case VF_USER_DRIVER:
		snprintf(buf, size, "driver %s", vf->user_name);
		break;
	case VF_USER_VDPA:
		snprintf(buf, size, "vDPA device %s", vf->user_name);
		break;
	case VF_USER_DOMAIN:
		snprintf(buf, size, "domain %s", vf->user_name);
		break;
	}
	return buf;
}

struct vnic_vf vf_unknown(int index)
{
	return (struct vnic_vf){ .index = index, .iommu_group = -1, .numa_node = -1 };
}

int pf_resize(struct vnic_pf *pf, int n)
{
	struct vnic_vf *vf = calloc(n ? (size_t)n : 1, sizeof(*vf));

	if (!vf)
		return -ENOMEM;
	for (int i = 0; i < n; i++)
		vf[i] = vf_unknown(i);
	free(pf->vf);
	pf->vf = vf;
	pf->n_vf = n;
	return 0;
}

int pf_copy(struct vnic_pf *dst, const struct vnic_pf *src)
{
	UT_hash_handle hh = dst->hh;
	struct vnic_vf *vf = NULL;

	if (src->n_vf) {
		vf = reallocarray(NULL, (size_t)src->n_vf, sizeof(*vf));
		if (!vf)
			return -ENOMEM;
		memcpy(vf, src->vf, (size_t)src->n_vf * sizeof(*vf));
	}
	free(dst->vf);
	*dst = *src;
	dst->vf = vf;
	dst->hh = hh;
	return 0;
}

/* Padding is not compared: field by field. */
bool vf_same(const struct vnic_vf *a, const struct vnic_vf *b)
{
	for (int i = 0; i < VF_ATTR_COUNT; i++)
		if (a->value[i] != b->value[i])
			return false;
	return a->index == b->index && str_eq(a->addr, b->addr) && str_eq(a->driver, b->driver) &&
	       str_eq(a->driver_override, b->driver_override) && a->iommu_group == b->iommu_group &&
	       a->group_shared == b->group_shared && a->numa_node == b->numa_node &&
	       a->ifindex == b->ifindex && a->representor == b->representor &&
	       a->known == b->known && a->user == b->user && str_eq(a->user_name, b->user_name);
}

bool pf_same_alone(const struct vnic_pf *a, const struct vnic_pf *b)
{
	return str_eq(a->addr, b->addr) && str_eq(a->bus, b->bus) && a->ifindex == b->ifindex &&
	       str_eq(a->driver, b->driver) && a->numa_node == b->numa_node &&
	       a->total_vfs == b->total_vfs && a->num_vfs == b->num_vfs &&
	       a->autoprobe == b->autoprobe && a->vfs_complete == b->vfs_complete &&
	       a->eswitch == b->eswitch && a->fwd_offload == b->fwd_offload &&
	       a->ntuple == b->ntuple && a->channels_max == b->channels_max &&
	       a->channels == b->channels;
}

bool pf_same(const struct vnic_pf *a, const struct vnic_pf *b)
{
	if (!pf_same_alone(a, b) || a->n_vf != b->n_vf)
		return false;
	for (int i = 0; i < a->n_vf; i++)
		if (!vf_same(&a->vf[i], &b->vf[i]))
			return false;
	return true;
}

void pf_clear(struct vnic_pf *pf)
{
	free(pf->vf);
	pf->vf = NULL;
	pf->n_vf = 0;
}
