// One pass from a camera's frame to a row of a model's input tensor: sample, round to whole grey levels as the
// CPU path does (edgevision/preprocess.py), reorder the colours, scale, store.
//
// Geometry and interpolation are integers, and each float operation is rounded on its own, so the tensor is the
// same, bit by bit, on every GPU, and in the build by g++ that the tests compare with OpenCV.

enum Format { BGR, NV12, YUYV, GRAY };
enum Colour { TO_RGB, TO_BGR, TO_GRAY };
enum Layout { NCHW, NHWC };
enum Type { FLOAT32, FLOAT16, UINT8, INT32 };

// In device memory and not an argument, so that a captured graph survives another frame size or region.
// edgevision/cuda/job.py fills it: the same fields in the same order. Aligned, so that it is read in 128-bit loads.
struct __align__(16) Job {
    // Column and row of the sample for the tensor's pixel (x, y), in 2^-40 pixels:
    // column = x * column_x + y * column_y + column_0. The upper half of it is in 1/256 pixels.
    long long column_x, column_y, column_0;
    long long row_x, row_y, row_0;
    int tensor_width, tensor_height;
    int left, top, right, bottom;                   // the picture's place in the tensor; around it is padding
    int first_column, first_row, last_column, last_row;  // neighbours are taken from these pixels of the frame only
    int width, height;                              // of the frame; outside it is padding
    int stride;                                     // bytes from one row of the frame to the next
    int chroma;                                     // NV12: byte at which the rows of U and V begin
    int format, colour, layout, type;
    int pad;                                        // grey level
    float gain[3], offset[3];                       // for each of the tensor's channels
    int unused[3];
};

struct Pixel {
    int b, g, r;
};

#ifdef __CUDACC__
// PTX, for where NVRTC is the only compiler there is no cuda_fp16.h.
__device__ unsigned short half_bits(float value) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}
#endif

__device__ int within(int value, int low, int high) {
    return value < low ? low : value > high ? high : value;
}

__device__ int grey_level(int value) {
    return within(value >> 20, 0, 255);
}

// BT.601, studio range, with OpenCV's coefficients in 2^-20 (cvtColor, COLOR_YUV2BGR_NV12 and _YUY2).
__device__ Pixel from_yuv(int y, int u, int v) {
    const int luma = (y > 16 ? y - 16 : 0) * 1220542 + (1 << 19);
    u -= 128;
    v -= 128;
    return {grey_level(luma + 2116026 * u), grey_level(luma - 409993 * u - 852492 * v),
            grey_level(luma + 1673527 * v)};
}

// Single bytes: the neighbours that a warp reads lie side by side, so after the first they come from the L1 cache,
// and no row has to be aligned. What lies outside is read at the border and replaced then: no branch keeps the
// loads of a thread's four neighbours from being in flight together.
template <int format>
__device__ Pixel pixel(const Job& job, const unsigned char* source, int column, int line) {
    const int x = within(column, 0, job.width - 1), y = within(line, 0, job.height - 1);
    const unsigned char* row = source + (long long)job.stride * y;
    Pixel found;
    if (format == BGR) {
        const unsigned char* bgr = row + 3 * x;
        found = {bgr[0], bgr[1], bgr[2]};
    } else if (format == NV12) {
        const unsigned char* uv = source + job.chroma + (long long)job.stride * (y >> 1) + (x & ~1);
        found = from_yuv(row[x], uv[0], uv[1]);
    } else if (format == GRAY) {
        found = {row[x], row[x], row[x]};
    } else {
        const unsigned char* yuyv = row + (x & ~1) * 2;
        found = from_yuv(yuyv[(x & 1) * 2], yuyv[1], yuyv[3]);
    }
    const bool outside = x != column || y != line;
    return {outside ? job.pad : found.b, outside ? job.pad : found.g, outside ? job.pad : found.r};
}

// 2^-40 pixels to 1/256 pixels, half to even: OpenCV's INTER_LINEAR_EXACT rounds its weights like this.
__device__ int in_256ths(long long position) {
    return (int)((position + 0x7fffffff + (position >> 32 & 1)) >> 32);
}

