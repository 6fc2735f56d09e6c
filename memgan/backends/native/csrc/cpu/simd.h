// Vectors of one register, for the instruction set that the including file switched on.
//
// GCC's and clang's vector extensions rather than intrinsics: one source for AVX-512, AVX2, SSE2 and NEON.
// The including file defines MEMGAN_ISA (a namespace) and MEMGAN_VECTOR_BYTES.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace memgan::cpu::MEMGAN_ISA {

#define MEMGAN_INLINED __attribute__((always_inline))
#define MEMGAN_INLINE inline MEMGAN_INLINED

template <typename T>
struct Simd;

template <>
struct Simd<float> {
  static constexpr int lanes = MEMGAN_VECTOR_BYTES / 4;
  typedef float V __attribute__((vector_size(MEMGAN_VECTOR_BYTES), may_alias));
  typedef int32_t I __attribute__((vector_size(MEMGAN_VECTOR_BYTES), may_alias));
  typedef float Unaligned __attribute__((vector_size(MEMGAN_VECTOR_BYTES), aligned(4), may_alias));
};
template <>
struct Simd<double> {
  static constexpr int lanes = MEMGAN_VECTOR_BYTES / 8;
  typedef double V __attribute__((vector_size(MEMGAN_VECTOR_BYTES), may_alias));
  typedef int64_t I __attribute__((vector_size(MEMGAN_VECTOR_BYTES), may_alias));
  typedef double Unaligned __attribute__((vector_size(MEMGAN_VECTOR_BYTES), aligned(8), may_alias));
};

template <typename T>
using Vec = typename Simd<T>::V;

template <typename T>
MEMGAN_INLINE Vec<T> load(const T* p) {
  return *reinterpret_cast<const typename Simd<T>::Unaligned*>(p);
}
template <typename T>
MEMGAN_INLINE void store(T* p, Vec<T> v) {
  *reinterpret_cast<typename Simd<T>::Unaligned*>(p) = v;
}
// Past the caches, to an address that is a multiple of MEMGAN_VECTOR_BYTES: a plain store of a line that is in no cache
// reads it first. Other threads see it after `streamed`.
#if defined(__x86_64__) && MEMGAN_VECTOR_BYTES == 64
constexpr bool kStreams = true;
template <typename T>
MEMGAN_INLINE void stream(T* p, Vec<T> v) {
  _mm512_stream_ps(reinterpret_cast<float*>(p), (__m512)v);
}
MEMGAN_INLINE void streamed() { _mm_sfence(); }
#elif defined(__x86_64__) && MEMGAN_VECTOR_BYTES == 32
constexpr bool kStreams = true;
template <typename T>
MEMGAN_INLINE void stream(T* p, Vec<T> v) {
  _mm256_stream_ps(reinterpret_cast<float*>(p), (__m256)v);
}
MEMGAN_INLINE void streamed() { _mm_sfence(); }
#else
constexpr bool kStreams = false;
template <typename T>
MEMGAN_INLINE void stream(T* p, Vec<T> v) {
  store<T>(p, v);
}
MEMGAN_INLINE void streamed() {}
#endif
template <typename T>
MEMGAN_INLINE Vec<T> splat(T x) {
  return x - Vec<T>{};  // x - 0 is x for every x, -0 included; 0 + x is not
}
// Lanes of `a` whose number has bit d, and lanes of `b` whose number has not, change places.
template <typename T, int d, size_t... j>
MEMGAN_INLINE void exchange(Vec<T>& a, Vec<T>& b, std::index_sequence<j...>) {
  constexpr int n = Simd<T>::lanes;
  const Vec<T> low = __builtin_shufflevector(a, b, (int(j) & d ? n + int(j) - d : int(j))...);
  const Vec<T> high = __builtin_shufflevector(a, b, (int(j) & d ? n + int(j) : int(j) + d)...);
  a = low;
  b = high;
}
// The sum of all lanes: halves on halves, by shuffles. Through memory, narrow loads would wait for the wide store.
template <typename T, int width, size_t... j>
MEMGAN_INLINE Vec<T> upper_on_lower(Vec<T> v, std::index_sequence<j...>) {
  return v + __builtin_shufflevector(v, v, (int(j) ^ width)...);
}
template <typename T, int width = Simd<T>::lanes / 2>
MEMGAN_INLINE T sum_lanes(Vec<T> v) {
  if constexpr (width == 0) return v[0];
  else return sum_lanes<T, width / 2>(upper_on_lower<T, width>(v, std::make_index_sequence<Simd<T>::lanes>{}));
}
// The sums of n registers, which are used up: lane i of the result is that of v[i]. Two registers become one at each
// step, so it takes a third of the shuffles and additions of as many `sum_lanes`. n is a power of two, at most lanes.
template <typename T, int n, int d = 1>
MEMGAN_INLINE Vec<T> sums_of(Vec<T>* v) {
  constexpr auto lanes = std::make_index_sequence<Simd<T>::lanes>{};
  if constexpr (n > 1) {
#pragma GCC unroll 8
    for (int i = 0; i < n / 2; ++i) {
      exchange<T, d>(v[2 * i], v[2 * i + 1], lanes);
      v[i] = v[2 * i] + v[2 * i + 1];
    }
    return sums_of<T, n / 2, d * 2>(v);
  } else if constexpr (d < Simd<T>::lanes) {
    v[0] = upper_on_lower<T, d>(v[0], lanes);
    return sums_of<T, 1, d * 2>(v);
  } else {
    return v[0];
  }
}
// The sums of any number of registers → `to`, which has room for a register more.
template <typename T, int n>
MEMGAN_INLINE void store_sums(T* to, Vec<T>* v) {
  constexpr int now = std::min(int(std::bit_floor(unsigned(n))), Simd<T>::lanes);
  store<T>(to, sums_of<T, now>(v));
  if constexpr (n > now) store_sums<T, n - now>(to + now, v + now);
}

