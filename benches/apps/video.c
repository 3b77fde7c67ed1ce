// archives: libx264.a
// Encodes made-up moving pictures with a constant quantiser, which makes the result the same everywhere, and writes the stream.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <x264.h>

#define WIDTH 320
#define HEIGHT 192
#define FRAMES 40

static void draw(x264_picture_t *picture, int frame) {
    for (int plane = 0; plane < 3; plane++) {
        int shift = plane > 0;
        for (int y = 0; y < HEIGHT >> shift; y++)
            for (int x = 0; x < WIDTH >> shift; x++) {
                int px = (x << shift) + frame * 3, py = (y << shift) + frame;
                int value = (px * px / 64 + py * 5 / (1 + plane)) & 255;
                if ((px / 40 + py / 24) % 3 == 0) value = (px ^ py) & 127;
                picture->img.plane[plane][y * picture->img.i_stride[plane] + x] = (uint8_t)value;
            }
    }
}

static void put(const x264_nal_t *nal, int size) {
    if (size > 0) fwrite(nal[0].p_payload, (size_t)size, 1, stdout);
}

int main(void) {
    x264_param_t parameters;
    if (x264_param_default_preset(&parameters, "medium", NULL)) return 1;
    parameters.i_width = WIDTH;
    parameters.i_height = HEIGHT;
    parameters.i_csp = X264_CSP_I420;
    parameters.i_threads = 1;
    parameters.i_log_level = X264_LOG_ERROR;
    parameters.rc.i_rc_method = X264_RC_CQP;
    parameters.rc.i_qp_constant = 26;
    x264_picture_t in, out;
    x264_t *encoder = x264_encoder_open(&parameters);
    if (!encoder || x264_picture_alloc(&in, X264_CSP_I420, WIDTH, HEIGHT)) return 1;
    x264_nal_t *nal;
    int count;
    for (int frame = 0; frame < FRAMES; frame++) {
        draw(&in, frame);
        in.i_pts = frame;
        int size = x264_encoder_encode(encoder, &nal, &count, &in, &out);
        put(nal, size);
    }
    while (x264_encoder_delayed_frames(encoder)) {
        int size = x264_encoder_encode(encoder, &nal, &count, NULL, &out);
        put(nal, size);
    }
    x264_encoder_close(encoder);
    return 0;
}
