// EfficientNet-Lite between its matrix products: stem, depthwise convolutions, pooling. Feature maps are
// [pictures, rows, columns, channels]; channels come in groups of eight, which a thread loads and stores at once.
//
// Products are written without their activation: whoever reads them clamps (ReLU6), so no pass over memory is spent on it.

#define GROUP 8

struct Narrow {
    typedef unsigned short Element;
    static __device__ __forceinline__ void load(const Element* from, float* to) {
        const uint4 bits = *reinterpret_cast<const uint4*>(from);
        const unsigned int words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const unsigned short low = static_cast<unsigned short>(words[i]);
            const unsigned short high = static_cast<unsigned short>(words[i] >> 16);
            asm("cvt.f32.f16 %0, %1;" : "=f"(to[2 * i]) : "h"(low));
            asm("cvt.f32.f16 %0, %1;" : "=f"(to[2 * i + 1]) : "h"(high));
        }
    }
    static __device__ __forceinline__ void store(Element* to, const float* from) {
        uint4 bits;
        bits.x = half_of(from[0]) | half_of(from[1]) << 16;
        bits.y = half_of(from[2]) | half_of(from[3]) << 16;
        bits.z = half_of(from[4]) | half_of(from[5]) << 16;
        bits.w = half_of(from[6]) | half_of(from[7]) << 16;
        *reinterpret_cast<uint4*>(to) = bits;
    }
};

struct Wide {
    typedef float Element;
    static __device__ __forceinline__ void load(const Element* from, float* to) {
        const float4 a = reinterpret_cast<const float4*>(from)[0];
        const float4 b = reinterpret_cast<const float4*>(from)[1];
        to[0] = a.x, to[1] = a.y, to[2] = a.z, to[3] = a.w;
        to[4] = b.x, to[5] = b.y, to[6] = b.z, to[7] = b.w;
    }
    static __device__ __forceinline__ void store(Element* to, const float* from) {
        reinterpret_cast<float4*>(to)[0] = make_float4(from[0], from[1], from[2], from[3]);
        reinterpret_cast<float4*>(to)[1] = make_float4(from[4], from[5], from[6], from[7]);
    }
};

// A number that is none stays none: comparisons with it are false.
__device__ __forceinline__ float relu6(float value) {
    value = value < 0.0f ? 0.0f : value;
    return value > 6.0f ? 6.0f : value;
}

// ---- Stem: 3 x 3 over three samples, stride 2, from pixels ----------------------------------------------------------

#define STEM_CHANNELS 32
#define STEM_TAPS 27

// One thread per pixel of the output. Weights are [row, column, sample, channel].
template <typename Form>
__device__ __forceinline__ void stem(
    const unsigned char* __restrict__ pixels, const float* __restrict__ weights, const float* __restrict__ bias,
    typename Form::Element* __restrict__ features, unsigned int count, int side, int side_out, int padding, float mean,
    float scale) {
    __shared__ float taps[STEM_TAPS * STEM_CHANNELS];
    for (unsigned int i = threadIdx.x; i < STEM_TAPS * STEM_CHANNELS; i += blockDim.x) {
        taps[i] = weights[i];
    }
    __syncthreads();
    const unsigned int place = blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= count) {
        return;
    }
    const int column = static_cast<int>(place % side_out);
    const int row = static_cast<int>(place / side_out % side_out);
    const size_t picture = place / side_out / side_out;
    float sums[STEM_CHANNELS];
#pragma unroll
    for (int channel = 0; channel < STEM_CHANNELS; ++channel) {
        sums[channel] = bias[channel];
    }
    for (int i = 0; i < 3; ++i) {
        const int y = row * 2 + i - padding;
        if (y < 0 || y >= side) {
            continue;
        }
        for (int j = 0; j < 3; ++j) {
            const int x = column * 2 + j - padding;
            if (x < 0 || x >= side) {
                continue;
            }
            const unsigned char* pixel = pixels + ((picture * side + y) * side + x) * 3;
#pragma unroll
            for (int sample = 0; sample < 3; ++sample) {
                const float value = normalised(pixel[sample], mean, scale);
                const float* tap = taps + ((i * 3 + j) * 3 + sample) * STEM_CHANNELS;
#pragma unroll
                for (int channel = 0; channel < STEM_CHANNELS; ++channel) {
                    sums[channel] = fmaf(value, tap[channel], sums[channel]);
                }
            }
        }
    }
#pragma unroll
    for (int channel = 0; channel < STEM_CHANNELS; ++channel) {
        sums[channel] = relu6(sums[channel]);
    }
    typename Form::Element* to = features + static_cast<size_t>(place) * STEM_CHANNELS;
#pragma unroll
    for (int group = 0; group < STEM_CHANNELS; group += GROUP) {
        Form::store(to + group, sums + group);
    }
}

#define STEM(NAME, FORM)                                                                                               \
    extern "C" __global__ void __launch_bounds__(128) NAME(                                                            \
        const unsigned char* pixels, const float* weights, const float* bias, FORM::Element* features,                 \
        unsigned int count, int side, int side_out, int padding, float mean, float scale) {                            \
        stem<FORM>(pixels, weights, bias, features, count, side, side_out, padding, mean, scale);                      \
    }

STEM(stem_fp16, Narrow)
STEM(stem_fp32, Wide)

// ---- Depthwise: K x K over each channel, both ends clamped ----------------------------------------------------------

// Outputs side by side in a row that one thread makes of one group.
#define STRIP 4

