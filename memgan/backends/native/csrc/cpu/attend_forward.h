// Read and respond, forward, for one image's run of pixels.
//
// Per kPixels pixels: scores (one product), softmax and gate in registers, and the result (a second product) straight
// into memory. The gate needs what is read only through a dot product, and that is a sum over words:
//   z = w_r . r + sum_l a_l (w_o . v_l) + b,   so w_r is one more row of the first product, w_o . v_l one number a
//   word,
// and with g known before anything is read, r_new = sum_l (g a_l) v_l + (1 - g) r needs no second pass.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <utility>

#include "product_rows.h"
#include "tile.h"

namespace memgan::cpu::MEMGAN_ISA {

// Keys and values of one image, real words only, in the order in which the products read them.
template <typename S, typename T = typename Compute<S>::type>
struct Packed {
  const AttendArgs& a;
  int64_t words = 0;  // real ones
  int64_t rows = 0;   // rows of scores: the words, and w_r if there is a gate
  T* scores;          // (rows, C) for product_rows; keys times scale and log2(e): 2 to the score is the weight
  T* reads;           // (D, words) for product_rows
  T* value_gate;      // (L,): w_o . v_l

  static int64_t size(const AttendArgs& a) { return (a.L + 1) * a.C + a.L * a.D + a.L + 48; }
  Packed(const AttendArgs& args, Arena<T>& arena)
      : a(args),
        scores(arena.take((args.L + 1) * args.C)),
        reads(arena.take(args.L * args.D)),
        value_gate(arena.take(args.L)) {}

  T key(int64_t b, int64_t row, int64_t c) const {
    return read(
        static_cast<const S*>(
            a.keys.data)[b * a.keys.batch + a.words[b * a.L + row] * a.keys.word + c * a.keys.channel]);
  }
  T value(int64_t b, int64_t row, int64_t d) const {
    return read(
        static_cast<const S*>(
            a.values.data)[b * a.values.batch + a.words[b * a.L + row] * a.values.word + d * a.values.channel]);
  }
  T gate(int64_t i) const { return read(static_cast<const S*>(a.gate_weight)[i]); }

  void pack(int64_t b) {
    words = a.lengths[b];
    rows = words + (a.gate_weight != nullptr);
    const T scale = T(a.scale * 1.4426950408889634074);
    pack_rows<T>(
        rows, a.C, scores, [&](int64_t row, int64_t c) { return row < words ? key(b, row, c) * scale : gate(c); });
    pack_rows<T>(a.D, words, reads, [&](int64_t d, int64_t row) { return value(b, row, d); });
    if (a.gate_weight == nullptr) return;
    for (int64_t row = 0; row < words; ++row) {
      T sums[4] = {};  // one would wait for itself at every step
      for (int64_t d = 0; d < a.D; ++d) sums[d % 4] += gate(a.C + d) * value(b, row, d);
      value_gate[row] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    }
  }
};

// Registers of pixels that a softmax works on at once: one alone would mostly wait for itself.
constexpr int kColumns = MEMGAN_VECTOR_BYTES == 64 ? 4 : 2;

// Softmax over the rows of S (words, kPixels), in place and for `columns` registers of pixels: on return S holds
// 2^(score - max); 1 / sum is returned. each(l, j, e) is told what word l has in column j.
template <typename T, int columns, typename F>
MEMGAN_INLINE void softmax_columns(T* S, int64_t words, Vec<T>* factor, const F& each) {
  constexpr int lanes = Simd<T>::lanes;
  Vec<T> largest[columns], sum[columns] = {};
#pragma GCC unroll 8
  for (int j = 0; j < columns; ++j) largest[j] = splat<T>(-std::numeric_limits<T>::infinity());
  for (int64_t l = 0; l < words; ++l)
#pragma GCC unroll 8
    for (int j = 0; j < columns; ++j) {
      const Vec<T> s = load<T>(S + l * kPixels + j * lanes);
      largest[j] = largest[j] > s ? largest[j] : s;  // a NaN replaces the maximum, and stays or meets 2^x as NaN
    }
  for (int64_t l = 0; l < words; ++l)
#pragma GCC unroll 8
    for (int j = 0; j < columns; ++j) {
      T* at = S + l * kPixels + j * lanes;
      const Vec<T> e = exp2_nonpositive<T>(load<T>(at) - largest[j]);
      store<T>(at, e);
      sum[j] += e;
      each(l, j, e);
    }
#pragma GCC unroll 8
  for (int j = 0; j < columns; ++j) factor[j] = words > 0 ? T(1) / sum[j] : Vec<T>{};
}

// sigmoid(z) and 1 - sigmoid(z), each to full precision.
template <typename T>
struct Gate {
  Vec<T> open, closed;
};
template <typename T>
MEMGAN_INLINE Gate<T> gate_of(Vec<T> z) {
  const Vec<T> t = exp_nonpositive(z < T(0) ? z : -z);
  const Vec<T> large = T(1) / (T(1) + t), small = t * large;
  return {z < T(0) ? small : large, z < T(0) ? large : small};
}

template <typename S>
struct Forward {
  using T = typename Compute<S>::type;
  static constexpr int lanes = Simd<T>::lanes;
  const ForwardArgs& a;
  Arena<T> arena;
  Packed<S> packed;
  T *features, *scores, *closed, *result;
  T bias = 0;
  int64_t image = -1;

