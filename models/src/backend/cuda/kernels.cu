// What GPUs do before and after a model. Compiled by NVRTC for the device at hand, without any header.

// ---- Before: pixels to planes -------------------------------------------------------------------------------------

__device__ __forceinline__ float normalised(unsigned int sample, float mean, float scale) {
    // As the CPU has it, each operation rounded once: never contracted, never approximated.
    return __fdiv_rn(__fsub_rn(static_cast<float>(sample), mean), scale);
}

__device__ __forceinline__ unsigned int half_of(float value) {
    unsigned short half;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(value));
    return half;
}

struct Fp32 {
    typedef float Element;
    static __device__ __forceinline__ void store(Element* to, float a) { *to = a; }
    static __device__ __forceinline__ void store(Element* to, float a, float b, float c, float d) {
        *reinterpret_cast<float4*>(to) = make_float4(a, b, c, d);
    }
};

struct Fp16 {
    typedef unsigned short Element;
    static __device__ __forceinline__ void store(Element* to, float a) {
        *to = static_cast<unsigned short>(half_of(a));
    }
    static __device__ __forceinline__ void store(Element* to, float a, float b, float c, float d) {
        *reinterpret_cast<uint2*>(to) = make_uint2(half_of(a) | half_of(b) << 16, half_of(c) | half_of(d) << 16);
    }
};

// Four pixels per thread: twelve bytes in, four elements out for each channel, so that a warp reads and writes runs
// without gaps. Pictures are blockIdx.y.
template <typename Form>
__device__ __forceinline__ void normalise(
    const unsigned char* __restrict__ pixels, typename Form::Element* __restrict__ planes, unsigned int plane,
    float mean, float scale) {
    const unsigned int quad = blockIdx.x * blockDim.x + threadIdx.x;
    const unsigned int pixel = quad * 4;
    if (pixel >= plane) {
        return;
    }
    const size_t picture = static_cast<size_t>(blockIdx.y) * 3 * plane;
    const unsigned char* from = pixels + picture + static_cast<size_t>(pixel) * 3;
    typename Form::Element* red = planes + picture + pixel;
    typename Form::Element* green = red + plane;
    typename Form::Element* blue = green + plane;
    if (plane % 4 == 0) {
        // Every address is a multiple of four elements then. Little-endian: r g b r, g b r g, b r g b.
        const unsigned int* words = reinterpret_cast<const unsigned int*>(from);
        const unsigned int x = words[0], y = words[1], z = words[2];
        Form::store(red, normalised(x & 255, mean, scale), normalised(x >> 24, mean, scale),
                    normalised(y >> 16 & 255, mean, scale), normalised(z >> 8 & 255, mean, scale));
        Form::store(green, normalised(x >> 8 & 255, mean, scale), normalised(y & 255, mean, scale),
                    normalised(y >> 24, mean, scale), normalised(z >> 16 & 255, mean, scale));
        Form::store(blue, normalised(x >> 16 & 255, mean, scale), normalised(y >> 8 & 255, mean, scale),
                    normalised(z & 255, mean, scale), normalised(z >> 24, mean, scale));
        return;
    }
    for (unsigned int i = 0; i < 4 && pixel + i < plane; ++i) {
        Form::store(red + i, normalised(from[3 * i], mean, scale));
        Form::store(green + i, normalised(from[3 * i + 1], mean, scale));
        Form::store(blue + i, normalised(from[3 * i + 2], mean, scale));
    }
}

extern "C" __global__ void normalise_fp32(
    const unsigned char* pixels, float* planes, unsigned int plane, float mean, float scale) {
    normalise<Fp32>(pixels, planes, plane, mean, scale);
}

extern "C" __global__ void normalise_fp16(
    const unsigned char* pixels, unsigned short* planes, unsigned int plane, float mean, float scale) {
    normalise<Fp16>(pixels, planes, plane, mean, scale);
}

// ---- After: scores to ranks ---------------------------------------------------------------------------------------

#define RANK_THREADS 256
#define RANK_WARPS (RANK_THREADS / 32)
#define NONE 0xffffffffu

struct Ranked {
    float score;
    unsigned int place;
};

__device__ __forceinline__ Ranked nobody() {
    Ranked none;
    none.score = __int_as_float(0xff800000);
    none.place = NONE;
    return none;
}