// Four neighbours, weighted in 1/256: exact up to the one rounding at the end.
__device__ int mix(int a, int b, int c, int d, int across, int down) {
    const int above = a * (256 - across) + b * across;
    const int below = c * (256 - across) + d * across;
    return (above * (256 - down) + below * down + (1 << 15)) >> 16;
}

template <int format>
__device__ Pixel sample(const Job& job, const unsigned char* source, int x, int y) {
    const int column = in_256ths(job.column_x * x + job.column_y * y + job.column_0);
    const int row = in_256ths(job.row_x * x + job.row_y * y + job.row_0);
    const int x0 = within(column >> 8, job.first_column, job.last_column);
    const int x1 = within((column >> 8) + 1, job.first_column, job.last_column);
    const int y0 = within(row >> 8, job.first_row, job.last_row);
    const int y1 = within((row >> 8) + 1, job.first_row, job.last_row);
    const Pixel a = pixel<format>(job, source, x0, y0), b = pixel<format>(job, source, x1, y0);
    const Pixel c = pixel<format>(job, source, x0, y1), d = pixel<format>(job, source, x1, y1);
    const int across = column & 255, down = row & 255;
    return {mix(a.b, b.b, c.b, d.b, across, down), mix(a.g, b.g, c.g, d.g, across, down),
            mix(a.r, b.r, c.r, d.r, across, down)};
}

// The format, as all choices in a Job, is the same for all threads: no branch on it diverges.
__device__ Pixel tensor_pixel(const Job& job, const unsigned char* source, int x, int y) {
    if (x < job.left || x >= job.right || y < job.top || y >= job.bottom) return {job.pad, job.pad, job.pad};
    if (job.format == BGR) return sample<BGR>(job, source, x, y);
    if (job.format == NV12) return sample<NV12>(job, source, x, y);
    if (job.format == GRAY) return sample<GRAY>(job, source, x, y);
    return sample<YUYV>(job, source, x, y);
}

// A warp's threads have neighbouring x: their values of one plane (NCHW) are one run of memory. In NHWC the three
// stores of a warp fill the same run between them, and the L2 cache puts them together.
__device__ void store(const Job& job, void* target, int x, int y, int channel, int value) {
    const int channels = job.colour == TO_GRAY ? 1 : 3;
    const int at = job.layout == NCHW ? (channel * job.tensor_height + y) * job.tensor_width + x
                                      : (y * job.tensor_width + x) * channels + channel;
    // Two roundings, as in numpy: a compiler would fuse the two into one operation.
    const float scaled = __fadd_rn(__fmul_rn((float)value, job.gain[channel]), job.offset[channel]);
    if (job.type == FLOAT32) ((float*)target)[at] = scaled;
    if (job.type == FLOAT16) ((unsigned short*)target)[at] = half_bits(scaled);
    if (job.type == UINT8) ((unsigned char*)target)[at] = (unsigned char)value;
    if (job.type == INT32) ((int*)target)[at] = value;
}

// Each thread has a column x and every n-th row, n as many as the grid has threads in y: a few rows a thread pay
// for reading the Job once. Any grid whose threads in x reach the tensor's width gives the same tensor.
extern "C" __global__ void edgevision_preprocess(const unsigned char* __restrict__ source,
                                                 void* __restrict__ target, const Job* __restrict__ job_at) {
    const Job job = *job_at;  // a copy: all of it is loaded at once, and stays in registers
    const int x = blockIdx.x * blockDim.x + threadIdx.x;
    if (x >= job.tensor_width) return;
    for (int y = blockIdx.y * blockDim.y + threadIdx.y; y < job.tensor_height; y += gridDim.y * blockDim.y) {
        const Pixel p = tensor_pixel(job, source, x, y);
        if (job.colour == TO_GRAY) {
            // BT.601 in 2^-15, as cvtColor's COLOR_BGR2GRAY.
            store(job, target, x, y, 0, (p.b * 3735 + p.g * 19235 + p.r * 9798 + (1 << 14)) >> 15);
            continue;
        }
        store(job, target, x, y, 0, job.colour == TO_BGR ? p.b : p.r);
        store(job, target, x, y, 1, p.g);
        store(job, target, x, y, 2, job.colour == TO_BGR ? p.r : p.b);
    }
}
