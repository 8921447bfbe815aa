#include "kernels/cuda/emulation/run_grid.h"

#include <array>
#include <boost/context/fiber.hpp>
#include <boost/context/pooled_fixedsize_stack.hpp>
#include <deque>
#include <exception>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "kernels/cuda/emulation/execution.h"
#include "kernels/cuda/emulation/shared_tracker.h"

namespace tessera::kernels::cuda::emulation {
namespace {

namespace context = boost::context;

constexpr unsigned kLanes = 32;
constexpr unsigned kAllLanes = 0xFFFFFFFFU;
constexpr std::size_t kStackBytes = 64 << 10;
constexpr int kPoisonByte = 0xFF;

std::string text_of(const Site& site) {
  return detail::concat(site.file_name(), ":", site.line());
}

struct Copy {
  void* to = nullptr;
  const void* from = nullptr;  // null: zeros
  int num_bytes = 0;
};

enum class State { kReady, kAtCtaBarrier, kAtWarpBarrier, kDone };

struct Thread {
  context::fiber fiber;
  Index3 index;
  State state = State::kReady;
  Site site;
  unsigned lanes = 0;         // that meet at the warp barrier it waits at
  bool orders_memory = true;  // that barrier: a shuffle does not
  std::uint32_t warp_epoch = 0;
  std::uint32_t exchanges = 0;
  std::deque<std::vector<Copy>> groups;
  std::vector<Copy> open_group;
  std::vector<PendingProduct> products;
};

// The smallest element that kernels share: bf16.
constexpr std::ptrdiff_t kGranule = 2;

// Last accesses to one granule of shared memory. A thread's number is one more than its index.
struct Touch {
  std::uint32_t cta_epoch = 0;
  std::uint32_t warp_epoch = 0;
  std::uint16_t thread = 0;
  bool several = false;  // of this epoch, from other warps too
};
struct Shadow {
  Touch write;
  Touch read;
  Touch atomic;
};

// Two exchange areas per warp: a lane may be one exchange ahead of another, never two.
struct Warp {
  std::array<std::array<std::byte, kLanes * kExchangeBytes>, 2> slots;
};

class Cta {
 public:
  Cta(Index3 index, Index3 grid, unsigned num_threads, int shared_bytes, std::mt19937& rng)
      : index_(index),
        size_{num_threads, 1, 1},
        grid_(grid),
        threads_(num_threads),
        warps_((num_threads + kLanes - 1) / kLanes),
        memory_(static_cast<std::size_t>(shared_bytes) + kAlignment),
        shadow_(static_cast<std::size_t>(shared_bytes / kGranule)),
        rng_(rng) {
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
    shared_ = memory_.data() + (kAlignment - address % kAlignment);
    std::memset(shared_, kPoisonByte, static_cast<std::size_t>(shared_bytes));
  }

  void run(const std::function<void()>& body, context::pooled_fixedsize_stack& stacks) {
    for (unsigned i = 0; i < threads_.size(); ++i) {
      Thread& thread = threads_[i];
      thread.index = {i, 0, 0};
      thread.fiber = context::fiber(std::allocator_arg, stacks, [&](context::fiber&& main) {
        main_ = std::move(main);
        try {
          body();
        } catch (const context::detail::forced_unwind&) {
          throw;
        } catch (...) {
          if (!failure_) failure_ = std::current_exception();
        }
        thread.state = State::kDone;
        return std::move(main_);
      });
    }
    std::vector<unsigned> order(threads_.size());
    std::iota(order.begin(), order.end(), 0U);
    while (run_stretch(order)) open_barriers();
  }

  // --- called by the thread that runs ---

  Thread& current() { return *current_; }
  const Index3& index() const { return index_; }
  const Index3& size() const { return size_; }
  const Index3& grid() const { return grid_; }
  unsigned char* shared() const { return shared_; }

  void wait(State state, unsigned lanes, bool orders_memory, const Site& site) {
    Thread& thread = *current_;
    thread.state = state;
    thread.lanes = lanes;
    thread.orders_memory = orders_memory;
    thread.site = site;
    main_ = std::move(main_).resume();
  }

  const std::byte* exchange(const void* mine, int num_bytes, unsigned lanes, const Site& site) {
    Thread& thread = *current_;
    Warp& warp = warps_[thread.index.x / kLanes];
    auto& slots = warp.slots[thread.exchanges++ % 2];
    TESSERA_CHECK(num_bytes <= kExchangeBytes, "an exchange of ", num_bytes, " bytes");
    std::memcpy(&slots[(thread.index.x % kLanes) * std::size_t{kExchangeBytes}], mine,
                static_cast<std::size_t>(num_bytes));
    wait(State::kAtWarpBarrier, lanes, /*orders_memory=*/false, site);
    return slots.data();
  }

