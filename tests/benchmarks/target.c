/* The target of all benchmarks: an HTTP server that confirms every stop, after a fixed latency.
 *
 * It is in C so that it takes as little as possible of the two cores that the contestants share;
 * what it took is in its statistics. One thread, one epoll, no allocation per call.
 *
 *   GET /agent-api/user/<user>/task_stop/<task>   the reply of the real API, after the latency
 *   GET /bench/reset/<latency in microseconds>    forgets the calls, sets the latency
 *   GET /bench/stats                              calls, CPU
 *   GET /bench/calls                              "<task> <arrival>" a line; CLOCK_MONOTONIC, ns
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 16384, REQUEST_MAX = 4096, TASK_MAX = 24, EVENTS = 512 };

struct call {
    int64_t at;
    char task[TASK_MAX];
};

struct connection {
    char request[REQUEST_MAX];
    int length;
    int waiting;         /* its reply is due later */
    unsigned generation; /* a reply is not for whoever got the descriptor afterwards */
};

struct due {
    int64_t at;
    int descriptor;
    unsigned generation;
};

static struct connection *connections[CONNECTIONS_MAX];
static struct due later[CONNECTIONS_MAX]; /* a ring: all wait equally long, so it stays sorted */
static unsigned later_first, later_last;
static struct call *calls;
static size_t calls_count, calls_room;
static int64_t latency;
static int poller;

static const char BODY[] = "{\"status\":\"success\",\"code\":200,\"message\":\"stopped\"}";
static char reply[256];
static int reply_length;

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void hang_up(int descriptor) {
    struct connection *connection = connections[descriptor];
    connection->generation++;
    connection->waiting = 0;
    connection->length = 0;
    close(descriptor);
}

static void send_all(int descriptor, const char *data, size_t length) {
    while (length) {
        ssize_t sent = send(descriptor, data, length, MSG_NOSIGNAL);
        if (sent > 0) {
            data += sent;
            length -= sent;
        } else if (errno == EAGAIN) {
            usleep(100); /* only a long list of calls comes here */
        } else if (errno != EINTR) {
            return;
        }
    }
}

static void confirm(int descriptor) {
    send_all(descriptor, reply, reply_length);
}

static void note(const char *task) {
    if (calls_count == calls_room) {
        calls_room = calls_room ? 2 * calls_room : 1 << 16;
        calls = realloc(calls, calls_room * sizeof *calls);
        if (!calls) die("realloc");
    }
    struct call *call = &calls[calls_count++];
    call->at = now();
    size_t length = strcspn(task, " ?");
    if (length >= TASK_MAX) length = TASK_MAX - 1;
    memcpy(call->task, task, length);
    call->task[length] = 0;
}

static void tell(int descriptor, const char *body, size_t length) {
    char head[128];
    int head_length = snprintf(head, sizeof head,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n", length);
    send_all(descriptor, head, head_length);
    send_all(descriptor, body, length);
}

static void tell_stats(int descriptor) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    char body[256];
    int length = snprintf(body, sizeof body,
        "{\"calls\":%zu,\"cpu_s\":%.6f}", calls_count,
        usage.ru_utime.tv_sec + usage.ru_stime.tv_sec
            + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    tell(descriptor, body, length);
}

static void tell_calls(int descriptor) {
    size_t room = calls_count * (TASK_MAX + 24) + 1, length = 0;
    char *body = malloc(room);
    if (!body) die("malloc");
    for (size_t index = 0; index < calls_count; index++)
        length += snprintf(body + length, room - length, "%s %lld\n", calls[index].task,
            (long long)calls[index].at);
    tell(descriptor, body, length);
    free(body);
}

static void handle(int descriptor) {
    struct connection *connection = connections[descriptor];
    char *path = connection->request + 4, *task;
    if (strncmp(path, "/bench/", 7) == 0) {
        if (strncmp(path, "/bench/reset/", 13) == 0) {
            latency = atoll(path + 13) * 1000;
            calls_count = 0;
            tell(descriptor, "ok", 2);
        } else if (strncmp(path, "/bench/stats", 12) == 0) {
            tell_stats(descriptor);
        } else {
            tell_calls(descriptor);
        }
    } else if ((task = strstr(path, "/task_stop/"))) {
        note(task + 11);
        if (!latency) {
            confirm(descriptor);
            return;
        }
        connection->waiting = 1;
        later[later_last++ % CONNECTIONS_MAX] =
            (struct due){now() + latency, descriptor, connection->generation};
    } else {
        hang_up(descriptor);
    }
}

/* A client sends its next request when it has its reply, so a request is all there is to read. */
static void read_from(int descriptor) {
    struct connection *connection = connections[descriptor];
    ssize_t got = recv(descriptor, connection->request + connection->length,
        REQUEST_MAX - 1 - connection->length, 0);
    if (got <= 0) {
        if (got == 0 || (errno != EAGAIN && errno != EINTR)) hang_up(descriptor);
        return;
    }
    connection->length += got;
    connection->request[connection->length] = 0;
    if (strstr(connection->request, "\r\n\r\n")) {
        connection->length = 0;
        handle(descriptor);
    } else if (connection->length == REQUEST_MAX - 1) {
        hang_up(descriptor);
    }
}

static void take_in(int listener) {
    int descriptor, on = 1;
    while ((descriptor = accept4(listener, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (descriptor >= CONNECTIONS_MAX) {
            close(descriptor);
            continue;
        }
        if (!connections[descriptor]) connections[descriptor] = calloc(1, sizeof **connections);
        if (!connections[descriptor]) die("calloc");
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = descriptor};
        epoll_ctl(poller, EPOLL_CTL_ADD, descriptor, &event);
    }
}

static int confirm_due(void) {
    while (later_first != later_last) {
        struct due *due = &later[later_first % CONNECTIONS_MAX];
        int64_t wait = due->at - now();
        if (wait > 0) return (int)((wait + 999999) / 1000000);
        struct connection *connection = connections[due->descriptor];
        if (connection->waiting && connection->generation == due->generation) {
            connection->waiting = 0;
            confirm(due->descriptor);
        }
        later_first++;
    }
    return -1;
}

int main(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 4096)) die("listen");
    getsockname(listener, (struct sockaddr *)&address, &length);
    reply_length = snprintf(reply, sizeof reply,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
        sizeof BODY - 1, BODY);
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[EVENTS];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(poller, events, EVENTS, confirm_due());
        for (int index = 0; index < count; index++) {
            if (events[index].data.fd == listener)
                take_in(listener);
            else
                read_from(events[index].data.fd);
        }
    }
}
