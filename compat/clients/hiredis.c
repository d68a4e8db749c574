/* hiredis, the C library below many others: pipelines, streams, groups, pub/sub, transactions. */

#include <assert.h>
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int port;
static const char *problem;
static char text[512];

/* Remembers the first thing that was not as it should be in this check. */
#define HOLDS(condition)                                                               \
    do {                                                                               \
        if (!(condition) && !problem) {                                                \
            snprintf(text, sizeof text, "line %d: %s", __LINE__, #condition);          \
            problem = text;                                                            \
        }                                                                              \
    } while (0)

static redisContext *open_connection(void) {
    redisContext *c = redisConnect("127.0.0.1", port);
    if (!c || c->err) {
        printf("not ok connect: %s\n", c ? c->errstr : "no memory");
        exit(1);
    }
    struct timeval patience = {10, 0};
    redisSetTimeout(c, patience);
    return c;
}

static redisReply *command(redisContext *c, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    redisReply *reply = redisvCommand(c, format, arguments);
    va_end(arguments);
    if (!reply) {
        printf("not ok connection: %s: %s\n", format, c->errstr);
        exit(1);
    }
    return reply;
}

static int is_text(const redisReply *reply, const char *expected) {
    return reply && (reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS || reply->type == REDIS_REPLY_ERROR) &&
           strcmp(reply->str, expected) == 0;
}

static int is_integer(const redisReply *reply, long long expected) {
    return reply && reply->type == REDIS_REPLY_INTEGER && reply->integer == expected;
}

static int is_array(const redisReply *reply, size_t elements) {
    return reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == elements;
}

/* Sends a command whose reply has to be that text. */
static void expect_text(redisContext *c, const char *expected, const char *line) {
    redisReply *reply = command(c, line);
    HOLDS(is_text(reply, expected));
    freeReplyObject(reply);
}

static void expect_integer(redisContext *c, long long expected, const char *line) {
    redisReply *reply = command(c, line);
    HOLDS(is_integer(reply, expected));
    freeReplyObject(reply);
}

static void strings(redisContext *c) {
    char bytes[256];
    for (int n = 0; n < 256; n++) bytes[n] = (char)n;
    freeReplyObject(command(c, "SET %b %b", bytes, sizeof bytes, bytes, sizeof bytes));
    redisReply *reply = command(c, "GET %b", bytes, sizeof bytes);
    HOLDS(reply->type == REDIS_REPLY_STRING && reply->len == sizeof bytes && memcmp(reply->str, bytes, sizeof bytes) == 0);
    freeReplyObject(reply);
    reply = command(c, "GET nothing");
    HOLDS(reply->type == REDIS_REPLY_NIL);
    freeReplyObject(reply);
    expect_text(c, "OK", "SET brief value PX 100000 NX");
    expect_integer(c, 1, "PERSIST brief");
    expect_text(c, "OK", "SET word abc");
    expect_text(c, "ERR value is not an integer or out of range", "INCR word");
}

static void pipeline(redisContext *c) {
    for (int n = 0; n < 1000; n++) redisAppendCommand(c, "INCR counter");
    for (int n = 0; n < 1000; n++) {
        redisReply *reply = NULL;
        HOLDS(redisGetReply(c, (void **)&reply) == REDIS_OK && is_integer(reply, n + 1));
        freeReplyObject(reply);
    }
}

static void streams(redisContext *c) {
    expect_text(c, "1-1", "XADD s 1-1 name ada");
    expect_text(c, "1-2", "XADD s 1-* name grace city arlington");
    expect_text(c, "ERR The ID specified in XADD is equal or smaller than the target stream top item", "XADD s 1-1 a b");
    redisReply *reply = command(c, "XRANGE s - +");
    HOLDS(is_array(reply, 2) && is_array(reply->element[1], 2) && is_text(reply->element[1]->element[0], "1-2"));
    HOLDS(!problem && is_array(reply->element[1]->element[1], 4) && is_text(reply->element[1]->element[1]->element[3], "arlington"));
    freeReplyObject(reply);
    reply = command(c, "XREAD COUNT 10 STREAMS s missing 1-1 0");
    HOLDS(is_array(reply, 1) && is_array(reply->element[0], 2) && is_text(reply->element[0]->element[0], "s"));
    freeReplyObject(reply);
    expect_integer(c, 1, "XDEL s 1-1 9-9");
    expect_integer(c, 1, "XLEN s");
    expect_integer(c, 1, "XTRIM s MAXLEN 0");
}

static void groups(redisContext *c) {
    expect_text(c, "OK", "XGROUP CREATE work g $ MKSTREAM");
    redisReply *reply = command(c, "XGROUP CREATE work g $");
    HOLDS(reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "BUSYGROUP ", 10) == 0);
    freeReplyObject(reply);
    for (int n = 1; n <= 3; n++) freeReplyObject(command(c, "XADD work %d-0 n %d", n, n));
    reply = command(c, "XREADGROUP GROUP g alice COUNT 2 STREAMS work >");
    HOLDS(is_array(reply, 1) && is_array(reply->element[0]->element[1], 2));
    freeReplyObject(reply);
    expect_integer(c, 1, "XACK work g 1-0");
    reply = command(c, "XPENDING work g - + 10");
    HOLDS(is_array(reply, 1) && is_array(reply->element[0], 4) && is_text(reply->element[0]->element[0], "2-0"));
    HOLDS(!problem && is_text(reply->element[0]->element[1], "alice") && is_integer(reply->element[0]->element[3], 1));
    freeReplyObject(reply);
    reply = command(c, "XAUTOCLAIM work g bob 0 0 COUNT 10 JUSTID");
    HOLDS(is_array(reply, 3) && is_text(reply->element[0], "0-0") && is_array(reply->element[1], 1) && is_array(reply->element[2], 0));
    freeReplyObject(reply);
    expect_integer(c, 1, "XGROUP DESTROY work g");
}

