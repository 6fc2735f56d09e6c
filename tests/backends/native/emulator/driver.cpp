// Runs the CUDA kernels without torch, in the emulator or, where nvcc compiles this, on a GPU: `driver FOLDER...`, a
// case a folder.
//
// A case is what driver.py and plain_case.py write: `case.txt` and one file of bytes a tensor. Every buffer
// is exactly as long as its tensor's storage; results and workspace start as NaN, or as what nobody has written yet.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "attend_launch.h"
#include "driver_memory.h"
#include "project_launch.h"
#include "write_launch.h"

using namespace memgan;
using namespace memgan::cuda;

namespace {

struct Buffer {
  DeviceMemory bytes;
  int64_t offset = 0, strides[3] = {};
  void* data() const { return bytes.data() + offset; }
};

struct Case {
  std::string folder;
  std::map<std::string, double> numbers;
  std::map<std::string, Buffer> buffers;

  // Lines: `number NAME VALUE`, `input|output NAME BYTES OFFSET STRIDE STRIDE STRIDE`.
  explicit Case(const std::string& folder) : folder(folder) {
    std::ifstream text(folder + "/case.txt");
    for (std::string kind, name; text >> kind >> name;) {
      if (kind == "number") {
        text >> numbers[name];
        continue;
      }
      Buffer& buffer = buffers[name];
      int64_t size = 0;
      text >> size >> buffer.offset >> buffer.strides[0] >> buffer.strides[1] >> buffer.strides[2];
      if (kind == "output") {
        buffer.bytes = DeviceMemory(size);
        continue;
      }
      std::vector<char> bytes(size);
      std::ifstream(file(name), std::ios::binary).read(bytes.data(), size);
      buffer.bytes = DeviceMemory(bytes);
    }
  }
  std::string file(const std::string& name) const { return folder + "/" + name + ".bin"; }
  int64_t number(const char* name) const { return int64_t(numbers.at(name)); }
  const Buffer& buffer(const char* name) const { return buffers.at(name); }
  void* data(const char* name) const { return buffers.count(name) ? buffer(name).data() : nullptr; }
  template <typename View>
  View view(const char* name) const {
    if (!buffers.count(name)) return {};
    const Buffer& b = buffer(name);
    return {b.data(), b.strides[0], b.strides[1], b.strides[2]};
  }
  // How many launches `work` is, into `launches.txt`: a line `NAME COUNT`.
  template <typename Work>
  void launched(const char* name, Work&& work) const {
    const int64_t before = launches();
    const char* error = work();
    if (error == nullptr) error = wait_for_device();
    if (error != nullptr) {
      std::printf("launch: %s\n", error);
      std::exit(2);
    }
    std::ofstream(folder + "/launches.txt", std::ios::app) << name << ' ' << launches() - before << '\n';
  }
  void write(const char* name) const {
    if (!buffers.count(name)) return;
    const std::vector<char> bytes = buffer(name).bytes.host();
    std::ofstream(file(name), std::ios::binary).write(bytes.data(), int64_t(bytes.size()));
  }
};

void describe(const Case& in, AttendArgs& a) {
  a.dtype = Dtype(in.number("dtype"));
  a.tf32 = in.number("tf32") != 0;
  a.B = in.number("B"), a.C = in.number("C"), a.D = in.number("D"), a.L = in.number("L"), a.N = in.number("N");
  a.scale = in.numbers.at("scale");
  a.r = in.view<Pixels>("features");
  a.keys = in.view<Slots>("keys");
  a.values = in.view<Slots>("values");
  if (in.buffers.count("mask")) {
    const Buffer& mask = in.buffer("mask");
    a.mask = {static_cast<const bool*>(mask.data()), mask.strides[0], mask.strides[1]};
  }
  a.gate_weight = in.data("weight");
  a.gate_bias = in.data("bias");
}

void describe(const Case& in, WriteArgs& a) {
  a.dtype = Dtype(in.number("dtype"));
  a.B = in.number("B"), a.L = in.number("L"), a.E = in.number("E"), a.C = in.number("C"), a.M = in.number("M");
  a.words = in.data("words"), a.summary = in.data("image_summary");
  a.word_weight = in.data("word_weight"), a.word_bias = in.data("word_bias");
  a.image_weight = in.data("image_weight"), a.image_bias = in.data("image_bias");
  a.gate_word = in.data("gate_word"), a.gate_image = in.data("gate_image");
  a.real = static_cast<const bool*>(in.data("mask"));
}

// Calls `work` with a number of the case's dtype. With ONLY defined there is no other, and with ONLY_OP no other op:
// what is compiled for one kind of case is compiled sooner.
template <typename Work>
void with_dtype(const Case& in, Work&& work) {
#if defined(ONLY)
  if (in.number("dtype") >= 0) work(ONLY{});
#else
  with_stored(Dtype(in.number("dtype")), work);
#endif
}

template <typename S>
void run_write(const Case& in) {
  WriteForwardArgs f;
  describe(in, f);
  f.out = in.data("memory");
  in.launched("forward", [&] { return write_forward_of<S>(f, nullptr); });
  WriteBackwardArgs a;
  describe(in, a);
  a.grad = in.data("grad_memory");
  const auto side = [&](int64_t rows, int64_t inputs, const void* x, const std::string& of, const char* summary,
                        const bool* real) {
    const auto data = [&](const std::string& name) { return in.data(name.c_str()); };
    return LinearBackward{
        rows,
        inputs,
        x,
        data(of + "_weight"),
        data("gate_" + of),
        real,
        data(std::string("grad_") + summary),
        data("grad_" + of + "_weight"),
        data("grad_" + of + "_bias"),
        data("grad_gate_" + of),
        nullptr};
  };
  a.words_side = side(a.B * a.L, a.E, a.words, "word", "words", a.real);
  a.image_side = side(a.B, a.C, a.summary, "image", "image_summary", nullptr);
  const DeviceMemory workspace(write_workspace(a));
  a.workspace = workspace.data();
  in.launched("backward", [&] { return write_backward_of<S>(a, nullptr); });
  for (const char* name :
       {"memory", "grad_words", "grad_image_summary", "grad_word_weight", "grad_word_bias", "grad_image_weight",
        "grad_image_bias", "grad_gate_word", "grad_gate_image"})
    in.write(name);
}

template <typename S>
void run_project(const Case& in) {
  ProjectBackwardArgs a;
  a.dtype = Dtype(in.number("dtype"));
  a.R = in.number("R"), a.M = in.number("M");
  a.memory = in.data("memory");
  const auto side = [&](const std::string& one) {
    const auto data = [&](const std::string& name) { return in.data(name.c_str()); };
    const std::string all = one + "s";
    return Projection{
        in.number((one + "_channels").c_str()),
        data(one + "_weight"),
        data(one + "_bias"),
        data(all),
        data(all),
        data("grad_" + all),
        data("grad_" + one + "_weight"),
        data("grad_" + one + "_bias")};
  };
  a.keys = side("key"), a.values = side("value");
  in.launched("forward", [&] { return project_forward_of<S>(a, nullptr); });
  a.grad_memory = in.data("grad_memory");
  const DeviceMemory workspace(project_workspace(a));
  a.workspace = workspace.data();
  in.launched("backward", [&] { return project_backward_of<S>(a, nullptr); });
  for (const char* name :
       {"keys", "values", "grad_memory", "grad_key_weight", "grad_key_bias", "grad_value_weight", "grad_value_bias"})
    in.write(name);
}

template <typename S>
void run_attend(const Case& in) {
  if (in.buffers.count("out")) {
    ForwardArgs f;
    describe(in, f);
    const DeviceMemory workspace(forward_workspace_of<S>(f));
    f.workspace = workspace.data();
    f.out = in.view<MutablePixels>("out");
    f.attention = in.data("attention");
    in.launched("forward", [&] { return forward_of<S>(f, nullptr); });
  }
  if (in.buffers.count("grad_features")) {
    BackwardArgs a;
    describe(in, a);
    const DeviceMemory workspace(backward_workspace_of<S>(a));
    a.workspace = workspace.data();
    a.grad_out = in.view<Pixels>("grad");
    a.grad_attention = in.view<Pixels>("grad_attention");
    a.grad_r = in.view<MutablePixels>("grad_features");
    a.grad_keys = in.data("grad_keys");
    a.grad_values = in.data("grad_values");
    a.grad_weight = in.data("grad_weight");
    a.grad_bias = in.data("grad_bias");
    in.launched("backward", [&] { return backward_of<S>(a, nullptr); });
  }
  for (const char* name : {"out", "attention", "grad_features", "grad_keys", "grad_values", "grad_weight", "grad_bias"})
    in.write(name);
}

void run(const Case& in) {
  prepare(uint64_t(in.number("seed")), in.numbers.count("shared") ? in.number("shared") : 227 << 10);
  with_dtype(in, [&](auto s) {
    using S = decltype(s);
#if defined(ONLY_OP)
    ONLY_OP<S>(in);
#else
    if (in.buffers.count("grad_word_weight")) run_write<S>(in);
    else if (in.buffers.count("grad_key_weight")) run_project<S>(in);
    else run_attend<S>(in);
#endif
  });
}

}  // namespace

int main(int count, char** folders) {
  for (int i = 1; i < count; ++i) run(Case(folders[i]));
}
