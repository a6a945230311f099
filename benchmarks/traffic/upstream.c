/* A model server that costs almost nothing: one thread, one epoll, answers made before the first request.
 *
 *   upstream PORT PACE_US SERVICE_US SLOTS
 *
 * A POST is answered with one chat completion, or, where the body asks to stream, with 50 events PACE_US apart and
 * [DONE]. SERVICE_US > 0: a completion takes so long, SLOTS at once, and the others wait in order, as in a server
 * whose batch is full. A GET is answered at once, whatever its path: probes of every proxy are content.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 1 << 17, EVENTS = 50, MOST = 4096, BATCH = 256 };
enum state { READING, WAITING, WORKING, STREAMING };

struct connection {
    int fd;
    enum state state;
    int sent;     /* events of this stream so far */
    long due;     /* when the next thing is written, in microseconds */
    size_t filled;
    char bytes[ROOM];
};

struct text {
    size_t size;
    char bytes[4096];
};

static struct text completion, listing, events[EVENTS], done;
static struct connection *timed[MOST], *waiting[MOST]; /* both short; waiting is in order */
static int timed_count, waiting_count, working, slots;
static long pace, service;

static long now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000L + at.tv_nsec / 1000;
}

static void set_whole(struct text *text, const char *body) {
    text->size = (size_t)snprintf(text->bytes, sizeof text->bytes,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
}

static void set_chunk(struct text *text, const char *before, const char *body, const char *after) {
    text->size = (size_t)snprintf(text->bytes, sizeof text->bytes, "%s%zx\r\n%s\r\n%s", before, strlen(body), body, after);
}

static void write_answers(void) {
    static char prose[700], body[2048];
    while (strlen(prose) < 560)
        strcat(prose, "A gateway reads the question, asks a replica that is well, and hands the answer back. ");
    snprintf(body, sizeof body,
        "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1764000000,\"model\":\"poet\",\"choices\":[{\"index\":0,"
        "\"message\":{\"role\":\"assistant\",\"content\":\"%s\"},\"finish_reason\":\"stop\"}],"
        "\"usage\":{\"prompt_tokens\":110,\"completion_tokens\":120,\"total_tokens\":230}}", prose);
    set_whole(&completion, body);
    set_whole(&listing, "{\"object\":\"list\",\"status\":\"ok\",\"model_path\":\"poet\",\"is_generation\":true,"
        "\"data\":[{\"id\":\"poet\",\"object\":\"model\",\"created\":1,\"owned_by\":\"bench\"}]}");
    for (int i = 0; i < EVENTS; i++) {
        snprintf(body, sizeof body,
            "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1764000000,\"model\":\"poet\","
            "\"choices\":[{\"index\":0,\"delta\":{%s\"content\":\" word%d\"},\"finish_reason\":%s}]%s}\n\n",
            i ? "" : "\"role\":\"assistant\",", i, i == EVENTS - 1 ? "\"stop\"" : "null",
            i == EVENTS - 1 ? ",\"usage\":{\"prompt_tokens\":110,\"completion_tokens\":50,\"total_tokens\":160}" : "");
        set_chunk(&events[i], i ? "" : "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n", body, "");
    }
    set_chunk(&done, "", "data: [DONE]\n\n", "0\r\n\r\n");
}

static int put(struct connection *one, const struct text *text) {
    return write(one->fd, text->bytes, text->size) == (ssize_t)text->size ? 0 : -1;
}

static void take_out(struct connection **list, int *count, struct connection *one) {
    for (int i = 0; i < *count; i++)
        if (list[i] == one) {
            memmove(list + i, list + i + 1, sizeof *list * (size_t)(--*count - i));
            return;
        }
}

static void at(struct connection *one, enum state state, long due) {
    one->state = state;
    one->due = due;
    timed[timed_count++] = one;
}

static void work(void) {
    while (waiting_count && working < slots) {
        struct connection *one = waiting[0];
        take_out(waiting, &waiting_count, one);
        working++;
        at(one, WORKING, now() + service);
    }
}

static void leave(struct connection *one) {
    take_out(timed, &timed_count, one);
    take_out(waiting, &waiting_count, one);
    working -= one->state == WORKING;
    close(one->fd);
    free(one);
    work();
}

static int answer(struct connection *one, const char *body) {
    if (one->bytes[0] == 'G')
        return put(one, &listing);
    if (strstr(body, "\"stream\":true") || strstr(body, "\"stream\": true")) {
        one->sent = 0;
        at(one, STREAMING, now() + pace);
        return 0;
    }
    if (!service)
        return put(one, &completion);
    one->state = WAITING;
    waiting[waiting_count++] = one;
    work();
    return 0;
}

/* Answer the requests that are whole; -1: the connection is of no use any more. */
static int requests(struct connection *one) {
    while (one->state == READING) {
        one->bytes[one->filled] = 0;
        char *end = strstr(one->bytes, "\r\n\r\n");
        if (!end)
            return 0;
        size_t head = (size_t)(end - one->bytes) + 4, whole = head;
        *end = 0;
        char *length = strcasestr(one->bytes, "\ncontent-length:");
        char *chunked = strcasestr(one->bytes, "\ntransfer-encoding: chunked");
        *end = '\r';
        if (length)
            whole += strtoul(length + 16, NULL, 10);
        if (chunked) {
            char *last = strstr(end + 2, "\r\n0\r\n\r\n");
            if (!last)
                return 0;
            whole = (size_t)(last - one->bytes) + 7;
        }
        if (whole >= ROOM)
            return -1;
        if (one->filled < whole)
            return 0;
        char kept = one->bytes[whole];
        one->bytes[whole] = 0;
        int failed = answer(one, one->bytes + head);
        one->bytes[whole] = kept;
        if (failed)
            return -1;
        memmove(one->bytes, one->bytes + whole, one->filled - whole);
        one->filled -= whole;
    }
    return 0;
}

/* Write what is due now. */
static int step(struct connection *one) {
    if (one->state == STREAMING && one->sent < EVENTS) {
        one->due += pace;
        return put(one, &events[one->sent++]);
    }
    const struct text *last = one->state == STREAMING ? &done : &completion;
    working -= one->state == WORKING;
    one->state = READING;
    take_out(timed, &timed_count, one);
    work();
    return put(one, last) ? -1 : requests(one);
}

static void steps(void) {
    long limit = now();
    for (int i = timed_count - 1; i >= 0; i--) {
        if (i < timed_count && timed[i]->due <= limit) {
            struct connection *one = timed[i];
            if (step(one))
                leave(one);
        }
    }
}

static void sleep_until_due(int epoll) {
    struct pollfd ready = {.fd = epoll, .events = POLLIN};
    long first = timed[0]->due;
    for (int i = 1; i < timed_count; i++)
        if (timed[i]->due < first)
            first = timed[i]->due;
    long left = first - now();
    struct timespec pause = {left > 0 ? left / 1000000 : 0, left > 0 ? left % 1000000 * 1000 : 0};
    ppoll(&ready, 1, &pause, NULL);
}

static void welcome(int epoll, int listening) {
    int fd, on = 1;
    while ((fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct connection *one = calloc(1, sizeof *one);
        one->fd = fd;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

static void hear(struct connection *one) {
    ssize_t got = read(one->fd, one->bytes + one->filled, ROOM - 1 - one->filled);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got > 0)
        one->filled += (size_t)got;
    if (got <= 0 || requests(one))
        leave(one);
}

int main(int count, char **words) {
    if (count != 5)
        return 2;
    pace = atol(words[2]), service = atol(words[3]), slots = atoi(words[4]);
    signal(SIGPIPE, SIG_IGN);
    write_answers();
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(words[1]))};
    inet_pton(AF_INET, "127.0.0.1", &here.sin_addr);
    if (bind(listening, (struct sockaddr *)&here, sizeof here) || listen(listening, 1024)) {
        perror("upstream");
        return 1;
    }
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, ready[BATCH];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listening, &event);
    for (;;) {
        if (timed_count)
            sleep_until_due(epoll);
        int found = epoll_wait(epoll, ready, BATCH, timed_count ? 0 : -1);
        for (int i = 0; i < found; i++)
            if (ready[i].data.ptr)
                hear(ready[i].data.ptr);
            else
                welcome(epoll, listening);
        steps();
    }
}
