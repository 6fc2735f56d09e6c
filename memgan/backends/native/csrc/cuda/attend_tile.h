// What the fast kernels keep in shared memory: the slots of one image, and tiles of pixels, channel by channel.
//
// A tile is [channel][pixel] whatever the layout of the image: contiguous images are copied 16 bytes at a time without
// passing through registers, channels_last ones are turned while they are copied. Rows are 16 bytes longer than their
// numbers, so that the matrix loads of a warp meet every bank once. Missing channels, words and pixels are zeros.
#pragma once

#include "attend_words.h"

namespace memgan::cuda {

template <typename S>
constexpr int kVector = 16 / int(sizeof(S));  // numbers in 16 bytes

MEMGAN_BOTH int up_to_16(int64_t n) { return int((n + 15) & ~int64_t(15)); }
// Numbers from a row to the next.
template <typename S>
MEMGAN_BOTH int row_of(int64_t n) {
  return up_to_16(n) + kVector<S>;
}

// Rows of words are rounded up to what products take at a time: tensor cores 16, lanes 4.
template <int kUnit>
MEMGAN_BOTH int up_to(int64_t n) {
  return int((n + kUnit - 1) / kUnit * kUnit);
}

// Hands out parts of a block's shared memory; run on the host, it says how much there must be.
struct Room {
  unsigned char* base = nullptr;
  int64_t used = 0;
  template <typename T>
  MEMGAN_BOTH T* take(int64_t count) {
    T* part = reinterpret_cast<T*>(base + used);
    used += (count * int64_t(sizeof(T)) + 15) & ~int64_t(15);
    return part;
  }
};

// The slots of one image: real words only, w_r behind the keys.
template <typename S, int kUnit>
struct Packed {
  int32_t* words;     // [L + 1]
  float* value_gate;  // [L]: w_o . v_l
  S *keys, *values;   // [L + 1][row], [L][row], and zeros up to kUnit words
  int row;
  int count = 0, rows = 0;  // real words; and w_r, where there is a gate

  MEMGAN_BOTH Packed(const AttendArgs& a, Room& room)
      : words(room.take<int32_t>(a.L + 1)),
        value_gate(room.take<float>(a.L)),
        keys(room.take<S>(int64_t(up_to<kUnit>(a.L + 1)) * row_of<S>(a.C))),
        values(room.take<S>(int64_t(up_to<kUnit>(a.L)) * row_of<S>(a.C))),
        row(row_of<S>(a.C)) {}

  MEMGAN_DEVICE void copy(const AttendArgs& a, const Slots& from, int64_t b, int height, const S* last, S* to) const {
    const int vectors = up_to_16(a.C) / kVector<S>;
    const bool whole = from.channel == 1 && from.word % kVector<S> == 0 && from.batch % kVector<S> == 0 &&
                       reinterpret_cast<uintptr_t>(from.data) % 16 == 0;
    for (int i = int(threadIdx.x); i < height * vectors; i += int(blockDim.x)) {
      const int l = i / vectors, c = i % vectors * kVector<S>;
      S* at = to + l * row + c;
      const S* source = static_cast<const S*>(from.data) + b * from.batch;
      int64_t step = from.channel;
      if (l < count) source += words[l] * from.word + c * from.channel;
      else if (l == count && last != nullptr) source = last + c, step = 1;
      else source = nullptr;
      if (source == nullptr || (whole && l < count && c + kVector<S> <= a.C)) {
        copy_16(at, source == nullptr ? from.data : source, source != nullptr);
      } else {
        for (int e = 0; e < kVector<S>; ++e) at[e] = c + e < a.C ? source[e * step] : written<S>(0.f);
      }
    }
  }
  // All threads of the block; behind it the slots may be read.
  MEMGAN_DEVICE void pack(const AttendArgs& a, int64_t b) {
    const bool gated = a.gate_weight != nullptr;
    count = find_real_words(a, b, words);
    rows = count + gated;
    copy(a, a.keys, b, up_to<kUnit>(rows), static_cast<const S*>(a.gate_weight), keys);
    copy(a, a.values, b, up_to<kUnit>(count), nullptr, values);
    commit_copies();
    wait_for_copies<0>();
    __syncthreads();
    if (!gated) return;
    const int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp;
    const S* weight = static_cast<const S*>(a.gate_weight) + a.C;
    for (int l = warp; l < count; l += int(blockDim.x) / kWarp) {
      float sum = 0;
      for (int d = lane; d < a.C; d += kWarp) sum += read(weight[d]) * read(values[l * row + d]);
      sum = sum_of_warp(sum);
      if (lane == 0) value_gate[l] = sum;
    }
    __syncthreads();
  }
};

// How 16 bytes at a time can be moved between an image and tiles, if at all.
enum class Way { pixels, channels, single };
template <typename S, typename View>
MEMGAN_DEVICE Way way_of(const View& view, int64_t channels) {
  if (reinterpret_cast<uintptr_t>(view.data) % 16 != 0 || view.batch % kVector<S> != 0) return Way::single;
  if (view.pixel == 1 && view.row % kVector<S> == 0) return Way::pixels;
  if (view.row == 1 && view.pixel % kVector<S> == 0 && channels % kVector<S> == 0) return Way::channels;
  return Way::single;
}

// kPixels pixels of an image from `first` on, those before `end` only, into or out of a tile; by one warp.
template <typename S, int kPixels>
struct Tile {
  static constexpr int row = kPixels + kVector<S>;
  static constexpr int vectors = kPixels / kVector<S>;

