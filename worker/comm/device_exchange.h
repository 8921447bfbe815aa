#pragma once

#include <cstdint>

namespace tessera {

/// Carries floats between the memories of the ranks' devices. Collective: all ranks make the same
/// calls in the same order with the same sizes.
///
/// Calls queue work behind the back end's operations and return; memory is in use until that is
/// done. A rank that does not come within the time-out makes every rank that waits for its device
/// throw Error{kDevice}; the exchange is of no use afterwards. Owned by the rank's main thread.
class DeviceExchange {
 public:
  virtual ~DeviceExchange() = default;

  virtual std::int32_t rank() const = 0;
  virtual std::int32_t size() const = 0;

  /// all[r * count ...] = `mine` of rank r.
  /// @param mine  [count]; may be all + rank() * count   @param all  [size(), count]
  virtual void all_gather(const float* mine, float* all, std::int64_t count) = 0;

  /// theirs[r * count ...] = what rank r has at mine[rank() * count ...].
  /// @param mine  [size(), count]   @param theirs  [size(), count], no part of `mine`
  virtual void exchange(const float* mine, float* theirs, std::int64_t count) = 0;

  /// Ends what is under way on the device, whoever it waits for; the exchange is of no use
  /// afterwards. To be called before memory in use is freed, which waits for the device.
  virtual void abort() noexcept = 0;
};

}  // namespace tessera
