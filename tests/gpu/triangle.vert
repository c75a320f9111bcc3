#version 450
layout(push_constant) uniform Push { float angle; } push;
layout(location = 0) out vec3 color;
void main()
{
    const vec2 at[3] = vec2[](vec2(0.0, -0.8), vec2(0.8, 0.8), vec2(-0.8, 0.8));
    float c = cos(push.angle), s = sin(push.angle);
    gl_Position = vec4(mat2(c, s, -s, c) * at[gl_VertexIndex], 0.5, 1.0);
    color = vec3(gl_VertexIndex == 0, gl_VertexIndex == 1, gl_VertexIndex == 2);
}