  void track(const void* address, int num_bytes, Access access) {
    const std::ptrdiff_t first = static_cast<const unsigned char*>(address) - shared_;
    const std::ptrdiff_t end = first + num_bytes;
    const std::ptrdiff_t size = static_cast<std::ptrdiff_t>(shadow_.size()) * kGranule;
    TESSERA_CHECK(first >= 0 && end <= size, "shared memory has ", size, " bytes; ", where(),
                  " touches [", first, ", ", end, ")");
    for (std::ptrdiff_t i = first / kGranule; i * kGranule < end; ++i) touch(i, access);
  }

  void async_copy(void* to, const void* from, int num_bytes, bool present) {
    track(to, num_bytes, Access::kWrite);
    std::memset(to, kPoisonByte, static_cast<std::size_t>(num_bytes));
    current_->open_group.push_back({to, present ? from : nullptr, num_bytes});
  }

  void async_commit() {
    current_->groups.push_back(std::move(current_->open_group));
    current_->open_group.clear();
  }

  void async_wait(int num_pending) {
    auto& groups = current_->groups;
    while (static_cast<int>(groups.size()) > num_pending) {
      for (const Copy& copy : groups.front()) {
        track(copy.to, copy.num_bytes, Access::kWrite);
        const auto bytes = static_cast<std::size_t>(copy.num_bytes);
        if (copy.from == nullptr) {
          std::memset(copy.to, 0, bytes);
        } else {
          std::memcpy(copy.to, copy.from, bytes);
        }
      }
      groups.pop_front();
    }
  }

 private:
  static constexpr std::size_t kAlignment = 1024;

  std::string where() const {
    return detail::concat("thread ", current_->index.x, " of CTA (", index_.x, ", ", index_.y, ")");
  }

  // Runs every ready thread until it waits or ends. False when all have ended.
  bool run_stretch(std::vector<unsigned>& order) {
    std::shuffle(order.begin(), order.end(), rng_);
    bool alive = false;
    for (const unsigned i : order) {
      Thread& thread = threads_[i];
      if (thread.state == State::kReady) {
        current_ = &thread;
        thread.fiber = std::move(thread.fiber).resume();
        if (failure_) std::rethrow_exception(failure_);
      }
      alive = alive || thread.state != State::kDone;
    }
    return alive;
  }

  void open_barriers() {
    bool opened = false;
    for (unsigned first = 0; first < threads_.size(); first += kLanes) {
      opened = open_warp_barrier(first) || opened;
    }
    if (!opened) open_cta_barrier();
  }

  // Opens one barrier of a warp whose lanes have all come.
  bool open_warp_barrier(unsigned first) {
    bool opened = false;
    for (unsigned lane = 0; lane < kLanes; ++lane) {
      const Thread& waiting = threads_[first + lane];
      if (waiting.state != State::kAtWarpBarrier) continue;
      if (!have_met(first, waiting)) continue;
      open_lanes(first, waiting.lanes, waiting.orders_memory);
      opened = true;
    }
    return opened;
  }

  bool have_met(unsigned first, const Thread& waiting) const {
    for (unsigned lane = 0; lane < kLanes; ++lane) {
      if (((waiting.lanes >> lane) & 1U) == 0) continue;
      const Thread& other = threads_[first + lane];
      if (other.state != State::kAtWarpBarrier) return false;
      TESSERA_CHECK(is_same_place(waiting, other), "lanes of a warp diverge: thread ",
                    waiting.index.x, " waits at ", text_of(waiting.site), ", thread ",
                    other.index.x, " at ", text_of(other.site));
    }
    return true;
  }

  static bool is_same_place(const Thread& a, const Thread& b) {
    return a.lanes == b.lanes && a.orders_memory == b.orders_memory &&
           a.site.line() == b.site.line() && a.site.column() == b.site.column();
  }

  void open_lanes(unsigned first, unsigned lanes, bool orders_memory) {
    for (unsigned lane = 0; lane < kLanes; ++lane) {
      if (((lanes >> lane) & 1U) == 0) continue;
      Thread& thread = threads_[first + lane];
      thread.state = State::kReady;
      if (orders_memory) ++thread.warp_epoch;
    }
  }

  void open_cta_barrier() {
    const Thread& one = threads_.front();
    for (const Thread& thread : threads_) {
      TESSERA_CHECK(thread.state == State::kAtCtaBarrier && one.state == State::kAtCtaBarrier &&
                        thread.site.line() == one.site.line(),
                    "threads of a CTA diverge: thread 0 ", describe(one), ", thread ",
                    thread.index.x, " ", describe(thread));
    }
    for (Thread& thread : threads_) thread.state = State::kReady;
    ++cta_epoch_;
  }

