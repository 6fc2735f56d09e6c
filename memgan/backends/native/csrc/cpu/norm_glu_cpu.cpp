// norm_glu on the CPU: the torch side of norm_glu_forward.h and norm_glu_backward.h, and the sums over chunks.
#include <cmath>

#include "tensors.h"

namespace memgan::cpu {
namespace {

using torch::stable::contiguous;

// (B, X, H, W) lies as channels_last and not as contiguous.
bool lies_last(const Tensor& t) { return t.size(1) > 1 && t.stride(1) == 1 && pixel_stride(t) != 1; }
Tensor dense(const Tensor& t, bool last) {
  return contiguous(t, last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous);
}

// Owns what the arguments point to. `rows`: of (2, norm_width(C)), in the dtype that is computed in.
struct Norm {
  bool last;
  Tensor x, weight, bias, rows;
  std::vector<double> partial;

  Norm(const Tensor& input, const Tensor& weight_in, const Tensor& bias_in, int64_t parameters)
      : last(lies_last(input)),
        x(dense(input, last)),
        weight(contiguous(weight_in)),
        bias(contiguous(bias_in)),
        rows(empty_of({parameters, 2, norm_width(input.size(1) / 2)}, computed_in(input))) {}

  void describe(NormGluArgs& a) {
    a.dtype = dtype_of(x);
    a.B = x.size(0);
    a.C = x.size(1) / 2;
    a.N = x.size(2) * x.size(3);
    a.last = last;
    a.x = x.const_data_ptr();
    partial.resize(norm_chunks(a) * 4 * a.C);
    a.partial = partial.data();
  }
  template <typename T>
  T* row(int64_t index) {
    return static_cast<T*>(rows.mutable_data_ptr()) + index * 2 * norm_width(x.size(1) / 2);
  }
  // Where channel k stands in a row.
  int64_t place(int64_t k) const {
    const int64_t C = x.size(1) / 2;
    return k < C ? k : norm_width(C) + k - C;
  }
};

// Means and variances of all channels from those of the chunks (Chan et al., 1979), in order.
template <typename T>
void merge_statistics(const NormGluArgs& a, T* mean, T* var) {
  for (int64_t k = 0; k < 2 * a.C; ++k) {
    double count = 0, middle = 0, squares = 0;
    for (int64_t chunk = 0; chunk < norm_chunks(a); ++chunk) {
      const double* part = a.partial + (chunk * 2 * a.C + k) * 2;
      const double more = double(norm_count(a, chunk)), all = count + more, apart = part[0] - middle;
      middle += apart * more / all;
      squares += part[1] + apart * apart * count * more / all;
      count = all;
    }
    mean[k] = T(middle);
    var[k] = T(squares / count);
  }
}

// Rows 0, 1, 2: mean, scale, shift.
template <typename T>
void fill_norm(Norm& norm, const Tensor& mean, const Tensor& var, double eps, NormGluArgs& a) {
  const T *m = static_cast<const T*>(mean.const_data_ptr()), *v = static_cast<const T*>(var.const_data_ptr());
  const T* weight = static_cast<const T*>(norm.weight.const_data_ptr());
  const T* bias = static_cast<const T*>(norm.bias.const_data_ptr());
  for (int64_t k = 0; k < 2 * a.C; ++k) {
    norm.row<T>(0)[norm.place(k)] = m[k];
    norm.row<T>(1)[norm.place(k)] = T(double(weight[k]) / std::sqrt(double(v[k]) + eps));
    norm.row<T>(2)[norm.place(k)] = bias[k];
  }
  a.mean = norm.row<T>(0);
  a.scale = norm.row<T>(1);
  a.shift = norm.row<T>(2);
}

// Rows 3, 4: centre, slope; and the gradients of weight and bias.
template <typename T>
void finish_sums(Norm& norm, const Tensor& var, double eps, NormGluBackwardArgs& a, T* grad_weight, T* grad_bias) {
  const T* v = static_cast<const T*>(var.const_data_ptr());
  const double count = double(a.B * a.N);
  for (int64_t k = 0; k < 2 * a.C; ++k) {
    double sum = 0, product = 0;
    for (int64_t chunk = 0; chunk < norm_chunks(a); ++chunk) {
      sum += a.partial[(chunk * 2 * a.C + k) * 2];
      product += a.partial[(chunk * 2 * a.C + k) * 2 + 1];
    }
    const double square = double(v[k]) + eps;
    grad_weight[k] = T(product / std::sqrt(square));
    grad_bias[k] = T(sum);
    norm.row<T>(3)[norm.place(k)] = T(sum / count);
    norm.row<T>(4)[norm.place(k)] = T(product / square / count);
  }
  a.centre = norm.row<T>(3);
  a.slope = norm.row<T>(4);
}

template <typename F>
void with_computed(const Tensor& x, const F& f) {
  if (x.scalar_type() == ScalarType::Double) f(double());
  else f(float());
}

}  // namespace

std::tuple<Tensor, Tensor, Tensor> norm_glu_forward(Tensor x, Tensor weight, Tensor bias, double eps) {
  Norm norm(x, weight, bias, 3);
  NormGluForwardArgs a;
  norm.describe(a);
  over_items<NormGluArgs>(kernels().norm_statistics, a, norm_items(a));
  Tensor mean = empty_of({2 * a.C}, computed_in(x)), var = empty_of({2 * a.C}, computed_in(x));
  Tensor out = empty_pixels(norm.x, a.C);
  with_computed(x, [&](auto zero) {
    using T = decltype(zero);
    merge_statistics(a, static_cast<T*>(mean.mutable_data_ptr()), static_cast<T*>(var.mutable_data_ptr()));
    fill_norm<T>(norm, mean, var, eps, a);
  });
  a.out = out.mutable_data_ptr();
  over_items(kernels().norm_glu_forward, a, norm_items(a));
  return {out, mean, var};
}

std::tuple<Tensor, Tensor, Tensor> norm_glu_backward(
    Tensor grad, Tensor x, Tensor weight, Tensor bias, Tensor mean, Tensor var, double eps) {
  Norm norm(x, weight, bias, 5);
  const Tensor given = dense(grad, norm.last);
  NormGluBackwardArgs a;
  norm.describe(a);
  a.grad = given.const_data_ptr();
  Tensor grad_x = empty_pixels(norm.x, 2 * a.C);
  Tensor grad_weight = empty_of({2 * a.C}, computed_in(x)), grad_bias = empty_of({2 * a.C}, computed_in(x));
  a.grad_x = grad_x.mutable_data_ptr();
  with_computed(x, [&](auto zero) {
    using T = decltype(zero);
    fill_norm<T>(norm, mean, var, eps, a);
    over_items(kernels().norm_glu_sums, a, norm_items(a));
    finish_sums(
        norm, var, eps, a, static_cast<T*>(grad_weight.mutable_data_ptr()),
        static_cast<T*>(grad_bias.mutable_data_ptr()));
  });
  over_items(kernels().norm_glu_backward, a, norm_items(a));
  return {grad_x, grad_weight, grad_bias};
}

}  // namespace memgan::cpu

STABLE_TORCH_LIBRARY_IMPL(memgan, CPU, m) {
  m.impl("norm_glu_forward", TORCH_BOX(&memgan::cpu::norm_glu_forward));
  m.impl("norm_glu_backward", TORCH_BOX(&memgan::cpu::norm_glu_backward));
}
