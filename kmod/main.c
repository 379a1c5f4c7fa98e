// SPDX-License-Identifier: GPL-2.0
/* Loading, unloading and the parameters. */
#include <linux/delay.h>
#include <linux/log2.h>
#include <linux/module.h>

#include "vnic.h"

unsigned int vnic_ring_size = 1024;
unsigned int vnic_pairs = 1;
struct workqueue_struct *vnic_wq;
static atomic_t vnic_objects = ATOMIC_INIT(0);

static int vnic_param_ring_size(const char *val, const struct kernel_param *kp)
{
	unsigned int n;
	int err = kstrtouint(val, 0, &n);

	if (err)
		return err;
	if (n < VNIC_RING_MIN || n > VNIC_RING_MAX || !is_power_of_2(n))
		return -EINVAL;
	return param_set_uint(val, kp);
}

static int vnic_param_pairs(const char *val, const struct kernel_param *kp)
{
	return param_set_uint_minmax(val, kp, 1, VNIC_PAIRS_MAX);
}

static const struct kernel_param_ops vnic_ring_size_ops = { .set = vnic_param_ring_size, .get = param_get_uint };
static const struct kernel_param_ops vnic_pairs_ops = { .set = vnic_param_pairs, .get = param_get_uint };

module_param_cb(ring_size, &vnic_ring_size_ops, &vnic_ring_size, 0644);
MODULE_PARM_DESC(ring_size, "descriptors of a queue that its driver sets no size of: a power of two, 2 to 1024 (1024)");
module_param_cb(pairs, &vnic_pairs_ops, &vnic_pairs, 0644);
MODULE_PARM_DESC(pairs, "queue pairs of a device made without asking for a number, as mdevs are: 1 to 8 (1)");

void vnic_object_new(void)
{
	atomic_inc(&vnic_objects);
}

void vnic_object_freed(void)
{
	/* What unloading waits for lasts a little longer than the count. */
	rcu_read_lock();
	atomic_dec(&vnic_objects);
	rcu_read_unlock();
}

/*
 * In use, and the module held for it: a driver is there, or a process has mapped its memory, as an emulator has while its guest
 * boots. Who deletes such a device waits until the process has gone, and holds vDPA's lock meanwhile.
 */
bool vnic_dev_hold(struct vnic_dev *d)
{
	lockdep_assert_held(&d->lock);
	if (!d->module_held && !try_module_get(THIS_MODULE)) {
		dev_warn(&d->vdpa.dev, "the module is being unloaded\n");
		return false;
	}
	WRITE_ONCE(d->module_held, true);
	return true;
}

/** vnic_dev_unhold() - a driver or a map may have gone; dev->lock held */
void vnic_dev_unhold(struct vnic_dev *d)
{
	lockdep_assert_held(&d->lock);
	if (!d->module_held || vnic_status_used(d->status) || d->as[0] || d->as[1])
		return;
	WRITE_ONCE(d->module_held, false);
	module_put(THIS_MODULE);
}

static int __init vnic_init(void)
{
	int err;

	vnic_wq = alloc_workqueue("vnic", WQ_UNBOUND, 0);
	if (!vnic_wq)
		return -ENOMEM;
	err = vnic_mdev_init();
	if (err)
		goto destroy;
	err = vnic_uplinks_init();
	if (err)
		goto mdev;
	return 0;

mdev:
	vnic_mdev_exit();
destroy:
	destroy_workqueue(vnic_wq);
	return err;
}

static void __exit vnic_exit(void)
{
	unsigned int n;

	vnic_uplinks_exit();
	vnic_mdev_exit();
	destroy_workqueue(vnic_wq);
	/*
	 * All are unregistered, but somebody may hold a reference yet: of a file just closed, the character device; and a
	 * kernel built with DEBUG_KOBJECT_RELEASE takes its time.
	 */
	for (n = 0; atomic_read(&vnic_objects); n++) {
		if (n == 500)
			pr_warn("vnic: somebody holds on to %d deleted devices\n", atomic_read(&vnic_objects));
		msleep(20);
	}
	synchronize_rcu();
}

module_init(vnic_init);
module_exit(vnic_exit);

MODULE_DESCRIPTION("VMDq agency: virtio-net vDPA devices on an uplink");
MODULE_LICENSE("GPL");
