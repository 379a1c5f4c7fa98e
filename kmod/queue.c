// SPDX-License-Identifier: GPL-2.0
/*
 * A device's queues, as vDPA sets them up: addresses, size, state, callback, kick. A ring exists (vq->set_up) from the
 * moment that its queue may run until the queue is disabled or the device reset; over SUSPEND it stays, stopped.
 */
#include <linux/netlink.h>
#include <uapi/linux/virtio_ring.h>

#include "vnic.h"

/* The map that a queue's addresses are of. NULL: nobody gave one. */
static struct vnic_mem *vnic_vq_mem(struct vnic_vq *vq)
{
	struct vnic_dev *d = vq->dev;

	return d->as[d->group_as[vnic_vq_is_ctrl(vq)]] ?: vnic_dev_identity(d);
}

/* What a driver that sets no state means: an empty ring, at its start. */
static void vnic_vq_default_state(struct vnic_vq *vq)
{
	memset(&vq->state, 0, sizeof(vq->state));
	if (vq->dev->features & BIT_ULL(VIRTIO_F_RING_PACKED)) {
		vq->state.packed.last_avail_counter = 1;
		vq->state.packed.last_used_counter = 1;
	}
}

static int vnic_vq_set_up(struct vnic_vq *vq)
{
	u64 f = vq->dev->features;
	bool packed = f & BIT_ULL(VIRTIO_F_RING_PACKED);
	struct vnic_mem *mem = vnic_vq_mem(vq);
	int err;

	if (vq->set_up)
		return 0;
	if (!mem)
		return -EFAULT;
	if (!vq->state_set)
		vnic_vq_default_state(vq);
	err = vnic_ring_init(&vq->ring, mem, vq->num, vq->desc, vq->driver, vq->device, packed,
			     f & BIT_ULL(VIRTIO_RING_F_EVENT_IDX), f & BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC));
	if (err)
		return err;
	vnic_ring_set_state(&vq->ring, &vq->state);
	if (vq->ring.broken) {
		/* A state that no ring of this size can have: said now, for nobody would look at the ring again. */
		vnic_ring_fini(&vq->ring);
		memset(&vq->ring, 0, sizeof(vq->ring));
		return -EINVAL;
	}
	/* Nobody waits for receive buffers: what their driver would tell costs it an exit each time. */
	if (vnic_vq_is_rx(vq))
		vnic_ring_quiet(&vq->ring);
	vq->set_up = true;
	if (vnic_vq_is_tx(vq))
		vnic_vq_open(vq);
	return 0;
}

static void vnic_vq_set_running(struct vnic_vq *vq, bool running)
{
	spin_lock_bh(&vq->lock);
	WRITE_ONCE(vq->running, running && !vq->ring.broken);
	spin_unlock_bh(&vq->lock);
}

void vnic_vq_kick(struct vnic_vq *vq)
{
	if (vnic_vq_is_ctrl(vq))
		queue_delayed_work(vnic_wq, &vq->dev->ctrl_work, 0);
	else if (vnic_vq_is_tx(vq))
		vnic_tx_kick(vq);
	else if (vnic_vq_is_rx(vq))
		vnic_rx_kick(vq);
}

/* A queue that is none with the features negotiated. */
static bool vnic_vq_unused(const struct vnic_vq *vq)
{
	return !vnic_vq_is_ctrl(vq) && !vnic_vq_is_tx(vq) && !vnic_vq_is_rx(vq);
}

/**
 * vnic_vq_start() - let a queue run that its driver enabled
 * @vq: of a device that is live; dev->lock held
 *
 * A data queue beyond the pairs in use is set up and waits. The caller kicks it, for what was made available before.
 * Return: 0, or what vnic_ring_init() returned.
 */
int vnic_vq_start(struct vnic_vq *vq)
{
	int err;

	lockdep_assert_held(&vq->dev->lock);
	if (!vq->ready || vnic_vq_unused(vq))
		return 0;
	err = vnic_vq_set_up(vq);
	if (err)
		return err;
	vnic_vq_set_running(vq, vnic_vq_is_ctrl(vq) || vq->index < 2 * vq->dev->pairs);
	return 0;
}

/**
 * vnic_vq_pause() - a queue stops, and keeps its ring
 * @vq: dev->lock held
 *
 * When it returns nobody pulls from it; frames may be in flight.
 */
void vnic_vq_pause(struct vnic_vq *vq)
{
	lockdep_assert_held(&vq->dev->lock);
	vnic_vq_set_running(vq, false);
}

/**
 * vnic_vq_stop() - a queue stops, and its ring is given up
 * @vq: dev->lock held
 *
 * Waits for frames that are with the NIC, within VNIC_DRAIN_MS, so that the state kept is exact; those that do not come
 * back in time are forgotten.
 */
