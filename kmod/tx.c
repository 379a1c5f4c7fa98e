// SPDX-License-Identifier: GPL-2.0
/*
 * Transmit: which device may send, and how much.
 *
 *   kick (any context) -> the device's bit, tx->kicked -> NAPI: active list, deficit round robin -> frame.c: pull, check,
 *   build -> dispatch: a neighbour's ring, the stack, the NIC (wire.c)
 *
 * One NAPI an uplink, so the lists are its alone and need no lock. A turn gives a device its quantum (by weight); it sends
 * until that is used up, its tokens are, its queues are empty, or the NIC's queue is full. A device may overdraw its quantum
 * by one frame (up to 64 KiB) and pays in later turns, since a frame's length is not known before it is pulled. Who waits for
 * tokens or for the NIC is off the active list: nobody waits behind it. Each device has NIC queues of its own by number, as
 * far as there are any, so that a stopped queue delays only those that share it.
 */
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "tx.h"

#define QUANTUM_UNIT 160		    /* bytes a turn for a weight of 1: 16 kB at 100 */
#define BUSY_WAIT    (50 * NSEC_PER_USEC)  /* until a full NIC queue is looked at again: nothing tells us */
#define TOKENS_WAIT  (200 * NSEC_PER_USEC) /* at least: a batch's worth, not a frame's */

enum outcome {
	MORE,	/* its turn is over, it has more */
	BUDGET, /* ours is used up in the middle of its turn */
	IDLE,
	WAIT,	/* until tx.wake_at */
};

/* An interrupt's end runs softirqs. */
static void nudge(struct irq_work *work)
{
	napi_schedule(&container_of(work, struct vnic_nudge, work)->tx->napi);
}

static void schedule_napi(struct vnic_tx *tx)
{
	if (in_interrupt()) {
		/* Softirq, or BH off: its end runs ours. */
		napi_schedule(&tx->napi);
	} else if (irqs_disabled()) {
		/* So vhost-vdpa kicks. A softirq raised here wakes ksoftirqd, which takes the CPU from the guest at each kick. */
		irq_work_queue(this_cpu_ptr(&tx->nudge->work));
	} else {
		/* Runs the poll here and now: the kick's own thread pays for the frames it sends. */
		local_bh_disable();
		napi_schedule(&tx->napi);
		local_bh_enable();
	}
}

void vnic_tx_wake(struct vnic_dev *d, unsigned int pair)
{
	struct vnic_dev_tx *t = &d->tx;

	rcu_read_lock();
	if (test_bit(VNIC_TX_OPEN, &t->flags)) {
		set_bit(pair, &t->pending);
		if (!test_and_set_bit(VNIC_TX_QUEUED, &t->flags)) {
			llist_add(&t->kicked, &d->up->tx->kicked);
			schedule_napi(d->up->tx);
		}
	}
	rcu_read_unlock();
}

void vnic_tx_kick(struct vnic_vq *vq)
{
	vnic_tx_wake(vq->dev, vq->index / 2);
}

static enum hrtimer_restart timer_fired(struct hrtimer *timer)
{
	struct vnic_tx *tx = container_of(timer, struct vnic_tx, timer);

	napi_schedule(&tx->napi);
	return HRTIMER_NORESTART;
}

/* ---- a turn ---- */

/* Running begins before the driver has opened its queues, and ends before it closes them: up comes after the former. */
static bool is_open(const struct net_device *netdev)
{
	return netif_running(netdev) && READ_ONCE(netdev->flags) & IFF_UP;
}

/* True: @d has tokens. Else when to look again. */
static bool refill(struct vnic_dev *d, u64 rate)
{
	struct vnic_dev_tx *t = &d->tx;
	const u64 now = ktime_get_ns();
	/* 10 ms of the rate, two large frames at least. */
	const s64 burst = max_t(u64, rate / 100, 128 * 1024);
	u64 past = min_t(u64, now - t->tokens_at, NSEC_PER_SEC);

	t->tokens = min_t(s64, t->tokens + mul_u64_u64_div_u64(past, rate, NSEC_PER_SEC), burst);
	t->tokens_at = now;
	if (t->tokens > 0)
		return true;
	t->wake_at = now + max_t(u64, div64_u64((u64)(1 - t->tokens) * NSEC_PER_SEC, rate), TOKENS_WAIT);
	return false;
}

static u16 nic_queue(const struct vnic_dev *d, const struct net_device *netdev, u16 pair)
{
	u16 n = READ_ONCE(netdev->real_num_tx_queues);

	return n > 1 ? (d->tx.base + pair) % n : 0;
}

