/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ports of path vmdq on a fake host: a VF's netdev as the queue of one virtio NIC. Killed and failed at each step: test_plan. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/errors.h"
#include "tests/unit/manager_bed.h"

static struct vnic_config *config_with(int vfs)
{
	struct vnic_config *config = fake_config();

	fake_want_vfs(config, "eth0", vfs);
	config_class(config, "gold")->paths.path[0] = VNIC_PATH_VMDQ;
	return config;
}

static struct fixture *with_vfs(void **state, int vfs)
{
	give_vfs(*state, config_with(vfs), vfs);
	return *state;
}

static const struct step *netdev_step(const struct vnic_port *port)
{
	const struct step *step = plan_find(&port->plan, STEP_QUEUE_NETDEV);

	assert_non_null(step);
	return step;
}

/* The netdev that the datapath has for the port is the VF's own, as it is now. */
static void feeds(struct fixture *f, const struct port_spec *spec)
{
	struct vnic_port *port = port_of(f, spec);
	const struct vnic_vf *vf = &f->h.pf[0].pf.vf[port->device.vf];
	char name[VNIC_NAME_MAX];
	bool found = false;

	port_dp_segment(port, name);
	for (size_t i = 0; i < f->h.n_dp_segments; i++)
		found |= str_eq(f->h.dp_segment[i].name, name);
	assert_true(found);
	assert_true(vf->ifindex > 0);
	assert_int_equal(netdev_step(port)->ifindex, vf->ifindex);
}

static void a_life(void **state)
{
	struct fixture *f = with_vfs(state, 2);
	struct port_spec spec = fake_spec(1, 1);
	struct vnic_port *port;
	struct port_key key;
	char name[VNIC_NAME_MAX];

	run_port(f, &spec);
	port = port_of(f, &spec);
	assert_int_equal(port->path, VNIC_PATH_VMDQ);
	assert_int_equal(port->device.state, DEVICE_QUEUE);
	assert_int_equal(port->state, PORT_RUNNING);
	feeds(f, &spec);
	/* Alone in its segment, whose name tells whose it is. */
	assert_int_equal(port_dp_segment_key(port_dp_segment(port, name), &key), 0);
	assert_true(port_key_eq(&key, &spec.key));
	assert_int_equal(port_dp_segment_key("lan", &key), -EINVAL);
	assert_int_equal(port_dp_segment_key("vmdq.00", &key), -EINVAL);
	/* The card knows its MAC: neither the bridge nor the PF is told. */
	fake_run(&f->h, 10 * SECOND);
	assert_int_equal(f->h.n_fdb, 0);
	for (size_t i = 0; i < f->h.pf[0].n_fdb; i++)
		assert_memory_not_equal(f->h.pf[0].fdb[i], spec.key.mac, VNIC_MAC_LEN);
	end_domain(f, &spec);
	swap(f, config_with(0));
	same_as(f, f->before);
}

static void taken_netdev_is_made_again(void **state)
{
	struct fixture *f = with_vfs(state, 1);
	struct port_spec spec = fake_spec(1, 1);
	struct vnic_vf *vf = &f->h.pf[0].pf.vf[0];

	run_port(f, &spec);
	fake_run(&f->h, 5 * SECOND);
	for (int i = 0; i < 2; i++) {
		int before = vf->ifindex;

		/* As by "echo ADDRESS > …/unbind" */
		fake_del_link(&f->h, netdev_step(port_of(f, &spec))->ifname);
		vf->ifindex = 0;
		*vf->driver = '\0';
		fake_run(&f->h, 10 * SECOND);
		assert_int_not_equal(vf->ifindex, before);
		assert_string_equal(vf->driver, "ixgbevf");
		feeds(f, &spec);
		assert_int_equal(port_of(f, &spec)->state, PORT_RUNNING);
	}
	end_domain(f, &spec);
	swap(f, config_with(0));
	same_as(f, f->before);
}

static void netdev_that_is_set_down_goes_up(void **state)
{
	struct fixture *f = with_vfs(state, 1);
	struct port_spec spec = fake_spec(1, 1);
	const char *name;

	run_port(f, &spec);
	fake_run(&f->h, 5 * SECOND);
	name = netdev_step(port_of(f, &spec))->ifname;
	fake_link(&f->h, name)->link.up = false;
	fake_run(&f->h, SECOND);
	assert_true(fake_link(&f->h, name)->link.up);
	says(port_of(f, &spec)->history[(port_of(f, &spec)->history_n - 1) % PORT_HISTORY].text,
	     "set down");
	feeds(f, &spec);
	/* Told for as long as it may happen again. */
	fake_run(&f->h, 120 * SECOND);
	assert_string_equal(port_of(f, &spec)->reason, "");
	end_domain(f, &spec);
	swap(f, config_with(0));
	same_as(f, f->before);
}