void vnic_vq_stop(struct vnic_vq *vq)
{
	bool was = vq->running;

	vnic_vq_pause(vq);
	if (!vq->set_up)
		return;
	if (was)
		synchronize_net(); /* a softirq that pulled before may be sending yet */
	if (vnic_vq_is_tx(vq) && vnic_vq_drain(vq, VNIC_DRAIN_MS))
		vnic_vq_abandon(vq);
	spin_lock_bh(&vq->lock);
	vnic_ring_get_state(&vq->ring, &vq->state);
	vq->state_set = true;
	spin_unlock_bh(&vq->lock);
	vnic_ring_fini(&vq->ring);
	memset(&vq->ring, 0, sizeof(vq->ring));
	vq->set_up = false;
}

/**
 * vnic_vq_remap() - a queue's address space has a new map
 * @vq: dev->lock held
 * @mem: the new map
 *
 * Return: 0, or an error: the queue's areas are mapped no more, it is stopped.
 */
int vnic_vq_remap(struct vnic_vq *vq, struct vnic_mem *mem)
{
	struct vnic_mem *old;
	bool running;
	int err;

	if (!vq->set_up)
		return 0;
	spin_lock_bh(&vq->lock);
	running = vq->running;
	old = vnic_ring_set_mem(&vq->ring, mem);
	spin_unlock_bh(&vq->lock);
	if (!IS_ERR(old)) {
		vnic_mem_put(old);
		return 0;
	}
	vnic_vq_stop(vq);
	if (!running)
		return 0;
	err = vnic_vq_start(vq);
	if (!err)
		vnic_vq_kick(vq);
	return err;
}

/** vnic_vq_reset() - as it was made; the device is down, dev->lock held */
void vnic_vq_reset(struct vnic_vq *vq)
{
	vnic_vq_stop(vq);
	WRITE_ONCE(vq->ready, false);
	vq->state_set = false;
	memset(&vq->state, 0, sizeof(vq->state));
	vq->desc = vq->driver = vq->device = 0;
	vq->num = vnic_ring_size;
	spin_lock_bh(&vq->lock);
	memset(&vq->cb, 0, sizeof(vq->cb));
	spin_unlock_bh(&vq->lock);
}

void vnic_vq_interrupt(struct vnic_vq *vq)
{
	lockdep_assert_held(&vq->lock);
	/*
	 * Never vq->cb.trigger: vhost drops its reference on that eventfd before it tells us of the next one. The callback
	 * looks at the one in force.
	 */
	if (!vq->cb.callback)
		return;
	vq->stats.interrupts++;
	vq->cb.callback(vq->cb.private);
}

/* ---- vdpa_config_ops. vDPA's callers keep @idx below nvqs ---- */

int vnic_set_vq_address(struct vdpa_device *vdpa, u16 idx, u64 desc, u64 driver, u64 device)
{
	struct vnic_dev *d = vnic_of(vdpa);
	struct vnic_vq *vq = &d->vq[idx];
	int err = -EBUSY;

	mutex_lock(&d->lock);
	if (!vq->running) {
		vnic_vq_stop(vq);
		vq->desc = desc;
		vq->driver = driver;
		vq->device = device;
		err = 0;
	}
	mutex_unlock(&d->lock);
	return err;
}

void vnic_set_vq_num(struct vdpa_device *vdpa, u16 idx, u32 num)
{
	struct vnic_dev *d = vnic_of(vdpa);
	struct vnic_vq *vq = &d->vq[idx];

	mutex_lock(&d->lock);
	if (!vq->running) {
		vnic_vq_stop(vq);
		vq->num = num <= VNIC_RING_MAX ? num : 0; /* 0: refused when it starts, as there is no other way to say it */
	}
	mutex_unlock(&d->lock);
}

u16 vnic_get_vq_size(struct vdpa_device *vdpa, u16 idx)
{
	return READ_ONCE(vnic_of(vdpa)->vq[idx].num);
}

/* From inside an eventfd's wait queue, or a driver's transmit function: see vnic_tx_kick(). */
void vnic_kick_vq(struct vdpa_device *vdpa, u16 idx)
{
	struct vnic_vq *vq = &vnic_of(vdpa)->vq[idx];

	atomic64_inc(&vq->kicks);
	if (READ_ONCE(vq->running))
		vnic_vq_kick(vq);
}

void vnic_set_vq_cb(struct vdpa_device *vdpa, u16 idx, struct vdpa_callback *cb)
{
	struct vnic_vq *vq = &vnic_of(vdpa)->vq[idx];

	spin_lock_bh(&vq->lock);
	vq->cb = *cb;
	spin_unlock_bh(&vq->lock);
}

