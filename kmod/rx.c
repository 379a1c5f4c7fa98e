// SPDX-License-Identifier: GPL-2.0
/*
 * Receive: frames off the wire and out of the host's stack, into the guests' rings.
 *
 *   ingress hook ──┐ (hooks.c)
 *   egress hook ───┼─> vnic_rx_port(): fit to the guest, choose a queue -> the CPU's bin of that queue
 *   transmit ──────┘
 *   NAPI of the CPU, after the driver's own: for each bin: lock, (pull, copy, push) × n, publish, unlock, one interrupt
 *
 * Why bins of a CPU: a queue's lock, the publication and the interrupt are paid once a batch and not once a frame, and
 * putting a frame into a bin takes neither lock nor atomic operation. A driver polls up to 64 frames and then our NAPI, put on
 * the same CPU's list behind it, finds them all. Nothing waits in a bin for a guest: a frame that finds no buffer is dropped.
 */
#include <linux/ip.h>
#include <linux/prefetch.h>
#include <linux/skbuff.h>
#include <net/gso.h>
#include <net/ip.h>

#include "switch.h"

#define BINS	16  /* queues that a CPU collects for at a time; one more, and the oldest goes out at once */
#define BIN_MAX 512 /* frames: eight polls of a driver. More come where a burst is local: then drop */
#define MERGE	256 /* buffers that a frame may take */

struct bin {
	struct vnic_vq *vq;
	struct sk_buff *head, *tail;
	u32 n;
};

struct scratch {
	struct vnic_chain used[MERGE]; /* id, slots, and in rlen what was written */
	struct vnic_seg seg[VNIC_SEGS];
};

struct vnic_rx_cpu {
	struct napi_struct napi;
	struct vnic_uplink *up;
	struct scratch *scratch;
	u32 n; /* bins in use: the first ones */
	struct bin bin[BINS];
};

/* ---- into the ring ---- */

/* Write @len bytes of @skb from @off on into the pieces, from byte @skip of them on. */
static void copy_to_segs(const struct vnic_seg *seg, u32 skip, const struct sk_buff *skb, u32 off, u32 len)
{
	while (skip >= seg->len) {
		skip -= seg->len;
		seg++;
	}
	while (len) {
		u32 n = min(len, seg->len - skip);

		/* Within the frame by construction: it cannot fail. */
		skb_copy_bits(skb, off, seg->p + skip, n);
		off += n;
		len -= n;
		skip = 0;
		seg++;
	}
}

static bool take_broken(struct vnic_vq *vq, const char *why)
{
	vq->ring.broken = why;
	vnic_dev_broken(vq);
	return false;
}

/* The next buffer, with room for the header at least. False: none, counted. */
static bool pull_buffer(struct vnic_vq *vq, struct vnic_chain *chain, u32 hdr_len)
{
	int r = vnic_ring_pull(&vq->ring, chain);

	if (likely(r > 0)) {
		if (unlikely(chain->nr))
			return take_broken(vq, "a receive buffer that the device may read only");
		if (unlikely(chain->wlen < hdr_len))
			return take_broken(vq, "a receive buffer smaller than the header");
		return true;
	}
	if (r < 0)
		vnic_dev_broken(vq);
	vq->stats.drop_no_buffer++;
	return false;
}

/*
 * A frame over several buffers. The number of them is in the header, at the start of the first: it is written last. Where
 * they run out all are taken back and the frame is dropped.
 */
static bool put_merged(struct vnic_rx_cpu *rx, struct vnic_vq *vq, struct sk_buff *skb, struct virtio_net_hdr_mrg_rxbuf *hdr,
		       struct vnic_chain *chain, u32 hdr_len)
{
	struct vnic_chain *used = rx->scratch->used;
	struct vnic_seg hdr_seg[sizeof(*hdr)];
	u16 n_hdr = min_t(u32, chain->nw, ARRAY_SIZE(hdr_seg)), n = 0;
	u32 off = 0, skip = hdr_len;

