/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_TCP_STEPS_H
#define HF_SYS_TCP_STEPS_H

/*
 * The rebuilding of one socket, as a chain of calls of which the first that fails stops the rest:
 * each function does nothing where steps->ret is not 0.
 */
#include "lib/tcp_state.h"
#include "sys/raw_socket.h"
#include "sys/tcp_repair.h"

struct hf_steps {
	int sock;
	const struct hf_conn *conn;
	struct hf_conn held; /* what conn points to where data is held back, lib/resend.h */
	size_t held_len;     /* so much of its unsent data was sent before the dump */
	enum hf_resend *resend;
	struct hf_endpoint peer; /* the connection's, or a made up one */
	const struct hf_tcp_tools *tools;
	struct hf_error *err;
	int ret;
	const char *what; /* failed; NULL: err says it */
};

/* Notes the result of a system call: a negative one is errno's. */
void hf_steps_note(struct hf_steps *steps, const char *what, int result);

void hf_steps_set_int(struct hf_steps *steps, const char *what, int level, int option, int value);

/*
 * The queues. Between hf_steps_open_buffers() and hf_steps_close_buffers() the socket takes more
 * than its limits, which are then as they were.
 */
struct hf_buffers {
	int send, recv;
	int lock;
	bool has_lock;
	bool changed;
};

void hf_steps_open_buffers(struct hf_steps *steps, struct hf_buffers *buffers);
void hf_steps_close_buffers(struct hf_steps *steps, const struct hf_buffers *buffers);

/* Appends to the queue `which`, TCP_RECV_QUEUE or TCP_SEND_QUEUE, in repair mode. */
void hf_steps_fill(struct hf_steps *steps, int which, const uint8_t *data, size_t len);

/* After HF_STEP_CONNECT: decides on *steps->resend, and makes conn what it says. */
void hf_steps_choose_resend(struct hf_steps *steps);

/* HF_STEP_SENT */
void hf_steps_fill_sent(struct hf_steps *steps, const uint8_t *data, size_t len);

/* Appends to the send queue what counts as not sent. */
void hf_steps_fill_unsent(struct hf_steps *steps, const uint8_t *data, size_t len);

/* With 0 the kernel would choose one itself. */
static inline uint32_t hf_initial_seq(const struct hf_conn *conn)
{
	return conn->send.seq ? conn->send.seq : 1;
}

/* Makes up the peer that steps->peer then is: another port of our own, since connect() to that
 * needs no network. */
void hf_steps_fake_peer(struct hf_steps *steps);

/* connect(AF_UNSPEC): takes back what CRIU's tcp-close left, a socket that was shut down. */
void hf_steps_disconnect(struct hf_steps *steps);

/* The socket's options of these phases, lib/sockopt.h. */
void hf_steps_write_options(struct hf_steps *steps, unsigned int phases);

/* Segments to ourselves go over the loopback device: mostly they are done when they are sent. */
void hf_steps_await_state(struct hf_steps *steps, enum hf_tcp_state state);

/* The steps of lib/tcp_state.h; `state` is the one that the socket is in. */
void hf_step_connect(struct hf_steps *steps, const struct hf_tcp_row *row);
void hf_step_syn(struct hf_steps *steps, const struct hf_tcp_row *row);
void hf_step_disconnect(struct hf_steps *steps);
void hf_step_received(struct hf_steps *steps, const uint8_t *data);
void hf_step_our_fin(struct hf_steps *steps);
void hf_step_segment(struct hf_steps *steps, enum hf_step step, enum hf_tcp_state state);
void hf_step_window(struct hf_steps *steps, const struct hf_window *window);

#endif