// `count` threads: pictures x rows x strips x groups. Weights are [row, column, channel].
template <typename Form, int K, int STRIDE>
__device__ __forceinline__ void depthwise(
    const typename Form::Element* __restrict__ features, const float* __restrict__ weights,
    const float* __restrict__ bias, typename Form::Element* __restrict__ result, unsigned int count,
    unsigned int groups, int side, int side_out, int padding) {
    const unsigned int place = blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= count) {
        return;
    }
    const unsigned int strips = (side_out + STRIP - 1) / STRIP;
    const unsigned int channel = place % groups * GROUP;
    const int column = static_cast<int>(place / groups % strips) * STRIP;
    const int row = static_cast<int>(place / groups / strips % side_out);
    const size_t picture = place / groups / strips / side_out;
    const size_t channels = static_cast<size_t>(groups) * GROUP;

    float sums[STRIP][GROUP];
    {
        float start[GROUP];
        Wide::load(bias + channel, start);
#pragma unroll
        for (int t = 0; t < STRIP; ++t) {
#pragma unroll
            for (int c = 0; c < GROUP; ++c) {
                sums[t][c] = start[c];
            }
        }
    }
#pragma unroll 1
    for (int i = 0; i < K; ++i) {
        const int y = row * STRIDE + i - padding;
        if (y < 0 || y >= side) {
            continue;
        }
        float taps[K][GROUP];
#pragma unroll
        for (int j = 0; j < K; ++j) {
            Wide::load(weights + (i * K + j) * channels + channel, taps[j]);
        }
        const typename Form::Element* line = features + (picture * side + y) * side * channels + channel;
        const int first = column * STRIDE - padding;
#pragma unroll
        for (int at = 0; at < (STRIP - 1) * STRIDE + K; ++at) {
            const int x = first + at;
            if (x < 0 || x >= side) {
                continue;
            }
            float values[GROUP];
            Form::load(line + x * channels, values);
#pragma unroll
            for (int c = 0; c < GROUP; ++c) {
                values[c] = relu6(values[c]);
            }
#pragma unroll
            for (int t = 0; t < STRIP; ++t) {
                const int j = at - t * STRIDE;
                if (j >= 0 && j < K) {
#pragma unroll
                    for (int c = 0; c < GROUP; ++c) {
                        sums[t][c] = fmaf(values[c], taps[j][c], sums[t][c]);
                    }
                }
            }
        }
    }
    typename Form::Element* to = result + ((picture * side_out + row) * side_out + column) * channels + channel;
#pragma unroll
    for (int t = 0; t < STRIP; ++t) {
        if (column + t < side_out) {
#pragma unroll
            for (int c = 0; c < GROUP; ++c) {
                sums[t][c] = relu6(sums[t][c]);
            }
            Form::store(to + t * channels, sums[t]);
        }
    }
}

#define DEPTHWISE(NAME, FORM, K, STRIDE)                                                                               \
    extern "C" __global__ void __launch_bounds__(128) NAME(                                                            \
        const FORM::Element* features, const float* weights, const float* bias, FORM::Element* result,                 \
        unsigned int count, unsigned int groups, int side, int side_out, int padding) {                                \
        depthwise<FORM, K, STRIDE>(features, weights, bias, result, count, groups, side, side_out, padding);           \
    }

DEPTHWISE(depthwise_3_1_fp16, Narrow, 3, 1)
DEPTHWISE(depthwise_3_2_fp16, Narrow, 3, 2)
DEPTHWISE(depthwise_5_1_fp16, Narrow, 5, 1)
DEPTHWISE(depthwise_5_2_fp16, Narrow, 5, 2)
DEPTHWISE(depthwise_3_1_fp32, Wide, 3, 1)
DEPTHWISE(depthwise_3_2_fp32, Wide, 3, 2)
DEPTHWISE(depthwise_5_1_fp32, Wide, 5, 1)
DEPTHWISE(depthwise_5_2_fp32, Wide, 5, 2)

// ---- Pooling: the clamped mean of each channel over a picture -------------------------------------------------------

// `count` threads: pictures x groups. Always added in the same order.
template <typename Form>
__device__ __forceinline__ void pool(
    const typename Form::Element* __restrict__ features, float* __restrict__ means, unsigned int count,
    unsigned int groups, unsigned int plane) {
    const unsigned int place = blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= count) {
        return;
    }
    const size_t channels = static_cast<size_t>(groups) * GROUP;
    const size_t channel = place % groups * GROUP;
    const typename Form::Element* from = features + place / groups * plane * channels + channel;
    float sums[GROUP] = {};
#pragma unroll 7
    for (unsigned int i = 0; i < plane; ++i) {
        float values[GROUP];
        Form::load(from + i * channels, values);
#pragma unroll
        for (int c = 0; c < GROUP; ++c) {
            sums[c] += relu6(values[c]);
        }
    }
#pragma unroll
    for (int c = 0; c < GROUP; ++c) {
        sums[c] = __fdiv_rn(sums[c], static_cast<float>(plane));
    }
    Wide::store(means + place / groups * channels + channel, sums);
}

#define POOL(NAME, FORM)                                                                                               \
    extern "C" __global__ void __launch_bounds__(128) NAME(                                                            \
        const FORM::Element* features, float* means, unsigned int count, unsigned int groups, unsigned int plane) {    \
        pool<FORM>(features, means, count, groups, plane);                                                             \
    }

POOL(pool_fp16, Narrow)
POOL(pool_fp32, Wide)