// bfloat16 as it lies in memory: the upper half of a float.
struct Bf16 {
  uint16_t bits;
};
MEMGAN_INLINE float to_float(Bf16 x) {
  const uint32_t bits = uint32_t(x.bits) << 16;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}
MEMGAN_INLINE Bf16 to_bf16(float f) {  // to nearest, ties to even; a NaN stays one
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  if (f != f) return {uint16_t((bits >> 16) | 0x40)};
  return {uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)};
}

// The dtype a tensor is stored in → the dtype it is computed in.
template <typename S>
struct Compute {
  using type = S;
};
template <>
struct Compute<Bf16> {
  using type = float;
};

template <typename T>
MEMGAN_INLINE T read(T x) {
  return x;
}
MEMGAN_INLINE float read(Bf16 x) { return to_float(x); }
template <typename S, typename T>
MEMGAN_INLINE S written(T x) {
  if constexpr (sizeof(S) == 2) return to_bf16(x);
  else return x;
}

typedef uint16_t HalfBits __attribute__((vector_size(MEMGAN_VECTOR_BYTES / 2), aligned(2), may_alias));

// 16 bits to 32, and the lower halves of 32 bits: as instructions where GCC 12 makes several of a conversion.
MEMGAN_INLINE Simd<float>::I widened(HalfBits x) {
#if defined(__x86_64__) && MEMGAN_VECTOR_BYTES == 64
  return (Simd<float>::I)_mm512_cvtepu16_epi32((__m256i)x);
#elif defined(__x86_64__) && MEMGAN_VECTOR_BYTES == 32
  return (Simd<float>::I)_mm256_cvtepu16_epi32((__m128i)x);
#else
  return __builtin_convertvector(x, Simd<float>::I);
#endif
}
MEMGAN_INLINE HalfBits narrowed(Simd<float>::I x) {
#if defined(__x86_64__) && MEMGAN_VECTOR_BYTES == 64
  return (HalfBits)_mm512_cvtepi32_epi16((__m512i)x);
#else
  return __builtin_convertvector(x & 0xffff, HalfBits);
#endif
}

template <typename S>
MEMGAN_INLINE Vec<typename Compute<S>::type> load_as(const S* p) {
  if constexpr (sizeof(S) == 2) {
    return (Vec<float>)(widened(*reinterpret_cast<const HalfBits*>(p)) << 16);
  } else {
    return load<S>(p);
  }
}
template <typename S>
MEMGAN_INLINE void store_as(S* p, Vec<typename Compute<S>::type> v) {
  if constexpr (sizeof(S) == 2) {
    using I = Simd<float>::I;
    const I bits = (I)v;
    // Logical shifts by way of the sign: what is shifted in at the top is cut off again by the conversion.
    const I rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    const I chosen = v == v ? rounded : (bits >> 16) | 0x40;
    *reinterpret_cast<HalfBits*>(p) = narrowed(chosen);
  } else {
    store<S>(p, v);
  }
}

