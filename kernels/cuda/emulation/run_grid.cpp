#include "kernels/cuda/emulation/run_grid.h"

#include <algorithm>
#include <array>
#include <boost/context/fiber.hpp>
#include <boost/context/pooled_fixedsize_stack.hpp>
#include <exception>
#include <map>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "kernels/cuda/emulation/cta_state.h"
#include "kernels/cuda/emulation/execution.h"
#include "kernels/cuda/emulation/shared_tracker.h"

namespace tessera::kernels::cuda::emulation {
namespace {

namespace context = boost::context;

constexpr unsigned kAllLanes = 0xFFFFFFFFU;
constexpr std::size_t kStackBytes = 64 << 10;
constexpr int kPoisonByte = 0xFF;

std::string text_of(const Site& site) {
  return detail::concat(site.file_name(), ":", site.line());
}

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

  void require_waits() const {
    for (const Thread& thread : threads_) {
      TESSERA_CHECK(thread.has_waited, "thread ", thread.index.x, " of CTA (", index_.x, ", ",
                    index_.y, ") has not awaited the previous kernel");
    }
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

  void init_phases(const void* barrier, int num_arrivals) {
    track(barrier, sizeof(std::uint64_t), Access::kWrite);
    phases_[barrier] = {num_arrivals, num_arrivals, 0, {}, {}};
    if (warp_reads_.empty()) warp_reads_.resize(shadow_.size() * warps_.size());
  }

  void arrive(const void* barrier) {
    Phases& phases = phases_at(barrier);
    Clock mine = current_->seen;
    mine.resize(warps_.size());
    std::uint32_t& own = mine[current_->index.x / kLanes];
    own = std::max(own, current_->warp_epoch);
    join(phases.arrived, mine);
    if (--phases.num_missing > 0) return;
    phases.num_missing = phases.num_arrivals;
    phases.parity ^= 1U;
    phases.released = phases.arrived;
  }

  void wait_for_phase(const void* barrier, unsigned parity, const Site& site) {
    Phases& phases = phases_at(barrier);
    current_->phases = &phases;
    current_->parity = parity;
    if (phases.parity == parity) wait(State::kAtPhase, kAllLanes, /*orders_memory=*/true, site);
    join(current_->seen, phases.released);
  }

 private:
  static constexpr std::size_t kAlignment = 1024;

  Phases& phases_at(const void* barrier) {
    const auto found = phases_.find(barrier);
    TESSERA_CHECK(found != phases_.end(), where(), " uses a phase barrier that is not initialized");
    track(barrier, sizeof(std::uint64_t), Access::kAtomic);
    return found->second;
  }

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
    for (Thread& thread : threads_) {
      if (thread.state != State::kAtPhase || thread.phases->parity == thread.parity) continue;
      thread.state = State::kReady;
      opened = true;
    }
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

  template <typename Visit>
  void for_each_lane(unsigned first, unsigned lanes, const Visit& visit) {
    for (unsigned lane = 0; lane < kLanes; ++lane) {
      if (((lanes >> lane) & 1U) != 0) visit(threads_[first + lane]);
    }
  }

  static bool is_same_place(const Thread& a, const Thread& b) {
    return a.lanes == b.lanes && a.orders_memory == b.orders_memory &&
           a.site.line() == b.site.line() && a.site.column() == b.site.column();
  }

  void open_lanes(unsigned first, unsigned lanes, bool orders_memory) {
    if (orders_memory && !phases_.empty()) {
      Clock seen;
      for_each_lane(first, lanes, [&](const Thread& thread) { join(seen, thread.seen); });
      for_each_lane(first, lanes, [&](Thread& thread) { thread.seen = seen; });
    }
    for_each_lane(first, lanes, [&](Thread& thread) {
      thread.state = State::kReady;
      if (orders_memory) ++thread.warp_epoch;
    });
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
    if (phases_.empty()) return;
    Clock all(warps_.size());
    for (Thread& thread : threads_) {
      std::uint32_t& epoch = all[thread.index.x / kLanes];
      epoch = std::max(epoch, ++thread.warp_epoch);
    }
    for (Thread& thread : threads_) thread.seen = all;
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
    const unsigned warp = other / kLanes;
    if (warp == current_->index.x / kLanes) return before.warp_epoch < current_->warp_epoch;
    return warp < current_->seen.size() && before.warp_epoch < current_->seen[warp];
  }

  // Whether all reads of a granule are ordered before what this thread does.
  bool are_reads_ordered(std::size_t granule) const {
    if (warp_reads_.empty()) return is_ordered(shadow_[granule].read);
    for (unsigned warp = 0; warp < warps_.size(); ++warp) {
      const WarpRead& read = warp_reads_[granule * warps_.size() + warp];
      if (read.end_epoch == 0) continue;
      const bool is_own = warp == current_->index.x / kLanes;
      const std::uint32_t seen = is_own                         ? current_->warp_epoch
                                 : warp < current_->seen.size() ? current_->seen[warp]
                                                                : 0;
      if (read.end_epoch <= seen) continue;
      if (!is_own || read.several || read.thread != current_->index.x) return false;
    }
    return true;
  }

  void note_read(std::size_t granule) {
    if (warp_reads_.empty()) return;
    const unsigned warp = current_->index.x / kLanes;
    WarpRead& read = warp_reads_[granule * warps_.size() + warp];
    const auto thread = static_cast<std::uint16_t>(current_->index.x);
    const bool same_epoch = read.end_epoch == current_->warp_epoch + 1;
    read.several = same_epoch && (read.several || read.thread != thread);
    read.end_epoch = current_->warp_epoch + 1;
    read.thread = thread;
  }

  void touch(std::ptrdiff_t granule, Access access) {
    Shadow& shadow = shadow_[static_cast<std::size_t>(granule)];
    const bool reads = access == Access::kRead;
    const bool ordered = is_ordered(shadow.write) &&
                         (reads || are_reads_ordered(static_cast<std::size_t>(granule))) &&
                         (access == Access::kAtomic || is_ordered(shadow.atomic));
    TESSERA_CHECK(ordered, "a race in shared memory: ", where(), reads ? " reads" : " writes",
                  " byte ", granule * kGranule, " with no barrier since thread ",
                  last_other(static_cast<std::size_t>(granule), reads), " touched it");
    if (reads) note_read(static_cast<std::size_t>(granule));
    Touch& last = access == Access::kRead    ? shadow.read
                  : access == Access::kWrite ? shadow.write
                                             : shadow.atomic;
    const bool several = !is_ordered(last);
    last = {cta_epoch_, current_->warp_epoch, static_cast<std::uint16_t>(current_->index.x + 1),
            several};
  }

  unsigned last_other(std::size_t granule, bool reads) const {
    const Shadow& shadow = shadow_[granule];
    if (!is_ordered(shadow.write)) return shadow.write.thread - 1U;
    if (!reads && !are_reads_ordered(granule)) return shadow.read.thread - 1U;
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
  std::map<const void*, Phases> phases_;
  std::vector<WarpRead> warp_reads_;  // [granule][warp], where there are phases
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
void await_previous_kernel() {
  running->current().has_waited = true;
}
void async_copy(void* to, const void* from, int num_bytes, bool present) {
  running->async_copy(to, from, num_bytes, present);
}
void async_commit() {
  running->async_commit();
}
void init_phase_barrier(const void* barrier, int num_arrivals) {
  running->init_phases(barrier, num_arrivals);
}
void arrive_at_phase(const void* barrier) {
  running->arrive(barrier);
}
void wait_for_phase(const void* barrier, unsigned parity, const Site& site) {
  running->wait_for_phase(barrier, parity, site);
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
              const std::function<void()>& body,
              bool starts_early) {
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
    if (starts_early) one.require_waits();
  }
  running = nullptr;
}

}  // namespace tessera::kernels::cuda::emulation