// Of equal scores the lower place; -0 and 0 are equal.
__device__ __forceinline__ bool is_before(Ranked a, Ranked b) {
    return a.score > b.score || (a.score == b.score && a.place < b.place);
}

// The best of what the block's threads hold, for all of them.
__device__ __forceinline__ Ranked best_of_block(Ranked mine, Ranked* of_warps) {
    for (int offset = 16; offset > 0; offset /= 2) {
        Ranked other;
        other.score = __shfl_down_sync(0xffffffffu, mine.score, offset);
        other.place = __shfl_down_sync(0xffffffffu, mine.place, offset);
        if (is_before(other, mine)) {
            mine = other;
        }
    }
    if (threadIdx.x % 32 == 0) {
        of_warps[threadIdx.x / 32] = mine;
    }
    __syncthreads();
    Ranked best = of_warps[0];
    for (int warp = 1; warp < RANK_WARPS; ++warp) {
        if (is_before(of_warps[warp], best)) {
            best = of_warps[warp];
        }
    }
    __syncthreads();
    return best;
}

// Always added in the same order.
__device__ __forceinline__ double sum_of_block(double mine, double* of_warps) {
    for (int offset = 16; offset > 0; offset /= 2) {
        mine += __shfl_down_sync(0xffffffffu, mine, offset);
    }
    if (threadIdx.x % 32 == 0) {
        of_warps[threadIdx.x / 32] = mine;
    }
    __syncthreads();
    double sum = of_warps[0];
    for (int warp = 1; warp < RANK_WARPS; ++warp) {
        sum += of_warps[warp];
    }
    __syncthreads();
    return sum;
}

// One block of RANK_THREADS per row; 1 <= k <= classes. `not_finite` is the row's first class whose score is not a
// finite number, or NONE; a row that has one is not ranked.
extern "C" __global__ void __launch_bounds__(RANK_THREADS) rank_fp32(
    const float* __restrict__ logits, unsigned int classes, unsigned int k, unsigned int* __restrict__ top,
    float* __restrict__ probabilities, unsigned int* __restrict__ not_finite) {
    __shared__ Ranked ranked_of_warps[RANK_WARPS];
    __shared__ double sums_of_warps[RANK_WARPS];
    __shared__ unsigned int first_not_finite;

    const float* row = logits + static_cast<size_t>(blockIdx.x) * classes;
    top += static_cast<size_t>(blockIdx.x) * k;
    probabilities += static_cast<size_t>(blockIdx.x) * k;

    if (threadIdx.x == 0) {
        first_not_finite = NONE;
    }
    __syncthreads();
    Ranked mine = nobody();
    for (unsigned int place = threadIdx.x; place < classes; place += RANK_THREADS) {
        Ranked next;
        next.score = row[place];
        next.place = place;
        if ((__float_as_uint(next.score) & 0x7f800000u) == 0x7f800000u) {
            atomicMin(&first_not_finite, place);
        } else if (is_before(next, mine)) {
            mine = next;
        }
    }
    __syncthreads();
    const unsigned int broken = first_not_finite;
    if (threadIdx.x == 0) {
        not_finite[blockIdx.x] = broken;
    }
    if (broken != NONE) {
        for (unsigned int rank = threadIdx.x; rank < k; rank += RANK_THREADS) {
            top[rank] = NONE;
            probabilities[rank] = 0.0f;
        }
        return;
    }

    Ranked best = best_of_block(mine, ranked_of_warps);
    const double max = static_cast<double>(best.score);
    double sum = 0.0;
    for (unsigned int place = threadIdx.x; place < classes; place += RANK_THREADS) {
        sum += exp(static_cast<double>(row[place]) - max);
    }
    sum = sum_of_block(sum, sums_of_warps);

    for (unsigned int rank = 0; rank < k; ++rank) {
        if (rank > 0) {
            // The best of those that come after the last one.
            mine = nobody();
            for (unsigned int place = threadIdx.x; place < classes; place += RANK_THREADS) {
                Ranked next;
                next.score = row[place];
                next.place = place;
                if (is_before(best, next) && is_before(next, mine)) {
                    mine = next;
                }
            }
            best = best_of_block(mine, ranked_of_warps);
        }
        if (threadIdx.x == 0) {
            top[rank] = best.place;
            probabilities[rank] = static_cast<float>(exp(static_cast<double>(best.score) - max) / sum);
        }
    }
}