// 2^n, where n is what the low bits of y hold.
MEMGAN_INLINE Vec<float> two_to(Vec<float> y) { return (Vec<float>)(((Simd<float>::I)y << 23) + (127 << 23)); }
MEMGAN_INLINE Vec<double> two_to(Vec<double> y) {
  return (Vec<double>)(((Simd<double>::I)y << 52) + (int64_t(1023) << 52));
}
// e^f for |f| <= log(2) / 2.
MEMGAN_INLINE Vec<float> exp_of_fraction(Vec<float> f) {
  Vec<float> p = f * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * f + 8.3334519073e-3f;
  p = p * f + 4.1665795894e-2f;
  p = p * f + 1.6666665459e-1f;
  p = p * f + 5.0000001201e-1f;
  return p * (f * f) + f + 1.0f;
}
MEMGAN_INLINE Vec<double> exp_of_fraction(Vec<double> f) {
  // The series up to f^13 / 13!: what is left out is below 4e-18.
  Vec<double> p = f * (1.0 / 6227020800.0) + 1.0 / 479001600.0;
  p = p * f + 1.0 / 39916800.0;
  p = p * f + 1.0 / 3628800.0;
  p = p * f + 1.0 / 362880.0;
  p = p * f + 1.0 / 40320.0;
  p = p * f + 1.0 / 5040.0;
  p = p * f + 1.0 / 720.0;
  p = p * f + 1.0 / 120.0;
  p = p * f + 1.0 / 24.0;
  p = p * f + 1.0 / 6.0;
  p = p * f + 0.5;
  return p * (f * f) + f + 1.0;
}
// 2^f for |f| <= 1/2. In float the polynomial of degree 6 that is nearest as a share of 2^f, within 2^-25, and 1 at 0.
MEMGAN_INLINE Vec<float> exp2_of_fraction(Vec<float> f) {
  Vec<float> p = f * 1.535336199e-4f + 1.339887445e-3f;
  p = p * f + 9.618437358e-3f;
  p = p * f + 5.550332471e-2f;
  p = p * f + 2.402264791e-1f;
  p = p * f + 6.931472029e-1f;
  return p * f + 1.0f;
}
MEMGAN_INLINE Vec<double> exp2_of_fraction(Vec<double> f) { return exp_of_fraction(f * 0.6931471805599453094); }

// 1.5 * 2^23 and 1.5 * 2^52: adding it leaves the nearest integer in the low bits.
template <typename T>
constexpr T kRounds = sizeof(T) == 4 ? T(12582912.0) : T(6755399441055744.0);

// exp and 2^x for x <= 0, within about one unit in the last place; what would be subnormal becomes 0.
// A NaN compares false and stays a NaN.
MEMGAN_INLINE Vec<float> exp_nonpositive(Vec<float> x) {
  const Vec<float> y = x * 1.44269504088896341f + kRounds<float>, n = y - kRounds<float>;
  const Vec<float> e = exp_of_fraction((x - n * 0.693359375f) - n * -2.12194440e-4f) * two_to(y);
  return x < -87.0f ? Vec<float>{} : e;
}
MEMGAN_INLINE Vec<double> exp_nonpositive(Vec<double> x) {
  const Vec<double> y = x * 1.4426950408889634074 + kRounds<double>, n = y - kRounds<double>;
  const Vec<double> e = exp_of_fraction((x - n * 6.93145751953125e-1) - n * 1.42860682030941723212e-6) * two_to(y);
  return x < -708.0 ? Vec<double>{} : e;
}
template <typename T>
MEMGAN_INLINE Vec<T> exp2_nonpositive(Vec<T> x) {
  const Vec<T> y = x + kRounds<T>, n = y - kRounds<T>;
  const Vec<T> e = exp2_of_fraction(x - n) * two_to(y);
  return x < T(sizeof(T) == 4 ? -125.5 : -1021.5) ? Vec<T>{} : e;
}

}  // namespace memgan::cpu::MEMGAN_ISA