static void vf_that_is_gone_is_told(void **state)
{
	struct fixture *f = with_vfs(state, 1);
	struct port_spec spec = fake_spec(1, 1);

	run_port(f, &spec);
	fake_run(&f->h, 5 * SECOND);
	/* Its nic is given its VFs again: so is the port. */
	fake_numvfs(&f->h, &f->h.pf[0], 0);
	fake_run(&f->h, 5 * SECOND);
	feeds(f, &spec);
	f->h.pf[0].stuck = true;
	fake_numvfs(&f->h, &f->h.pf[0], 0);
	fake_run(&f->h, 5 * SECOND);
	says(port_of(f, &spec)->reason, "has gone");
	/* It does not come back: the guest, which connects anew, goes on in software. */
	fake_run(&f->h, 5 * SECOND);
	assert_int_equal(port_of(f, &spec)->path, VNIC_PATH_SOFTWARE);
	assert_int_equal(port_of(f, &spec)->device.state, DEVICE_NONE);
	assert_int_equal(f->h.n_dp_segments, 1);
	assert_string_equal(f->h.dp_port[0].segment, "lan");
	assert_int_equal(f->h.n_sockets, 1);
	fake_peer(&f->h, &spec.key, PORT_RUNNING);
	fake_run(&f->h, 2 * SECOND);
	assert_int_equal(f->h.n_fdb, 1);
	says(port_of(f, &spec)->reason, "in software");
	end_domain(f, &spec);
	f->h.pf[0].stuck = false;
	swap(f, config_with(0));
	same_as(f, f->before);
}

/* Killed while it leaves its queue, it leaves it all the same. */
static void killed_on_the_way_to_software(void **state)
{
	for (unsigned int at = 1; at < 40; at++) {
		struct fixture *f = with_vfs(state, 1);
		struct port_spec spec = fake_spec(1, 1);
		bool died;

		run_port(f, &spec);
		fake_run(&f->h, 5 * SECOND);
		f->h.pf[0].stuck = true;
		fake_numvfs(&f->h, &f->h.pf[0], 0);
		f->h.calls = 0;
		f->h.kill_at = at;
		f->h.kill_when = at % 2 ? FAKE_BEFORE : FAKE_AFTER;
		fake_run(&f->h, 20 * SECOND);
		died = f->h.dead;
		fake_kill(&f->h);
		fake_start(&f->h, config_with(1));
		fake_run(&f->h, 40 * SECOND);
		assert_int_equal(port_of(f, &spec)->path, VNIC_PATH_SOFTWARE);
		assert_string_equal(f->h.dp_port[0].segment, "lan");
		assert_int_equal(f->h.n_dp_segments, 1);
		end_domain(f, &spec);
		f->h.pf[0].stuck = false;
		swap(f, config_with(0));
		same_as(f, f->before);
		bed_tear_down(state);
		bed_set_up(state);
		if (!died)
			return;
	}
	fail_msg("there is no end of it");
}

static void netdev_that_never_comes(void **state)
{
	struct fixture *f = with_vfs(state, 1);
	struct port_spec spec = fake_spec(1, 1);

	f->h.no_netdevs = true;
	assert_non_null(prepare(f, &spec, 1));
	fake_run(&f->h, 5 * SECOND);
	assert_false(f->o.answered);
	fake_run(&f->h, 10 * SECOND);
	refused(f, VNIC_E_STEP_FAILED, "set up the netdev");
	swap(f, config_with(0));
	same_as(f, f->before);
}

static void late_netdev_is_waited_for(void **state)
{
	struct fixture *f = with_vfs(state, 1);
	struct port_spec spec = fake_spec(1, 1);

	f->h.no_netdevs = true;
	assert_non_null(prepare(f, &spec, 1));
	fake_run(&f->h, 5 * SECOND);
	assert_false(f->o.answered);
	f->h.no_netdevs = false;
	fake_run(&f->h, SECOND);
	assert_true(f->o.answered);
	assert_string_equal(f->o.err.message, "");
	feeds(f, &spec);
}

static void settings_reach_the_card(void **state)
{
	struct fixture *f = with_vfs(state, 1);
	struct port_spec spec = fake_spec(1, 1);
	struct vnic_config *config = config_with(1);

	run_port(f, &spec);
	assert_int_equal(f->h.pf[0].pf.vf[0].value[VF_TRUST], 0);
	config_class(config, "gold")->trust = true;
	swap(f, config);
	assert_int_equal(f->h.pf[0].pf.vf[0].value[VF_TRUST], 1);
	end_domain(f, &spec);
	swap(f, config_with(0));
	same_as(f, f->before);
}

static struct vnic_config *config_with_rate(uint64_t rate)
{
	struct vnic_config *config = config_with(1);

	config_class(config, "gold")->rate = rate;
	return config;
}

