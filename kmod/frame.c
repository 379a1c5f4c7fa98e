// SPDX-License-Identifier: GPL-2.0
/*
 * A frame out of a guest's buffer: checked, decided, built.
 *
 * The headers are copied out of guest memory once, and the copy is what is checked and what is sent: the guest may rewrite
 * its pages at any time. Guest pages are attached only to a frame whose one end is the wire; a neighbour, the host and
 * everybody that shares the frame get bytes of their own.
 */
#include <linux/etherdevice.h>
#include <linux/mm.h>
#include <linux/skbuff_ref.h>
#include <net/gso.h>
#include <net/tcp.h>

#include "tx.h"

#define COPY_MAX   256 /* up to here a copy is cheaper than a page reference, an object and a completion */
#define HEAD	   128 /* of a larger frame: all of its headers. Ethernet, VLAN, IPv6 and TCP with options are 118 */
#define LINEAR_MAX 2048 /* copied in one piece up to here, else into pages */

/* Where a frame's bytes are and what became of its tag. */
struct parse {
	struct virtio_net_hdr hdr;
	u8 eth[VLAN_ETH_HLEN];
	u32 len;
	u64 dst;
	u16 vid, tci; /* the VLAN on the wire; the guest's own tag */
	bool tagged;
};

static bool check_vlan(const struct vnic_port *port, struct parse *p)
{
	const u16 type = get_unaligned_be16(p->eth + 2 * ETH_ALEN);

	p->vid = port->vlan;
	if (likely(type != ETH_P_8021Q))
		/* A provider's tag would choose a VLAN where somebody looks at it. */
		return type != ETH_P_8021AD || port->spoof;
	if (p->len < VLAN_ETH_HLEN)
		return false;
	p->tagged = true;
	p->tci = get_unaligned_be16(p->eth + ETH_HLEN);
	if (!(p->tci & VLAN_VID_MASK)) {
		/* A priority only: in its own VLAN. */
		p->tci |= port->vlan;
		return true;
	}
	p->vid = p->tci & VLAN_VID_MASK;
	return port->trunk && test_bit(p->vid, port->vlans);
}

/* What the header asks for must have been offered, and must lie in the frame. */
static bool check_offloads(const struct vnic_dev *d, const struct parse *p)
{
	const u32 start = le16_to_cpu((__force __le16)p->hdr.csum_start);
	const u32 off = le16_to_cpu((__force __le16)p->hdr.csum_offset);
	bool tcp = false;
	u64 need;

	if (p->hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		if (!(d->features & BIT_ULL(VIRTIO_NET_F_CSUM)) || start < ETH_HLEN || start + off + sizeof(__sum16) > p->len)
			return false;
	}
	switch (p->hdr.gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_NONE:
		return p->hdr.gso_type == VIRTIO_NET_HDR_GSO_NONE;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		need = BIT_ULL(VIRTIO_NET_F_HOST_TSO4);
		tcp = true;
		break;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		need = BIT_ULL(VIRTIO_NET_F_HOST_TSO6);
		tcp = true;
		break;
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		need = BIT_ULL(VIRTIO_NET_F_HOST_USO);
		break;
	default:
		return false;
	}
	if (p->hdr.gso_type & VIRTIO_NET_HDR_GSO_ECN)
		need |= BIT_ULL(VIRTIO_NET_F_HOST_ECN);
	/* No TCP has smaller ones; one buffer would be tens of thousands of frames. (UDP's number is bounded by the kernel.) */
	if (tcp && le16_to_cpu((__force __le16)p->hdr.gso_size) < TCP_MIN_GSO_SIZE)
		return false;
	return (p->hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) && (d->features & need) == need;
}

