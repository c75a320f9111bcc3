/* SPDX-License-Identifier: MIT */
/*
 * Threads. The GPU's commands have a loop of their own, because a renderer may take its time over
 * one, and so has the sink, because compressing pictures is work; a window has a thread of its own.
 * What the viewer does is sent to the guest's input devices from there.
 */
#include "vm/graphics.h"

#include "base/error.h"
#include "base/util.h"
#include "device/gpu.h"
#include "device/input.h"
#include "display/display.h"
#include "display/sink.h"
#include "host/loop.h"
#include "host/loop_thread.h"
#include "virtio/virtio.h"
#include "vm/devices.h"

#include <errno.h>

#define BUTTONS   3u
#define REL_WHEEL 8u

struct pv_vm_graphics {
    struct pv_loop_thread *gpu_thread, *sink_thread;
    struct pv_display *display;
    struct pv_display_sink *sink;
    struct pv_virtio_device *gpu, *keyboard, *tablet, *mouse; /* the transport's */
    unsigned buttons, mouse_buttons; /* held, as the guest knows it; the viewer's thread's */
    struct pv_event *closed;         /* by the viewer, to be told on the VM's loop */
    void (*window_closed)(void *opaque);
    void *opaque;
};

/* ---- What the viewer does ---- */

static void on_key(void *opaque, uint16_t code, bool down)
{
    struct pv_vm_graphics *g = opaque;
    const struct pv_input_event event = {PV_EV_KEY, code, down};
    pv_input_send(g->keyboard, &event, 1);
}

/* Buttons that changed, as events; returns how many. */
static unsigned button_events(struct pv_input_event *events, unsigned before, unsigned buttons)
{
    static const uint16_t codes[BUTTONS] = {0x110, 0x112, 0x111}; /* left, middle, right */
    unsigned count = 0;
    for (unsigned i = 0; i < BUTTONS; i++)
        if ((buttons ^ before) >> i & 1)
            events[count++] = (struct pv_input_event){PV_EV_KEY, codes[i], buttons >> i & 1};
    return count;
}

_Static_assert(PV_DISPLAY_AXIS_MAX == PV_INPUT_AXIS_MAX, "the pointer's coordinates are passed on");

static void on_pointer(void *opaque, unsigned head, int32_t x, int32_t y, unsigned buttons,
                       int32_t wheel)
{
    enum { ABS_X, ABS_Y };
    struct pv_vm_graphics *g = opaque;
    struct pv_input_event events[3 + BUTTONS];
    unsigned count = 0;
    events[count++] = (struct pv_input_event){PV_EV_ABS, ABS_X, x};
    events[count++] = (struct pv_input_event){PV_EV_ABS, ABS_Y, y};
    count += button_events(events + count, g->buttons, buttons);
    if (wheel)
        events[count++] = (struct pv_input_event){PV_EV_REL, REL_WHEEL, wheel};
    if (pv_input_send(g->tablet, events, count))
        g->buttons = buttons;
}

static void on_motion(void *opaque, int32_t dx, int32_t dy, unsigned buttons, int32_t wheel)
{
    enum { REL_X, REL_Y };
    struct pv_vm_graphics *g = opaque;
    struct pv_input_event events[3 + BUTTONS];
    unsigned count = button_events(events, g->mouse_buttons, buttons);
    if (dx)
        events[count++] = (struct pv_input_event){PV_EV_REL, REL_X, dx};
    if (dy)
        events[count++] = (struct pv_input_event){PV_EV_REL, REL_Y, dy};
    if (wheel)
        events[count++] = (struct pv_input_event){PV_EV_REL, REL_WHEEL, wheel};
    if (count && pv_input_send(g->mouse, events, count))
        g->mouse_buttons = buttons;
}

static void on_resize(void *opaque, unsigned head, uint32_t width, uint32_t height)
{
    struct pv_vm_graphics *g = opaque;
    pv_virtio_gpu_set_size(g->gpu, head, width, height);
}

static void on_closed(void *opaque)
{
    struct pv_vm_graphics *g = opaque;
    pv_event_signal(g->closed);
}

/* On the VM's loop. */
static void tell_closed(void *opaque)
{
    struct pv_vm_graphics *g = opaque;
    g->window_closed(g->opaque);
}

/* ---- Life ---- */

static int add_gpu(struct pv_vm_graphics *g, const struct pv_vm_sockets *sockets,
                   const struct pv_config *config, struct pv_error **err)
{
    const struct pv_virtio_gpu_config gpu = {
        .display = g->display,
        .heads = config->gpu_heads,
        .width = config->gpu_width,
        .height = config->gpu_height,
        .renderer = config->gpu == PV_GPU_VENUS ? "venus" : NULL,
        .window = config->gpu_window,
    };
    if (config->gpu != PV_GPU_2D && config->transport != PV_TRANSPORT_PCI)
        return pv_error_set(err, EINVAL, "gpu: Vulkan needs the PCI transport");
    struct pv_virtio_device *device;
    int ret =
        pv_virtio_gpu_create(&device, pv_loop_thread_loop(g->gpu_thread), sockets->as, &gpu, err);
    if (ret >= 0)
        ret = sockets->plug(sockets->opaque, device, err);
    if (ret >= 0)
        g->gpu = device;
    return ret;
}