static void a_rate_is_set_and_taken_off(void **state)
{
	struct fixture *f = with_vfs(state, 1);
	struct port_spec spec = fake_spec(1, 1);
	const int64_t *rate = &f->h.pf[0].pf.vf[0].value[VF_RATE];

	run_port(f, &spec);
	assert_int_equal(*rate, 0);
	swap(f, config_with_rate(2000000000));
	assert_int_equal(*rate, 2000);
	feeds(f, &spec);
	/* What is given to its VF when that comes back. */
	fake_numvfs(&f->h, &f->h.pf[0], 0);
	fake_run(&f->h, 5 * SECOND);
	feeds(f, &spec);
	assert_int_equal(f->h.pf[0].pf.vf[0].value[VF_RATE], 2000);
	swap(f, config_with(1));
	assert_int_equal(f->h.pf[0].pf.vf[0].value[VF_RATE], 0);
	swap(f, config_with_rate(3000000000));
	assert_int_equal(f->h.pf[0].pf.vf[0].value[VF_RATE], 3000);
	end_domain(f, &spec);
	swap(f, config_with(0));
	same_as(f, f->before);
}

/* While a step of the port is under way its plan stays as it is, and follows once that has ended. */
static void a_rate_is_set_during_a_step(void **state)
{
	struct fixture *f = with_vfs(state, 1);
	struct port_spec spec = fake_spec(1, 1);
	const struct step *driver;

	f->h.async = true;
	f->h.hold = STEP_QUEUE_NETDEV;
	assert_non_null(prepare(f, &spec, 1));
	fake_run(&f->h, SECOND);
	swap(f, config_with_rate(2000000000));
	assert_null(plan_find_attr(&port_of(f, &spec)->plan, VF_RATE));
	f->h.hold = 0;
	fake_run(&f->h, SECOND);
	assert_true(f->o.answered);
	assert_string_equal(f->o.err.message, "");
	assert_int_equal(f->h.pf[0].pf.vf[0].value[VF_RATE], 2000);
	/* In the place that it has from the start on: before the driver of the host. */
	driver = plan_find(&port_of(f, &spec)->plan, STEP_QUEUE_NETDEV) - 1;
	assert_int_equal(driver->kind, STEP_VF_DRIVER);
	assert_true(plan_find_attr(&port_of(f, &spec)->plan, VF_RATE) < driver);
	feeds(f, &spec);
}

/* The one that it gets back has it. */
static void a_rate_is_set_while_its_vf_is_away(void **state)
{
	struct fixture *f = with_vfs(state, 1);
	struct port_spec spec = fake_spec(1, 1);
	struct vnic_config *config = config_with_rate(2000000000);
	struct vnic_err err = VNIC_ERR_INIT;

	run_port(f, &spec);
	fake_run(&f->h, 5 * SECOND);
	f->h.pf[0].stuck = true;
	fake_numvfs(&f->h, &f->h.pf[0], 0);
	fake_run(&f->h, SECOND);
	assert_int_equal(manager_config_swap(f->h.m, config, &err), 0);
	fake_run(&f->h, SECOND);
	f->h.pf[0].stuck = false;
	fake_numvfs(&f->h, &f->h.pf[0], 1);
	fake_run(&f->h, 5 * SECOND);
	assert_int_equal(port_of(f, &spec)->path, VNIC_PATH_VMDQ);
	assert_int_equal(f->h.pf[0].pf.vf[0].value[VF_RATE], 2000);
	feeds(f, &spec);
}

static void datapath_is_told_again(void **state)
{
	struct fixture *f = with_vfs(state, 1);
	struct port_spec spec = fake_spec(1, 1);

	run_port(f, &spec);
	fake_dp_restart(&f->h);
	fake_run(&f->h, SECOND);
	feeds(f, &spec);
	assert_int_equal(f->h.n_dp_ports, 1);
	assert_int_equal(f->h.n_dp_segments, 2);
	end_domain(f, &spec);
	assert_int_equal(f->h.n_dp_segments, 0);
}

static void stray_segment_is_forgotten(void **state)
{
	struct fixture *f = with_vfs(state, 1);

	strcpy(f->h.dp_segment[0].name, "vmdq.00000000000000000000000000000009525400000901");
	f->h.n_dp_segments = 1;
	manager_datapath_lost(f->h.m, "it hung up");
	fake_dp_connect(&f->h);
	fake_run(&f->h, SECOND);
	assert_int_equal(f->h.n_dp_segments, 0);
}

static void queue_is_no_device_to_detach(void **state)
{
	struct fixture *f = with_vfs(state, 1);
	struct port_spec spec = fake_spec(1, 1);
	struct vnic_err err = VNIC_ERR_INIT;

	run_port(f, &spec);
	assert_true(manager_device_hold(f->h.m, &spec.key, 0, true, &err) < 0);
	assert_int_equal(port_of(f, &spec)->device.state, DEVICE_QUEUE);
	feeds(f, &spec);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_life),
		TEST(taken_netdev_is_made_again),
		TEST(netdev_that_is_set_down_goes_up),
		TEST(vf_that_is_gone_is_told),
		TEST(killed_on_the_way_to_software),
		TEST(netdev_that_never_comes),
		TEST(late_netdev_is_waited_for),
		TEST(settings_reach_the_card),
		TEST(a_rate_is_set_and_taken_off),
		TEST(a_rate_is_set_during_a_step),
		TEST(a_rate_is_set_while_its_vf_is_away),
		TEST(datapath_is_told_again),
		TEST(stray_segment_is_forgotten),
		TEST(queue_is_no_device_to_detach),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
