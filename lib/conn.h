/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_LIB_CONN_H
#define HF_LIB_CONN_H

/*
 * What holdfast knows of one TCP socket between dump and restore.
 *
 * Plain data: nothing here owns memory but the arrays named as owned below. Sequence numbers and
 * window values are in host byte order, addresses in network byte order, ports in host byte order.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longest text of hf_endpoint_format(): "[ipv6%scope]:port". */
#define HF_ENDPOINT_TEXT 80
/* Longest text of hf_conn_format(): two endpoints and an arrow. */
#define HF_CONN_TEXT (2 * HF_ENDPOINT_TEXT + 8)

/* Address family of a socket; the values are those of the image format, not AF_*. */
enum hf_family {
	HF_FAMILY_IPV4 = 4,
	HF_FAMILY_IPV6 = 6, /* also a socket with IPv4-mapped addresses, RFC 4291 section 2.5.5.2 */
};

/* TCP states of RFC 9293 section 3.3.2, with the kernel's numbers (include/net/tcp_states.h). */
enum hf_tcp_state {
	HF_TCP_ESTABLISHED = 1,
	HF_TCP_SYN_SENT,
	HF_TCP_SYN_RECV,
	HF_TCP_FIN_WAIT1,
	HF_TCP_FIN_WAIT2,
	HF_TCP_TIME_WAIT,
	HF_TCP_CLOSE,
	HF_TCP_CLOSE_WAIT,
	HF_TCP_LAST_ACK,
	HF_TCP_LISTEN,
	HF_TCP_CLOSING,
	HF_TCP_NEW_SYN_RECV,
	HF_TCP_STATES
};

struct hf_endpoint {
	uint8_t ip[16];    /* an IPv4 address fills the first 4 bytes, the rest is 0 */
	uint16_t port;     /* 0: none */
	uint32_t scope_id; /* interface index of a link-local IPv6 address, else 0 */
};

/* An address of a network namespace's devices. */
struct hf_address {
	enum hf_family family;
	uint8_t ip[16]; /* an IPv4 address fills the first 4 bytes, the rest is 0 */
};

/* One queue, kernel tcp_sock. The bytes themselves lie outside. */
struct hf_queue {
	uint32_t seq; /* sequence number after the last byte: rcv_nxt, or write_seq */
	uint32_t len; /* bytes held: not yet read by the application, or not yet acknowledged */
};

/* struct tcp_repair_window (include/uapi/linux/tcp.h). */
struct hf_window {
	uint32_t snd_wl1; /* segment sequence number of the last window update, RFC 9293 SND.WL1 */
	uint32_t snd_wnd; /* bytes the peer accepts, RFC 9293 SND.WND */
	uint32_t max_window; /* largest window ever seen from the peer */
	uint32_t rcv_wnd;    /* bytes we offered, RFC 9293 RCV.WND */
	uint32_t rcv_wup;    /* rcv_nxt when we offered them */
};

/* A file descriptor that refers to the socket. */
#define HF_MAX_PID_LEVELS 32 /* kernel MAX_PID_NS_LEVEL */
struct hf_holder {
	uint32_t levels;                 /* how many entries of pid[] are used, at least 1 */
	uint32_t pid[HF_MAX_PID_LEVELS]; /* from the tree root's pid namespace inwards, see NSpid in
					    proc(5) */
	uint32_t fd;
};

/* Directions that were shut down; the kernel's sk_shutdown (RCV_SHUTDOWN, SEND_SHUTDOWN). */
#define HF_SHUTDOWN_RECV 1u
#define HF_SHUTDOWN_SEND 2u

/* What a socket in state CLOSE has behind it, as far as its owner can still notice. */
enum hf_closed {
	HF_CLOSED_UNCONNECTED, /* never connected, or disconnected: perhaps bound, perhaps shut down
				*/
	HF_CLOSED_FINISHED,    /* the connection is over: what is queued, then end of file */
	HF_CLOSED_RESET,       /* the same, but then ECONNRESET once before the end of file */
	HF_CLOSED_REFUSED,     /* connect() failed and the owner was not told yet: ECONNREFUSED */
	HF_CLOSED_DISCONNECTED, /* by connect(AF_UNSPEC), and not told of the reset: ECONNRESET */
	HF_CLOSED_KINDS
};

/* The mark of urgent data that is in, or right before, the receive queue (kernel urg_seq). */
struct hf_urgent {
	bool present;
	bool taken;  /* the urgent byte was read with MSG_OOB: reading the stream leaves it out */
	uint32_t at; /* its offset in the receive queue, below recv.len */
};

#define HF_SILENT_MS 1000

/* A socket option: one of the table in lib/sockopt.h. */
#define HF_OPTION_SIZE 64
struct hf_option {
	uint16_t
		level; /* SOL_SOCKET, IPPROTO_TCP, IPPROTO_IP, IPPROTO_IPV6: the kernel's numbers */
	uint16_t name;
	uint16_t len;
	uint8_t value[HF_OPTION_SIZE]; /* len bytes, as getsockopt(2) gives them */
};