	memcpy(hdr_seg, chain->seg, n_hdr * sizeof(*hdr_seg));
	for (;;) {
		u32 len = min(chain->wlen - skip, skb->len - off);

		if (len)
			copy_to_segs(chain->seg, skip, skb, off, len);
		used[n] = *chain;
		used[n++].rlen = skip + len;
		off += len;
		skip = 0;
		if (off == skb->len)
			break;
		if (n == MERGE) {
			vq->stats.drop_too_big++;
			goto undo;
		}
		if (!pull_buffer(vq, chain, 1))
			goto undo;
	}
	hdr->num_buffers = __cpu_to_virtio16(true, n);
	if (unlikely(vnic_seg_write(hdr_seg, n_hdr, 0, hdr, hdr_len) != hdr_len))
		return take_broken(vq, "a receive buffer in too many pieces");
	for (u16 i = 0; i < n; i++)
		vnic_ring_push(&vq->ring, used[i].id, used[i].slots, used[i].rlen);
	return true;
undo:
	if (!vq->ring.broken)
		while (n--)
			vnic_ring_unpull(&vq->ring, &used[n]);
	return false;
}

static bool put_frame(struct vnic_rx_cpu *rx, struct vnic_vq *vq, struct sk_buff *skb, u32 hdr_len, bool csum, bool mergeable)
{
	struct virtio_net_hdr_mrg_rxbuf hdr = { .num_buffers = __cpu_to_virtio16(true, 1) };
	struct vnic_chain chain = { .seg = rx->scratch->seg };
	const u32 total = hdr_len + skb->len;

	if (unlikely(!pull_buffer(vq, &chain, hdr_len)))
		return false;
	if (unlikely(skb_is_gso(skb) || skb->ip_summed == CHECKSUM_PARTIAL)) {
		/* vnic_rx_port() left only what has a form in the header. (It clears the header's first ten bytes.) */
		if (virtio_net_hdr_from_skb(skb, &hdr.hdr, true, csum, 0)) {
			vnic_ring_unpull(&vq->ring, &chain);
			vq->stats.drop_too_big++;
			return false;
		}
	} else if (csum && skb->ip_summed == CHECKSUM_UNNECESSARY) {
		hdr.hdr.flags = VIRTIO_NET_HDR_F_DATA_VALID;
	}
	if (likely(chain.seg[0].len >= total)) {
		u8 *p = chain.seg[0].p;

		memcpy(p, &hdr, hdr_len);
		if (likely(!skb_is_nonlinear(skb)))
			memcpy(p + hdr_len, skb->data, skb->len);
		else
			skb_copy_bits(skb, 0, p + hdr_len, skb->len);
		vnic_ring_push(&vq->ring, chain.id, chain.slots, total);
		return true;
	}
	if (chain.wlen >= total) {
		vnic_seg_write(chain.seg, chain.nw, 0, &hdr, hdr_len);
		copy_to_segs(chain.seg, hdr_len, skb, 0, skb->len);
		vnic_ring_push(&vq->ring, chain.id, chain.slots, total);
		return true;
	}
	if (mergeable)
		return put_merged(rx, vq, skb, &hdr, &chain, hdr_len);
	vnic_ring_unpull(&vq->ring, &chain);
	vq->stats.drop_too_big++;
	return false;
}