/* True: all of the device's frames @list are with the NIC. */
static bool send(struct vnic_round *r, struct vnic_dev *d, u16 pair, struct sk_buff *list)
{
	if (!r->carrier) {
		d->tx.held = NULL;
		d->tx.held_seen = false;
		kfree_skb_list(list);
		return true;
	}
	d->tx.held = vnic_wire_send(r->up, r->netdev, nic_queue(d, r->netdev, pair), list, &d->tx.held_seen);
	if (!d->tx.held)
		return true;
	d->tx.held_pair = pair;
	d->tx.wake_at = ktime_get_ns() + BUSY_WAIT;
	return false;
}

/* A frame with several ends: copies (that share its bytes, which nobody writes) for all but the last. */
static struct sk_buff *dispatch_many(struct vnic_round *r, struct sk_buff *skb)
{
	const u32 to = vnic_cb(skb)->to;
	const u16 vid = vnic_cb(skb)->vid;
	struct sk_buff *copy;

	if (to & VNIC_TO_FLOOD)
		vnic_rx_flood(r->up, r->sort, skb, vnic_mac_of_frame(skb->data), vid, r->port, true);
	if (!(to & VNIC_TO_WIRE)) {
		if (to & VNIC_TO_STACK)
			vnic_wire_to_stack(r->up, r->netdev, skb);
		else
			consume_skb(skb);
		return NULL;
	}
	if (to & VNIC_TO_STACK) {
		copy = skb_clone(skb, GFP_ATOMIC);
		if (copy)
			vnic_wire_to_stack(r->up, r->netdev, copy);
		else
			vnic_count(r->up, dropped);
	}
	return skb;
}

/* Frames that left the ring, to where they go. Returns those for the wire. */
static struct sk_buff *dispatch(struct vnic_round *r, struct sk_buff *list)
{
	struct sk_buff *wire = NULL, **tail = &wire, *skb;

	while ((skb = list)) {
		list = skb->next;
		skb_mark_not_on_list(skb);
		switch (vnic_cb(skb)->to) {
		case VNIC_TO_WIRE:
			break;
		case VNIC_TO_PORT:
			vnic_count(r->up, to_port);
			vnic_rx_port(r->up, vnic_cb(skb)->port, skb, true);
			continue;
		case VNIC_TO_STACK:
			vnic_wire_to_stack(r->up, r->netdev, skb);
			continue;
		default:
			skb = dispatch_many(r, skb);
			if (!skb)
				continue;
		}
		*tail = skb;
		tail = &skb->next;
	}
	return wire;
}

/* What a frame costs the wire beyond its first segment: each has headers of its own. A small gso_size buys no more than others get. */
static u32 segments_cost(const struct sk_buff *skb)
{
	const bool udp = skb_shinfo(skb)->gso_type & SKB_GSO_UDP_L4;
	const u32 headers = skb_transport_offset(skb) + (udp ? sizeof(struct udphdr) : sizeof(struct tcphdr));

	/* virtio_net_hdr_to_skb() has seen that there is more than one segment behind them. */
	return (skb->len - headers - 1) / skb_shinfo(skb)->gso_size * (headers + VNIC_FRAME_COST);
}

/* Up to @limit frames of one queue. */
static int serve(struct vnic_round *r, struct vnic_dev *d, u16 pair, int limit)
{
	struct vnic_vq *vq = &d->vq[2 * pair + 1];
	struct vnic_dev_tx *t = &d->tx;
	struct vnic_chain chain = { .seg = r->tx->seg };
	struct sk_buff *list = NULL, **tail = &list, *skb;
	bool pushed;
	int n = 0, looks = 0;

	/* Before the ring is looked at: a kick from here on sets it again. */
	clear_bit(pair, &t->pending);
	smp_mb__after_atomic();
	spin_lock(&vq->lock);
	pushed = vnic_zc_reap(vq);
	while (vq->running) {
		u32 cost;
		int rc;

		if (n >= limit || t->deficit <= 0 || (r->port->rate && t->tokens <= 0)) {
			set_bit(pair, &t->pending);
			break;
		}
		rc = vnic_ring_pull(&vq->ring, &chain);
		if (rc < 0) {
			vnic_dev_broken(vq);
			break;
		}
		if (!rc) {
			if (vnic_ring_needs_poll(&vq->ring))
				break;
			if (!looks++)
				continue;
			set_bit(pair, &t->pending);
			break;
		}
		n++;
		pushed = true;
		cost = max_t(u32, chain.rlen, ETH_ZLEN) + VNIC_FRAME_COST;
		skb = vnic_frame_take(r, d, vq, &chain);
		if (skb) {
			*tail = skb;
			tail = &skb->next;
			if (skb_is_gso(skb))
				cost += segments_cost(skb);
		}
		t->deficit -= cost;
		if (r->port->rate)
			t->tokens -= cost;
	}
	if (pushed && !vq->ring.broken && vnic_ring_publish(&vq->ring))
		vnic_vq_interrupt(vq);
	spin_unlock(&vq->lock);

	if (list) {
		list = dispatch(r, list);
		if (list)
			send(r, d, pair, vnic_wire_fit(r->up, r->netdev, list));
	}
	return n;
}

