// The lower bound of the benchmark: an event-driven launcher without supervision.
//
//   ideal GRAPH PROGRAM [ARGUMENT]...
//
// GRAPH has one line for each service: the numbers of its dependencies. Each service is one vfork and
// one exec, and tells through a pipe, READY_FD, that it is ready; one poll loop starts what a service
// unblocks. Prints `ready NS`, the time from the first start until all were ready. At a line, or the
// end, of standard input it sends SIGTERM, dependents before their dependencies, and prints
// `stopped NS`. There are no logs, restarts, timeouts and errors to recover from.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct service {
    int *dependencies, dependency_count;
    int *dependents, dependent_count;
    int blocked_by;  // dependencies that are not ready, and later dependents that still run
    int pipe;
    pid_t pid;
};

static struct service *services;
static int count, events, null_out;
static char **program;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static long long now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static void append(int **list, int *length, int value) {
    *list = realloc(*list, (*length + 1) * sizeof **list);
    if (*list == NULL) fail("realloc");
    (*list)[(*length)++] = value;
}

static void read_graph(const char *path) {
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t room = 0;
    if (file == NULL) fail(path);
    while (getline(&line, &room, file) >= 0) {
        services = realloc(services, (count + 1) * sizeof *services);
        if (services == NULL) fail("realloc");
        struct service *service = &services[count++];
        memset(service, 0, sizeof *service);
        for (char *word = strtok(line, " \n"); word != NULL; word = strtok(NULL, " \n")) {
            append(&service->dependencies, &service->dependency_count, atoi(word));
        }
    }
    free(line);
    fclose(file);
    for (int i = 0; i < count; i++) {
        services[i].blocked_by = services[i].dependency_count;
        for (int d = 0; d < services[i].dependency_count; d++) {
            struct service *on = &services[services[i].dependencies[d]];
            append(&on->dependents, &on->dependent_count, i);
        }
    }
}

static void start(int number) {
    struct service *service = &services[number];
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) fail("pipe");
    pid_t pid = vfork();
    if (pid < 0) fail("vfork");
    if (pid == 0) {
        dup2(null_out, 1);
        if (ends[1] == 3) {
            fcntl(3, F_SETFD, 0);
        } else {
            dup2(ends[1], 3);
        }
        execv(program[0], program);
        _exit(127);
    }
    close(ends[1]);
    service->pid = pid;
    service->pipe = ends[0];
    struct epoll_event wanted = {.events = EPOLLIN, .data.u32 = number};
    if (epoll_ctl(events, EPOLL_CTL_ADD, ends[0], &wanted) != 0) fail("epoll_ctl");
}

static void start_all(void) {
    int ready = 0;
    for (int i = 0; i < count; i++) {
        if (services[i].blocked_by == 0) start(i);
    }
    while (ready < count) {
        struct epoll_event seen[64];
        int n = epoll_wait(events, seen, 64, -1);
        for (int e = 0; e < n; e++) {
            int number = seen[e].data.u32;
            char byte;
            if (read(services[number].pipe, &byte, 1) != 1) {
                fprintf(stderr, "service %d ended before it was ready\n", number);
                for (int i = 0; i < count; i++) {
                    if (services[i].pid > 0) kill(services[i].pid, SIGTERM);
                }
                exit(1);
            }
            // A child that has not executed yet may still hold the pipe, so a close alone would not
            // end its events.
            epoll_ctl(events, EPOLL_CTL_DEL, services[number].pipe, NULL);
            close(services[number].pipe);
            ready++;
            for (int d = 0; d < services[number].dependent_count; d++) {
                int dependent = services[number].dependents[d];
                if (--services[dependent].blocked_by == 0) start(dependent);
            }
        }
    }
}

static int by_pid(const void *one, const void *other) {
    pid_t a = services[*(const int *)one].pid, b = services[*(const int *)other].pid;
    return (a > b) - (a < b);
}

static void stop_all(void) {
    int *order = malloc(count * sizeof *order);
    if (order == NULL) fail("malloc");
    for (int i = 0; i < count; i++) order[i] = i;
    qsort(order, count, sizeof *order, by_pid);
    for (int i = 0; i < count; i++) {
        services[i].blocked_by = services[i].dependent_count;
        if (services[i].blocked_by == 0) kill(services[i].pid, SIGTERM);
    }
    for (int left = count; left > 0; left--) {
        pid_t pid = wait(NULL);
        int low = 0, high = count - 1;
        while (low < high) {
            int middle = (low + high) / 2;
            if (services[order[middle]].pid < pid) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        struct service *ended = &services[order[low]];
        for (int d = 0; d < ended->dependency_count; d++) {
            struct service *on = &services[ended->dependencies[d]];
            if (--on->blocked_by == 0) kill(on->pid, SIGTERM);
        }
    }
}

int main(int argc, char **argv) {
    struct rlimit limit;
    char line[16];
    if (argc < 3) {
        fprintf(stderr, "usage: ideal GRAPH PROGRAM [ARGUMENT]...\n");
        return 2;
    }
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    program = argv + 2;
    read_graph(argv[1]);
    events = epoll_create1(EPOLL_CLOEXEC);
    null_out = open("/dev/null", O_WRONLY | O_CLOEXEC);
    // Only a child may have it: the place of its pipe.
    while (null_out >= 0 && null_out <= 3) null_out = fcntl(null_out, F_DUPFD_CLOEXEC, 4);
    if (events < 0 || null_out < 0) fail("setup");
    setenv("READY_FD", "3", 1);

    long long began = now();
    start_all();
    printf("ready %lld\n", now() - began);
    fflush(stdout);
    if (fgets(line, sizeof line, stdin) == NULL) line[0] = 0;
    began = now();
    stop_all();
    printf("stopped %lld\n", now() - began);
    return 0;
}
