#!/bin/sh
# SPDX-License-Identifier: MIT
# Gathers what a comparison needs on a machine that has a GPU and nothing else:
#
#   bench/gpu/carry.sh BUILD VENUS_DRIVER.so FOLDER
#
# then there, with the host driver's ICD file: FOLDER/go HOST_ICD.json [RUNS]
set -eu
build=$1 driver=$2 folder=$3
mkdir -p "$folder/lib"
cp "$build/pearvisor" "$build/tests/gpu/vk_client" "$build/tests/gpu/wire_bench" "$folder/"
cp "$(dirname "$0")/compare.py" "$folder/"
cp -L "$driver" "$folder/lib/libvulkan_virtio.so"
loader=$(ldconfig -p | sed -n 's/.*libvulkan\.so\.1 .*=> //p' | head -n 1)
# All libraries but libc's own, which must be the other machine's.
{
    ldd "$build/pearvisor" "$driver" | sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p' |
        grep -vE '/(libc|libm|libdl|libpthread|librt)\.so'
    echo "$loader"
} | sort -u | while read -r library; do cp -L "$library" "$folder/lib/"; done
cat > "$folder/go" <<'GO'
#!/bin/sh
set -eu
cd "$(dirname "$0")"
export LD_LIBRARY_PATH="$PWD/lib"
mkdir -p tests/gpu
cp vk_client tests/gpu/
echo "{\"file_format_version\": \"1.0.0\", \"ICD\": {\"library_path\":
  \"$PWD/lib/libvulkan_virtio.so\", \"api_version\": \"1.3.0\"}}" > venus.json
VK_ICD_FILENAMES=$1 ./pearvisor gpu-info
./wire_bench
exec ./compare.py --build . --native-icd "$1" --venus-icd venus.json --runs "${2:-2}"
GO
chmod +x "$folder/go"
