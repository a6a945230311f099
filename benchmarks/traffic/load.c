/* Requests, closed or open loop, and what came of them as one line of JSON.
 *
 *   load PORT KEY CONNECTIONS SECONDS RATE STREAM SEED
 *
 * RATE 0: every connection asks again when its answer is whole. RATE > 0: so many requests a second are due, whatever
 * becomes of those before (CONNECTIONS bounds how many are under way; one that finds none is "unsent"). STREAM 1 asks
 * for events. No two prompts are equal.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { HEAD = 8192, PIECE = 65536, BATCH = 256, SAMPLES = 1 << 21, STAGGER_US = 250000 };

struct connection {
    int fd, busy, status, chunked;
    long began, left; /* microseconds; bytes of the body still to come */
    size_t kept;      /* bytes of the head so far, or the end of the last piece */
    char bytes[HEAD + PIECE + 1];
};

static struct connection *all;
static int port, epoll, stream, *samples, sampled;
static const char *key, *seed;
static long events, good, busy429, cut, other, unsent, asked; /* other: answers of any other status */
static int last_other;

static long now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000L + at.tv_nsec / 1000;
}

static int reach(struct connection *one) {
    int on = 1;
    one->fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(one->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    inet_pton(AF_INET, "127.0.0.1", &there.sin_addr);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
    if (!connect(one->fd, (struct sockaddr *)&there, sizeof there) && !epoll_ctl(epoll, EPOLL_CTL_ADD, one->fd, &event))
        return 0;
    close(one->fd);
    one->fd = -1;
    return -1;
}

static void drop(struct connection *one) {
    cut += one->busy; /* an idle connection may be closed by the other side */
    close(one->fd);
    one->fd = -1;
    one->busy = 0;
}

static void ask(struct connection *one, long began) {
    char body[512], whole[2048];
    if (one->fd < 0 && reach(one)) {
        cut++;
        return;
    }
    int size = snprintf(body, sizeof body,
        "{\"model\":\"poet\",%s\"temperature\":0,\"messages\":[{\"role\":\"user\",\"content\":\"question %s-%ld: "
        "how does a gateway know which replica is well?\"}]}", stream ? "\"stream\":true," : "", seed, asked++);
    int length = snprintf(whole, sizeof whole,
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
        "Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", port, key, size, body);
    one->began = began;
    one->kept = 0;
    one->status = 0;
    one->busy = 1;
    if (write(one->fd, whole, (size_t)length) != length)
        drop(one);
}

static void over(struct connection *one) {
    one->busy = 0;
    good += one->status == 200;
    busy429 += one->status == 429;
    if (one->status != 200 && one->status != 429) {
        other++;
        last_other = one->status;
    }
    if (one->status == 200 && sampled < SAMPLES)
        samples[sampled++] = (int)(now() - one->began);
}

/* Read the head if it is whole: returns its size, or 0. */
static size_t head(struct connection *one) {
    char *end = strstr(one->bytes, "\r\n\r\n");
    if (!end)
        return 0;
    *end = 0;
    char *length = strcasestr(one->bytes, "\ncontent-length:");
    one->chunked = strcasestr(one->bytes, "\ntransfer-encoding: chunked") != NULL;
    one->left = length ? atol(length + 16) : 0;
    one->status = atoi(one->bytes + 9);
    *end = '\r';
    return (size_t)(end - one->bytes) + 4;
}

/* Count the events in what came, and keep an end in which a mark may have begun. */
static void count(struct connection *one, size_t from, size_t filled) {
    char *at = one->bytes + from, *next, *end = one->bytes + filled;
    while ((next = memmem(at, (size_t)(end - at), "data: {", 7))) {
        events++;
        at = next + 7;
    }
    int last = filled >= from + 5 && !memcmp(end - 5, "0\r\n\r\n", 5);
    size_t keep = (size_t)(end - at) < 6 ? (size_t)(end - at) : 6;
    memmove(one->bytes, end - keep, keep);
    one->kept = keep;
    if (last)
        over(one);
}

static void hear(struct connection *one) {
    ssize_t got = read(one->fd, one->bytes + one->kept, PIECE);
    if (got <= 0 || !one->busy) {
        drop(one);
        return;
    }
    size_t filled = one->kept + (size_t)got, from = 0;
    one->bytes[filled] = 0;
    if (!one->status) {
        from = head(one);
        if (!from) {
            one->kept = filled;
            if (filled > HEAD)
                drop(one);
            return;
        }
        one->left += (long)from;
        one->left -= (long)one->kept;
    }
    if (one->chunked) {
        count(one, from, filled);
        return;
    }
    one->kept = 0;
    one->left -= got;
    if (one->left <= 0)
        over(one);
}

static int smaller(const void *a, const void *b) {
    return *(const int *)a - *(const int *)b;
}

static double at_share(double share) {
    return sampled ? samples[(int)(share * (sampled - 1))] / 1000.0 : 0;
}

static struct connection *idle(int connections) {
    static int next;
    for (int tried = 0; tried < connections; tried++) {
        struct connection *one = &all[next = (next + 1) % connections];
        if (!one->busy)
            return one;
    }
    return NULL;
}

int main(int words, char **word) {
    if (words != 8)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    port = atoi(word[1]), key = word[2], stream = atoi(word[6]), seed = word[7];
    int connections = atoi(word[3]);
    double seconds = atof(word[4]), rate = atof(word[5]);
    all = calloc((size_t)connections, sizeof *all);
    samples = malloc(SAMPLES * sizeof *samples);
    epoll = epoll_create1(0);
    for (int i = 0; i < connections; i++)
        all[i].fd = -1;
    long began = now(), end = began + (long)(seconds * 1e6), due = 0, t;
    struct epoll_event ready[BATCH];
    while ((t = now()) < end) {
        if (rate > 0)
            for (long at; (at = began + (long)((double)due * 1e6 / rate)) <= t; due++) {
                struct connection *one = idle(connections);
                if (one)
                    ask(one, at);
                else
                    unsent++;
            }
        else
            for (int i = 0; i < connections; i++)
                if (!all[i].busy && t - began >= (long)i * STAGGER_US / connections)
                    ask(&all[i], t);
        int found = epoll_wait(epoll, ready, BATCH, 1);
        for (int i = 0; i < found; i++)
            hear(ready[i].data.ptr);
    }
    double spent = (double)(now() - began) / 1e6;
    qsort(samples, (size_t)sampled, sizeof *samples, smaller);
    printf("{\"seconds\":%.4f,\"good\":%ld,\"busy\":%ld,\"cut\":%ld,\"other\":%ld,\"status\":%d,\"unsent\":%ld,\"events\":%ld,"
        "\"p50_ms\":%.4f,\"p99_ms\":%.4f}\n",
        spent, good, busy429, cut, other, last_other, unsent, events, at_share(0.5), at_share(0.99));
    return 0;
}
