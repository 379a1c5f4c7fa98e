/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/exec/vdpa_nl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include <linux/genetlink.h>
#include <linux/vdpa.h>

#include "api/errors.h"
#include "base/str.h"

int vdpa_dir_open(const struct exec *exec, const struct step *step, struct vnic_err *err)
{
	char dir[256];
	int fd;

	if (!name_valid(step->dev))
		return vnic_err_set(err, -EINVAL, VNIC_E_STEP_FAILED, "'%s' names no vDPA device",
				    step->dev);
	snprintf(dir, sizeof(dir), "%s/bus/vdpa/devices/%s", exec->sysfs, step->dev);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	return vnic_err_set(err, errno == ENOENT ? -ENODEV : -errno, VNIC_E_STEP_FAILED,
			    "vDPA device %s is not there", step->dev);
}

static void on_family(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *a;
	uint16_t *ret = data;

	mnl_attr_for_each(a, nlh, sizeof(struct genlmsghdr))
	{
		if (mnl_attr_get_type(a) == CTRL_ATTR_FAMILY_ID &&
		    mnl_attr_validate(a, MNL_TYPE_U16) >= 0)
			*ret = mnl_attr_get_u16(a);
	}
}

static void start_genl(struct nl_request *req, uint16_t family, uint16_t flags, uint8_t cmd,
		       uint8_t version)
{
	const struct genlmsghdr header = { .cmd = cmd, .version = version };

	nl_start(req, family, flags, &header, sizeof(header));
}

int vdpa_call(uint8_t cmd, const struct step *step,
	      void (*put)(struct nlmsghdr *nlh, const struct step *step), nl_answer_fn fn,
	      void *data, struct vnic_err *err)
{
	_cleanup_(nl_freep) struct nl *nl = NULL;
	struct nl_request req;
	uint16_t family = 0;
	int r = nl_new(NETLINK_GENERIC, &nl);

	if (r < 0)
		return vnic_err_set(err, r, VNIC_E_STEP_FAILED, "netlink: %s", strerror(-r));
	start_genl(&req, GENL_ID_CTRL, 0, CTRL_CMD_GETFAMILY, 1);
	mnl_attr_put_strz(req.nlh, CTRL_ATTR_FAMILY_NAME, VDPA_GENL_NAME);
	r = nl_call(nl, &req, on_family, &family, err);
	if (r < 0 || !family)
		return vnic_err_set(err, -EOPNOTSUPP, VNIC_E_STEP_FAILED,
				    "this kernel's vdpa module is not loaded");
	start_genl(&req, family, put ? 0 : NLM_F_DUMP, cmd, VDPA_GENL_VERSION);
	if (put)
		put(req.nlh, step);
	return nl_call(nl, &req, fn, data, err);
}