/* Up to @budget frames of @bin into their queue. */
static int fill(struct vnic_rx_cpu *rx, struct bin *bin, int budget)
{
	struct vnic_vq *vq = bin->vq;
	struct vnic_dev *d = vq->dev;
	const u32 hdr_len = d->hdr_len;
	const bool csum = READ_ONCE(d->guest_offloads) & BIT_ULL(VIRTIO_NET_F_GUEST_CSUM);
	const bool mergeable = d->features & BIT_ULL(VIRTIO_NET_F_MRG_RXBUF);
	bool any = false;
	int n = 0;

	spin_lock(&vq->lock);
	while (n < budget && bin->head) {
		struct sk_buff *skb = bin->head;

		bin->head = skb->next;
		if (bin->head)
			prefetch(bin->head->data);
		skb_mark_not_on_list(skb);
		n++;
		if (likely(vq->running) && likely(put_frame(rx, vq, skb, hdr_len, csum, mergeable))) {
			vq->stats.frames++;
			vq->stats.bytes += skb->len;
			vq->stats.local += vnic_cb(skb)->local;
			any = true;
			napi_consume_skb(skb, budget);
		} else {
			kfree_skb(skb);
		}
	}
	if (any && vq->running && vnic_ring_publish(&vq->ring))
		vnic_vq_interrupt(vq);
	spin_unlock(&vq->lock);
	bin->n -= n;
	return n;
}

/* One round over the bins, each with what is left of @budget; a bin with frames left goes behind the others. */
static int drain_bins(struct vnic_rx_cpu *rx, int budget)
{
	int done = 0;
	u32 i = 0;

	while (i < rx->n && done < budget) {
		struct bin left = rx->bin[i];

		done += fill(rx, &left, budget - done);
		if (!left.head) {
			atomic_dec(&left.vq->rx_bins);
			i++;
			continue;
		}
		/* The budget is used up: move it behind the others. */
		memmove(&rx->bin[i], &rx->bin[i + 1], (rx->n - i - 1) * sizeof(left));
		rx->bin[rx->n - 1] = left;
		break;
	}
	rx->n -= i;
	memmove(&rx->bin[0], &rx->bin[i], rx->n * sizeof(struct bin));
	return done;
}

static int vnic_rx_poll(struct napi_struct *napi, int budget)
{
	struct vnic_rx_cpu *rx = container_of(napi, struct vnic_rx_cpu, napi);
	int done = drain_bins(rx, budget);

	if (done < budget && !rx->n)
		napi_complete_done(napi, done);
	else
		done = budget;
	return done;
}

/* ---- into the bins ---- */

static void bin_add(struct vnic_uplink *up, struct vnic_vq *vq, struct sk_buff *skb)
{
	struct vnic_rx_cpu *rx = this_cpu_ptr(up->rx);
	struct bin *bin;
	u32 i;

	skb->next = NULL;
	for (i = 0; i < rx->n; i++) {
		bin = &rx->bin[i];
		if (bin->vq != vq)
			continue;
		if (unlikely(bin->n >= BIN_MAX)) {
			spin_lock(&vq->lock);
			vq->stats.drop_backlog++;
			spin_unlock(&vq->lock);
			kfree_skb(skb);
			return;
		}
		bin->tail->next = skb;
		bin->tail = skb;
		bin->n++;
		return;
	}
	if (unlikely(rx->n == BINS)) {
		/* More guests at once than bins: the oldest bin goes now. It has BIN_MAX frames at most. */
		drain_bins(rx, rx->bin[0].n);
	}
	atomic_inc(&vq->rx_bins);
	rx->bin[rx->n++] = (struct bin){ .vq = vq, .head = skb, .tail = skb, .n = 1 };
	napi_schedule(&rx->napi);
}

/* The pair for a flow: where the guest last sent it from, so that its own CPU gets the answer; else spread evenly. */
static struct vnic_vq *choose_queue(struct vnic_dev *d, struct sk_buff *skb)
{
	const u16 pairs = READ_ONCE(d->pairs);
	u16 pair = 0;

	if (pairs > 1) {
		u32 hash = __skb_get_hash_symmetric(skb);

		pair = READ_ONCE(d->flow_pair[hash % VNIC_FLOWS]);
		pair = pair && pair <= pairs ? pair - 1 : reciprocal_scale(hash, pairs);
	}
	return &d->vq[2 * pair];
}