  explicit Forward(const ForwardArgs& args)
      : a(args),
        arena(Packed<S>::size(args) + (args.C + args.L + 1 + args.D + 1) * kPixels),
        packed(args, arena),
        features(arena.take(args.C * kPixels)),
        scores(arena.take((args.L + 1) * kPixels)),
        closed(arena.take(kPixels)),
        result(arena.take(args.D * kPixels)) {
    if (a.gate_bias != nullptr) bias = read(*static_cast<const S*>(a.gate_bias));
  }

  // One tile; `next` are the features of the tile behind it, or nullptr.
  void tile(int64_t first, int64_t count, const S* next) {
    const S* r = static_cast<const S*>(a.r.data) + image * a.r.batch + first * a.r.pixel;
    S* out = static_cast<S*>(a.out.data) + image * a.out.batch + first * a.out.pixel;
    const bool whole = count == kPixels;
    const bool direct = std::is_same_v<S, T> && whole && a.out.pixel == 1;
    const bool streams = kStreams && direct && a.streams && aligned<S>(out) && aligned<S>(out + a.out.row);
    Options<T> of_scores, of_result;
    if (direct && !streams) of_scores.ahead = rows_ahead(out, a.out.row, a.D);
    if (next != nullptr && a.r.pixel == 1) of_result.ahead = rows_ahead(next, a.r.row, a.C);

    if (std::is_same_v<S, T> && whole && a.r.pixel == 1 && packed.rows > 0) {
      of_scores.copied = features;
      product_rows<T, Init::zero>(
          packed.rows, packed.scores, reinterpret_cast<const T*>(r), a.r.row, a.C, scores, kPixels, of_scores);
    } else {
      load_tile<S>(r, a.r.row, a.r.pixel, a.C, a.C, count, features);
      product_rows<T, Init::zero>(packed.rows, packed.scores, features, kPixels, a.C, scores, kPixels, of_scores);
    }
    for (int p = 0; p < kPixels; p += kColumns * lanes) respond(p);
    if (a.attention != nullptr) write_attention(first, count);

    T* to = direct ? reinterpret_cast<T*>(out) : result;
    const int64_t ld = direct ? a.out.row : kPixels;
    if (streams) of_result.output = Output::streamed;
    if (a.gate_weight != nullptr) {
      of_result.start = features;
      of_result.factor = closed;
      product_rows<T, Init::scaled, Asks::rows_to_read>(
          a.D, packed.reads, scores, kPixels, packed.words, to, ld, of_result);
    } else {
      product_rows<T, Init::zero, Asks::rows_to_read>(
          a.D, packed.reads, scores, kPixels, packed.words, to, ld, of_result);
    }
    if (!direct) store_tile<S>(out, a.out.row, a.out.pixel, a.D, count, result);
  }

