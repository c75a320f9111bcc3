#version 450
// Integer mixing: bit-identical on every conforming driver.
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint ROUNDS = 16;
layout(set = 0, binding = 0) buffer Data { uint data[]; };
void main()
{
    uint x = data[gl_GlobalInvocationID.x] + gl_GlobalInvocationID.x;
    for (uint i = 0; i < ROUNDS; i++)
        x = (x ^ (x >> 13)) * 0x5bd1e995u + i;
    data[gl_GlobalInvocationID.x] = x;
}
