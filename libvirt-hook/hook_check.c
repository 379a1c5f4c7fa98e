/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `vnicctl domain check` calls an error keeps a guest from starting: one set of rules for both. */
#include "libvirt-hook/hook.h"

#include <stdio.h>
#include <string.h>

#include "api/errors.h"
#include "libvirt-hook/domain_check.h"

/* XML of several lines as one: libvirt's message is a line. */
static void join_lines(char *xml)
{
	char *to = xml;

	for (const char *from = xml; *from; from++) {
		if (*from == '\n')
			from += strspn(from, "\n ");
		if (!*from)
			break;
		*to++ = *from;
	}
	*to = '\0';
}

static void say(const struct domain *d, struct finding *f, size_t n_more, struct vnic_err *err)
{
	char more[40] = "";

	if (f->fix)
		join_lines(f->fix);
	if (n_more)
		snprintf(more, sizeof(more), " (and %zu more)", n_more);
	/* The hint first where both do not fit: the fix is what it prints. */
	vnic_err_set(err, 1, VNIC_E_INVALID_XML, "%s%s; see 'vnicctl domain check %.60s'%s%s",
		     f->message, more, d->name, f->fix ? "; write: " : "", f->fix ? f->fix : "");
}

int hook_check_domain(const struct domain *d, struct vnic_err *err)
{
	struct finding *first = NULL;
	struct findings f;
	size_t n = 0;
	int r;

	r = domain_check(d, NULL, 0, &f);
	for (size_t i = 0; i < f.n; i++) {
		if (f.list[i].severity != FINDING_ERROR)
			continue;
		if (n++ == 0)
			first = &f.list[i];
	}
	if (r < 0) {
		vnic_err_set(err, r, VNIC_E_INTERNAL, "out of memory");
	} else if (first) {
		say(d, first, n - 1, err);
		r = 1;
	}
	findings_deinit(&f);
	return r;
}
