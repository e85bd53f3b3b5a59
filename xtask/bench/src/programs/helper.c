// The service of the benchmark: as small as a service can be, so that the tool's share is visible.
//
//   helper            listens on the inherited socket, or on PORT if it is set; reports readiness on
//                     NOTIFY_SOCKET and on the descriptor READY_FD; answers each request with 200
//   helper lines N    prints N lines of 100 bytes and then sleeps
//
// BOOT_MS delays readiness. SIGTERM ends it at once, by its default action.

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void print_lines(long count) {
    static char block[100 * 640];
    const long most = sizeof block / 100;
    memset(block, 'x', sizeof block);
    for (long line = 0; line < most; line++) block[line * 100 + 99] = '\n';
    while (count > 0) {
        size_t bytes = 100 * (count < most ? count : most);
        for (size_t written = 0; written < bytes;) {
            ssize_t n = write(1, block + written, bytes - written);
            if (n < 0) fail("write");
            written += n;
        }
        count -= most;
    }
}

static int listen_on(int port) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0) fail("bind");
    if (listen(listener, 4096) != 0) fail("listen");
    return listener;
}

static void notify(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int sender = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    if (sendto(sender, "READY=1", 7, 0, (struct sockaddr *)&address, sizeof address) < 0) {
        fail("notify");
    }
    close(sender);
}

static void answer_requests(int listener) {
    static const char answer[] =
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    char request[4096];
    for (;;) {
        int caller = accept(listener, NULL, NULL);
        if (caller < 0) {
            if (errno == EINTR || errno == ECONNABORTED) continue;
            fail("accept");
        }
        if (read(caller, request, sizeof request) > 0) {
            ssize_t ignored = write(caller, answer, sizeof answer - 1);
            (void)ignored;
        }
        close(caller);
    }
}

int main(int argc, char **argv) {
    const char *boot = getenv("BOOT_MS"), *port = getenv("PORT");
    const char *notify_path = getenv("NOTIFY_SOCKET"), *ready = getenv("READY_FD");
    int listener = -1;
    if (argc == 3 && strcmp(argv[1], "lines") == 0) {
        print_lines(atol(argv[2]));
    }
    if (boot != NULL) {
        long ms = atol(boot);
        struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
        nanosleep(&pause, NULL);
    }
    if (getenv("LISTEN_FDS") != NULL) {
        listener = 3;
    } else if (port != NULL) {
        listener = listen_on(atoi(port));
    }
    if (notify_path != NULL) notify(notify_path);
    if (ready != NULL) {
        if (write(atoi(ready), "", 1) != 1) fail("ready");
        close(atoi(ready));
    }
    if (listener >= 0) answer_requests(listener);
    for (;;) pause();
}