/*
 * That all segments had the same IP id is nothing that the header can say. Where they may not be fragmented the id means
 * nothing (RFC 6864), and who segments the frame again may count as he likes. GRO puts no others together; a tunnel's may be.
 */
static bool id_matters(const struct sk_buff *skb)
{
	return skb->protocol != htons(ETH_P_IP) || !(ip_hdr(skb)->frag_off & htons(IP_DF));
}

static u32 offloads_of(struct sk_buff *skb)
{
	const u32 known = SKB_GSO_TCPV4 | SKB_GSO_TCPV6 | SKB_GSO_UDP_L4 | SKB_GSO_DODGY | SKB_GSO_TCP_ECN | SKB_GSO_TCP_FIXEDID;
	const u32 type = skb_shinfo(skb)->gso_type;
	u32 need = VNIC_OFF_CSUM;

	/* The header's checksum is the internet's; SCTP's is a CRC. */
	if (!skb_is_gso(skb))
		return skb_csum_is_sctp(skb) ? ~0U : need;
	/* A form that the virtio-net header does not have. */
	if (type & ~known || skb->encapsulation || skb->ip_summed != CHECKSUM_PARTIAL)
		return ~0U;
	if (type & SKB_GSO_TCP_FIXEDID && id_matters(skb))
		return ~0U;
	if (type & SKB_GSO_TCPV4)
		need |= VNIC_OFF_TSO4;
	if (type & SKB_GSO_TCPV6)
		need |= VNIC_OFF_TSO6;
	if (type & SKB_GSO_TCP_ECN)
		need |= VNIC_OFF_ECN;
	if (type & SKB_GSO_UDP_L4)
		need |= skb->protocol == htons(ETH_P_IPV6) ? VNIC_OFF_USO6 : VNIC_OFF_USO4;
	return need;
}

/* Do in software what the guest does not take. NULL: consumed by an error. A list where it was segmented. */
static struct sk_buff *lower(struct vnic_uplink *up, const struct vnic_port *port, struct sk_buff *skb)
{
	if (skb_is_gso(skb)) {
		netdev_features_t features = NETIF_F_SG | (port->offloads & VNIC_OFF_CSUM ? NETIF_F_HW_CSUM : 0);
		struct sk_buff *segs = __skb_gso_segment(skb, features, false);

		if (IS_ERR_OR_NULL(segs))
			goto drop;
		consume_skb(skb);
		return segs;
	}
	if (skb_csum_hwoffload_help(skb, 0))
		goto drop;
	return skb;
drop:
	vnic_count(up, dropped);
	kfree_skb(skb);
	return NULL;
}

static void put_in_bin(struct vnic_uplink *up, struct vnic_port *port, struct sk_buff *skb, bool local)
{
	struct vnic_vq *vq = choose_queue(port->dev, skb);

	if (skb_vlan_tag_present(skb)) {
		if (skb_vlan_tag_get_id(skb) == port->vlan) {
			__vlan_hwaccel_clear_tag(skb);
		} else {
			skb = __vlan_hwaccel_push_inside(skb);
			if (!skb) {
				vnic_count(up, dropped);
				return;
			}
		}
	}
	vnic_cb(skb)->local = local;
	bin_add(up, vq, skb);
}

void vnic_rx_port(struct vnic_uplink *up, struct vnic_port *port, struct sk_buff *skb, bool local)
{
	struct sk_buff *next;

	/* Its own frames find it whether it wants them or not: whose they are is not the guest's to say. */
	if (unlikely(port->nouni && !is_multicast_ether_addr(skb->data))) {
		kfree_skb(skb);
		return;
	}
	/* Another guest's pages, by way of another device: what we copy must not change under us. */
	if (unlikely(!port->link || skb_orphan_frags(skb, GFP_ATOMIC))) {
		vnic_count(up, dropped);
		kfree_skb(skb);
		return;
	}
	skb_dst_drop(skb);
	nf_reset_ct(skb);
	if (likely(!skb_is_gso(skb) && skb->ip_summed != CHECKSUM_PARTIAL) || !(offloads_of(skb) & ~port->offloads)) {
		put_in_bin(up, port, skb, local);
		return;
	}
	for (skb = lower(up, port, skb); skb; skb = next) {
		next = skb->next;
		skb_mark_not_on_list(skb);
		put_in_bin(up, port, skb, local);
	}
}

