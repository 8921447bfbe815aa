#pragma once

#include <sched.h>

#include <chrono>
#include <cstdint>

namespace tessera {

/// Polls before the first yield where every rank has a core of its own: about 25 us of pauses.
/// A rank without one must not spin at all (0): it would keep the late one from running.
inline constexpr std::int32_t kPollsWithOwnCore = 2000;

/// Polls `is_ready` until it holds; false once `timeout` has passed without it. The first
/// `num_spins` polls stay on the core, the later ones offer it to others.
template <typename IsReady>
bool poll_until(const IsReady& is_ready,
                std::int32_t num_spins,
                std::chrono::milliseconds timeout) {
  for (std::int32_t spin = 0; spin < num_spins; ++spin) {
    if (is_ready()) return true;
    __builtin_ia32_pause();
  }
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    if (is_ready()) return true;
    if (std::chrono::steady_clock::now() >= deadline) return false;
    sched_yield();
  }
}

}  // namespace tessera