/* Pages of the pieces from @off on, as fragments. False: they do not all fit, or may not be shared; @skb as before. */
static bool attach_pages(struct sk_buff *skb, const struct vnic_chain *chain, u32 off)
{
	u32 total = 0;
	int i = 0;

	for (u16 s = 0; s < chain->nr; s++) {
		u8 *p = chain->seg[s].p;
		u32 left = chain->seg[s].len;

		if (off >= left) {
			off -= left;
			continue;
		}
		p += off;
		left -= off;
		off = 0;
		while (left) {
			struct page *page = compound_head(virt_to_page(p));
			u32 at = p - (u8 *)page_address(page);
			u32 n = min_t(size_t, left, page_size(page) - at);

			/* Slab memory (virtio_vdpa: this kernel's own small buffers) has no page to hold. */
			if (i == MAX_SKB_FRAGS || !sendpage_ok(page))
				goto undo;
			get_page(page);
			skb_fill_page_desc(skb, i++, page, at, n);
			total += n;
			p += n;
			left -= n;
		}
	}
	skb->len += total;
	skb->data_len += total;
	skb->truesize += total;
	return true;
undo:
	while (i--)
		skb_frag_unref(skb, i);
	skb_shinfo(skb)->nr_frags = 0;
	return false;
}

/* The rest of a large frame into pages of ours. */
static bool copy_rest(struct sk_buff *skb, const struct vnic_chain *chain, u32 off, u32 left)
{
	for (int i = 0; left; i++) {
		u32 n = min_t(u32, left, PAGE_SIZE);
		struct page *page;

		if (i == MAX_SKB_FRAGS)
			return false;
		page = dev_alloc_page();
		if (!page)
			return false;
		vnic_seg_read(chain->seg, chain->nr, off, page_address(page), n);
		skb_add_rx_frag(skb, i, page, 0, n, PAGE_SIZE);
		off += n;
		left -= n;
	}
	return true;
}

/* The guest's tag comes out, the wire's goes in: out of band, as the stack and NICs want it. */
static void set_vlan(struct sk_buff *skb, const struct parse *p)
{
	u16 tci = p->vid;

	if (p->tagged) {
		memmove(skb->data + VLAN_HLEN, skb->data, 2 * ETH_ALEN);
		__skb_pull(skb, VLAN_HLEN);
		skb_reset_mac_header(skb);
		tci = p->tci;
	}
	if (tci)
		__vlan_hwaccel_put_tag(skb, htons(ETH_P_8021Q), tci);
}

/* Where the guest sends a flow from is where it wants the answers. Looked at only where there is a choice: it costs a
 * dissection of the headers.
 */
static void note_flow(struct vnic_dev *d, const struct vnic_vq *vq, struct sk_buff *skb)
{
	u8 *seen = &d->flow_pair[__skb_get_hash_symmetric(skb) % VNIC_FLOWS];
	u8 pair = vq->index / 2 + 1;

	if (READ_ONCE(*seen) != pair)
		WRITE_ONCE(*seen, pair);
}

static struct sk_buff *build(struct vnic_round *r, struct vnic_vq *vq, const struct vnic_chain *chain, const struct parse *p,
			     bool *zerocopy)
{
	const u32 hdr_len = r->port->hdr_len, known = min_t(u32, p->len, sizeof(p->eth));
	const u32 linear = !*zerocopy && p->len <= LINEAR_MAX ? p->len : min_t(u32, p->len, HEAD);
	struct sk_buff *skb = napi_alloc_skb(&r->tx->napi, linear);

	if (unlikely(!skb))
		return NULL;
	skb->dev = r->netdev;
	memcpy(__skb_put(skb, linear), p->eth, known);
	vnic_seg_read(chain->seg, chain->nr, hdr_len + known, skb->data + known, linear - known);
	if (linear < p->len) {
		if (*zerocopy)
			*zerocopy = attach_pages(skb, chain, hdr_len + linear);
		if (!*zerocopy && !copy_rest(skb, chain, hdr_len + linear, p->len - linear)) {
			kfree_skb(skb);
			return NULL;
		}
	}
	skb_reset_mac_header(skb);
	return skb;
}

/* The checks and the decision. 0: dropped, counted. */
static u32 parse_frame(struct vnic_round *r, struct vnic_dev *d, struct vnic_vq *vq, const struct vnic_chain *chain,
		       struct parse *p, struct vnic_port **to_port)
{
	const struct vnic_port *port = r->port;
	u8 head[sizeof(struct virtio_net_hdr_mrg_rxbuf) + VLAN_ETH_HLEN];
	u32 to, n;
	u64 src;

