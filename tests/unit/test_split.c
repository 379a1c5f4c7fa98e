/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hostile rings: what tests/tables/hostile-rings.md lists, one test a row; of headers, test_split_headers.c. Whatever
 * comes of it, others go on speaking to each other (split_bed.h), and the sanitizers have nothing to say.
 */
#include "tests/unit/split_bed.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "datapath/forward/fault.h"

static void avail_index_jumps(void **state)
{
	(void)state;
	tx()->avail->idx = (uint16_t)(tx()->avail->idx + tx()->size + 1);
	assert_broken("jumped");
}

static void avail_index_rewinds(void **state)
{
	(void)state;
	tx()->avail->idx--;
	assert_broken("jumped");
}

static void avail_index_rewinds_behind_taken(void **state)
{
	(void)state;
	assert_true(bed_send(&bed, EVIL, VICTIM, 1));
	assert_true(bed_send(&bed, EVIL, VICTIM, 2));
	bed_turn(&bed, 0);
	assert_true(bed_receive(&bed, VICTIM, NULL) && bed_receive(&bed, VICTIM, NULL));
	tx()->avail->idx--;
	assert_broken("jumped");
}

static void head_out_of_range(void **state)
{
	(void)state;
	offer(tx(), tx()->size);
	assert_broken("head");
}

static void next_loops(void **state)
{
	(void)state;
	set_desc(&tx()->desc[0], buffer(tx(), 0), 100, VRING_DESC_F_NEXT, 1);
	set_desc(&tx()->desc[1], buffer(tx(), 1), 100, VRING_DESC_F_NEXT, 0);
	offer(tx(), 0);
	assert_broken("loops");
}

static void next_out_of_range(void **state)
{
	(void)state;
	set_desc(&tx()->desc[0], buffer(tx(), 0), 100, VRING_DESC_F_NEXT, 0xffff);
	offer(tx(), 0);
	assert_broken("next field");
}

static void wrong_direction_sent(void **state)
{
	(void)state;
	set_desc(&tx()->desc[0], buffer(tx(), 0), 100, VRING_DESC_F_WRITE, 0);
	offer(tx(), 0);
	assert_broken("writable");
}

static void wrong_direction_received(void **state)
{
	(void)state;
	rx()->desc[rx()->avail->ring[0]].flags = 0;
	assert_true(bed_send(&bed, VICTIM, EVIL, 1));
	assert_broken("not writable");
}

static void zero_length(void **state)
{
	(void)state;
	set_desc(&tx()->desc[0], buffer(tx(), 0), 0, 0, 0);
	offer(tx(), 0);
	assert_broken("length 0");
}

static void zero_length_received(void **state)
{
	(void)state;
	rx()->desc[rx()->avail->ring[0]].len = 0;
	assert_true(bed_send(&bed, VICTIM, EVIL, 1));
	assert_broken("length 0");
}

static void address_outside_memory(void **state)
{
	(void)state;
	set_desc(&tx()->desc[0], VG_GPA - 1, 100, 0, 0);
	offer(tx(), 0);
	assert_broken("outside");
}

static void address_wraps(void **state)
{
	(void)state;
	set_desc(&tx()->desc[0], UINT64_MAX - 10, 100, 0, 0);
	offer(tx(), 0);
	assert_broken("outside");
}

static void length_is_4_gib(void **state)
{
	(void)state;
	set_desc(&tx()->desc[0], buffer(tx(), 0), UINT32_MAX, 0, 0);
	offer(tx(), 0);
	assert_broken("outside");
}

static void lengths_add_up_to_4_gib(void **state)
{
	(void)state;
	set_desc(&tx()->desc[0], buffer(tx(), 0), 100, VRING_DESC_F_NEXT, 1);
	set_desc(&tx()->desc[1], buffer(tx(), 0), UINT32_MAX - 50, 0, 0);
	offer(tx(), 0);
	assert_broken("4 GiB");
}

static void buffer_across_the_end(void **state)
{
	(void)state;
	set_desc(&tx()->desc[0], VG_GPA + bed.g[EVIL].mem_size - 50, 100, 0, 0);
	offer(tx(), 0);
	assert_broken("outside");
}

static void buffer_across_the_end_received(void **state)
{
	(void)state;
	rx()->desc[rx()->avail->ring[0]].addr = VG_GPA + bed.g[EVIL].mem_size - 50;
	assert_true(bed_send(&bed, VICTIM, EVIL, 1));
	assert_broken("outside");
}

static void indirect_nested(void **state)
{
	(void)state;
	set_desc(table_at(tx(), 0), vguest_gpa(&bed.g[EVIL], table_at(tx(), 0)), 16,
		 VRING_DESC_F_INDIRECT, 0);
	offer_table(16, 0);
	assert_broken("within an indirect table");
}

static void indirect_length_not_16(void **state)
{
	(void)state;
	set_desc(table_at(tx(), 0), buffer(tx(), 0), 100, 0, 0);
	offer_table(17, 0);
	assert_broken("multiple of 16");
}

