# SPDX-License-Identifier: MIT
"""The gpu profile: Mesa's drivers, programs that show them, and a desktop on the virtual GPU."""

PACKAGES = ["ca-certificates", "foot", "glmark2-es2-wayland", "glmark2-x11", "grim", "labwc",
            "libgl1-mesa-dri", "mesa-utils", "mesa-vulkan-drivers", "procps", "swaybg", "vkmark",
            "vulkan-tools", "xwayland"]

# Sourced by logins as well, so that programs started there find the desktop and the host's GPU.
ENVIRONMENT = "/run/pearvisor-desktop.env"

DESKTOP = f"""#!/bin/sh
# The desktop on the virtual GPU's screen. OpenGL, labwc's too, is drawn by Zink on Vulkan, and that
# by the host (Venus). Without Venus (--gpu 2d) labwc draws by CPU.
venus=/usr/share/vulkan/icd.d/virtio_icd.json
renderer=pixman
summary=$(VK_DRIVER_FILES=$venus vulkaninfo --summary 2>/dev/null)
{{
    echo "export XDG_RUNTIME_DIR=/run/pearvisor-desktop WAYLAND_DISPLAY=wayland-0 DISPLAY=:0"
    case $summary in
    *DRIVER_ID_MESA_VENUS*)
        renderer=gles2
        echo "export VK_DRIVER_FILES=$venus MESA_LOADER_DRIVER_OVERRIDE=zink GALLIUM_DRIVER=zink"
        ;;
    esac
    # A host without a GPU is a software driver to Zink, which has to be told that one will do.
    case $summary in
    *PHYSICAL_DEVICE_TYPE_CPU*) echo "export LIBGL_ALWAYS_SOFTWARE=1" ;;
    esac
}} >{ENVIRONMENT}.new
mv {ENVIRONMENT}.new {ENVIRONMENT}
. {ENVIRONMENT}
unset WAYLAND_DISPLAY DISPLAY # or it would look for another desktop to be a window of
export WLR_RENDERER=$renderer LIBSEAT_BACKEND=builtin
exec labwc -s 'sh -c "swaybg -c 2e4a62 & exec foot"'
"""

UNIT = """[Unit]
Description=Desktop on the virtual GPU

[Service]
ExecStart=/usr/local/bin/pearvisor-desktop
Environment=HOME=/root
RuntimeDirectory=pearvisor-desktop
RuntimeDirectoryMode=0700
Restart=on-failure
RestartSec=5
"""

RULE = """# The desktop starts when there is a screen for it.
SUBSYSTEM=="drm", KERNEL=="card0", TAG+="systemd", ENV{SYSTEMD_WANTS}+="pearvisor-desktop.service"
"""

FILES = {
    "etc/profile.d/pearvisor-desktop.sh":
        f"[ ! -r {ENVIRONMENT} ] || [ \"$(id -u)\" != 0 ] || . {ENVIRONMENT}\n",
    "etc/systemd/system/pearvisor-desktop.service": UNIT,
    "etc/udev/rules.d/80-pearvisor-desktop.rules": RULE,
}
PROGRAM = "usr/local/bin/pearvisor-desktop"


def install(tree):
    for name, text in {**FILES, PROGRAM: DESKTOP}.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tree / PROGRAM).chmod(0o755)
