// SPDX-License-Identifier: GPL-2.0
/*
 * Guest pages with the NIC: zero-copy frames, from the pull of their buffer to its return.
 *
 * A completion comes in any context, also from inside our own transmit (a veth copies the pages and completes at once), so it
 * takes no lock: it puts the frame on a list and wakes the scheduler, which gives all of them back under the queue's lock with
 * one publication and one interrupt. vnic_port_drain() does the same where the scheduler has let go of the device.
 *
 * The object outlives its queue where the NIC sits on frames for longer than anybody waits (vnic_port_abandon()): `dead` says
 * that the queue is gone, the last completion frees it. It calls us, so until then the module stays: the object holds a
 * reference on it. The pages themselves are held by each frame's own references.
 */
#include <linux/module.h>
#include <linux/skbuff.h>
#include <linux/slab.h>

#include "switch.h"

struct vnic_ubuf {
	struct ubuf_info ubuf;
	struct vnic_zc *zc;
	struct llist_node node;
	u16 id, slots;
	bool copied; /* somebody on the way had to copy the pages */
};

struct vnic_zc {
	struct vnic_dev *dev;
	u16 pair;
	bool dead;
	struct llist_head done;
	struct llist_node *free; /* under the queue's lock, as the following */
	u32 inflight, max;
	/*
	 * Where most frames are copied after all (a veth, a tap), attaching pages is the dearer way: rest for a while, then
	 * try again.
	 */
	u32 ok, failed, rest;
	atomic_t left; /* dead: frames still with the NIC */
	struct rcu_head rcu;
	struct vnic_ubuf buf[];
};

#define ZC_WINDOW 64   /* completions after which the ways are compared */
#define ZC_REST	  4096 /* frames that are copied before another try */

static void purge(struct vnic_zc *zc)
{
	struct llist_node *node = llist_del_all(&zc->done);
	int n = 0;

	for (; node; node = node->next)
		n++;
	if (n && !atomic_sub_return(n, &zc->left)) {
		kvfree_rcu(zc, rcu);
		/* The caller is in an RCU reader, which unloading waits for. */
		module_put(THIS_MODULE);
	}
}

static void vnic_zc_complete(struct sk_buff *skb, struct ubuf_info *ubuf, bool success)
{
	struct vnic_ubuf *b = container_of(ubuf, struct vnic_ubuf, ubuf);
	struct vnic_zc *zc = b->zc;

	if (!success)
		WRITE_ONCE(b->copied, true);
	/* Segments of one frame share it. */
	if (!refcount_dec_and_test(&ubuf->refcnt))
		return;
	/* From the list on the object may go away under us: RCU keeps it until we have looked. */
	rcu_read_lock();
	if (llist_add(&b->node, &zc->done) && !READ_ONCE(zc->dead))
		vnic_tx_wake(zc->dev, zc->pair);
	/* llist_add() is a full barrier, and so is what follows `dead` in vnic_zc_abandon(): one of the two purges. */
	if (unlikely(READ_ONCE(zc->dead)))
		purge(zc);
	rcu_read_unlock();
}

static const struct ubuf_info_ops vnic_zc_ops = {
	.complete = vnic_zc_complete,
};

/* Process context, before the queue runs. What an earlier port_down() left in flight goes on. */
int vnic_zc_open(struct vnic_vq *vq)
{
	struct vnic_zc *zc;
	/* Half of the ring at most: the rest goes on by copying while the NIC is slow. */
	u32 max = vq->ring.num / 2;

	if (vq->zc)
		return 0;
	zc = kvzalloc(struct_size(zc, buf, max), GFP_KERNEL);
	if (!zc)
		return -ENOMEM;
	zc->dev = vq->dev;
	zc->pair = vq->index / 2;
	zc->max = max;
	init_llist_head(&zc->done);
	while (max--) {
		struct vnic_ubuf *b = &zc->buf[max];

		b->zc = zc;
		b->ubuf.ops = &vnic_zc_ops;
		b->ubuf.flags = SKBFL_ZEROCOPY_FRAG;
		b->node.next = zc->free;
		zc->free = &b->node;
	}
	vq->zc = zc;
	return 0;
}

bool vnic_zc_may(struct vnic_vq *vq)
{
	struct vnic_zc *zc = vq->zc;

	if (unlikely(!zc || !zc->free))
		return false;
	if (zc->rest) {
		zc->rest--;
		return false;
	}
	return true;
}

void vnic_zc_attach(struct vnic_vq *vq, struct sk_buff *skb, const struct vnic_chain *chain)
{
	struct vnic_zc *zc = vq->zc;
	struct vnic_ubuf *b = llist_entry(zc->free, struct vnic_ubuf, node);

	zc->free = b->node.next;
	zc->inflight++;
	b->id = chain->id;
	b->slots = chain->slots;
	b->copied = false;
	refcount_set(&b->ubuf.refcnt, 1);
	skb_zcopy_init(skb, &b->ubuf);
}

bool vnic_zc_reap(struct vnic_vq *vq)
{
	struct vnic_zc *zc = vq->zc;
	struct llist_node *node, *next;

	if (!zc || llist_empty(&zc->done))
		return false;
	for (node = llist_reverse_order(llist_del_all(&zc->done)); node; node = next) {
		struct vnic_ubuf *b = llist_entry(node, struct vnic_ubuf, node);

		next = node->next;
		if (b->copied) {
			zc->failed++;
			vq->stats.copied++;
		} else {
			zc->ok++;
			vq->stats.zerocopy++;
		}
		zc->inflight--;
		if (!vq->ring.broken)
			vnic_ring_push(&vq->ring, b->id, b->slots, 0);
		node->next = zc->free;
		zc->free = node;
	}
	if (zc->ok + zc->failed >= ZC_WINDOW) {
		if (zc->failed > zc->ok)
			zc->rest = ZC_REST;
		zc->ok = zc->failed = 0;
	}
	return !vq->ring.broken;
}

bool vnic_zc_busy(const struct vnic_vq *vq)
{
	return vq->zc && vq->zc->inflight;
}

void vnic_zc_abandon(struct vnic_vq *vq)
{
	struct vnic_zc *zc;

	spin_lock_bh(&vq->lock);
	zc = vq->zc;
	vq->zc = NULL;
	spin_unlock_bh(&vq->lock);
	if (!zc)
		return;
	if (!zc->inflight) {
		/* A completion that we have reaped may still be between its list and its look at `dead`. */
		kvfree_rcu(zc, rcu);
		return;
	}
	/* Who gives up a queue is called by way of this module, which goes only after all devices have. */
	__module_get(THIS_MODULE);
	atomic_set(&zc->left, zc->inflight);
	rcu_read_lock();
	smp_store_mb(zc->dead, true);
	purge(zc);
	rcu_read_unlock();
}
