// BatchNorm by the batch's own statistics, then a gated linear unit: one pass for the statistics, one for the result.
//
//   y = (x - mean) scale + shift        out_c = y_c sigmoid(y_{C + c})
//
// A register holds channels of a pixel (channels_last) or pixels of a channel; values and gates go side by side.
#pragma once

#include "norm_glu.h"
#include "simd.h"

namespace memgan::cpu::MEMGAN_ISA {

template <typename S>
struct NormTile {
  int64_t x, out;            // where the values begin, in x and in the result
  int64_t x_step, out_step;  // from one register to the next
  int64_t count, channel;    // registers; the first lane's channel
  int active;                // lanes that hold something
  bool first;                // of its item and channels
};

template <typename S>
struct NormTiles {
  using T = typename Compute<S>::type;
  static constexpr int lanes = Simd<T>::lanes;
  const NormGluArgs& a;
  const int64_t to_gate;  // from a value to its gate, in x
  explicit NormTiles(const NormGluArgs& args) : a(args), to_gate(args.last ? args.C : args.C * args.N) {}

  template <typename F>
  MEMGAN_INLINE void each(int64_t item, const F& f) const {
    if (a.last) {
      const int64_t begin = item * kNormRows, rows = norm_count(a, item);
      for (int64_t row = 0; row < rows; row += kNormVectors)
        for (int64_t c = 0; c < a.C; c += lanes) {
          const int64_t pixel = begin + row;
          f(NormTile<S>{
              pixel * 2 * a.C + c, pixel * a.C + c, 2 * a.C, a.C, std::min(kNormVectors, rows - row), c,
              int(std::min<int64_t>(lanes, a.C - c)), row == 0});
        }
      return;
    }
    const int64_t b = item / a.C, c = item % a.C, whole = a.N / lanes;
    const int64_t x = (b * 2 * a.C + c) * a.N, out = (b * a.C + c) * a.N;
    for (int64_t v = 0; v < whole; v += kNormVectors)
      f(NormTile<S>{x + v * lanes, out + v * lanes, lanes, lanes, std::min(kNormVectors, whole - v), c, lanes, v == 0});
    const int64_t done = whole * lanes;
    if (done < a.N) f(NormTile<S>{x + done, out + done, lanes, lanes, 1, c, int(a.N - done), whole == 0});
  }

