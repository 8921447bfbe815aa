#pragma once

#include <algorithm>
#include <array>
#include <boost/context/fiber.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "kernels/cuda/emulation/execution.h"
#include "kernels/cuda/emulation/run_grid.h"

/// What run_grid() knows of a CTA while it runs: its threads, its warps, and who has touched which
/// of its shared memory.
namespace tessera::kernels::cuda::emulation {

inline constexpr unsigned kLanes = 32;

struct Copy {
  void* to = nullptr;
  const void* from = nullptr;  // null: zeros
  int num_bytes = 0;
};

enum class State { kReady, kAtCtaBarrier, kAtWarpBarrier, kAtPhase, kDone };

// Of each warp, its first accesses that are not ordered before something: those of this warp epoch.
using Clock = std::vector<std::uint32_t>;

inline void join(Clock& clock, const Clock& other) {
  if (clock.size() < other.size()) clock.resize(other.size());
  for (std::size_t i = 0; i < other.size(); ++i) clock[i] = std::max(clock[i], other[i]);
}

struct Phases {
  int num_arrivals = 0;  // that complete a phase
  int num_missing = 0;   // of the phase that is under way
  unsigned parity = 0;   // and its parity
  Clock arrived;         // what is ordered before those arrivals
  Clock released;        // before the last phase that was completed
};

struct Thread {
  boost::context::fiber fiber;
  Index3 index;
  State state = State::kReady;
  Site site;
  unsigned lanes = 0;         // that meet at the warp barrier it waits at
  bool orders_memory = true;  // that barrier: a shuffle does not
  bool has_waited = false;    // for the previous kernel
  std::uint32_t warp_epoch = 0;
  std::uint32_t exchanges = 0;
  std::deque<std::vector<Copy>> groups;
  std::vector<Copy> open_group;
  std::vector<PendingProduct> products;
  Phases* phases = nullptr;  // that it waits at
  unsigned parity = 0;       // and for which
  Clock seen;                // of other warps, through phases
};

// The smallest element that kernels share: bf16.
inline constexpr std::ptrdiff_t kGranule = 2;

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

// The last read of a granule by a warp: phases may order those of one warp and not of another.
struct WarpRead {
  std::uint32_t end_epoch = 0;  // one more than that of the warp
  std::uint16_t thread = 0;
  bool several = false;
};

// Two exchange areas per warp: a lane may be one exchange ahead of another, never two.
struct Warp {
  std::array<std::array<std::byte, kLanes * kExchangeBytes>, 2> slots;
};

}  // namespace tessera::kernels::cuda::emulation
