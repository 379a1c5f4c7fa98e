/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All that is written to guests' rings is written here, in an order that a worker may die in at any store.
 *
 * Theory of operation. A sender's ring: commit_take() notes heads in shared memory, then moves avail_pos
 * over them; from there on the frames are ours to deliver or drop, and the heads are never read again from
 * the guest. A receiver's ring: buffers are filled and used entries written ahead of the used index
 * (commit_buffer()), which no guest looks at; positions in shared memory stay. commit_publish() makes a
 * transaction of all this: the intent says which rings go from which index to which, and which source
 * frames are done by that. Then valid = 1, and from this store on it has happened: the used indices are
 * stored, pages logged, source frames marked, positions moved, valid = 0.
 *
 * A successor that finds valid = 0 knows that no guest saw anything of what was under way, and starts over
 * from the positions; source frames that are not marked done are forwarded (again). One that finds valid =
 * 1 does the steps after it again, all of them: each is a store of the same value to the same place, which
 * guests only read. commit_complete() gives done frames back to their sender in the order of its ring, from
 * heads in shared memory: done twice, it writes the same entries and the same index.
 *
 * Only the compiler could reorder these stores in a way that a death shows (the end of a process orders its
 * stores before whatever runs later); guests on other CPUs are served by the release stores.
 */
#pragma once

#include <stdint.h>

#include "datapath/ring/split.h"
#include "datapath/state.h"

/*
 * The tests' way to die here: a build with DP_COMMIT_HOOK calls commit_hook after every store that
 * outlives the process.
 */
#ifdef DP_COMMIT_HOOK
extern void (*commit_hook)(void);
#define COMMIT_POINT() commit_hook()
/* Small, so that few guests fill a transaction. */
#define INTENT_RX_MAX  3
#define INTENT_SRC_MAX 6
#else
#define COMMIT_POINT() ((void)0)
#define INTENT_RX_MAX  1024
#define INTENT_SRC_MAX 1900
#endif

struct intent_rx {
	uint16_t port, ring;
	uint16_t old, new;
	uint64_t epoch;
};

/* Source frames at @pos … @pos + @count - 1 have come to @progress. */
struct intent_src {
	uint16_t port, ring;
	uint16_t pos, count;
	uint16_t progress;
	uint16_t reserved[3];
	uint64_t epoch;
};

struct intent {
	uint32_t valid;
	uint32_t n_rx, n_src;
	uint32_t reserved[13];
	struct intent_rx rx[INTENT_RX_MAX];
	struct intent_src src[INTENT_SRC_MAX];
};
_Static_assert(sizeof(struct intent) <= sizeof(((struct worker_state *)0)->intent),
	       "the intent fits the room that worker_state has for it");

/**
 * struct commit - the transaction being built
 * @rx: rings whose next runs ahead of their position
 * @src: rings of the intent's source entries
 * @signal: rings whose guests are to be told
 */
struct commit {
	struct worker_state *ws;
	struct intent *intent;
	unsigned int n_rx, n_src, n_signal;
	struct vq *rx[INTENT_RX_MAX];
	struct vq *src[INTENT_SRC_MAX];
	struct vq *signal[INTENT_RX_MAX];
};

/* The rings of a port as the intent names them; NULL where there is none. */
typedef struct vq *(*commit_find_t)(void *ctx, unsigned int port, unsigned int ring);

void commit_init(struct commit *c, struct worker_state *ws);

/* Name this start of the ring, if it is new (see ring_state.epoch). */
void commit_adopt(struct commit *c, struct vq *vq);

/**
 * commit_recover() - finish a transaction that a predecessor left valid
 * Rings that are gone, or were started anew since, are left out. Idempotent.
 * Return: 0: there was none; 1: finished; -EBADMSG: the intent is no possible one, and was discarded.
 */
int commit_recover(struct commit *c, commit_find_t find, void *ctx);

/* Take the next @n available entries of a sender's ring, which must be there. */
void commit_take(struct vq *vq, unsigned int n);

/* Too full to be sure of room for another frame's delivery to one receiver: publish first. */
static inline bool commit_full(const struct commit *c)
{
	return c->n_rx >= INTENT_RX_MAX - 1 || c->n_src >= INTENT_SRC_MAX - 1;
}

/* The next entry of a receiver's ring, head @head, now holds @len bytes. Not yet published. */
static inline void commit_buffer(struct commit *c, struct vq *vq, uint16_t head, uint32_t len)
{
	uint64_t e = head | (uint64_t)len << 32;

	if (!vq->touched) {
		vq->touched = true;
		c->rx[c->n_rx++] = vq;
	}
	memcpy(&vq->used->ring[vq->next & vq->mask], &e, sizeof(e));
	COMMIT_POINT();
	vq->next++;
}

/* Forget entries that commit_buffer() wrote from position @next on. */
static inline void commit_rewind(struct vq *vq, uint16_t next)
{
	vq->next = next;
}

/* With this transaction, @count entries from @pos on of a sender's ring come to @progress. */
static inline void commit_sources(struct commit *c, struct vq *vq, uint16_t pos, uint16_t count,
				  uint16_t progress)
{
	struct intent_src *s = &c->intent->src[c->n_src];

	if (c->n_src > 0 && c->src[c->n_src - 1] == vq && s[-1].progress == progress &&
	    (uint16_t)(s[-1].pos + s[-1].count) == pos) {
		s[-1].count = (uint16_t)(s[-1].count + count);
	} else {
		*s = (struct intent_src){ .port = vq->port,
					  .ring = vq->index,
					  .pos = pos,
					  .count = count,
					  .progress = progress,
					  .epoch = vq->rs->epoch };
		c->src[c->n_src++] = vq;
	}
	COMMIT_POINT();
}

static inline void commit_source(struct commit *c, struct vq *vq, uint16_t pos, uint16_t progress)
{
	commit_sources(c, vq, pos, 1, progress);
}

/* A frame that goes nowhere: done, whatever becomes of the transaction. */
static inline void commit_drop(struct vq *vq, uint16_t pos)
{
	__atomic_store_n(&vq->rs->slot[pos & vq->mask].progress, DP_PROGRESS_DONE,
			 __ATOMIC_RELEASE);
	COMMIT_POINT();
}

/* Make it happen. The guests are told by commit_signal(). */
void commit_publish(struct commit *c);

/* Give back the frames that are done to their sender, in the order of its ring. */
void commit_complete(struct commit *c, struct vq *vq);

/* Call the guests whose rings were published or completed since, where they want to be called. */
void commit_signal(struct commit *c);

/* Ask the guest for kicks. Return: true where there is something to do already (and no kick may come). */
bool commit_arm(struct vq *vq);

/* Ask the guest for no more kicks, as far as that is cheap. */
void commit_disarm(struct vq *vq);

/*
 * Where a ring of state @vq->rs goes on; @sender or receiver. A receiver's two positions can only be apart
 * where an intent was discarded: what was not completed is available still.
 */
void commit_resume(struct vq *vq, bool sender);

/* A ring is taken up: suppression fields anew, and one call for what a predecessor may not have told. */
void commit_start(struct vq *vq);