  // Of the tile's channels, from (2, norm_width(C)).
  MEMGAN_INLINE Vec<T> of(const void* parameter, const NormTile<S>& t, bool gate) const {
    const T* p = static_cast<const T*>(parameter) + (gate ? norm_width(a.C) : 0) + t.channel;
    return a.last ? load<T>(p) : splat<T>(*p);
  }
};

template <typename S, bool whole, typename T = typename Compute<S>::type>
MEMGAN_INLINE Vec<T> load_some(const S* p, int active) {
  if constexpr (whole) return load_as<S>(p);
  S some[Simd<T>::lanes] = {};
  for (int i = 0; i < active; ++i) some[i] = p[i];
  return load_as<S>(some);
}
template <typename S, bool whole, typename T = typename Compute<S>::type>
MEMGAN_INLINE void store_some(S* p, Vec<T> v, int active) {
  if constexpr (whole) return store_as<S>(p, v);
  S some[Simd<T>::lanes];
  store_as<S>(some, v);
  for (int i = 0; i < active; ++i) p[i] = some[i];
}

// Adds up what the tiles of an item give, in float64: `sums` (2, norm_width(C), 2).
template <typename S, typename T = typename Compute<S>::type>
MEMGAN_INLINE void add_sums(
    const NormTiles<S>& tiles, const NormTile<S>& t, bool gate, Vec<T> one, Vec<T> two, double* sums) {
  T ones[Simd<T>::lanes], twos[Simd<T>::lanes];
  store<T>(ones, one);
  store<T>(twos, two);
  double* to = sums + ((gate ? norm_width(tiles.a.C) : 0) + t.channel) * 2;
  for (int i = 0; i < t.active; ++i) {
    to[0] += double(ones[i]);
    to[1] += double(twos[i]);
    if (tiles.a.last) to += 2;
  }
}

template <typename S, bool whole, typename T = typename Compute<S>::type>
MEMGAN_INLINE void tile_statistics(const NormTiles<S>& tiles, const NormTile<S>& t, T* about, double* sums) {
  const S* x = static_cast<const S*>(tiles.a.x) + t.x;
  const int64_t width = norm_width(tiles.a.C);
  if (t.first) {  // squares are summed about the first tile's mean: little cancels when the real one is known
    for (int gate = 0; gate < 2; ++gate) {
      Vec<T> sum{};
      for (int64_t i = 0; i < t.count; ++i)
        sum += load_some<S, whole>(x + gate * tiles.to_gate + i * t.x_step, t.active);
      T* to = about + gate * width + t.channel;
      if (tiles.a.last) store<T>(to, sum / T(t.count));
      else *to = sum_lanes<T>(sum) / T(t.count * t.active);
    }
  }
  const Vec<T> value_about = tiles.of(about, t, false), gate_about = tiles.of(about, t, true);
  Vec<T> value_sum{}, value_squares{}, gate_sum{}, gate_squares{};
  for (int64_t i = 0; i < t.count; ++i) {
    const Vec<T> value = load_some<S, whole>(x + i * t.x_step, t.active) - value_about;
    const Vec<T> gate = load_some<S, whole>(x + tiles.to_gate + i * t.x_step, t.active) - gate_about;
    value_sum += value;
    gate_sum += gate;
    value_squares += value * value;
    gate_squares += gate * gate;
  }
  add_sums<S>(tiles, t, false, value_sum, value_squares, sums);
  add_sums<S>(tiles, t, true, gate_sum, gate_squares, sums);
}

// Every item's rows of `partial`, from its sums.
template <typename S, typename F>
MEMGAN_INLINE void over_sums(const NormGluArgs& a, int64_t (*next)(void*), void* state, const F& item_sums) {
  const int64_t width = norm_width(a.C);
  Arena<double> arena(4 * width);
  double* sums = arena.take(4 * width);
  for (int64_t item = next(state); item >= 0; item = next(state)) {
    const int64_t chunk = a.last ? item : item / a.C;
    const int64_t begin = a.last ? 0 : item % a.C, end = a.last ? a.C : begin + 1;
    for (int gate = 0; gate < 2; ++gate)
      std::fill(sums + (gate * width + begin) * 2, sums + (gate * width + end) * 2, 0.0);
    item_sums(item, chunk, sums);
    for (int gate = 0; gate < 2; ++gate)
      std::copy(
          sums + (gate * width + begin) * 2, sums + (gate * width + end) * 2,
          a.partial + ((chunk * 2 + gate) * a.C + begin) * 2);
  }
}

template <typename S>
void run_norm_statistics(const NormGluArgs& a, int64_t (*next)(void*), void* state) {
  using T = typename Compute<S>::type;
  const NormTiles<S> tiles(a);
  const int64_t width = norm_width(a.C);
  Arena<T> arena(2 * width);
  T* about = arena.take(2 * width);
  over_sums<S>(a, next, state, [&](int64_t item, int64_t chunk, double* sums) {
    tiles.each(item, [&](const NormTile<S>& t) {
      if (t.active == Simd<T>::lanes) tile_statistics<S, true>(tiles, t, about, sums);
      else tile_statistics<S, false>(tiles, t, about, sums);
    });
    const double count = double(norm_count(a, chunk));
    const int64_t begin = a.last ? 0 : item % a.C, end = a.last ? a.C : begin + 1;
    for (int gate = 0; gate < 2; ++gate)
      for (int64_t c = begin; c < end; ++c) {
        double* s = sums + (gate * width + c) * 2;
        const double off = s[0] / count;
        s[1] = std::max(s[1] - off * s[0], 0.0);
        s[0] = double(about[gate * width + c]) + off;
      }
  });
}

// sigmoid(z), and sigmoid(-z) = 1 - sigmoid(z) without the cancellation.
template <typename T>
struct Sigmoid {
  Vec<T> open, closed;
  MEMGAN_INLINE explicit Sigmoid(Vec<T> z) {
    const Vec<T> e = exp_nonpositive(z < T(0) ? z : -z);
    const Vec<T> near = T(1) / (e + T(1)), far = e * near;
    open = z < T(0) ? far : near;
    closed = z < T(0) ? near : far;
  }
};

// The norm's parameters for the channels of a tile.
template <typename S>
struct Normed {
  using V = Vec<typename Compute<S>::type>;
  V mean, scale, shift;
  MEMGAN_INLINE Normed(const NormTiles<S>& tiles, const NormTile<S>& t, bool gate)
      : mean(tiles.of(tiles.a.mean, t, gate)),
        scale(tiles.of(tiles.a.scale, t, gate)),
        shift(tiles.of(tiles.a.shift, t, gate)) {}
};

template <typename S, bool whole, typename T = typename Compute<S>::type>
MEMGAN_INLINE void tile_forward(const NormTiles<S>& tiles, const NormTile<S>& t, S* out) {
  const S* x = static_cast<const S*>(tiles.a.x) + t.x;
  const Normed<S> value(tiles, t, false), gate(tiles, t, true);
  for (int64_t i = 0; i < t.count; ++i) {
    const Vec<T> y = (load_some<S, whole>(x + i * t.x_step, t.active) - value.mean) * value.scale + value.shift;
    const Vec<T> z =
        (load_some<S, whole>(x + tiles.to_gate + i * t.x_step, t.active) - gate.mean) * gate.scale + gate.shift;
    store_some<S, whole>(out + t.out + i * t.out_step, y * Sigmoid<T>(z).open, t.active);
  }
}

template <typename S>
void run_norm_glu_forward(const NormGluForwardArgs& a, int64_t (*next)(void*), void* state) {
  const NormTiles<S> tiles(a);
  S* out = static_cast<S*>(a.out);
  for (int64_t item = next(state); item >= 0; item = next(state))
    tiles.each(item, [&](const NormTile<S>& t) {
      if (t.active == NormTiles<S>::lanes) tile_forward<S, true>(tiles, t, out);
      else tile_forward<S, false>(tiles, t, out);
    });
}

inline void norm_statistics(const NormGluArgs& a, int64_t (*next)(void*), void* state) {
  switch (a.dtype) {
    case Dtype::float32: return run_norm_statistics<float>(a, next, state);
    case Dtype::float64: return run_norm_statistics<double>(a, next, state);
    case Dtype::bfloat16: return run_norm_statistics<Bf16>(a, next, state);
  }
}
inline void norm_glu_forward(const NormGluForwardArgs& a, int64_t (*next)(void*), void* state) {
  switch (a.dtype) {
    case Dtype::float32: return run_norm_glu_forward<float>(a, next, state);
    case Dtype::float64: return run_norm_glu_forward<double>(a, next, state);
    case Dtype::bfloat16: return run_norm_glu_forward<Bf16>(a, next, state);
  }
}

}  // namespace memgan::cpu::MEMGAN_ISA