/* Waits until INFO says that one client is blocked, then adds what it waits for. */
static void *producer(void *unused) {
    (void)unused;
    redisContext *c = open_connection();
    for (int n = 0; n < 1000; n++) {
        redisReply *reply = command(c, "INFO clients");
        int blocked = strstr(reply->str, "blocked_clients:1") != NULL;
        freeReplyObject(reply);
        if (blocked) break;
        struct timespec moment = {0, 5000000};
        nanosleep(&moment, NULL);
    }
    freeReplyObject(command(c, "XADD queue 1-0 job sweep"));
    redisFree(c);
    return NULL;
}

static void blocked_reader(redisContext *c) {
    redisReply *reply = command(c, "XREAD BLOCK 50 STREAMS queue $");
    HOLDS(reply->type == REDIS_REPLY_NIL);
    freeReplyObject(reply);
    freeReplyObject(command(c, "XGROUP CREATE queue g $ MKSTREAM"));
    pthread_t thread;
    assert(pthread_create(&thread, NULL, producer, NULL) == 0);
    reply = command(c, "XREADGROUP GROUP g c BLOCK 8000 STREAMS queue >");
    HOLDS(is_array(reply, 1) && is_text(reply->element[0]->element[1]->element[0]->element[0], "1-0"));
    freeReplyObject(reply);
    pthread_join(thread, NULL);
}

static void expect_message(redisContext *c, const char *kind, const char *first, const char *last, long long count) {
    redisReply *reply = NULL;
    HOLDS(redisGetReply(c, (void **)&reply) == REDIS_OK && reply && reply->type == REDIS_REPLY_ARRAY && reply->elements >= 3);
    if (!problem) {
        HOLDS(is_text(reply->element[0], kind) && is_text(reply->element[1], first));
        redisReply *end = reply->element[reply->elements - 1];
        HOLDS(last ? is_text(end, last) : is_integer(end, count));
    }
    if (reply) freeReplyObject(reply);
}

static void publish_subscribe(redisContext *c) {
    redisContext *listener = open_connection();
    redisAppendCommand(listener, "SUBSCRIBE news sports");
    expect_message(listener, "subscribe", "news", NULL, 1);
    expect_message(listener, "subscribe", "sports", NULL, 2);
    redisAppendCommand(listener, "PSUBSCRIBE ne*");
    expect_message(listener, "psubscribe", "ne*", NULL, 3);
    expect_integer(c, 2, "PUBLISH news hello");
    expect_message(listener, "message", "news", "hello", 0);
    expect_message(listener, "pmessage", "ne*", "hello", 0);
    redisAppendCommand(listener, "UNSUBSCRIBE news");
    expect_message(listener, "unsubscribe", "news", NULL, 2);
    expect_integer(c, 1, "PUBLISH news again");
    expect_message(listener, "pmessage", "ne*", "again", 0);
    redisFree(listener);
}

static void transaction(redisContext *c) {
    expect_text(c, "OK", "MULTI");
    expect_text(c, "QUEUED", "SET {m} 1");
    expect_text(c, "QUEUED", "INCR {m}");
    expect_text(c, "QUEUED", "XADD {m}s 1-1 a b");
    redisReply *reply = command(c, "EXEC");
    HOLDS(is_array(reply, 3) && is_text(reply->element[0], "OK") && is_integer(reply->element[1], 2) && is_text(reply->element[2], "1-1"));
    freeReplyObject(reply);
    redisContext *other = open_connection();
    expect_text(c, "OK", "WATCH {m}");
    expect_text(other, "OK", "SET {m} 50");
    expect_text(c, "OK", "MULTI");
    expect_text(c, "QUEUED", "SET {m} 3");
    reply = command(c, "EXEC");
    HOLDS(reply->type == REDIS_REPLY_NIL);
    freeReplyObject(reply);
    redisFree(other);
}

static void check(redisContext *c, const char *name, void (*run)(redisContext *)) {
    problem = NULL;
    run(c);
    if (problem)
        printf("not ok %s: %s\n", name, problem);
    else
        printf("ok %s\n", name);
    fflush(stdout);
}

int main(void) {
    port = atoi(getenv("PORT"));
    redisContext *c = open_connection();
    check(c, "strings of any bytes, nil, errors", strings);
    check(c, "a pipeline of a thousand, replies in order", pipeline);
    check(c, "streams", streams);
    check(c, "a group from XGROUP CREATE to XGROUP DESTROY", groups);
    check(c, "blocked readers: one times out, one is woken", blocked_reader);
    check(c, "channels and patterns", publish_subscribe);
    check(c, "MULTI and EXEC, WATCH with a conflict", transaction);
    redisFree(c);
    puts("done");
    return 0;
}