static enum outcome turn(struct vnic_round *r, struct vnic_dev *d, int budget, int *done)
{
	struct vnic_dev_tx *t = &d->tx;
	const u16 pairs = d->pairs_max;

	r->port = rcu_dereference(d->port);
	if (!test_bit(VNIC_TX_OPEN, &t->flags) || !r->port)
		return IDLE;
	if (!t->turn) {
		t->turn = true;
		t->deficit += r->port->weight * QUANTUM_UNIT;
	}
	if (t->held && !send(r, d, t->held_pair, t->held))
		return WAIT;
	if (r->port->rate && !refill(d, r->port->rate))
		return WAIT;
	for (u16 i = 0; i < pairs && t->deficit > 0; i++) {
		u16 pair = (t->next_pair + i) % pairs;
		int n;

		if (!test_bit(pair, &t->pending))
			continue;
		n = serve(r, d, pair, budget - *done);
		*done += n;
		if (t->held)
			return WAIT;
		if (*done >= budget) {
			t->next_pair = pair;
			return t->deficit > 0 ? BUDGET : MORE;
		}
		if (r->port->rate && t->tokens <= 0)
			return refill(d, r->port->rate) ? MORE : WAIT;
	}
	/* The next turn begins with another pair: each gets its share. */
	t->next_pair = (t->next_pair + 1) % pairs;
	++*done;
	return t->pending ? MORE : IDLE;
}

static void idle(struct vnic_tx *tx, struct vnic_dev *d)
{
	struct vnic_dev_tx *t = &d->tx;

	list_del_init(&t->node);
	/* Credit is not kept; a debt is, or a guest could lend by going idle. */
	t->deficit = min_t(s64, t->deficit, 0);
	t->turn = false;
	/* From here on the device may go away, unless it is open: then a kick may have come too late to queue it. */
	clear_bit(VNIC_TX_QUEUED, &t->flags);
	smp_mb__after_atomic();
	if (test_bit(VNIC_TX_OPEN, &t->flags) && READ_ONCE(t->pending) && !test_and_set_bit(VNIC_TX_QUEUED, &t->flags))
		list_add_tail(&t->node, &tx->active);
}

static void collect(struct vnic_tx *tx)
{
	struct llist_node *node = llist_reverse_order(llist_del_all(&tx->kicked));
	struct vnic_dev *d, *next;

	llist_for_each_entry_safe(d, next, node, tx.kicked)
		list_add_tail(&d->tx.node, &tx->active);
	if (list_empty(&tx->waiting))
		return;
	tx->now = ktime_get_ns();
	list_for_each_entry_safe(d, next, &tx->waiting, tx.node)
		if (d->tx.wake_at <= tx->now || !test_bit(VNIC_TX_OPEN, &d->tx.flags))
			list_move_tail(&d->tx.node, &tx->active);
}

/* When the first that waits may go on. */
static void arm_timer(struct vnic_tx *tx)
{
	u64 first = U64_MAX;
	struct vnic_dev *d;

	list_for_each_entry(d, &tx->waiting, tx.node)
		first = min(first, d->tx.wake_at);
	if (first != U64_MAX)
		hrtimer_start(&tx->timer, ns_to_ktime(first), HRTIMER_MODE_ABS);
}

static int vnic_tx_poll(struct napi_struct *napi, int budget)
{
	struct vnic_tx *tx = container_of(napi, struct vnic_tx, napi);
	struct vnic_round r = { .tx = tx, .up = tx->up, .now = vnic_now() };
	struct vnic_dev *d;
	int done = 0;

	rcu_read_lock();
	collect(tx);
	r.sort = rcu_dereference(tx->up->sort);
	r.netdev = rcu_dereference(tx->up->netdev);
	if (r.netdev) {
		r.host = vnic_mac_of_frame(r.netdev->dev_addr);
		r.shared = rcu_access_pointer(r.netdev->rx_handler);
		r.running = is_open(r.netdev);
		r.carrier = r.running && netif_carrier_ok(r.netdev);
		r.max = READ_ONCE(r.netdev->mtu) + VLAN_ETH_HLEN;
	}
	while (done < budget && (d = list_first_entry_or_null(&tx->active, struct vnic_dev, tx.node))) {
		switch (turn(&r, d, budget, &done)) {
		case BUDGET:
			break;
		case MORE:
			d->tx.turn = false;
			list_move_tail(&d->tx.node, &tx->active);
			break;
		case WAIT:
			d->tx.turn = false;
			list_move_tail(&d->tx.node, &tx->waiting);
			break;
		case IDLE:
			idle(tx, d);
			break;
		}
	}
	rcu_read_unlock();
	if (done >= budget)
		return budget;
	/* Armed before others may poll: the lists are ours until then. */
	if (!list_empty(&tx->waiting))
		arm_timer(tx);
	napi_complete_done(napi, done);
	return done;
}

