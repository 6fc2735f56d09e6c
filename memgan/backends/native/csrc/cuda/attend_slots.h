// The slots of one image as the fast kernels keep them in shared memory.
#pragma once

#include "attend_tile.h"

namespace memgan::cuda {

// How many rows of slots and how many channels a kernel is compiled for at most; 0: any, as many as there are. Where
// they are known, so is where everything lies in shared memory.
template <int kRowsOf, int kChannelsOf>
struct Most {
  static constexpr int kRows = kRowsOf, kChannels = kChannelsOf;
  static constexpr int kAtOnce = kChannels > 0 ? 2 : 1;  // 16s of channels: addresses that are known take no registers
  static MEMGAN_BOTH int channels(const AttendArgs& a) { return kChannels > 0 ? kChannels : up_to_16(a.C); }
  // The gate's and the words'.
  static MEMGAN_BOTH int64_t rows(const AttendArgs& a) { return kRows > 0 ? kRows : up_to_16(a.L + 1); }
};
using Any = Most<0, 0>;

// How numbers of slots lie there: as they are.
template <typename S>
struct Plain {
  static constexpr int pad = kVector<S>;  // behind a row
  S* data;
  MEMGAN_BOTH Plain(Room& room, int64_t count) : data(room.take<S>(count)) {}
  MEMGAN_DEVICE operator const S*() const { return data; }
  MEMGAN_DEVICE void put(int i, const Sixteen<S>& numbers) const { *reinterpret_cast<uint4*>(data + i) = numbers.bits; }
  MEMGAN_DEVICE float number(int i) const { return read(data[i]); }
};

// Two numbers → the pairs of their parts: three of bfloat16, whose sum each is.
MEMGAN_DEVICE void split_pair(float low, float high, uint32_t (&parts)[3]) {
  MEMGAN_UNROLL
  for (int i = 0; i < 3; ++i) {
    parts[i] = packed_pair<Bf16>(low, high);
    const float2 part = unpacked_pair<Bf16>(parts[i]);
    low -= part.x, high -= part.y;
  }
}

// Or each part of a number of float32 in a plane of its own.
struct Planes {
  static constexpr int pad = kVector<Bf16>;
  Bf16* data;
  int64_t size;
  MEMGAN_BOTH Planes(Room& room, int64_t count) : data(room.take<Bf16>(3 * count)), size(count) {}
  MEMGAN_DEVICE Bf16* plane(int i) const { return data + i * size; }
  MEMGAN_DEVICE void put(int i, const Sixteen<float>& numbers) const {
    uint32_t parts[2][3];
    MEMGAN_UNROLL
    for (int e = 0; e < 2; ++e) split_pair(numbers[2 * e], numbers[2 * e + 1], parts[e]);
    MEMGAN_UNROLL
    for (int p = 0; p < 3; ++p) *reinterpret_cast<uint2*>(plane(p) + i) = uint2{parts[0][p], parts[1][p]};
  }
  MEMGAN_DEVICE float number(int i) const { return read(plane(0)[i]) + (read(plane(1)[i]) + read(plane(2)[i])); }
};

// Real words only, and the gate's halves as row 0: w_r before the keys and w_o before the values, so that the gate's
// logit is always in the same lane.
template <typename E, typename M = Any>
struct Packed {
  using S = typename E::Stored;
  using Held = typename E::template SlotsOf<M>;
  int row;
  Held keys, values;        // [rows][row], and zeros up to 16 rows
  float* value_gate;        // of each row: w_o . v_l, zero where there is no word
  float* masked;            // of each row: 0, or -inf where there is no word
  int32_t* words;           // [L + 1]
  int count = 0, rows = 0;  // real words; rows of slots

  MEMGAN_BOTH Packed(const AttendArgs& a, Room& room)
      : row(M::channels(a) + Held::pad),
        keys(room, M::rows(a) * row),
        values(room, M::rows(a) * row),
        value_gate(room.take<float>(M::rows(a))),
        masked(room.take<float>(M::rows(a))),
        words(room.take<int32_t>(M::kRows > 0 ? M::kRows : a.L + 1)) {}

