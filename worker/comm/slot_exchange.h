#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace tessera {

inline constexpr std::int32_t kMaxRanks = 8;

/// Bytes [begin, begin + bytes) of a slot.
struct SlotPart {
  std::size_t begin = 0;
  std::size_t bytes = 0;
};

/// How long a rank waits for the others, and how.
struct WaitOptions {
  std::chrono::milliseconds timeout{300'000};
  std::int32_t num_spins = 0;  ///< See poll_until().
};

/// Carries bytes between ranks in rounds:
///
///     fill slot()  ->  meet()  ->  read peer(r)  ->  fill slot()  ->  meet()  ->  ...
///
/// What a rank reads is never what somebody writes: slot() is other memory in every second round,
/// and no rank is more than one round ahead, because each meets all others.
///
/// Owned by the rank's main thread. Allocates nothing after construction.
class SlotExchange {
 public:
  virtual ~SlotExchange() = default;

  virtual std::int32_t rank() const = 0;
  virtual std::int32_t size() const = 0;
  virtual std::size_t slot_bytes() const = 0;  ///< A multiple of 64 bytes times kMaxRanks.

  /// This rank's slot for the next round, aligned to 64 bytes.
  virtual std::byte* slot() = 0;

  /// Ends the round: returns once every other rank has come to it.
  ///
  /// @param call   Name of the collective, for the error.
  /// @param shown  [size] The part of this slot that rank r reads.
  /// @param read   [size] The part of rank r's slot that this rank reads; as r's `shown` says.
  /// @throws Error{kDevice} naming the ranks that have not come within the time-out.
  virtual void meet(std::string_view call,
                    std::span<const SlotPart> shown,
                    std::span<const SlotPart> read) = 0;

  /// Slot of another rank in the round that ended last. Only the part that was read counts.
  virtual const std::byte* peer(std::int32_t rank) const = 0;
};

/// @param late  One bit for each rank, counted from rank 0, that has not come.
/// @throws Error{kDevice} naming them.
[[noreturn]] void throw_late(std::string_view call,
                             std::uint32_t late,
                             std::chrono::milliseconds timeout);

}  // namespace tessera