struct flood {
	struct vnic_uplink *up;
	struct sk_buff *skb;
	bool local;
};

static void flood_one(struct vnic_port *port, void *arg)
{
	struct flood *f = arg;
	struct sk_buff *skb;

	if (!port->link)
		return;
	skb = skb_clone(f->skb, GFP_ATOMIC);
	if (!skb) {
		vnic_count(f->up, dropped);
		return;
	}
	vnic_count(f->up, flooded);
	vnic_rx_port(f->up, port, skb, f->local);
}

void vnic_rx_flood(struct vnic_uplink *up, const struct vnic_sort *sort, struct sk_buff *skb, u64 dst, u16 vid,
		   const struct vnic_port *except, bool local)
{
	struct flood f = { .up = up, .skb = skb, .local = local };

	vnic_sort_flood(sort, dst, vid, except, flood_one, &f);
}

/* ---- life ---- */

void vnic_rx_kick(struct vnic_vq *vq)
{
	/* Nothing waits for buffers: a frame that finds none was dropped. */
}

void vnic_rx_settle(struct vnic_dev *d)
{
	for (u16 i = 0; i < 2 * d->pairs_max; i += 2)
		while (atomic_read(&d->vq[i].rx_bins))
			usleep_range(50, 200);
}

int vnic_rx_init(struct vnic_uplink *up)
{
	int cpu;

	up->napi_dev = alloc_netdev_dummy(0);
	if (!up->napi_dev)
		return -ENOMEM;
	up->rx = alloc_percpu(struct vnic_rx_cpu);
	if (!up->rx)
		goto free_dev;
	for_each_possible_cpu(cpu) {
		struct vnic_rx_cpu *rx = per_cpu_ptr(up->rx, cpu);

		rx->up = up;
		rx->scratch = kvzalloc_node(sizeof(*rx->scratch), GFP_KERNEL, cpu_to_node(cpu));
		if (!rx->scratch)
			goto free_rx;
	}
	for_each_possible_cpu(cpu) {
		struct vnic_rx_cpu *rx = per_cpu_ptr(up->rx, cpu);

		/* Bins are this CPU's alone: nobody may poll them from elsewhere. */
		set_bit(NAPI_STATE_NO_BUSY_POLL, &rx->napi.state);
		netif_napi_add(up->napi_dev, &rx->napi, vnic_rx_poll);
		napi_enable(&rx->napi);
	}
	return 0;
free_rx:
	for_each_possible_cpu(cpu)
		kvfree(per_cpu_ptr(up->rx, cpu)->scratch);
	free_percpu(up->rx);
	up->rx = NULL;
free_dev:
	free_netdev(up->napi_dev);
	up->napi_dev = NULL;
	return -ENOMEM;
}

/* No device is left and the hooks are off: nothing is scheduled any more. */
void vnic_rx_exit(struct vnic_uplink *up)
{
	int cpu;

	if (!up->rx)
		return;
	for_each_possible_cpu(cpu) {
		struct vnic_rx_cpu *rx = per_cpu_ptr(up->rx, cpu);

		napi_disable(&rx->napi);
		netif_napi_del(&rx->napi);
	}
	synchronize_net();
	for_each_possible_cpu(cpu)
		kvfree(per_cpu_ptr(up->rx, cpu)->scratch);
	free_percpu(up->rx);
	up->rx = NULL;
	free_netdev(up->napi_dev);
	up->napi_dev = NULL;
}