	if (unlikely(chain->nw || chain->rlen < port->hdr_len + ETH_HLEN))
		goto malformed;
	p->len = chain->rlen - port->hdr_len;
	n = min_t(u32, chain->rlen, port->hdr_len + VLAN_ETH_HLEN);
	vnic_seg_read(chain->seg, chain->nr, 0, head, n);
	memcpy(&p->hdr, head, sizeof(p->hdr));
	memcpy(p->eth, head + port->hdr_len, n - port->hdr_len);
	p->tagged = false;
	if (unlikely(p->hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM || p->hdr.gso_type) && !check_offloads(d, p))
		goto malformed;
	if (unlikely(p->hdr.gso_type ? p->len > GSO_LEGACY_MAX_SIZE + VLAN_ETH_HLEN : p->len > r->max)) {
		vq->stats.drop_too_big++;
		return 0;
	}
	src = vnic_mac_of_frame(p->eth + ETH_ALEN);
	if (unlikely(src != port->mac) && (vnic_mac_is_multicast(src) || !(port->spoof || vnic_port_has_mac(port, src))))
		goto spoofed;
	if (unlikely(!check_vlan(port, p)))
		goto spoofed;
	p->dst = vnic_mac_of_frame(p->eth);
	to = vnic_sort_decide(r->sort, r->up->stations, port, p->dst, p->vid, r->host, r->shared, r->now, to_port);
	if (unlikely(!r->carrier))
		to &= r->running ? ~VNIC_TO_WIRE : ~(VNIC_TO_WIRE | VNIC_TO_STACK);
	if (unlikely(!to || !port->link)) {
		vq->stats.drop_uplink++;
		return 0;
	}
	return to;
malformed:
	vq->stats.drop_malformed++;
	return 0;
spoofed:
	vq->stats.drop_spoof++;
	return 0;
}

/*
 * What goes out in one piece fits the uplink. virtio_net_hdr_to_skb() makes a plain frame of what is no longer than one segment,
 * of whatever size the guest called a segment, and nobody behind us looks at it: a NIC told to send 64 KiB at once may hang.
 */
static bool fits(const struct vnic_round *r, const struct sk_buff *skb)
{
	return skb_is_gso(skb) ? skb_gso_validate_mac_len(skb, r->max) : skb->len <= r->max;
}

struct sk_buff *vnic_frame_take(struct vnic_round *r, struct vnic_dev *d, struct vnic_vq *vq, struct vnic_chain *chain)
{
	struct vnic_port *to_port = NULL;
	struct sk_buff *skb = NULL;
	struct parse p;
	bool zerocopy;
	u32 to;

	to = r->netdev ? parse_frame(r, d, vq, chain, &p, &to_port) : 0;
	if (unlikely(!to)) {
		vq->stats.drop_uplink += !r->netdev;
		goto give_back;
	}
	zerocopy = p.len > COPY_MAX && to == VNIC_TO_WIRE && vnic_zc_may(vq);
	skb = build(r, vq, chain, &p, &zerocopy);
	if (unlikely(!skb)) {
		vq->stats.drop_uplink++;
		goto give_back;
	}
	if (p.hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM || p.hdr.gso_type) {
		bool malformed = virtio_net_hdr_to_skb(skb, &p.hdr, true);

		if (unlikely(malformed || !fits(r, skb))) {
			vq->stats.drop_malformed += malformed;
			vq->stats.drop_too_big += !malformed;
			kfree_skb(skb);
			skb = NULL;
			goto give_back;
		}
	}
	if (p.tagged || p.vid)
		set_vlan(skb, &p);
	skb->protocol = ((struct ethhdr *)skb->data)->h_proto;
	skb_set_network_header(skb, ETH_HLEN);
	skb->mac_len = ETH_HLEN;
	if (READ_ONCE(d->pairs) > 1)
		note_flow(d, vq, skb);
	vnic_cb(skb)->port = to_port;
	vnic_cb(skb)->vid = p.vid;
	vnic_cb(skb)->to = to;
	vq->stats.frames++;
	vq->stats.bytes += p.len;
	vq->stats.local += !!(to & (VNIC_TO_PORT | VNIC_TO_STACK));
	if (zerocopy) {
		/* Last: from here on the buffer is the frame's. */
		vnic_zc_attach(vq, skb, chain);
		return skb;
	}
	vq->stats.copied++;
give_back:
	vnic_ring_push(&vq->ring, chain->id, chain->slots, 0);
	return skb;
}