/* ---- life ---- */

void vnic_tx_open(struct vnic_dev *d)
{
	struct vnic_dev_tx *t = &d->tx;

	/* Its tokens stay what they were: nobody gets new ones by a reset. The first time it has a burst's worth. */
	t->deficit = 0;
	if (!t->base)
		t->base = atomic_add_return(d->pairs_max, &d->up->tx->next_base);
	set_bit(VNIC_TX_OPEN, &t->flags);
	/* What the guest made available, or the NIC completed, while nobody looked. */
	for (u16 i = 0; i < d->pairs_max; i++)
		vnic_tx_wake(d, i);
}

/* What the NIC had no room for goes out still, if there is some in time: it left its ring, and its guest counts on it. */
static void send_held(struct vnic_dev *d)
{
	const unsigned long deadline = jiffies + msecs_to_jiffies(VNIC_DRAIN_MS);
	struct vnic_dev_tx *t = &d->tx;
	struct net_device *netdev;

	while (t->held && time_before(jiffies, deadline)) {
		local_bh_disable();
		rcu_read_lock();
		netdev = rcu_dereference(d->up->netdev);
		if (netdev && is_open(netdev) && netif_carrier_ok(netdev))
			t->held = vnic_wire_send(d->up, netdev, nic_queue(d, netdev, t->held_pair), t->held, &t->held_seen);
		else
			netdev = NULL;
		rcu_read_unlock();
		local_bh_enable();
		if (!netdev)
			break;
		if (t->held)
			usleep_range(50, 200);
	}
	kfree_skb_list(t->held);
	t->held = NULL;
	t->held_seen = false;
}

void vnic_tx_close(struct vnic_dev *d)
{
	struct vnic_dev_tx *t = &d->tx;

	clear_bit(VNIC_TX_OPEN, &t->flags);
	synchronize_net();
	/* Nobody queues it any more; where it is queued, the next poll lets it go. */
	while (test_bit(VNIC_TX_QUEUED, &t->flags)) {
		schedule_napi(d->up->tx);
		if (test_bit(VNIC_TX_QUEUED, &t->flags))
			usleep_range(50, 200);
	}
	synchronize_net();
	send_held(d);
	t->pending = 0;
}

int vnic_tx_init(struct vnic_uplink *up)
{
	struct vnic_tx *tx = kvzalloc(sizeof(*tx), GFP_KERNEL);
	int cpu;

	if (!tx)
		return -ENOMEM;
	tx->nudge = alloc_percpu(struct vnic_nudge);
	if (!tx->nudge) {
		kvfree(tx);
		return -ENOMEM;
	}
	for_each_possible_cpu(cpu) {
		struct vnic_nudge *n = per_cpu_ptr(tx->nudge, cpu);

		n->tx = tx;
		init_irq_work(&n->work, nudge);
	}
	tx->up = up;
	init_llist_head(&tx->kicked);
	INIT_LIST_HEAD(&tx->active);
	INIT_LIST_HEAD(&tx->waiting);
	hrtimer_init(&tx->timer, CLOCK_MONOTONIC, HRTIMER_MODE_ABS);
	tx->timer.function = timer_fired;
	set_bit(NAPI_STATE_NO_BUSY_POLL, &tx->napi.state);
	netif_napi_add(up->napi_dev, &tx->napi, vnic_tx_poll);
	napi_enable(&tx->napi);
	up->tx = tx;
	return 0;
}

/* No device is left. */
void vnic_tx_exit(struct vnic_uplink *up)
{
	struct vnic_tx *tx = up->tx;
	int cpu;

	if (!tx)
		return;
	/* A late completion may be on its way to wake a device that is closed. */
	synchronize_net();
	for_each_possible_cpu(cpu)
		irq_work_sync(&per_cpu_ptr(tx->nudge, cpu)->work);
	hrtimer_cancel(&tx->timer);
	napi_disable(&tx->napi);
	netif_napi_del(&tx->napi);
	synchronize_net();
	free_percpu(tx->nudge);
	up->tx = NULL;
	kvfree(tx);
}
