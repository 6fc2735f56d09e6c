// The emulator's scheduler. Compiled without sanitizers, so that its own bookkeeping, which all fibers share, is not
// taken for the kernels'; ThreadSanitizer is told of fibers and barriers by its own calls where it is linked.
#include "emulator.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <vector>

extern "C" {
void* __tsan_get_current_fiber() __attribute__((weak));
void* __tsan_create_fiber(unsigned flags) __attribute__((weak));
void __tsan_switch_to_fiber(void* fiber, unsigned flags) __attribute__((weak));
void __tsan_acquire(void* address) __attribute__((weak));
void __tsan_release(void* address) __attribute__((weak));
}

namespace memgan::emulator {
namespace {

constexpr int kLanes = 32, kSlot = 64, kBlocksAtOnce = 3;
constexpr size_t kStack = 256 << 10;

void acquire(void* address) {
  if (__tsan_acquire != nullptr) __tsan_acquire(address);
}
void release(void* address) {
  if (__tsan_release != nullptr) __tsan_release(address);
}

// Where a fiber stands. It starts by ucontext, which asks the system at every change, and goes on by the compiler's own
// jumps, which do not; the library's setjmp would be taken amiss by sanitizers.
struct Context {
  ucontext_t first;
  void* later[5];
  bool started = false;
};

[[noreturn, gnu::noinline]] void go(Context& to) {  // not in the function that has set the place to come back to
  if (to.started) __builtin_longjmp(to.later, 1);
  to.started = true;
  setcontext(&to.first);
  std::abort();
}

void change(Context& from, Context& to) {
  from.started = true;
  if (__builtin_setjmp(from.later) == 0) go(to);
}

struct Block;

struct Thread {
  Context context;
  void* stack = nullptr;
  void* fiber = nullptr;  // ThreadSanitizer's
  Block* block = nullptr;
  Index index;
  int warp = 0, lane = 0;
  const char* waits_for = nullptr;
  std::deque<std::vector<Copy>> groups;  // committed
  std::vector<Copy> open;                // not committed yet
  size_t landed = 0;                     // of groups.front()
};

// Where threads meet. Its vector and the machine's get their memory from the host, never from a fiber: the allocator
// and its copies are watched by sanitizers wherever they are called from. The address is what orders them for
// ThreadSanitizer; two, so that who is early for the next meeting does not order who is late from this one.
struct Meeting {
  std::vector<Thread*> here;
  size_t size = 0;
  const char* what = nullptr;
  char edges[2] = {};
  int phase = 0;
  void of(size_t threads) {
    size = threads;
    here.reserve(threads);
  }
};

struct Warp {
  Meeting meeting;
  unsigned char slots[2][kLanes * kSlot];
};

struct Block {
  Index index;
  std::unique_ptr<unsigned char[]> shared;
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  Meeting meeting;
};

struct Machine {
  Context context;
  void* fiber = nullptr;
  Thread* running = nullptr;
  std::vector<Thread*> ready;
  // Kept for the blocks that come after: the host orders those behind all that end before, so that nothing is lost by
  // it, and ThreadSanitizer takes long to make a fiber.
  std::vector<void*> stacks, fibers;
  Index block_size, grid_size;
  const std::function<void()>* body = nullptr;
  size_t finished = 0;
  int64_t launches = 0;
  uint64_t random = 0x9e3779b97f4a7c15;
  int64_t most_shared = 227 << 10;
  char start = 0, end = 0;  // edges from and to the host
} machine;

[[noreturn]] void fail(const char* what, const char* more = "") {
  const Thread* t = machine.running;
  std::printf(
      "emulator: block %u, %u thread %u: %s%s\n", t ? t->block->index.x : 0, t ? t->block->index.y : 0,
      t ? t->index.x : 0, what, more);
  std::fflush(stdout);
  std::_Exit(3);
}

void to_machine() {
  Thread* self = machine.running;
  if (__tsan_switch_to_fiber != nullptr) __tsan_switch_to_fiber(machine.fiber, 1);  // 1: orders nothing
  change(self->context, machine.context);
}

void meet(Meeting& meeting, const char* what, bool orders) {
  Thread* self = machine.running;
  if (meeting.here.empty()) meeting.what = what;
  else if (std::strcmp(meeting.what, what) != 0) fail(what, " meets threads that wait for something else");
  char* edge = &meeting.edges[meeting.phase];
  if (orders) release(edge);
  meeting.here.push_back(self);
  if (meeting.here.size() < meeting.size) {
    self->waits_for = what;
    to_machine();
    self->waits_for = nullptr;
  } else {
    meeting.phase ^= 1;
    meeting.here.pop_back();
    for (Thread* thread : meeting.here) machine.ready.push_back(thread);
    meeting.here.clear();
  }
  if (orders) acquire(edge);
}

void run_thread() {
  acquire(&machine.start);
  (*machine.body)();
  Thread* self = machine.running;
  if (!self->open.empty() || !self->groups.empty()) fail("ends before its asynchronous copies: a wait is missing");
  release(&machine.end);
  ++machine.finished;
  to_machine();
}

void start(Thread& thread) {
  if (machine.stacks.empty()) {
    void* stack = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED) fail("no memory for a stack");
    machine.stacks.push_back(stack);
  }
  thread.stack = machine.stacks.back();
  machine.stacks.pop_back();
  ucontext_t& context = thread.context.first;
  getcontext(&context);
  context.uc_stack.ss_sp = thread.stack;
  context.uc_stack.ss_size = kStack;
  context.uc_link = nullptr;
  makecontext(&context, run_thread, 0);
  if (__tsan_create_fiber != nullptr) {
    if (machine.fibers.empty()) machine.fibers.push_back(__tsan_create_fiber(0));
    thread.fiber = machine.fibers.back();
    machine.fibers.pop_back();
  }
  machine.ready.push_back(&thread);
}

void run(std::vector<std::unique_ptr<Block>>& blocks) {
  size_t count = 0;
  for (const auto& block : blocks) count += block->threads.size();
  machine.finished = 0;
  while (machine.finished < count) {
    if (machine.ready.empty()) {
      for (const auto& block : blocks)
        for (Thread& thread : block->threads)
          if (thread.waits_for != nullptr) {
            machine.running = &thread;
            fail(thread.waits_for, " is not reached by all threads");
          }
      fail("nothing can run");
    }
    machine.random ^= machine.random << 13, machine.random ^= machine.random >> 7;
    machine.random ^= machine.random << 17;
    std::swap(machine.ready[machine.random % machine.ready.size()], machine.ready.back());
    machine.running = machine.ready.back();
    machine.ready.pop_back();
    if (__tsan_switch_to_fiber != nullptr) __tsan_switch_to_fiber(machine.running->fiber, 1);
    change(machine.context, machine.running->context);
  }
  machine.running = nullptr;
}

}  // namespace