static void indirect_length_0(void **state)
{
	(void)state;
	offer_table(0, 0);
	assert_broken("multiple of 16");
}

static void indirect_with_next(void **state)
{
	(void)state;
	set_desc(table_at(tx(), 0), buffer(tx(), 0), 100, 0, 0);
	offer_table(16, VRING_DESC_F_NEXT);
	assert_broken("has a next");
}

static void indirect_outside_memory(void **state)
{
	(void)state;
	set_desc(&tx()->desc[0], VG_GPA + bed.g[EVIL].mem_size - 8, 16, VRING_DESC_F_INDIRECT, 0);
	offer(tx(), 0);
	assert_broken("table lies outside");
}

static void indirect_loops(void **state)
{
	(void)state;
	set_desc(table_at(tx(), 0), buffer(tx(), 0), 100, VRING_DESC_F_NEXT, 0);
	offer_table(32, 0);
	assert_broken("loops");
}

static void indirect_next_out_of_range(void **state)
{
	(void)state;
	set_desc(table_at(tx(), 0), buffer(tx(), 0), 100, VRING_DESC_F_NEXT, 2);
	offer_table(32, 0);
	assert_broken("outside its indirect table");
}

static void indirect_not_negotiated(void **state)
{
	(void)state;
	bed.g[EVIL].cfg.features = VG_MODERN;
	bed_set(&bed, EVIL, true);
	set_desc(table_at(tx(), 0), buffer(tx(), 0), 100, 0, 0);
	offer_table(16, 0);
	assert_broken("not negotiated");
}

static void chain_with_too_many_pieces(void **state)
{
	/* The table is put over the send buffers: 2048 entries of a byte each. */
	struct vring_desc *t = (void *)(bed.g[EVIL].mem + tx()->buf);

	(void)state;
	for (unsigned int i = 0; i < 2048; i++)
		set_desc(&t[i], VG_GPA, 1, i < 2047 ? VRING_DESC_F_NEXT : 0, (uint16_t)(i + 1));
	set_desc(&tx()->desc[0], vguest_gpa(&bed.g[EVIL], t), 2048 * 16, VRING_DESC_F_INDIRECT, 0);
	offer(tx(), 0);
	assert_broken("too many pieces");
}

static void frame_too_short(void **state)
{
	(void)state;
	set_desc(&tx()->desc[0], buffer(tx(), 0), 12 + 13, 0, 0);
	offer(tx(), 0);
	assert_refused();
}

static void frame_shorter_than_its_header(void **state)
{
	(void)state;
	set_desc(&tx()->desc[0], buffer(tx(), 0), 1, 0, 0);
	offer(tx(), 0);
	assert_refused();
}

static void frame_too_long(void **state)
{
	(void)state;
	set_desc(&tx()->desc[0], VG_GPA, 100000, 0, 0);
	offer(tx(), 0);
	assert_refused();
}

/* As hostile as it looks: any layout is allowed (5.1.6.6). */
static void header_split_over_descriptors(void **state)
{
	struct virtio_net_hdr_mrg_rxbuf hdr;
	uint8_t buf[500], got[VG_FRAME_MAX];

	(void)state;
	bed_frame(buf, sizeof(buf), bed.g[VICTIM].mac, bed.g[EVIL].mac, 0x88b5, 5);
	assert_true(vguest_send(&bed.g[EVIL], 0, buf, sizeof(buf), NULL, VG_ODD));
	bed_turn(&bed, 0);
	assert_int_equal(vguest_receive(&bed.g[VICTIM], 0, got, &hdr), sizeof(buf));
	assert_memory_equal(got, buf, sizeof(buf));
}

static void receive_head_out_of_range(void **state)
{
	(void)state;
	rx()->avail->ring[0] = 0x7fff;
	assert_true(bed_send(&bed, VICTIM, EVIL, 1));
	assert_broken("head");
}

static void receive_index_jumps(void **state)
{
	(void)state;
	rx()->avail->idx = (uint16_t)(rx()->avail->idx + 1000);
	assert_true(bed_send(&bed, VICTIM, EVIL, 1));
	assert_broken("jumped");
}

static void receive_index_goes_back(void **state)
{
	(void)state;
	rx()->avail->idx = 4;
	assert_true(bed_send(&bed, VICTIM, EVIL, 1));
	bed_turn(&bed, 0);
	assert_int_equal(rx()->used->idx, 1);
	/* Three buffers more were seen, a frame needs four; meanwhile there is only one. */
	for (unsigned int i = 0; i < rx()->size; i++)
		rx()->desc[i].len = 30;
	rx()->avail->idx = 2;
	assert_true(bed_send(&bed, VICTIM, EVIL, 2));
	bed_turn(&bed, 0);
	assert_int_equal(rx()->used->idx, 1);
	assert_null(engine_next_broken(bed.e));
}

static void one_byte_receive_buffers(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < rx()->size; i++)
		rx()->desc[i].len = 1;
	for (unsigned int i = 0; i < 1000; i++) {
		bed_send(&bed, VICTIM, EVIL, 1);
		bed_turn(&bed, 0);
		vguest_reap(&bed.g[VICTIM], 0);
	}
	assert_null(engine_next_broken(bed.e));
	assert_int_equal(rx()->used->idx, 0);
	assert_true(counters()->rx_errors > 900);
}

