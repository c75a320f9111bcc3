#version 450
// C = A * B, N x N floats each, one behind the other in one buffer. A group of 16 x 16 invocations
// makes a tile of 64 x 64, an invocation 4 x 4 of it. Small whole numbers have exact sums, whatever
// the order of additions.
layout(local_size_x = 16, local_size_y = 16) in;
layout(constant_id = 0) const uint N = 64;
layout(set = 0, binding = 0) buffer Data { float data[]; };

const uint TILE = 64, DEPTH = 16;
shared float a[DEPTH][TILE];
shared float b[DEPTH][TILE];

void main()
{
    const uvec2 corner = gl_WorkGroupID.xy * TILE;
    const uvec2 mine = gl_LocalInvocationID.xy * 4;
    float sum[4][4];
    for (uint i = 0; i < 4; i++)
        for (uint j = 0; j < 4; j++)
            sum[i][j] = 0;
    for (uint k = 0; k < N; k += DEPTH) {
        for (uint i = gl_LocalInvocationIndex; i < TILE * DEPTH; i += 256) {
            a[i % DEPTH][i / DEPTH] = data[(corner.y + i / DEPTH) * N + k + i % DEPTH];
            b[i / TILE][i % TILE] = data[(N + k + i / TILE) * N + corner.x + i % TILE];
        }
        barrier();
        for (uint d = 0; d < DEPTH; d++)
            for (uint i = 0; i < 4; i++)
                for (uint j = 0; j < 4; j++)
                    sum[i][j] += a[d][mine.y + i] * b[d][mine.x + j];
        barrier();
    }
    for (uint i = 0; i < 4; i++)
        for (uint j = 0; j < 4; j++)
            data[(2 * N + corner.y + mine.y + i) * N + corner.x + mine.x + j] = sum[i][j];
}