const Index& thread_index() { return machine.running->index; }
const Index& block_index() { return machine.running->block->index; }
const Index& block_size() { return machine.block_size; }
const Index& grid_size() { return machine.grid_size; }
unsigned char* shared_memory() { return machine.running->block->shared.get(); }
int lane() { return machine.running->lane; }
int64_t most_shared() { return machine.most_shared; }
void set_most_shared(int64_t bytes) { machine.most_shared = bytes; }
void set_seed(uint64_t seed) { machine.random = seed * 2 + 1; }

void barrier_of_block() { meet(machine.running->block->meeting, "__syncthreads", true); }
void barrier_of_warp() {
  Thread* self = machine.running;
  meet(self->block->warps[self->warp].meeting, "__syncwarp", true);
}

const unsigned char* exchange(const char* what, const void* mine, size_t bytes) {
  if (bytes > kSlot) fail(what, ": too many bytes");
  Thread* self = machine.running;
  Warp& warp = self->block->warps[self->warp];
  unsigned char* slots = warp.slots[warp.meeting.phase];
  for (size_t i = 0; i < bytes; ++i)  // no memcpy: sanitizers look at those of anyone
    slots[self->lane * kSlot + i] = static_cast<const unsigned char*>(mine)[i];
  meet(warp.meeting, what, false);
  return slots;
}

void check_multiple(const void* address, size_t of, const char* what) {
  if (reinterpret_cast<uintptr_t>(address) % of != 0) fail(what, ": an address is no multiple of the size");
}

void copy_async(void* to, const void* from, size_t bytes) {
  for (const void* address : {static_cast<const void*>(to), from}) check_multiple(address, bytes, "cp.async");
  machine.running->open.push_back({to, from, bytes});
}
void commit_copies() {
  Thread* self = machine.running;
  self->groups.push_back(std::move(self->open));
  self->open.clear();
}
bool next_copy(int pending, Copy* copy) {
  Thread* self = machine.running;
  while (self->groups.size() > size_t(pending)) {
    std::vector<Copy>& first = self->groups.front();
    if (self->landed < first.size()) {
      *copy = first[self->landed++];
      return true;
    }
    self->groups.pop_front();
    self->landed = 0;
  }
  return false;
}

int64_t launches() { return machine.launches; }

const char* launch(const std::function<void()>& body, int64_t x, int64_t y, int threads, int64_t shared) {
  if (threads < 1 || threads > 1024 || threads % kLanes != 0) return "a block has 32 to 1024 threads, in whole warps";
  if (shared > machine.most_shared) return "a block has less shared memory";
  if (x > 0x7fffffff || y > 65535) return "too many blocks";
  machine.body = &body;
  ++machine.launches;
  machine.ready.reserve(size_t(threads) * kBlocksAtOnce);
  machine.block_size = {unsigned(threads), 1, 1};
  machine.grid_size = {unsigned(x), unsigned(y), 1};
  if (__tsan_get_current_fiber != nullptr) machine.fiber = __tsan_get_current_fiber();
  for (int64_t first = 0; first < x * y; first += kBlocksAtOnce) {
    std::vector<std::unique_ptr<Block>> blocks;
    for (int64_t i = first; i < x * y && i < first + kBlocksAtOnce; ++i) {
      auto block = std::make_unique<Block>();
      block->index = {unsigned(i % x), unsigned(i / x), 0};
      block->shared.reset(new unsigned char[shared]);
      std::memset(block->shared.get(), 0xff, shared);  // NaN in every dtype, -1 as a number
      block->threads = std::vector<Thread>(threads);
      block->warps = std::vector<Warp>(threads / kLanes);
      block->meeting.of(threads);
      for (Warp& warp : block->warps) warp.meeting.of(kLanes);
      blocks.push_back(std::move(block));
    }
    release(&machine.start);
    for (auto& block : blocks)
      for (int i = 0; i < threads; ++i) {
        Thread& thread = block->threads[i];
        thread.block = block.get();
        thread.index.x = i;
        thread.warp = i / kLanes, thread.lane = i % kLanes;
        start(thread);
      }
    run(blocks);
    acquire(&machine.end);
    for (auto& block : blocks)
      for (Thread& thread : block->threads) {
        machine.stacks.push_back(thread.stack);
        if (thread.fiber != nullptr) machine.fibers.push_back(thread.fiber);
      }
  }
  return nullptr;
}

}  // namespace memgan::emulator