static int add_input(struct pv_virtio_device **out, const struct pv_vm_sockets *sockets,
                     enum pv_input_kind kind, struct pv_error **err)
{
    struct pv_virtio_device *device;
    int ret = pv_input_create(&device, sockets->loop, sockets->as, kind, NULL, NULL, err);
    if (ret >= 0)
        ret = sockets->plug(sockets->opaque, device, err);
    if (ret >= 0)
        *out = device;
    return ret;
}

/* A viewer that can do something needs devices to do it with. */
static int add_viewer(struct pv_vm_graphics *g, const struct pv_vm_sockets *sockets,
                      const struct pv_config *config, struct pv_error **err)
{
    const bool window = config->display == PV_DISPLAY_WINDOW;
    const struct pv_display_input input = {
        .key = on_key,
        .pointer = on_pointer,
        .motion = window ? on_motion : NULL,
        .resize = on_resize,
        .closed = on_closed,
        .opaque = g,
    };
    int ret = add_input(&g->keyboard, sockets, PV_INPUT_KEYBOARD, err);
    if (ret >= 0)
        ret = add_input(&g->tablet, sockets, PV_INPUT_TABLET, err);
    if (ret >= 0 && window)
        ret = add_input(&g->mouse, sockets, PV_INPUT_MOUSE, err);
    if (ret >= 0)
        pv_display_set_input(g->display, &input);
    return ret;
}

static int add_vnc(struct pv_vm_graphics *g, const struct pv_config *config, struct pv_error **err)
{
    const struct pv_vnc_config vnc = {
        .path = config->display_path,
        .port = config->vnc_port,
        .password = config->vnc_password,
    };
    return pv_display_vnc_create(&g->sink, g->display, pv_loop_thread_loop(g->sink_thread), &vnc,
                                 err);
}

static int add_window(struct pv_vm_graphics *g, const struct pv_vm_sockets *sockets,
                      const struct pv_config *config, struct pv_error **err)
{
    const struct pv_window_config window = {
        .title = config->window_title,
        .width = config->gpu_width,
        .height = config->gpu_height,
    };
    g->window_closed = sockets->window_closed;
    g->opaque = sockets->opaque;
    int ret = pv_event_create(&g->closed, sockets->loop, tell_closed, g, err);
    return ret < 0 ? ret : pv_display_window_create(&g->sink, g->display, &window, err);
}

static int create_parts(struct pv_vm_graphics *g, const struct pv_vm_sockets *sockets,
                        const struct pv_config *config, struct pv_error **err)
{
    int ret = pv_loop_thread_create(&g->gpu_thread, "gpu", err);
    if (ret >= 0)
        ret = pv_loop_thread_create(&g->sink_thread, "display", err);
    if (ret >= 0)
        ret = pv_display_create(&g->display, err);
    if (ret >= 0)
        ret = add_gpu(g, sockets, config, err);
    if (ret >= 0 && (config->display == PV_DISPLAY_VNC || config->display == PV_DISPLAY_WINDOW))
        ret = add_viewer(g, sockets, config, err);
    if (ret < 0)
        return ret;
    switch (config->display) {
    case PV_DISPLAY_PNG:
        return pv_display_png_create(&g->sink, g->display, config->display_path, err);
    case PV_DISPLAY_VNC: return add_vnc(g, config, err);
    case PV_DISPLAY_WINDOW: return add_window(g, sockets, config, err);
    default: return pv_display_none_create(&g->sink, g->display, err);
    }
}

int pv_vm_graphics_create(struct pv_vm_graphics **out, const struct pv_vm_sockets *sockets,
                          const struct pv_config *config, struct pv_error **err)
{
    *out = NULL;
    if (config->gpu == PV_GPU_NONE)
        return config->display == PV_DISPLAY_NONE
                   ? 0
                   : pv_error_set(err, EINVAL,
                                  "a display shows a GPU's picture: use --gpu 2d or venus");
    /* Handed out first: it outlives the devices, which the caller destroys, also on failure. */
    *out = calloc(1, sizeof(**out));
    if (!*out)
        return pv_error_set(err, ENOMEM, "out of memory for graphics");
    int ret = create_parts(*out, sockets, config, err);
    return ret < 0 ? ret : 0;
}

int pv_vm_graphics_start(struct pv_vm_graphics *graphics, struct pv_error **err)
{
    if (!graphics)
        return 0;
    int ret = pv_loop_thread_start(graphics->gpu_thread, err);
    return ret < 0 ? ret : pv_loop_thread_start(graphics->sink_thread, err);
}

void pv_vm_graphics_stop(struct pv_vm_graphics *graphics)
{
    if (!graphics)
        return;
    if (graphics->sink)
        pv_display_sink_stop(graphics->sink);
    if (graphics->sink_thread)
        pv_loop_thread_stop(graphics->sink_thread);
    if (graphics->gpu_thread)
        pv_loop_thread_stop(graphics->gpu_thread);
}

int pv_vm_graphics_save(struct pv_vm_graphics *graphics, struct pv_error **err)
{
    return graphics ? pv_display_sink_save(graphics->sink, err) : 0;
}

void pv_vm_graphics_destroy(struct pv_vm_graphics *graphics)
{
    if (!graphics)
        return;
    pv_vm_graphics_stop(graphics);
    pv_display_sink_destroy(graphics->sink);
    pv_event_destroy(graphics->closed);
    pv_display_destroy(graphics->display);
    pv_loop_thread_destroy(graphics->sink_thread);
    pv_loop_thread_destroy(graphics->gpu_thread);
    free(graphics);
}