  // Where rows of slots lie in memory, the gate's as row 0.
  struct Source {
    const S *slots, *gate;  // gate: nullptr, there is none
    int64_t word, channel;
    int channels;
    bool whole;  // 16 bytes can be read at once
    MEMGAN_DEVICE Source(const AttendArgs& a, const Slots& from, int64_t b, const S* gate)
        : slots(static_cast<const S*>(from.data) + b * from.batch),
          gate(gate),
          word(from.word),
          channel(from.channel),
          channels(int(a.C)),
          whole(
              channel == 1 && a.C % kVector<S> == 0 && word % kVector<S> == 0 &&
              (reinterpret_cast<uintptr_t>(slots) | reinterpret_cast<uintptr_t>(gate)) % 16 == 0) {}
  };
  // Row l from channel c on: a pointer, nullptr where there are zeros.
  MEMGAN_DEVICE const S* place(const Source& from, int l, int c) const {
    if (l > count || c >= from.channels || (l == 0 && from.gate == nullptr)) return nullptr;
    return l == 0 ? from.gate + c : from.slots + words[l - 1] * from.word + c * from.channel;
  }
  MEMGAN_DEVICE Sixteen<S> sixteen(const Source& from, int l, int c) const {
    Sixteen<S> numbers{uint4{0, 0, 0, 0}};
    const S* source = place(from, l, c);
    if (source == nullptr) return numbers;
    if (from.whole) return {*reinterpret_cast<const uint4*>(source)};
    MEMGAN_UNROLL
    for (int e = 0; e < kVector<S>; ++e)
      if (c + e < from.channels) numbers.set(e, source[e * (l == 0 ? 1 : from.channel)]);
    return numbers;
  }
  // Where 16 bytes of a row are to lie: the i-th of all, `channels` a row.
  struct Vector {
    int l, c, at;
    MEMGAN_DEVICE Vector(int i, int channels, int row)
        : l(i * kVector<S> / channels), c(i * kVector<S> % channels), at(l * row + c) {}
  };

  // Through registers, where numbers are not copied as they are; the first are under way when `meanwhile` is called.
  template <typename Meanwhile>
  MEMGAN_DEVICE void put_all(
      const Source& of_keys, const Source& of_values, int channels, Meanwhile&& meanwhile) const {
    constexpr int kAhead = 4;
    const int thread = int(threadIdx.x), threads = int(blockDim.x), all = up_to_16(rows) * channels / kVector<S>;
    for (int first = 0; first < all || first == 0; first += kAhead * threads) {
      Sixteen<S> key[kAhead], value[kAhead];
      MEMGAN_UNROLL
      for (int n = 0; n < kAhead; ++n) {
        const Vector to(first + n * threads + thread, channels, row);
        key[n] = sixteen(of_keys, to.l, to.c);
        value[n] = sixteen(of_values, to.l, to.c);
      }
      if (first == 0) meanwhile();
      MEMGAN_UNROLL
      for (int n = 0; n < kAhead; ++n) {
        const Vector to(first + n * threads + thread, channels, row);
        if (to.l >= up_to_16(rows)) continue;
        keys.put(to.at, key[n]);
        values.put(to.at, value[n]);
      }
    }
  }

  // All threads of the block; behind it the slots may be read. `meanwhile` begins copies when those of the slots have
  // begun, for memory answers in the order in which it is asked; they are committed here, and nobody has waited for
  // them.
  template <typename Meanwhile>
  MEMGAN_DEVICE void pack(const AttendArgs& a, int64_t b, Meanwhile&& meanwhile) {
    const S* gate = static_cast<const S*>(a.gate_weight);
    const Source of_keys(a, a.keys, b, gate), of_values(a, a.values, b, gate == nullptr ? nullptr : gate + a.C);
    count = find_real_words(a, b, words);
    rows = count + 1;
    const int channels = M::channels(a);
    constexpr bool as_they_are = std::is_same_v<Held, Plain<S>>;
    if (!as_they_are || !of_keys.whole || !of_values.whole) {
      put_all(of_keys, of_values, channels, meanwhile);
    } else if constexpr (as_they_are) {
      for (int i = int(threadIdx.x); i < up_to_16(rows) * channels / kVector<S>; i += int(blockDim.x)) {
        const Vector to(i, channels, row);
        const S *key = place(of_keys, to.l, to.c), *value = place(of_values, to.l, to.c);
        copy_16(keys.data + to.at, key, key != nullptr);
        copy_16(values.data + to.at, value, value != nullptr);
      }
      commit_copies();
      meanwhile();
    }
    commit_copies();
    wait_for_copies<1>();
    for (int l = int(threadIdx.x); l < up_to_16(rows); l += int(blockDim.x)) {
      masked[l] = l > 0 && l < rows ? 0.f : -INFINITY;
      value_gate[l] = 0;
    }
    __syncthreads();  // packed
    if (gate == nullptr) return;
    const int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp;
    for (int l = 1 + warp; l < rows; l += int(blockDim.x) / kWarp) {
      float sum = 0;
      for (int d = lane; d < a.C; d += kWarp) sum += values.number(d) * values.number(l * row + d);
      sum = sum_of_warp(sum);
      if (lane == 0) value_gate[l] = sum;
    }
    __syncthreads();
  }
};

}  // namespace memgan::cuda