/*
 * One TCP socket: a connection in any state, a listener, or a closed socket. Which of the fields
 * mean something in which state is in lib/tcp_state.h; the others are 0.
 */
struct hf_conn {
	enum hf_family family;
	enum hf_tcp_state state;
	enum hf_closed closed; /* state CLOSE only */
	uint8_t shutdown;      /* HF_SHUTDOWN_*: by the owner, by the peer's FIN, or by a reset */
	bool v6only;           /* IPV6_V6ONLY; of listeners only */
	struct hf_endpoint local;
	struct hf_endpoint peer; /* all 0 in LISTEN and CLOSE */

	/* A FIN counts neither in a queue's length nor in its sequence number. */
	struct hf_queue recv;
	struct hf_queue send;
	uint32_t unsent; /* the last bytes of the send queue, never sent: write_seq - snd_nxt */
	bool fin_unsent; /* our own FIN is queued behind them and was not sent either */
	struct hf_urgent urgent;

	uint32_t mss_clamp;  /* largest segment the peer accepts (its MSS option), RFC 9293 3.7.1 */
	bool has_wscale;     /* window scaling negotiated, RFC 7323 */
	uint8_t snd_wscale;  /* shift of windows that we receive */
	uint8_t rcv_wscale;  /* shift of windows that we send */
	bool has_sack;       /* SACK permitted, RFC 2018 */
	bool has_timestamps; /* timestamps negotiated, RFC 7323 */
	bool usec_timestamps; /* their unit is 1 us, not 1 ms (kernel tcp_usec_ts) */
	uint32_t timestamp;   /* TSval at dump: tcp_clock + tsoffset */
	struct hf_window window;

	/* What decides when the peer is woken, lib/kick.h. */
	bool peer_paused; /* it was told a window of 0, lib/prelude.h, and waits for another */
	bool peer_silent; /* it had sent nothing for HF_SILENT_MS */
	uint32_t rtt_us;  /* to the peer and back; 0: not known */

	bool reuseaddr; /* SO_REUSEADDR, which TCP_REPAIR overwrites */

	struct hf_option *options; /* owned by whoever owns the conn */
	uint32_t n_options;

	uint64_t inode; /* socket inode at dump; says which records are one socket, nothing more */
	struct hf_holder *holders; /* owned by whoever owns the conn */
	uint32_t n_holders;

	/* Where the queues' bytes are in the image: recv.len bytes, then send.len. Set by the
	 * reader. */
	uint64_t data_offset;
};

/*
 * A connection that no file refers to: nobody had accepted it yet (in a listener's accept queue, or
 * half open), or it was closed and had still something to send. It is not kept; its peer gets an
 * RST after the restore.
 */
struct hf_pending {
	enum hf_family family;
	enum hf_tcp_state state;
	struct hf_endpoint local;
	struct hf_endpoint peer;
};

/*
 * The addresses of a connection, or of a listener (no peer), on the other side of the host's
 * address translation: what its packets look like to the host where they are not translated.
 */
struct hf_alias {
	enum hf_family family;
	struct hf_endpoint local;
	struct hf_endpoint peer;   /* all 0: new connections to `local` */
	struct hf_endpoint inside; /* `peer` as the container sees it; all 0: it is the same */
};

/* "ESTABLISHED" and so on, the names of RFC 9293; "UNKNOWN" for a number that is no state. */
const char *hf_tcp_state_name(unsigned int state);

/* True for ::ffff:a.b.c.d, whose packets are IPv4. */
bool hf_endpoint_is_v4_mapped(const struct hf_endpoint *endpoint);

/* The 4 bytes of the address where packets are IPv4, mapped or not; NULL where they are IPv6. */
const uint8_t *hf_endpoint_ipv4(enum hf_family family, const struct hf_endpoint *endpoint);

/* True for 127.0.0.0/8, mapped or not, and ::1: addresses that mean each network namespace itself.
 */
bool hf_ip_is_loopback(enum hf_family family, const uint8_t ip[16]);

/* True for fe80::/10, the IPv6 addresses that mean nothing without a scope id (RFC 4007). */
bool hf_endpoint_is_link_local(const struct hf_endpoint *endpoint);

/* True if the socket's packets are IPv4: family IPv4, or both addresses IPv4-mapped. */
bool hf_conn_is_ipv4_on_wire(const struct hf_conn *conn);

/* "192.0.2.1:80" or "[2001:db8::1%2]:80" into buf. Returns buf. */
char *hf_endpoint_format(
	char buf[HF_ENDPOINT_TEXT], enum hf_family family, const struct hf_endpoint *endpoint);

/* "local -> peer" into buf, or just "local" for a socket without a peer. Returns buf. */
char *hf_conn_format(char buf[HF_CONN_TEXT], const struct hf_conn *conn);

/* The same for a pending connection. Returns buf. */
char *hf_pending_format(char buf[HF_CONN_TEXT], const struct hf_pending *pending);

/* Frees the holders and options and zeroes the conn; NULL is allowed. */
void hf_conn_clear(struct hf_conn *conn);

#endif