void vnic_set_vq_ready(struct vdpa_device *vdpa, u16 idx, bool ready)
{
	struct vnic_dev *d = vnic_of(vdpa);
	struct vnic_vq *vq = &d->vq[idx];
	int err;

	mutex_lock(&d->lock);
	if (ready == vq->ready)
		goto out;
	WRITE_ONCE(vq->ready, ready);
	if (!ready) {
		vnic_vq_stop(vq);
	} else if (vnic_dev_live(d)) { /* VHOST_BACKEND_F_ENABLE_AFTER_DRIVER_OK */
		err = vnic_vq_start(vq);
		if (!err && d->port_up)
			err = vnic_port_update(d);
		if (err)
			vnic_dev_fail(d, "queue %u cannot start: %d", idx, err);
		else
			vnic_vq_kick(vq);
	}
out:
	mutex_unlock(&d->lock);
}

bool vnic_get_vq_ready(struct vdpa_device *vdpa, u16 idx)
{
	return READ_ONCE(vnic_of(vdpa)->vq[idx].ready);
}

int vnic_set_vq_state(struct vdpa_device *vdpa, u16 idx, const struct vdpa_vq_state *state)
{
	struct vnic_dev *d = vnic_of(vdpa);
	struct vnic_vq *vq = &d->vq[idx];
	int err = -EBUSY;

	mutex_lock(&d->lock);
	if (!vq->running) {
		vnic_vq_stop(vq);
		vq->state = *state;
		vq->state_set = true;
		err = 0;
	}
	mutex_unlock(&d->lock);
	return err;
}

int vnic_get_vq_state(struct vdpa_device *vdpa, u16 idx, struct vdpa_vq_state *state)
{
	struct vnic_dev *d = vnic_of(vdpa);
	struct vnic_vq *vq = &d->vq[idx];

	mutex_lock(&d->lock);
	if (vq->set_up) {
		spin_lock_bh(&vq->lock);
		vnic_ring_get_state(&vq->ring, state);
		spin_unlock_bh(&vq->lock);
	} else {
		if (!vq->state_set)
			vnic_vq_default_state(vq);
		*state = vq->state;
	}
	mutex_unlock(&d->lock);
	return 0;
}

u32 vnic_get_vq_group(struct vdpa_device *vdpa, u16 idx)
{
	struct vnic_dev *d = vnic_of(vdpa);
	u64 f = d->features ?: d->offered;

	if (!(f & BIT_ULL(VIRTIO_NET_F_CTRL_VQ)))
		return 0;
	return idx == (f & BIT_ULL(VIRTIO_NET_F_MQ) ? 2 * d->pairs_max : 2);
}

static const struct {
	const char *name;
	size_t offset;
} vnic_stat[] = {
#define S(x) { #x, offsetof(struct vnic_vq_stats, x) }
	S(frames), S(bytes), S(interrupts), S(zerocopy), S(copied), S(local), S(drop_no_buffer), S(drop_backlog),
	S(drop_too_big), S(drop_spoof), S(drop_malformed), S(drop_uplink),
#undef S
};
static_assert(ARRAY_SIZE(vnic_stat) * sizeof(u64) == sizeof(struct vnic_vq_stats));

/**
 * vnic_vq_stat() - the nth counter of a queue
 * @vq: the queue
 * @n: from 0
 * @ret_value: its value
 *
 * Return: its name; NULL: there are no more.
 */
const char *vnic_vq_stat(struct vnic_vq *vq, unsigned int n, u64 *ret_value)
{
	if (n == ARRAY_SIZE(vnic_stat)) {
		*ret_value = atomic64_read(&vq->kicks);
		return "kicks";
	}
	if (n > ARRAY_SIZE(vnic_stat))
		return NULL;
	spin_lock_bh(&vq->lock);
	*ret_value = *(u64 *)((u8 *)&vq->stats + vnic_stat[n].offset);
	spin_unlock_bh(&vq->lock);
	return vnic_stat[n].name;
}

int vnic_get_vendor_vq_stats(struct vdpa_device *vdpa, u16 idx, struct sk_buff *msg, struct netlink_ext_ack *extack)
{
	struct vnic_dev *d = vnic_of(vdpa);
	const char *name;
	unsigned int n;
	u64 value;

	/* vdpa checks against VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MAX only. */
	if (idx >= d->nvqs) {
		NL_SET_ERR_MSG_MOD(extack, "the device has no queue of this index");
		return -ERANGE;
	}
	for (n = 0; (name = vnic_vq_stat(&d->vq[idx], n, &value)); n++)
		if (nla_put_string(msg, VDPA_ATTR_DEV_VENDOR_ATTR_NAME, name) ||
		    nla_put_u64_64bit(msg, VDPA_ATTR_DEV_VENDOR_ATTR_VALUE, value, VDPA_ATTR_PAD))
			return -EMSGSIZE;
	return 0;
}
