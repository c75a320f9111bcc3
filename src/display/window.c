/* SPDX-License-Identifier: MIT */
/*
 * A window on the host's screen, by SDL 2.
 *
 * Everything of SDL's happens on one thread, the window's, which sleeps until the viewer does
 * something or is woken by an event of ours: the display's thread only notes what changed. Creating
 * the window waits for that thread to say whether there is one, so that what is wrong is told
 * before the guest runs.
 */
#include "display/window_impl.h"

#include "base/error.h"
#include "base/util.h"
#include "host/clock.h"
#include "host/thread.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

/* ---- Told by others, with the display locked ---- */

static void wake(struct window *w)
{
    SDL_Event event = {.type = w->wake};
    if (!w->woken)
        w->woken = w->sdl.PushEvent(&event) == 1;
}

static void on_mode(void *opaque, unsigned head, const struct pv_surface *before)
{
    if (head == 0)
        wake(opaque);
}

static void on_damage(void *opaque, unsigned head, const struct pv_rect *rect)
{
    struct window *w = opaque;
    if (head != 0)
        return;
    w->fresh = pv_rect_union(&w->fresh, rect);
    wake(w);
}

static void on_cursor(void *opaque, unsigned head)
{
    struct window *w = opaque;
    if (head != 0)
        return;
    w->cursor_fresh = true;
    wake(w);
}

/* ---- The window ---- */

void window_show_title(struct window *w)
{
    char text[160];
    snprintf(text, sizeof(text), "%s%sPearVisor - Ctrl+Alt+G %s the pointer", w->title,
             *w->title ? " - " : "", w->grabbed ? "frees" : "grabs");
    w->sdl.SetWindowTitle(w->window, text);
}

int window_open(struct window *w, uint32_t width, uint32_t height, struct pv_error **err)
{
    const int anywhere = SDL_WINDOWPOS_UNDEFINED;
    w->sdl.SetHint(SDL_HINT_VIDEO_ALLOW_SCREENSAVER, "1");
    w->sdl.SetHint(SDL_HINT_RENDER_SCALE_QUALITY, "linear");
    if (w->sdl.InitSubSystem(SDL_INIT_VIDEO) < 0)
        return pv_error_set(err, ENODEV, "--display window: %s", w->sdl.GetError());
    w->wake = w->sdl.RegisterEvents(1);
    w->asked_ns = UINT64_MAX;
    w->window =
        w->sdl.CreateWindow("", anywhere, anywhere, (int)width, (int)height, SDL_WINDOW_RESIZABLE);
    if (w->window)
        w->renderer = w->sdl.CreateRenderer(w->window, -1, 0);
    if (!w->renderer)
        return pv_error_set(err, ENODEV, "--display window: %s", w->sdl.GetError());
    w->listener = (struct pv_display_listener){
        .mode = on_mode, .damage = on_damage, .cursor = on_cursor, .moved = on_cursor, .opaque = w};
    pv_display_add_listener(w->display, &w->listener);
    window_show_title(w);
    window_damage_all(w);
    return 0;
}

void window_close(struct window *w)
{
    if (w->listener.opaque)
        pv_display_remove_listener(w->display, &w->listener);
    if (w->renderer) {
        window_free_picture(w);
        w->sdl.DestroyRenderer(w->renderer);
    }
    if (w->window)
        w->sdl.DestroyWindow(w->window);
    w->sdl.QuitSubSystem(SDL_INIT_VIDEO);
}

/* ---- Its thread ---- */

struct threaded {
    struct window window;
    pthread_t thread;
    bool running;
    uint32_t width, height;
    /* What became of opening it; `opened` under the lock. */
    pthread_mutex_t lock;
    pthread_cond_t told;
    bool opened;
    int ret;
    struct pv_error **err; /* the creator's, who waits */
};

static void tell(struct threaded *t)
{
    pthread_mutex_lock(&t->lock);
    t->opened = true;
    pthread_cond_signal(&t->told);
    pthread_mutex_unlock(&t->lock);
}

/* Milliseconds to wait for something to happen, at most; -1: for ever. */
static int patience(const struct window *w)
{
    const uint64_t now = pv_clock_ns();
    if (w->asked_ns == UINT64_MAX)
        return -1;
    return w->asked_ns > now ? (int)((w->asked_ns - now) / 1000000 + 1) : 0;
}

static void *run(void *opaque)
{
    struct threaded *t = opaque;
    struct window *w = &t->window;
    SDL_Event event;
    pv_thread_name("window");
    t->ret = window_open(w, t->width, t->height, t->err);
    bool open = t->ret >= 0;
    tell(t);
    while (open && !atomic_load(&w->ending)) {
        if (w->sdl.WaitEventTimeout(&event, patience(w)))
            do
                window_handle(w, &event);
            while (w->sdl.PollEvent(&event));
        window_ask_size(w);
        window_draw(w);
    }
    if (open)
        window_release(w);
    window_close(w);
    w->sdl.TLSCleanup(); /* which threads that are not SDL's have to do */
    return NULL;
}

static int start(struct threaded *t, struct pv_error **err)
{
    t->err = err;
    int code = pv_thread_create(&t->thread, run, t);
    if (code)
        return pv_error_errno(err, code, "--display window: thread");
    pthread_mutex_lock(&t->lock);
    while (!t->opened)
        pthread_cond_wait(&t->told, &t->lock);
    pthread_mutex_unlock(&t->lock);
    t->running = t->ret >= 0;
    if (!t->running)
        pthread_join(t->thread, NULL);
    return t->ret;
}

static void window_stop(struct pv_display_sink *sink)
{
    struct threaded *t = PV_CONTAINER_OF(sink, struct threaded, window.base);
    if (!t->running)
        return;
    SDL_Event event = {.type = t->window.wake};
    atomic_store(&t->window.ending, true);
    t->window.sdl.PushEvent(&event);
    pthread_join(t->thread, NULL);
    t->running = false;
}

static void free_all(struct threaded *t)
{
    pthread_cond_destroy(&t->told);
    pthread_mutex_destroy(&t->lock);
    free(t->window.title);
    free(t);
}

static void window_destroy(struct pv_display_sink *sink)
{
    window_stop(sink);
    free_all(PV_CONTAINER_OF(sink, struct threaded, window.base));
}

static const struct pv_display_sink_ops window_ops = {
    .name = "window", .stop = window_stop, .destroy = window_destroy};

int pv_display_window_create(struct pv_display_sink **out, struct pv_display *display,
                             const struct pv_window_config *config, struct pv_error **err)
{
    struct threaded *t = calloc(1, sizeof(*t));
    if (!t)
        return pv_error_set(err, ENOMEM, "display: out of memory");
    t->window.base.ops = &window_ops;
    t->window.display = display;
    t->width = config->width;
    t->height = config->height;
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->told, NULL);
    t->window.title = strdup(config->title ? config->title : "");
    int ret = t->window.title ? pv_sdl_load(&t->window.sdl, err)
                              : pv_error_set(err, ENOMEM, "display: out of memory");
    if (ret >= 0)
        ret = start(t, err);
    if (ret < 0)
        free_all(t);
    else
        *out = &t->window.base;
    return ret;
}