  MEMGAN_BOTH static int64_t size(int64_t channels) { return int64_t(up_to_16(channels)) * row; }

  // Copies go on behind it: commit and wait, then __syncwarp.
  MEMGAN_DEVICE static void load(
      const Pixels& from, Way way, int64_t b, int64_t first, int64_t end, int channels, S* tile) {
    const int lane = int(threadIdx.x) % kWarp;
    const S* image = static_cast<const S*>(from.data) + b * from.batch + first * from.pixel;
    const int pixels = end - first < kPixels ? (end > first ? int(end - first) : 0) : kPixels;
    if (way == Way::channels) {
      // 16 pixels and 32 bytes of each at a time: whole sectors of memory, and two ways into a bank.
      const int sixteens = channels / kVector<S>;
      for (int i = lane; i < (kPixels / 16) * ((sixteens + 1) / 2) * kWarp; i += kWarp) {
        const int block = i / kWarp, c = (block / (kPixels / 16) * 2 + lane % 2) * kVector<S>;
        const int p = block % (kPixels / 16) * 16 + lane / 2;
        if (c >= channels) continue;
        uint4 bits{0, 0, 0, 0};
        if (p < pixels) bits = *reinterpret_cast<const uint4*>(image + p * from.pixel + c);
        const Sixteen<S> numbers{bits};
        MEMGAN_UNROLL
        for (int e = 0; e < kVector<S>; ++e) tile[(c + e) * row + p] = numbers[e];
      }
    } else {
      for (int i = lane; i < channels * vectors; i += kWarp) {
        const int c = i / vectors, p = i % vectors * kVector<S>;
        const S* source = image + c * from.row + p * from.pixel;
        S* at = tile + c * row + p;
        if (p >= pixels || (way == Way::pixels && p + kVector<S> <= pixels)) {
          copy_16(at, p < pixels ? source : from.data, p < pixels);
        } else {
          for (int e = 0; e < kVector<S>; ++e) at[e] = p + e < pixels ? source[e * from.pixel] : written<S>(0.f);
        }
      }
    }
    for (int i = lane; i < (up_to_16(channels) - channels) * vectors; i += kWarp)
      copy_16(tile + (channels + i / vectors) * row + i % vectors * kVector<S>, from.data, false);
  }

  MEMGAN_DEVICE static void store(
      const MutablePixels& to, Way way, int64_t b, int64_t first, int64_t end, int channels, const S* tile) {
    const int lane = int(threadIdx.x) % kWarp;
    S* image = static_cast<S*>(to.data) + b * to.batch + first * to.pixel;
    const int pixels = end - first < kPixels ? (end > first ? int(end - first) : 0) : kPixels;
    if (way == Way::channels) {
      const int sixteens = channels / kVector<S>;
      for (int i = lane; i < (kPixels / 16) * ((sixteens + 1) / 2) * kWarp; i += kWarp) {
        const int block = i / kWarp, c = (block / (kPixels / 16) * 2 + lane % 2) * kVector<S>;
        const int p = block % (kPixels / 16) * 16 + lane / 2;
        if (c >= channels || p >= pixels) continue;
        Sixteen<S> numbers{uint4{0, 0, 0, 0}};
        MEMGAN_UNROLL
        for (int e = 0; e < kVector<S>; ++e) numbers.set(e, tile[(c + e) * row + p]);
        *reinterpret_cast<uint4*>(image + p * to.pixel + c) = numbers.bits;
      }
      return;
    }
    for (int i = lane; i < channels * vectors; i += kWarp) {
      const int c = i / vectors, p = i % vectors * kVector<S>;
      const S* at = tile + c * row + p;
      S* target = image + c * to.row + p * to.pixel;
      if (way == Way::pixels && p + kVector<S> <= pixels) {
        *reinterpret_cast<uint4*>(target) = *reinterpret_cast<const uint4*>(at);
      } else {
        for (int e = 0; e < kVector<S> && p + e < pixels; ++e) target[e * to.pixel] = at[e];
      }
    }
  }
};

}  // namespace memgan::cuda
