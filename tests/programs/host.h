/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_TESTS_HOST_H
#define HF_TESTS_HOST_H

/*
 * A host in CRIU's place, with a small application in a network namespace of its own, both of whose
 * connections' ends are on the loopback device. See fake-host.c.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "every.h"

/* ---- the application: three tasks and their sockets, host-scene.c */

enum flow_kind {
	FLOW_IDLE,       /* with options of its own */
	FLOW_DATA,       /* both queues full: bytes not read, bytes not sent */
	FLOW_URGENT,     /* urgent data in the receive queue, and an offset for peeks */
	FLOW_SHARED,     /* IPv6, held by two tasks, urgent data inline */
	FLOW_FIN_WAIT,   /* the application has shut its side down */
	FLOW_CLOSE_WAIT, /* the peer has */
	FLOW_LISTENER,   /* with a client that was not accepted */
	FLOW_RESET,      /* closed by the peer's RST, which nobody was told of; data to read */
	FLOWS
};

/* Of the loopback device; not 127.0.0.1, which the host's lock leaves alone. IPv6 flows use ::1. */
#define APP_IP    0xc0000201u
#define HELD      500 /* bytes that a peer sends into the lock */
#define N_TASKS   3
#define N_OPTIONS 9
#define APP_FD    100 /* of the first flow in the application's tasks; the others follow */
#define SECOND_FD 200 /* of the second descriptor of a shared one */

struct flow {
	int peer; /* our end; of the listener: the client */
	int family;
	int port; /* of the application's end */
	/* Positions in the streams, lib: stream.h. */
	uint64_t to_app, from_app;    /* sent so far */
	uint64_t app_read, peer_read; /* received so far */
	int options[N_OPTIONS];       /* of the application's end, as they were */
	uint32_t segments; /* that our end had received when the application's end was gone */
	int unacked;       /* bytes that it had sent */
	int state;         /* of our end at that time */
};

struct scene {
	struct flow flows[FLOWS];
	pid_t tasks[N_TASKS]; /* 0: not there */
	uint64_t seed;
};

/* The tasks that are made next take long to end, as with much memory. */
extern bool scene_is_heavy;
/* Makes connections and the tasks that hold them. */
void scene_make(struct scene *scene);
/* One of the peers sends into the lock. */
void scene_send_held(struct scene *scene);
/* Makes the tasks anew, with what CRIU's tcp-close leaves in the place of their sockets. */
void scene_make_closed(struct scene *scene);
/* The tasks end, if they have not, and are waited for. False if they do not, in time. */
bool scene_kill(struct scene *scene);
/* Whether all tasks have ended. */
bool scene_is_dead(struct scene *scene);
/* Ends everything, quickly. */
void scene_clear(struct scene *scene);
/* A duplicate of the application's socket. */
int scene_socket(const struct scene *scene, enum flow_kind kind);

/* ---- what should hold, host-check.c; each says what is wrong, and returns false */

const char *flow_name(enum flow_kind kind);
void wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern int n_wrong;
extern char what_now[160]; /* what is being tried, for wrong() */

/* Notes the sockets' options and repair mode, and that they are as they were. */
void note_options(struct scene *scene);
void check_options(const struct scene *scene, bool restored, bool complained);
/* Both ends of every connection can send and receive; every byte is compared. */
void check_data(struct scene *scene, bool restored);
/* Notes the state of our ends, and that it has not changed since. */
void note_peers(struct scene *scene);
void check_peers(const struct scene *scene, bool and_segments);
/* The number of lock tables in a network namespace; -1: this one. */
int count_tables(int netns);
void remove_tables(int netns);
/* Waits until only the scene's first task is left of our children. */
bool await_children(const struct scene *scene);

/* ---- the host, host-run.c */

enum host_stage { STAGE_DUMP, STAGE_RESTORE };

struct job {
	enum host_stage stage;
	bool arm_hooks; /* faults from the init hook on; else from the exit hook only */
	int result;     /* that the exit hook is told, if the hooks went well */
	bool resume;    /* a dump's tasks go on afterwards */
	bool held;      /* the host ends while it kills them */
	bool killed;    /* the host is killed before the exit hook */
	int image_dir;
	int netns;     /* where the host itself lives */
	int container; /* the container's, for a host that inherits it; or -1 */
};

/* In shared memory. */
struct report {
	struct hf_every every;
	bool ended; /* the host came to its end */
	int init, hook;
	int errors, warnings;
	char error[600]; /* the first one */
	int left_fds;
	bool left_children, left_memory;
};

/* Loads the plugin. */
void host_load(const char *plugin);
/* Does it all in a process of its own. */
void host_run(const struct job *job, struct scene *scene, struct report *report);
bool host_failed(const struct report *report);

#endif