  // scores → weights of the values, g a_l, for kColumns registers of pixels. Where attention is asked for, g waits in
  // the gate's row, which is not needed any more, until the attention has been written.
  MEMGAN_INLINE void respond(int p) {
    T *S_p = scores + p, *of_gate = S_p + packed.words * kPixels;
    Vec<T> factor[kColumns], from_read[kColumns] = {};
    const T* value_gate = packed.value_gate;
    if (a.gate_weight == nullptr) {
      softmax_columns<T, kColumns>(S_p, packed.words, factor, [](int64_t, int, Vec<T>) {});
    } else {
      softmax_columns<T, kColumns>(
          S_p, packed.words, factor, [&](int64_t l, int j, Vec<T> e) { from_read[j] += e * value_gate[l]; });
#pragma GCC unroll 8
      for (int j = 0; j < kColumns; ++j) {
        const Gate<T> gate = gate_of<T>(load<T>(of_gate + j * lanes) + from_read[j] * factor[j] + bias);
        store<T>(closed + p + j * lanes, gate.closed);
        if (a.attention == nullptr) factor[j] *= gate.open;
        else store<T>(of_gate + j * lanes, gate.open);
      }
    }
    for (int64_t l = 0; l < packed.words; ++l)
#pragma GCC unroll 8
      for (int j = 0; j < kColumns; ++j) {
        T* at = S_p + l * kPixels + j * lanes;
        store<T>(at, load<T>(at) * factor[j]);
      }
  }

  void write_attention(int64_t first, int64_t count) {
    S* attention = static_cast<S*>(a.attention) + image * a.L * a.N + first;
    int64_t row = 0;
    for (int64_t l = 0; l < a.L; ++l) {
      S* to = attention + l * a.N;
      if (row < packed.words && a.words[image * a.L + row] == l) {
        store_tile<S>(to, a.N, 1, 1, count, scores + row * kPixels);
        ++row;
      } else {
        for (int64_t p = 0; p < count; ++p) to[p] = written<S>(T(0));
      }
    }
    if (a.gate_weight == nullptr) return;
    for (int p = 0; p < kPixels; p += lanes) {
      const Vec<T> open = load<T>(scores + packed.words * kPixels + p);
      for (row = 0; row < packed.words; ++row)
        store<T>(scores + row * kPixels + p, load<T>(scores + row * kPixels + p) * open);
    }
  }

  void run(int64_t (*next)(void*), void* state) {
    const int64_t items = (a.N + kForwardItemPixels - 1) / kForwardItemPixels;
    const auto features_at = [&](int64_t b, int64_t pixel) {
      return static_cast<const S*>(a.r.data) + b * a.r.batch + pixel * a.r.pixel;
    };
    int64_t upcoming = next(state);
    while (upcoming >= 0) {
      const int64_t item = std::exchange(upcoming, next(state));
      const int64_t b = item / items, begin = item % items * kForwardItemPixels;
      if (b != image) packed.pack(image = b);
      const int64_t end = std::min(a.N, begin + kForwardItemPixels);
      for (int64_t p = begin; p < end; p += kPixels) {
        const S* behind = p + kPixels < end ? features_at(b, p + kPixels)
                          : upcoming >= 0   ? features_at(upcoming / items, upcoming % items * kForwardItemPixels)
                                            : nullptr;
        tile(p, std::min<int64_t>(kPixels, end - p), behind);
      }
    }
    if (a.streams) streamed();
  }
};

inline void forward(const ForwardArgs& a, int64_t (*next)(void*), void* state) {
  switch (a.dtype) {
    case Dtype::float32: return Forward<float>(a).run(next, state);
    case Dtype::float64: return Forward<double>(a).run(next, state);
    case Dtype::bfloat16: return Forward<Bf16>(a).run(next, state);
  }
}

}  // namespace memgan::cpu::MEMGAN_ISA