static void receive_buffers_too_small(void **state)
{
	(void)state;
	bed.g[EVIL].cfg.features = VG_FEATURE(VIRTIO_F_VERSION_1);
	bed_set(&bed, EVIL, true);
	for (unsigned int i = 0; i < rx()->size; i++)
		rx()->desc[i].len = 50;
	assert_true(bed_send(&bed, VICTIM, EVIL, 1));
	bed_turn(&bed, 0);
	assert_int_equal(counters()->rx_errors, 1);
	assert_int_equal(rx()->used->idx, 0);
	assert_int_equal(vguest_reap(&bed.g[VICTIM], 0), 1);
}

struct rewriter {
	bool running, stop;
};

static void *rewrite(void *arg)
{
	struct rewriter *w = arg;
	static const struct vring_desc bad = {
		.addr = UINT64_MAX - 2, .len = 70000, .flags = 7, .next = 0xfffe
	};
	struct vring_desc good = tx()->desc[0];

	__atomic_store_n(&w->running, true, __ATOMIC_RELAXED);
	while (!__atomic_load_n(&w->stop, __ATOMIC_RELAXED)) {
		memcpy(&tx()->desc[0], &bad, sizeof(bad));
		memcpy(&tx()->desc[0], &good, sizeof(good));
		memset(bed.g[EVIL].mem + tx()->buf, rand() & 0xff, 40);
	}
	return NULL;
}

/* Under our eyes; that the copy is what counts, the sanitizers see. */
static void descriptor_rewritten_while_read(void **state)
{
	struct rewriter w = { 0 };
	pthread_t t;

	(void)state;
	set_desc(&tx()->desc[0], buffer(tx(), 0), 100, 0, 0);
	assert_int_equal(pthread_create(&t, NULL, rewrite, &w), 0);
	while (!__atomic_load_n(&w.running, __ATOMIC_RELAXED))
		sched_yield();
	for (unsigned int i = 0; i < 3000; i++) {
		offer(tx(), 0);
		bed_turn(&bed, 0);
		if (engine_next_broken(bed.e))
			bed_set(&bed, EVIL, true);
	}
	__atomic_store_n(&w.stop, true, __ATOMIC_RELAXED);
	pthread_join(t, NULL);
	/* Now and then what was copied is a fine multicast frame, and then it is for all. */
	for (unsigned int at = VICTIM; at <= 3; at++)
		while (bed_receive(&bed, at, NULL) > 0)
			vguest_post(&bed.g[at], 0, 1);
}

/* Its memory shrinks under the worker, which dies of it and says whose fault it was. */
static void memory_is_taken_away(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	assert_true(bed_send(&bed, EVIL, VICTIM, 1));
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct sigaction dfl = { .sa_handler = SIG_DFL };

		sigaction(SIGBUS, &dfl, NULL);
		if (fault_install(bed.e) < 0 || ftruncate(bed.g[EVIL].mem_fd, 0) < 0)
			_exit(1);
		engine_turn(bed.e, bed.now);
		_exit(2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	assert_int_equal(bed.ws->fault_port, EVIL + 1);
	assert_true(bed.ws->fault_addr != 0);
	/* The model lost it too. */
	engine_port_del(bed.e, EVIL);
	assert_int_equal(ftruncate(bed.g[EVIL].mem_fd, (off_t)bed.g[EVIL].mem_size), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROW(avail_index_jumps),
		ROW(avail_index_rewinds),
		ROW(avail_index_rewinds_behind_taken),
		ROW(head_out_of_range),
		ROW(next_loops),
		ROW(next_out_of_range),
		ROW(wrong_direction_sent),
		ROW(wrong_direction_received),
		ROW(zero_length),
		ROW(zero_length_received),
		ROW(address_outside_memory),
		ROW(address_wraps),
		ROW(length_is_4_gib),
		ROW(lengths_add_up_to_4_gib),
		ROW(buffer_across_the_end),
		ROW(buffer_across_the_end_received),
		ROW(indirect_nested),
		ROW(indirect_length_not_16),
		ROW(indirect_length_0),
		ROW(indirect_with_next),
		ROW(indirect_outside_memory),
		ROW(indirect_loops),
		ROW(indirect_next_out_of_range),
		ROW(indirect_not_negotiated),
		ROW(chain_with_too_many_pieces),
		ROW(frame_too_short),
		ROW(frame_shorter_than_its_header),
		ROW(frame_too_long),
		ROW(header_split_over_descriptors),
		ROW(receive_head_out_of_range),
		ROW(receive_index_jumps),
		ROW(receive_index_goes_back),
		ROW(one_byte_receive_buffers),
		ROW(receive_buffers_too_small),
		ROW(descriptor_rewritten_while_read),
		ROW(memory_is_taken_away),
	};

	return cmocka_run_group_tests_name("split", tests, NULL, NULL);
}