  static std::string describe(const Thread& thread) {
    if (thread.state == State::kDone) return "has ended";
    return detail::concat("waits at ", text_of(thread.site));
  }

  bool is_ordered(const Touch& before) const {
    if (before.thread == 0 || before.cta_epoch < cta_epoch_) return true;
    const unsigned other = before.thread - 1U;
    if (before.several) return false;
    if (other == current_->index.x) return true;
    return other / kLanes == current_->index.x / kLanes && before.warp_epoch < current_->warp_epoch;
  }

  void touch(std::ptrdiff_t granule, Access access) {
    Shadow& shadow = shadow_[static_cast<std::size_t>(granule)];
    const bool reads = access == Access::kRead;
    const bool ordered = is_ordered(shadow.write) && (reads || is_ordered(shadow.read)) &&
                         (access == Access::kAtomic || is_ordered(shadow.atomic));
    TESSERA_CHECK(ordered, "a race in shared memory: ", where(), reads ? " reads" : " writes",
                  " byte ", granule * kGranule, " with no barrier since thread ",
                  last_other(shadow, reads), " touched it");
    Touch& last = access == Access::kRead    ? shadow.read
                  : access == Access::kWrite ? shadow.write
                                             : shadow.atomic;
    const bool several = !is_ordered(last);
    last = {cta_epoch_, current_->warp_epoch, static_cast<std::uint16_t>(current_->index.x + 1),
            several};
  }

  unsigned last_other(const Shadow& shadow, bool reads) const {
    if (!is_ordered(shadow.write)) return shadow.write.thread - 1U;
    if (!reads && !is_ordered(shadow.read)) return shadow.read.thread - 1U;
    return shadow.atomic.thread - 1U;
  }

  Index3 index_;
  Index3 size_;
  Index3 grid_;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::vector<unsigned char> memory_;
  unsigned char* shared_ = nullptr;
  std::vector<Shadow> shadow_;
  std::mt19937& rng_;
  std::uint32_t cta_epoch_ = 0;
  Thread* current_ = nullptr;
  context::fiber main_;
  std::exception_ptr failure_;
};

thread_local Cta* running = nullptr;

}  // namespace

const Index3& thread_index() {
  return running->current().index;
}
const Index3& cta_index() {
  return running->index();
}
const Index3& cta_size() {
  return running->size();
}
const Index3& grid_size() {
  return running->grid();
}
void sync_cta(const Site& site) {
  running->wait(State::kAtCtaBarrier, kAllLanes, /*orders_memory=*/true, site);
}
void sync_warp(unsigned lanes, const Site& site) {
  running->wait(State::kAtWarpBarrier, lanes, /*orders_memory=*/true, site);
}
const std::byte* exchange(const void* mine, int num_bytes, unsigned lanes, const Site& site) {
  return running->exchange(mine, num_bytes, lanes, site);
}
unsigned char* dynamic_shared_memory() {
  return running->shared();
}
void track(const void* address, int num_bytes, Access access) {
  running->track(address, num_bytes, access);
}
void async_copy(void* to, const void* from, int num_bytes, bool present) {
  running->async_copy(to, from, num_bytes, present);
}
void async_commit() {
  running->async_commit();
}
void async_wait(int num_pending) {
  running->async_wait(num_pending);
}
std::vector<PendingProduct>& pending_products() {
  return running->current().products;
}

void run_grid(unsigned grid_x,
              unsigned grid_y,
              unsigned num_threads,
              int shared_bytes,
              const std::function<void()>& body) {
  TESSERA_CHECK(num_threads > 0 && num_threads % kLanes == 0 && num_threads <= 1024, "a CTA of ",
                num_threads, " threads");
  std::mt19937 rng(grid_x * 31 + grid_y * 7 + num_threads);
  context::pooled_fixedsize_stack stacks(kStackBytes);
  std::vector<unsigned> ctas(std::size_t{grid_x} * grid_y);
  std::iota(ctas.begin(), ctas.end(), 0U);
  std::shuffle(ctas.begin(), ctas.end(), rng);
  for (const unsigned cta : ctas) {
    Cta one({cta % grid_x, cta / grid_x, 0}, {grid_x, grid_y, 1}, num_threads, shared_bytes, rng);
    running = &one;
    one.run(body, stacks);
  }
  running = nullptr;
}

}  // namespace tessera::kernels::cuda::emulation
