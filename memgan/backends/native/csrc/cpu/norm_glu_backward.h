// BatchNorm and gated linear unit, backward: one pass for two sums a channel, one for x's gradient.
//
// With G the gradient of the result, y and z the normed value and gate, s = sigmoid(z):
//   D_value = G s      D_gate = G y s (1 - s)
//   grad_shift = sum D      grad_weight = sum D (x - mean) / deviation
//   grad_x = scale (D - mean of D - (x - mean) slope),  slope = mean of D (x - mean) / deviation^2
// Both passes compute y, z and s again: x and G are all that is read.
#pragma once

#include "norm_glu_forward.h"

namespace memgan::cpu::MEMGAN_ISA {

// Of a register of pixels: x - mean, and the gradient of the norm, of values and gates.
template <typename S, bool whole>
struct Slopes {
  using T = typename Compute<S>::type;
  Vec<T> value, gate, of_value, of_gate;
  MEMGAN_INLINE Slopes(
      const NormTiles<S>& tiles, const NormTile<S>& t, const Normed<S>& v, const Normed<S>& g, const S* grad,
      int64_t i) {
    const S* x = static_cast<const S*>(tiles.a.x) + t.x + i * t.x_step;
    value = load_some<S, whole>(x, t.active) - v.mean;
    gate = load_some<S, whole>(x + tiles.to_gate, t.active) - g.mean;
    const Sigmoid<T> s(gate * g.scale + g.shift);
    of_value = load_some<S, whole>(grad + t.out + i * t.out_step, t.active) * s.open;
    of_gate = of_value * (value * v.scale + v.shift) * s.closed;
  }
};

template <typename S, bool whole, typename T = typename Compute<S>::type>
MEMGAN_INLINE void tile_sums(const NormTiles<S>& tiles, const NormTile<S>& t, const S* grad, double* sums) {
  const Normed<S> v(tiles, t, false), g(tiles, t, true);
  Vec<T> value{}, value_product{}, gate{}, gate_product{};
  for (int64_t i = 0; i < t.count; ++i) {
    const Slopes<S, whole> d(tiles, t, v, g, grad, i);
    value += d.of_value;
    value_product += d.of_value * d.value;
    gate += d.of_gate;
    gate_product += d.of_gate * d.gate;
  }
  add_sums<S>(tiles, t, false, value, value_product, sums);
  add_sums<S>(tiles, t, true, gate, gate_product, sums);
}

template <typename S, bool whole, typename T = typename Compute<S>::type>
MEMGAN_INLINE void tile_backward(const NormTiles<S>& tiles, const NormTile<S>& t, const NormGluBackwardArgs& a) {
  const Normed<S> v(tiles, t, false), g(tiles, t, true);
  const Vec<T> value_centre = tiles.of(a.centre, t, false), gate_centre = tiles.of(a.centre, t, true);
  const Vec<T> value_slope = tiles.of(a.slope, t, false), gate_slope = tiles.of(a.slope, t, true);
  S* to = static_cast<S*>(a.grad_x) + t.x;
  for (int64_t i = 0; i < t.count; ++i) {
    const Slopes<S, whole> d(tiles, t, v, g, static_cast<const S*>(a.grad), i);
    const Vec<T> of_value = v.scale * (d.of_value - value_centre - d.value * value_slope);
    const Vec<T> of_gate = g.scale * (d.of_gate - gate_centre - d.gate * gate_slope);
    store_some<S, whole>(to + i * t.x_step, of_value, t.active);
    store_some<S, whole>(to + tiles.to_gate + i * t.x_step, of_gate, t.active);
  }
}

template <typename S>
void run_norm_glu_sums(const NormGluBackwardArgs& a, int64_t (*next)(void*), void* state) {
  const NormTiles<S> tiles(a);
  const S* grad = static_cast<const S*>(a.grad);
  over_sums<S>(a, next, state, [&](int64_t item, int64_t, double* sums) {
    tiles.each(item, [&](const NormTile<S>& t) {
      if (t.active == NormTiles<S>::lanes) tile_sums<S, true>(tiles, t, grad, sums);
      else tile_sums<S, false>(tiles, t, grad, sums);
    });
  });
}

template <typename S>
void run_norm_glu_backward(const NormGluBackwardArgs& a, int64_t (*next)(void*), void* state) {
  const NormTiles<S> tiles(a);
  for (int64_t item = next(state); item >= 0; item = next(state))
    tiles.each(item, [&](const NormTile<S>& t) {
      if (t.active == NormTiles<S>::lanes) tile_backward<S, true>(tiles, t, a);
      else tile_backward<S, false>(tiles, t, a);
    });
}

inline void norm_glu_sums(const NormGluBackwardArgs& a, int64_t (*next)(void*), void* state) {
  switch (a.dtype) {
    case Dtype::float32: return run_norm_glu_sums<float>(a, next, state);
    case Dtype::float64: return run_norm_glu_sums<double>(a, next, state);
    case Dtype::bfloat16: return run_norm_glu_sums<Bf16>(a, next, state);
  }
}
inline void norm_glu_backward(const NormGluBackwardArgs& a, int64_t (*next)(void*), void* state) {
  switch (a.dtype) {
    case Dtype::float32: return run_norm_glu_backward<float>(a, next, state);
    case Dtype::float64: return run_norm_glu_backward<double>(a, next, state);
    case Dtype::bfloat16: return run_norm_glu_backward<Bf16>(a, next, state);
  }
}

}  // namespace memgan::cpu::MEMGAN_ISA
