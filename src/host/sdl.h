/* SPDX-License-Identifier: MIT */
/*
 * SDL 2, for windows and sound. It is loaded when someone wants it, because it brings four dozen
 * libraries into a process, which most VMs' do without. Its headers are used as they are; calls go
 * through a table.
 */
#ifndef PV_HOST_SDL_H
#define PV_HOST_SDL_H

#include <SDL2/SDL.h>

struct pv_error;

#define PV_SDL_CALLS(X)                                                                            \
    X(InitSubSystem)                                                                               \
    X(QuitSubSystem)                                                                               \
    X(GetError)                                                                                    \
    X(SetHint)                                                                                     \
    X(GetNumAudioDevices)                                                                          \
    X(OpenAudioDevice)                                                                             \
    X(PauseAudioDevice)                                                                            \
    X(CloseAudioDevice)                                                                            \
    X(RegisterEvents)                                                                              \
    X(PushEvent)                                                                                   \
    X(PollEvent)                                                                                   \
    X(WaitEventTimeout)                                                                            \
    X(CreateWindow)                                                                                \
    X(DestroyWindow)                                                                               \
    X(SetWindowTitle)                                                                              \
    X(SetWindowSize)                                                                               \
    X(GetWindowFlags)                                                                              \
    X(SetWindowFullscreen)                                                                         \
    X(SetWindowKeyboardGrab)                                                                       \
    X(CreateRenderer)                                                                              \
    X(DestroyRenderer)                                                                             \
    X(GetRendererOutputSize)                                                                       \
    X(SetRenderDrawColor)                                                                          \
    X(RenderClear)                                                                                 \
    X(RenderCopy)                                                                                  \
    X(RenderPresent)                                                                               \
    X(RenderReadPixels)                                                                            \
    X(CreateTexture)                                                                               \
    X(DestroyTexture)                                                                              \
    X(UpdateTexture)                                                                               \
    X(SetTextureBlendMode)                                                                         \
    X(CreateRGBSurfaceWithFormatFrom)                                                              \
    X(FreeSurface)                                                                                 \
    X(CreateColorCursor)                                                                           \
    X(FreeCursor)                                                                                  \
    X(SetCursor)                                                                                   \
    X(GetDefaultCursor)                                                                            \
    X(SetRelativeMouseMode)                                                                        \
    X(TLSCleanup)

struct pv_sdl {
#define X(name) __typeof__(&SDL_##name) name;
    PV_SDL_CALLS(X)
#undef X
};

/* It stays loaded until the process ends. -ENOTSUP, with what to install, when it is not there. */
int pv_sdl_load(struct pv_sdl *sdl, struct pv_error **err);

#endif
